//! An upgrade under load, as `docs/operate/upgrade.md` says it is done: the new program migrates
//! while old nodes serve, then the nodes are exchanged one by one, behind a load balancer, and then
//! an operator says that no old one runs any more.
//!
//! What counts as a failure: a request without an answer; an answer that is the server's fault, 503
//! among them; whatever the history may not hold.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{bail, ensure};

use crate::balancer::Balancer;
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

pub(crate) struct Programs {
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
}

/// Upgrades a deployment of the old program to the new one.
pub(crate) fn check(programs: &Programs) -> anyhow::Result<()> {
    let mut system = System::create(&programs.old, Store::Postgres, NODES, false)?;
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
        let done = upgrade(&mut system, &load, programs);
        load.stop.store(true, Ordering::Relaxed);
        done
    })?;
    let mut log = Log::default();
    let mut bound = false;
    system.audit(|entry| {
        bound |= entry["kind"] == "keys.bound";
        log.read(entry);
    })?;
    system.verify_audit()?;
    let bound = if bound { "bound" } else { "not yet bound" };
    let nothing = load.nothing.load(Ordering::Relaxed);
    let stories = load
        .stories
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a client ended early"))?;
    let facts = Facts {
        log: &log,
        holders: &load.holders,
        restores: &[],
        suspensions: &[],
        hands: &[],
        raises_max: 1,
    };
    let found = history::check(&stories, &facts);
    let lost = stories.iter().flat_map(|story| &story.asked);
    let lost =
        lost.filter(|asked| matches!(asked.outcome, Outcome::Unknown | Outcome::Unavailable));
    let lost = nothing + lost.count();
    say(&format!(
        "{migrated}; {NODES} nodes exchanged, class keys {bound}: {}; {lost} requests lost, {} \
         violations",
        summary(&stories),
        found.len()
    ));
    ensure!(found.is_empty(), "the promises do not hold: {found:?}");
    ensure!(lost == 0, "requests were lost");
    Ok(())
}

/// What migrating said.
fn upgrade(system: &mut System, load: &Load, programs: &Programs) -> anyhow::Result<String> {
    load.serve_on(BETWEEN)?;
    system.program(&programs.new);
    tell("migrating");
    let migrated = system.operate(&["migrate", "--owner", OWNER])?;
    let migrated = String::from_utf8_lossy(&migrated.stderr);
    // Old nodes on the new schema, then both beside each other.
    load.serve_on(BETWEEN)?;
    for node in 0..NODES {
        tell(&format!("exchanging node {node}"));
        system.stop(node)?;
        system.start(node)?;
        load.serve_on(BETWEEN)?;
    }
    tell("finishing");
    system.operate(&["migrate", "--owner", OWNER, "--finish"])?;
    load.serve_on(BETWEEN)?;
    // The next program binds the class keys, where every row has a MAC already; the nodes open them
    // anew.
    system.operate(&["key", "list"])?;
    load.serve_on(2 * BETWEEN)?;
    if migrated.contains("was migrated") {
        refuses(system, &programs.old)?;
        system.program(&programs.new);
    }
    Ok(migrated.trim().to_owned())
}

/// An old program does not serve on what was finished, and says so.
fn refuses(system: &mut System, old: &Path) -> anyhow::Result<()> {
    system.program(old);
    match system.verify_audit() {
        Ok(()) => bail!("the old program still reads the log"),
        Err(error) if error.to_string().contains("works with programs") => Ok(()),
        Err(error) => Err(error.context("the old program was not refused with words")),
    }
}
