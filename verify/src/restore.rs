//! A database that goes back in time under load: a backup or a dump that is put back, a standby
//! that is promoted.
//!
//! What the database of before held alone is read before it goes: a release must be in one of the
//! two logs, and no token in both with two keys.

use anyhow::Context as _;

use crate::history::{Log, Span};
use crate::load::Load;
use crate::postgres::Successor;
use crate::system::System;

/// How many requests are answered after the backup, which it does not hold.
const BETWEEN: usize = 250;

/// Makes a backup or a standby, lets time pass, and puts it in the database's place. The `n`-th of
/// a run.
pub(crate) fn restore(
    system: &mut System,
    load: &Load,
    log: &mut Log,
    n: usize,
    mut between: impl FnMut(&mut System) -> anyhow::Result<()>,
) -> anyhow::Result<Span> {
    // One that is redeemed in between, which a backup does not know, and one that is not.
    let mut redeemed = load.issue_for(0);
    let live = load.issue_for(1);
    // All until here is in both.
    let common = system.last_entry()?;
    let mut between = |system: &mut System| {
        load.redeem(&mut redeemed, 0);
        between(system)
    };
    let restore = match (system.postgres.is_some(), n % 3) {
        (false, _) => put_back(system, load, log, (n, common), &mut between),
        (true, 0) => put_dump_back(system, load, log, (n, common), &mut between),
        (true, 1) => {
            let standby = (Successor::Standby, common);
            succeed(system, load, log, standby, &mut between)
        }
        (true, _) => {
            let backup = (Successor::Backup, common);
            succeed(system, load, log, backup, &mut between)
        }
    }?;
    for mut tokens in [redeemed, live] {
        load.redeem(&mut tokens, 1);
        load.keep_tokens(tokens);
    }
    Ok(restore)
}

fn put_back(
    system: &mut System,
    load: &Load,
    log: &mut Log,
    (n, common): (usize, i64),
    mut between: impl FnMut(&mut System) -> anyhow::Result<()>,
) -> anyhow::Result<Span> {
    let file = system.file(&format!("{n}.backup"));
    let name = file.to_string_lossy();
    system.operate(&["backup", &name])?;
    load.serve_on(BETWEEN)?;
    between(system)?;
    let began = load.clock.millis();
    for node in 0..system.nodes.len() {
        system.kill(node)?;
    }
    system.export(system.config()?, common, |entry| log.read(entry))?;
    system.operate(&["restore", "--replace", &name])?;
    for node in 0..system.nodes.len() {
        system.start(node)?;
    }
    std::fs::remove_file(&file)?;
    let ended = load.clock.millis();
    Ok(Span { began, ended })
}

/// Whole, or its rows alone, in turn; into the same server, which says nothing of it.
fn put_dump_back(
    system: &mut System,
    load: &Load,
    log: &mut Log,
    (n, common): (usize, i64),
    mut between: impl FnMut(&mut System) -> anyhow::Result<()>,
) -> anyhow::Result<Span> {
    let postgres = system.postgres.as_mut().context("no PostgreSQL")?;
    let dump = postgres.dump(n)?;
    load.serve_on(BETWEEN)?;
    between(system)?;
    let began = load.clock.millis();
    for node in 0..system.nodes.len() {
        system.kill(node)?;
    }
    system.export(system.config()?, common, |entry| log.read(entry))?;
    let postgres = system.postgres.as_mut().context("no PostgreSQL")?;
    if n.is_multiple_of(2) {
        postgres.put_back(&dump)?;
    } else {
        postgres.put_rows_back(&dump)?;
    }
    for node in 0..system.nodes.len() {
        system.start(node)?;
    }
    let ended = load.clock.millis();
    Ok(Span { began, ended })
}

fn succeed(
    system: &mut System,
    load: &Load,
    log: &mut Log,
    (successor, common): (Successor, i64),
    mut between: impl FnMut(&mut System) -> anyhow::Result<()>,
) -> anyhow::Result<Span> {
    let postgres = system.postgres.as_mut().context("no PostgreSQL")?;
    postgres.prepare(successor)?;
    load.serve_on(BETWEEN)?;
    between(system)?;
    let began = load.clock.millis();
    let postgres = system.postgres.as_mut().context("no PostgreSQL")?;
    postgres.kill()?;
    let mut old = postgres.succeed(successor)?;
    // It serves once one node has found out, and no node serves before it has looked.
    let _ = system.last_entry()?;
    let ended = load.clock.millis();
    let postgres = system.postgres.as_ref().context("no PostgreSQL")?;
    let other = postgres.revive(&mut old)?;
    let config = system.config_for(&other)?;
    system.export(&config, common, |entry| log.read(entry))?;
    Ok(Span { began, ended })
}
