//! What is done to a system under load, and when.
//!
//! To add a fault: what does it in `system` or `postgres`, a [`Fault`] with its place in
//! [`break_once`], and its words in `docs/reports/verification.md`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::ensure;
use cardveil_seal::{Entropy as _, SeededEntropy};
use rustix::process::Signal;

use crate::clock::Clock;
use crate::history::{Log, Span, Suspension};
use crate::load::Load;
use crate::postgres::Postgres;
use crate::report::tell;
use crate::restore::restore;
use crate::system::{CARDS, Store, System};

/// How much of what.
pub(crate) struct Plan {
    pub(crate) store: Store,
    pub(crate) nodes: usize,
    pub(crate) redemptions: usize,
    pub(crate) kills: usize,
    pub(crate) restores: usize,
    /// Whether the disk is to be filled too.
    pub(crate) small_disk: bool,
    pub(crate) seed: u64,
}

/// What was done to the system.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) nodes_killed: usize,
    pub(crate) databases_killed: usize,
    pub(crate) others: BTreeMap<&'static str, usize>,
    pub(crate) restores: Vec<Span>,
    pub(crate) suspensions: Vec<Suspension>,
    pub(crate) hands: Vec<Span>,
}

impl Faults {
    fn kills(&self) -> usize {
        self.nodes_killed + self.databases_killed
    }

    fn count(&mut self, what: &'static str) {
        *self.others.entry(what).or_default() += 1;
    }
}

/// How often it is said how far a run is.
const TELL_EVERY_MS: u64 = 30_000;
/// After so long without an answer there will be none: no fault lasts for as long.
const SILENCE_MAX_MS: u64 = 120_000;
/// How many requests are answered while a card is suspended, while numbers have changed places, and
/// before and after rows are put back.
const MEANWHILE: usize = 40;
/// How long a disk is full at most: what was left in a file may do for a while.
const FULL_MAX_MS: u64 = 3_000;
/// Within which time it is on record that rows were altered.
const TOLD_WITHIN_MS: u64 = 60_000;
/// How far a node's clock is off at most, in seconds.
pub(crate) const CLOCK_OFF_MAX: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillNode,
    KillDatabase,
    Cut,
    Stall,
    LoseCommits,
    Stop,
    Suspend,
    Swap,
    Exchange,
    PutBack,
    StepClock,
    FillDisk,
}

/// Drawn from until nothing is left, and then anew: no run is without one of them.
const OF_A_NODE: &[Fault] = &[
    Fault::KillNode,
    Fault::KillNode,
    Fault::Stop,
    Fault::Suspend,
    Fault::Swap,
    Fault::Exchange,
    Fault::PutBack,
    Fault::StepClock,
    Fault::FillDisk,
];
const OF_A_CLUSTER: &[Fault] = &[
    Fault::KillDatabase,
    Fault::KillDatabase,
    Fault::Cut,
    Fault::Stall,
    Fault::LoseCommits,
];

struct Chance {
    entropy: SeededEntropy,
    deck: Vec<Fault>,
}

impl Chance {
    fn draw(&mut self, in_a_cluster: bool) -> Fault {
        if self.deck.is_empty() {
            self.deck.extend(OF_A_NODE);
            self.deck
                .extend(OF_A_CLUSTER.iter().filter(|_| in_a_cluster));
        }
        let at = self.pick(self.deck.len());
        self.deck.swap_remove(at)
    }

    fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }

    /// An index of so many.
    fn pick(&self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).unwrap_or_default()
    }

    /// Sleeps for so many milliseconds at least, and some more.
    fn rest(&self, least: u64, more: u64) {
        std::thread::sleep(Duration::from_millis(least + self.below(more)));
    }
}

/// Kills and stops what there is, by chance, until there was enough of it and of the load. `log`
/// gets what a restore takes away, `faults` what was done, even if it ends early.
pub(crate) fn break_things(
    system: &mut System,
    plan: &Plan,
    load: &Load,
    log: &mut Log,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let mut chance = Chance {
        entropy: SeededEntropy::new(plan.seed),
        deck: Vec::new(),
    };
    let mut progress = Progress::begin();
    loop {
        let answered = load.answered.load(Ordering::Relaxed);
        progress.at(plan, answered, faults.kills())?;
        let restored = faults.restores.len();
        let enough = faults.kills() >= plan.kills && restored >= plan.restores;
        if enough && answered >= plan.redemptions {
            break;
        }
        // Where in a request a fault falls is what is varied.
        chance.rest(5, 120);
        // They keep step with the load: the end of a run is broken as often as its beginning.
        let due = faults.kills() * plan.redemptions <= answered * plan.kills;
        if due && faults.kills() < plan.kills {
            break_once(system, load, &mut chance, faults)?;
        }
        let due = (2 * restored + 1) * plan.redemptions <= 2 * answered * plan.restores;
        if due && restored < plan.restores {
            let between = |system: &mut System| break_once(system, load, &mut chance, faults);
            let restore = restore(system, load, log, restored, between)?;
            faults.restores.push(restore);
        }
    }
    let restored = faults.restores.len();
    faults.others.insert("restores", restored);
    let suspended = faults.suspensions.len();
    faults.others.insert("suspensions", suspended);
    if let Some(postgres) = &system.postgres {
        let lost = postgres.proxy.commits_lost();
        faults.others.insert("commits lost", lost);
    }
    Ok(())
}

fn break_once(
    system: &mut System,
    load: &Load,
    chance: &mut Chance,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let node = chance.pick(system.nodes.len());
    match (chance.draw(system.postgres.is_some()), &mut system.postgres) {
        (Fault::KillDatabase, Some(postgres)) => {
            postgres.kill()?;
            chance.rest(0, 100);
            postgres.start()?;
            faults.databases_killed += 1;
        }
        (Fault::Cut, Some(postgres)) => {
            postgres.proxy.cut();
            faults.count("cuts");
        }
        (Fault::Stall, Some(postgres)) => {
            postgres.proxy.stall(true);
            chance.rest(20, 400);
            postgres.proxy.stall(false);
            faults.count("stalls");
        }
        (Fault::LoseCommits, Some(postgres)) => {
            postgres.proxy.lose_commits(24);
            // Those of claims, and not of what another fault leaves to be done.
            load.serve_on(MEANWHILE)?;
        }
        (Fault::Stop, _) => {
            system.signal(node, Signal::STOP)?;
            chance.rest(20, 400);
            system.signal(node, Signal::CONT)?;
            faults.count("stops");
        }
        (Fault::Suspend, _) => {
            let suspension = suspend(system, load, chance.pick(CARDS))?;
            faults.suspensions.push(suspension);
        }
        (Fault::Swap, _) => {
            system.swap_cards()?;
            load.serve_on(MEANWHILE)?;
            system.swap_cards()?;
            faults.count("swaps of sealed numbers");
        }
        (Fault::Exchange, _) => {
            let began = load.clock.millis();
            system.exchange_orders()?;
            load.serve_on(MEANWHILE)?;
            // While it stands: told are those whose cards are asked for.
            while !system.has_told_of("card")? {
                let waited = load.clock.millis() - began;
                ensure!(waited < TOLD_WITHIN_MS, "nobody told of exchanged cards");
                load.serve_on(1)?;
            }
            system.exchange_orders()?;
            let ended = load.clock.millis();
            faults.hands.push(Span { began, ended });
            faults.count("exchanges of order numbers");
        }
        (Fault::PutBack, _) => {
            system.keep_tokens()?;
            load.serve_on(MEANWHILE)?;
            let began = load.clock.millis();
            system.put_tokens_back()?;
            let ended = load.clock.millis();
            load.serve_on(MEANWHILE)?;
            faults.hands.push(Span { began, ended });
            faults.count("tokens put back");
        }
        (Fault::StepClock, _) => {
            let off = chance.below(2 * CLOCK_OFF_MAX + 1).cast_signed();
            if system.step_clock(node, off - CLOCK_OFF_MAX.cast_signed())? {
                faults.count("clock steps");
            }
        }
        (Fault::FillDisk, _) => fill_the_disk(system, load, faults)?,
        (Fault::KillNode, _)
        | (Fault::KillDatabase | Fault::Cut | Fault::Stall | Fault::LoseCommits, None) => {
            system.kill(node)?;
            system.start(node)?;
            faults.nodes_killed += 1;
        }
    }
    Ok(())
}

/// A card, for as long as some requests are answered.
fn suspend(system: &System, load: &Load, card: usize) -> anyhow::Result<Suspension> {
    let set = |state| {
        let asked = load.clock.millis();
        system.set_card(card, state)?;
        Ok::<_, anyhow::Error>((asked, load.clock.millis()))
    };
    // Every node has shown it, and has another token to show it for.
    let mut shown = load.issue_for(card);
    load.redeem(&mut shown, 0);
    load.keep_tokens(shown);
    let mut tokens = load.issue_for(card);
    let (asked, began) = set("suspended")?;
    // What is sent within the same millisecond does not count as later.
    while load.clock.millis() <= began {
        std::thread::yield_now();
    }
    load.redeem(&mut tokens, 0);
    load.keep_tokens(tokens);
    load.serve_on(MEANWHILE)?;
    let (ended, over) = set("active")?;
    Ok(Suspension {
        card,
        asked,
        began,
        ended,
        over,
    })
}

/// For a moment: nobody can write until there is room again, and then everybody can.
fn fill_the_disk(system: &mut System, load: &Load, faults: &mut Faults) -> anyhow::Result<()> {
    // A follower that has found no room is not promoted: an operator makes another.
    let followed = system
        .postgres
        .as_ref()
        .is_some_and(Postgres::has_successor);
    if let Some(disk) = system.disk.as_ref().filter(|_| !followed) {
        let ballast = disk.fill()?;
        load.be_unavailable(FULL_MAX_MS);
        drop(ballast);
        faults.count("full disks");
        if let Some(postgres) = &mut system.postgres {
            postgres.recover()?;
        }
    }
    Ok(())
}

/// How far a run is, and whether it still goes on.
struct Progress {
    clock: Clock,
    told: u64,
    answered: usize,
    since: u64,
}

impl Progress {
    fn begin() -> Self {
        Self {
            clock: Clock::start(),
            told: 0,
            answered: 0,
            since: 0,
        }
    }

    fn at(&mut self, plan: &Plan, answered: usize, kills: usize) -> anyhow::Result<()> {
        let now = self.clock.millis();
        if answered > self.answered {
            (self.answered, self.since) = (answered, now);
        }
        ensure!(
            now < self.since + SILENCE_MAX_MS,
            "nothing is answered any more, after {answered} answers and {kills} kills"
        );
        if now >= self.told + TELL_EVERY_MS {
            self.told = now;
            tell(&format!(
                "{:?}: {answered} of {} answers, {kills} of {} kills, {} s",
                plan.store,
                plan.redemptions,
                plan.kills,
                now / 1_000
            ));
        }
        Ok(())
    }
}
