//! `cardveil-verify`: whether the promises hold when everything goes wrong.
//!
//! First the rules, exhaustively ([`model`]); then the release binary over real stores, under load,
//! while its processes are killed and stopped, by a checker that knows nothing of the program
//! ([`history`]). Every bug that is planted must be found. `docs/reports/verification.md` has the
//! last long run.
//!
//! **Invariant:** one violation, one bug that is not found, or a run that was too thin, ends it
//! with 1.

mod answer;
mod balancer;
mod clock;
mod disk;
mod faults;
mod history;
mod http;
mod load;
mod model;
mod postgres;
mod proxy;
mod report;
mod restore;
mod system;
mod upgrade;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, ensure};
use clap::Parser;

use crate::clock::Clock;
use crate::faults::{Faults, Plan, break_things};
use crate::history::{Facts, Log};
use crate::load::Load;
use crate::model::{Bug, Redemption};
use crate::report::{say, tell};
use crate::system::{Store, System};

/// Checks the promises, while everything goes wrong
#[derive(Parser)]
#[command(name = "cardveil-verify")]
struct Args {
    /// The program
    #[arg(long, default_value = "target/release/cardveil")]
    binary: PathBuf,
    /// For releases: a larger model, 1,000,000 redemptions and 1,000 kills of each store
    #[arg(long)]
    long: bool,
    /// Only this store, and not the rules
    #[arg(long)]
    store: Option<Store>,
    /// Answers to requests to redeem, of each store, at least
    #[arg(long)]
    redemptions: Option<usize>,
    /// Kills, of each store, at least
    #[arg(long)]
    kills: Option<usize>,
    /// Restored backups and dumps, and promoted standbys, of each store
    #[arg(long)]
    restores: Option<usize>,
    /// Only this: upgrade a deployment of this older program under load
    #[arg(long, value_name = "BINARY")]
    upgrade_from: Option<PathBuf>,
    /// Where chance begins
    #[arg(long, default_value_t = 20_261_122)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let small_disk = disk::is_possible();
    let binary = args.binary.canonicalize().with_context(|| {
        format!(
            "there is no program at {}: `make release` builds it",
            args.binary.display()
        )
    })?;
    if let Some(old) = args.upgrade_from {
        let old = old.canonicalize().context("there is no older program")?;
        return upgrade::check(&upgrade::Programs { old, new: binary });
    }
    say(&format!("seed {}", args.seed));
    if args.store.is_none() {
        check_model(args.long)?;
    }
    let mut rows = Vec::new();
    for store in [Store::Sqlite, Store::Postgres] {
        if args.store.is_none_or(|only| only == store) {
            for plan in plans(store, small_disk, &args) {
                rows.push(check_store(&binary, &plan)?);
            }
        }
    }
    report::table(&rows);
    say("nothing that may not be");
    Ok(())
}

/// What is done to a store. A million redemptions need a larger disk than one that can be filled
/// here.
fn plans(store: Store, small_disk: bool, args: &Args) -> Vec<Plan> {
    let of = |(redemptions, kills, restores): (usize, usize, usize), small_disk| Plan {
        store,
        nodes: if store == Store::Postgres { 3 } else { 1 },
        redemptions: args.redemptions.unwrap_or(redemptions),
        kills: args.kills.unwrap_or(kills),
        restores: args.restores.unwrap_or(restores),
        small_disk,
        seed: args.seed,
    };
    if !small_disk {
        tell("no disk is filled: that takes the right to mount one");
    }
    if args.long {
        let full = small_disk.then(|| of(SHORT, true));
        [of(LONG, false)].into_iter().chain(full).collect()
    } else {
        vec![of(SHORT, small_disk)]
    }
}

/// The rules, whole and with each bug.
fn check_model(long: bool) -> anyhow::Result<()> {
    let two = |tries, operator, restore| Redemption {
        claimants: vec![1, 2],
        tries,
        operator,
        restore,
        bug: None,
    };
    let mut models = vec![two(1, true, true), two(2, true, false), two(2, false, true)];
    if long {
        let three = |claimants: &[u8]| Redemption {
            claimants: claimants.to_vec(),
            ..two(1, false, true)
        };
        models.extend([two(2, true, true), three(&[1, 1, 2]), three(&[1, 2, 3])]);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for model in models {
        let what = format!("{model:?}");
        // A key that may ask but once never asks again.
        let reaches_all = model.tries > 1;
        let outcome = model::check(model, threads);
        say(&format!("{what}: {} states", outcome.states));
        ensure!(outcome.violated.is_empty(), "{:?}", outcome.violated);
        ensure!(
            outcome.unreached.is_empty() || !reaches_all,
            "never came: {:?}",
            outcome.unreached
        );
    }
    for bug in Bug::ALL {
        let planted = Redemption {
            bug: Some(bug),
            // What it takes to see it, and no more.
            ..two(
                2,
                matches!(bug, Bug::StaleCard | Bug::StaleLives),
                bug == Bug::EpochIgnored,
            )
        };
        let outcome = model::check(planted, threads);
        ensure!(
            !outcome.violated.is_empty(),
            "{bug:?} was planted, and not found"
        );
        say(&format!(
            "{bug:?}, planted, is found: {}",
            outcome.violated.join("; ")
        ));
    }
    Ok(())
}

/// The real thing: load and faults until there were enough of both, then the check.
fn check_store(binary: &std::path::Path, plan: &Plan) -> anyhow::Result<String> {
    let began = Clock::start();
    let mut system = System::create(binary, plan.store, plan.nodes, plan.small_disk)?;
    for node in 0..plan.nodes {
        system.start(node)?;
    }
    let load = Load::of(&system)?;
    let (mut log, mut faults) = (Log::default(), Faults::default());
    let broken = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.run(client));
        }
        let done = break_things(&mut system, plan, &load, &mut log, &mut faults);
        load.stop.store(true, Ordering::Relaxed);
        done
    });
    let mut entries = 0;
    let mut verified = Ok(());
    if broken.is_ok() {
        tell("reading the audit log");
        entries = system.audit(|entry| log.read(entry))?;
        verified = system.verify_audit();
    }
    let stories = load
        .stories
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a client ended early"))?;
    let facts = Facts {
        log: &log,
        holders: &load.holders,
        restores: &faults.restores,
        suspensions: &faults.suspensions,
        hands: &faults.hands,
        raises_max: plan.store.raises_max(),
    };
    let mut found = history::check(&stories, &facts);
    if broken.is_err() {
        // The log was not read, but who got what is known.
        found.retain(|(_, violation)| violation.was_seen());
    }
    say(&format!(
        "{:?}, {} nodes: {} in {} s; {entries} audit entries; {} violations",
        plan.store,
        plan.nodes,
        report::summary(&stories),
        began.millis() / 1_000,
        found.len()
    ));
    for (token, violation) in found.iter().take(10) {
        let story = stories.iter().find(|story| story.hash == *token);
        say(&format!("  {violation:?} of {token}: {story:?}"));
    }
    ensure!(
        found.is_empty(),
        "the promises do not hold, after {faults:?}, {broken:?}"
    );
    broken?;
    verified?;
    Ok(report::row(plan, &stories, &faults, found.len()))
}

const CLIENTS: usize = 32;
/// Redemptions, kills and restores of each store.
const SHORT: (usize, usize, usize) = (4_000, 20, 3);
const LONG: (usize, usize, usize) = (1_000_000, 1_000, 20);
