//! An upgrade under load, as `docs/operations.md` says it is done: the new program migrates while old nodes
//! serve, then the nodes are exchanged one by one, behind a load balancer.
//!
//! What counts as a failure: a request without an answer; an answer that is the server's fault, 503 among
//! them; whatever the history may not hold.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::ensure;

use crate::balancer::Balancer;
use crate::clock::Clock;
use crate::history::{self, Facts, Log, Outcome};
use crate::load::Load;
use crate::postgres::OWNER;
use crate::report::{say, summary, tell};
use crate::system::{Store, System};

const NODES: usize = 3;
const CLIENTS: usize = 6;
/// How many requests are answered between two steps.
const BETWEEN: usize = 400;
/// More than two of the balancer's rounds, on a busy machine too.
const DELAY_SECS: &str = "2";
const PAUSE: Duration = Duration::from_millis(20);
/// After so long without enough answers something is wrong.
const STEP_MAX_MS: u64 = 120_000;

pub(crate) struct Programs {
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
}

/// Upgrades a deployment of the old program to the new one.
pub(crate) fn check(programs: &Programs) -> anyhow::Result<()> {
    let mut system = System::create(&programs.old, Store::Postgres, NODES)?;
    system.set("CARDVEIL_SHUTDOWN_DELAY_SECS", DELAY_SECS);
    for node in 0..NODES {
        system.start(node)?;
    }
    let balancer = Balancer::before(&system)?;
    let load = Load::through(&system, vec![(balancer.merchant_at, balancer.client_at)])?;
    let migrated = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let load = &load;
            scope.spawn(move || load.run(client));
        }
        let done = upgrade(&mut system, &load, &programs.new);
        load.stop.store(true, Ordering::Relaxed);
        done
    })?;
    let mut log = Log::default();
    system.audit(|entry| log.read(entry))?;
    system.verify_audit()?;
    let nothing = load.nothing.load(Ordering::Relaxed);
    let stories = load
        .stories
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a client ended early"))?;
    let facts = Facts {
        log: &log,
        holders: &load.holders,
        restores: &[],
    };
    let found = history::check(&stories, &facts);
    let lost = stories.iter().flat_map(|story| &story.asked);
    let lost =
        lost.filter(|asked| matches!(asked.outcome, Outcome::Unknown | Outcome::Unavailable));
    let lost = nothing + lost.count();
    say(&format!(
        "{migrated}; {NODES} nodes exchanged: {}; {lost} requests lost, {} violations",
        summary(&stories),
        found.len()
    ));
    ensure!(found.is_empty(), "the promises do not hold: {found:?}");
    ensure!(lost == 0, "requests were lost");
    Ok(())
}

/// What migrating said.
fn upgrade(system: &mut System, load: &Load, new: &Path) -> anyhow::Result<String> {
    serve_on(load)?;
    system.program(new);
    tell("migrating");
    let migrated = system.operate(&["migrate", "--owner", OWNER])?;
    let migrated = String::from_utf8_lossy(&migrated.stderr);
    // Old nodes on the new schema, then both beside each other.
    serve_on(load)?;
    for node in 0..NODES {
        tell(&format!("exchanging node {node}"));
        system.stop(node)?;
        system.start(node)?;
        serve_on(load)?;
    }
    Ok(migrated.trim().to_owned())
}

fn serve_on(load: &Load) -> anyhow::Result<()> {
    let until = load.answered.load(Ordering::Relaxed) + BETWEEN;
    let clock = Clock::start();
    while load.answered.load(Ordering::Relaxed) < until {
        ensure!(
            clock.millis() < STEP_MAX_MS,
            "too few requests are answered"
        );
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
