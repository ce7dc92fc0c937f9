//! The redemption of one token, every way that it can go.
//!
//! The rules are the program's own: [`Claim::decide`] and [`Attempt::decide`]. Around them is a
//! model of what brings requests to them: nodes that look, seal and commit in turn, a store that
//! may fail in both forms (not persisted; persisted, but reported as unknown), crashes, answers
//! that get lost, a clock, an operator who suspends the card, disables the credential or revokes
//! the token, and a backup that is restored.
//!
//! What counts as a failure: two keys with an answer; an answer whose record was never durable; a
//! grant of a card or by a credential as it no longer is, or of a token that was revoked or is of
//! an older epoch. What does not: a claimant without an answer. Nothing is random: every order of
//! all of it is looked at.
//!
//! To add a bug that it must find: a variant of [`Bug`], and the one place where it is different.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use cardveil_core::Time;
use cardveil_core::card::{self, Field};
use cardveil_core::id::{ClaimId, RedemptionId};
use cardveil_core::merchant::CredentialState;
use cardveil_core::token::{
    Around, Attempt, Cause, Claim, Epoch, Lives, Record, State, Verdict, Write,
};
use cardveil_testkit::sample;
use stateright::{Checker as _, Model, Property};

/// A mistake that a store or a flow could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// What was decided when the row was read is written whatever the row is by then.
    CheckThenSet,
    /// Claims are kept in memory, and a crash forgets them.
    MemoryOnlyClaims,
    /// The record is written once the answer has gone out.
    AuditAfterSend,
    /// A commit that did not answer is taken for done.
    UnknownTakenForDone,
    /// A restored backup keeps its epoch.
    EpochIgnored,
    /// The card's state is not looked at again in the commit.
    StaleCard,
    /// Nor is the credential that asked for the token.
    StaleLives,
}

impl Bug {
    pub(crate) const ALL: [Self; 7] = [
        Self::CheckThenSet,
        Self::MemoryOnlyClaims,
        Self::AuditAfterSend,
        Self::UnknownTakenForDone,
        Self::EpochIgnored,
        Self::StaleCard,
        Self::StaleLives,
    ];
}

/// How much is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Redemption {
    /// Who claims, by their keys.
    pub(crate) claimants: Vec<u8>,
    /// How often each may try.
    pub(crate) tries: u8,
    /// Whether an operator suspends the card, disables the credential and revokes the token.
    pub(crate) operator: bool,
    /// Whether a backup is made and restored.
    pub(crate) restore: bool,
    pub(crate) bug: Option<Bug>,
}

/// Seconds after the issue: at once, past the repeats, past the window, past the token's life.
const MOMENTS: [u64; 4] = [0, 31, 62, 301];

/// The token's row.
#[derive(Clone, Debug, PartialEq)]
struct Row(Record);

/// By all of it that ever changes.
impl Hash for Row {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Record {
            state,
            conflict,
            epoch,
            ..
        } = &self.0;
        (conflict, epoch.0).hash(hasher);
        match state {
            State::Issued => 0.hash(hasher),
            State::Waiting => 3.hash(hasher),
            State::Revoked(at) => (1, at.millis()).hash(hasher),
            State::Held(held) => {
                (2, held.redemption.as_str(), held.by.0, held.at.millis()).hash(hasher);
                for claim in &held.claims {
                    claim.as_bytes().hash(hasher);
                }
                for release in &held.releases {
                    (release.at.millis(), release.repeats).hash(hasher);
                    for attempt in &release.attempts {
                        attempt.as_bytes().hash(hasher);
                    }
                }
            }
        }
    }
}

/// What is durable.
#[derive(Clone, Debug, PartialEq, Hash)]
struct Disk {
    row: Row,
    epoch: u32,
    suspended: bool,
    disabled: bool,
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Hash)]
struct Wish {
    redemption: String,
    id: u8,
    at: usize,
    suspended: bool,
    disabled: bool,
    barred: bool,
    /// The row as it was when it was read.
    row: Row,
}

#[derive(Clone, Debug, PartialEq, Hash)]
enum Step {
    Idle,
    /// The answer is sealed.
    Sealed(Wish),
    /// The commit did not answer.
    Unsure(Wish),
    /// The answer may go out.
    Granted(Wish),
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct World {
    disk: Disk,
    backup: Option<Disk>,
    restored: bool,
    now: usize,
    claimants: Vec<(Step, u8)>,
    /// Claims whose record was durable once.
    recorded: BTreeSet<u8>,
    /// Keys that have got an answer.
    answered: BTreeSet<u8>,
    answered_unrecorded: bool,
    granted_wrongly: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Done,
    NotDone,
    DoneUnknown,
    NotDoneUnknown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Action {
    Look(usize),
    Commit(usize, Fate),
    Settle(usize),
    Answer(usize),
    LoseAnswer(usize),
    Crash,
    Wait,
    Suspend,
    Disable,
    Revoke,
    BackUp,
    Restore,
}

impl Redemption {
    fn claim(&self, claimant: usize, wish: &Wish) -> Option<Claim> {
        let key = *self.claimants.get(claimant)?;
        let mut claim = sample::claim(&wish.row.0, key, &[Field::Pan], at(wish.at));
        claim.id = ClaimId::from_bytes([wish.id; 16]);
        claim.redemption = RedemptionId::parse(&wish.redemption).ok()?;
        claim.seen = Some(card(wish.suspended));
        claim.barred = wish.barred.then_some(Cause::CardState);
        Some(claim)
    }

    /// As `flow::redeem` looks, and seals.
    fn look(&self, world: &World, claimant: usize) -> Option<Wish> {
        let (_, left) = world.claimants.get(claimant)?;
        let id = u8::try_from(claimant).ok()? * 16 + left;
        let row = world.disk.row.clone();
        let key = sample::claim(&row.0, *self.claimants.get(claimant)?, &[], at(0)).by;
        let redemption = row.0.redemption_of(key).map_or_else(
            || format!("rdm_{id}"),
            |redemption| redemption.as_str().to_owned(),
        );
        let mut wish = Wish {
            redemption,
            id,
            at: world.now,
            suspended: world.disk.suspended,
            disabled: world.disk.disabled,
            barred: false,
            row,
        };
        let mut claim = self.claim(claimant, &wish)?;
        claim.seen = None;
        let around = Around {
            card: None,
            lives: &lives(wish.disabled),
            epoch: wish.row.0.epoch,
        };
        let early = claim.decide(Some(&wish.row.0), &around);
        wish.barred = early.verdict != granted(&early.verdict) || world.disk.suspended;
        Some(wish)
    }

    /// Runs the rules over what is durable, and makes what they say durable.
    fn commit(&self, world: &mut World, claimant: usize, wish: &Wish) -> Option<bool> {
        let mut claim = self.claim(claimant, wish)?;
        let mut row = world.disk.row.clone();
        if self.bug == Some(Bug::CheckThenSet) {
            row = wish.row.clone();
        }
        if self.bug == Some(Bug::StaleCard) {
            claim.seen = Some(card(world.disk.suspended));
        }
        let epoch = Epoch(world.disk.epoch);
        let disabled = if self.bug == Some(Bug::StaleLives) {
            wish.disabled
        } else {
            world.disk.disabled
        };
        let around = Around {
            card: Some(card(world.disk.suspended)),
            lives: &lives(disabled),
            epoch,
        };
        let decision = claim.decide(Some(&row.0), &around);
        let before = &world.disk.row.0;
        let granted = matches!(decision.verdict, Verdict::Granted(_));
        world.granted_wrongly |= granted
            && (world.disk.suspended
                || world.disk.disabled
                || before.epoch != epoch
                || matches!(before.state, State::Revoked(_)));
        if let Write::Change(next, _) | Write::Count(next) = decision.write {
            world.disk.row = Row(*next);
        }
        if granted && self.bug != Some(Bug::AuditAfterSend) {
            world.recorded.insert(wish.id);
        }
        Some(granted)
    }

    fn settle(&self, world: &World, claimant: usize, wish: &Wish) -> Option<bool> {
        let claim = self.claim(claimant, wish)?;
        let attempt = Attempt {
            token: claim.token,
            by: claim.by,
            claim: claim.id,
            at: claim.at,
            origin: claim.origin.clone(),
        };
        let grant = attempt.decide(Some(&world.disk.row.0)).verdict;
        Some(grant.is_some_and(|grant| grant.redemption == claim.redemption))
    }
}

fn at(moment: usize) -> Time {
    let secs = MOMENTS.get(moment).copied().unwrap_or_default();
    sample::START.plus(Duration::from_secs(secs))
}

fn card(suspended: bool) -> card::State {
    if suspended {
        card::State::Suspended
    } else {
        card::State::Active
    }
}

fn lives(disabled: bool) -> Lives {
    let mut lives = sample::lives();
    if let Some(credential) = &mut lives.credential
        && disabled
    {
        credential.state = CredentialState::Disabled;
    }
    lives
}

/// The verdict itself when it grants; else one that it is not.
fn granted(verdict: &Verdict) -> Verdict {
    match verdict {
        Verdict::Granted(grant) => Verdict::Granted(grant.clone()),
        Verdict::Refused(_) | Verdict::WantsFactor | Verdict::FactorRefused(_) => {
            Verdict::Superseded
        }
        Verdict::Superseded => Verdict::Refused(Cause::Unknown),
    }
}

impl Model for Redemption {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            disk: Disk {
                row: Row(sample::record(1, sample::START, Epoch(1))),
                epoch: 1,
                suspended: false,
                disabled: false,
            },
            backup: None,
            restored: false,
            now: 0,
            claimants: vec![(Step::Idle, self.tries); self.claimants.len()],
            recorded: BTreeSet::new(),
            answered: BTreeSet::new(),
            answered_unrecorded: false,
            granted_wrongly: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        use Action::{
            Answer, BackUp, Commit, Crash, Disable, Look, LoseAnswer, Restore, Revoke, Settle,
            Suspend, Wait,
        };
        for (claimant, (step, left)) in world.claimants.iter().enumerate() {
            match step {
                Step::Idle if *left > 0 => actions.push(Look(claimant)),
                Step::Idle => {}
                Step::Sealed(_) => actions.extend(
                    [
                        Fate::Done,
                        Fate::NotDone,
                        Fate::DoneUnknown,
                        Fate::NotDoneUnknown,
                    ]
                    .map(|fate| Commit(claimant, fate)),
                ),
                Step::Unsure(_) => actions.push(Settle(claimant)),
                Step::Granted(_) => actions.extend([Answer(claimant), LoseAnswer(claimant)]),
            }
        }
        if world.claimants.iter().any(|(step, _)| *step != Step::Idle) {
            actions.push(Crash);
        }
        if world.now + 1 < MOMENTS.len() {
            actions.push(Wait);
        }
        if self.operator && !world.disk.suspended {
            actions.push(Suspend);
        }
        if self.operator && !world.disk.disabled {
            actions.push(Disable);
        }
        if self.operator && !matches!(world.disk.row.0.state, State::Revoked(_)) {
            actions.push(Revoke);
        }
        match world.backup {
            None if self.restore => actions.push(BackUp),
            Some(_) if !world.restored => actions.push(Restore),
            None | Some(_) => {}
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut next = last.clone();
        match action {
            Action::Look(claimant) => {
                let wish = self.look(last, claimant)?;
                let (step, left) = next.claimants.get_mut(claimant)?;
                (*step, *left) = (Step::Sealed(wish), *left - 1);
            }
            Action::Commit(claimant, fate) => {
                let (Step::Sealed(wish), _) = last.claimants.get(claimant)? else {
                    return None;
                };
                let done = match fate {
                    Fate::Done | Fate::DoneUnknown => self.commit(&mut next, claimant, wish)?,
                    Fate::NotDone | Fate::NotDoneUnknown => false,
                };
                let step = match fate {
                    Fate::Done if done => Step::Granted(wish.clone()),
                    Fate::Done | Fate::NotDone => Step::Idle,
                    Fate::DoneUnknown | Fate::NotDoneUnknown
                        if self.bug == Some(Bug::UnknownTakenForDone) && !wish.barred =>
                    {
                        Step::Granted(wish.clone())
                    }
                    Fate::DoneUnknown | Fate::NotDoneUnknown => Step::Unsure(wish.clone()),
                };
                next.claimants.get_mut(claimant)?.0 = step;
            }
            Action::Settle(claimant) => {
                let (Step::Unsure(wish), _) = last.claimants.get(claimant)? else {
                    return None;
                };
                let done = self.settle(last, claimant, wish)?;
                let step = if done {
                    Step::Granted(wish.clone())
                } else {
                    Step::Idle
                };
                next.claimants.get_mut(claimant)?.0 = step;
            }
            Action::Answer(claimant) => {
                let (Step::Granted(wish), _) = last.claimants.get(claimant)? else {
                    return None;
                };
                next.answered.insert(*self.claimants.get(claimant)?);
                next.answered_unrecorded |= !last.recorded.contains(&wish.id);
                next.claimants.get_mut(claimant)?.0 = Step::Idle;
            }
            Action::LoseAnswer(claimant) => next.claimants.get_mut(claimant)?.0 = Step::Idle,
            Action::Crash => {
                for (step, _) in &mut next.claimants {
                    *step = Step::Idle;
                }
                if self.bug == Some(Bug::MemoryOnlyClaims) {
                    next.disk.row.0.state = State::Issued;
                }
            }
            Action::Wait => next.now += 1,
            Action::Suspend => next.disk.suspended = true,
            Action::Disable => next.disk.disabled = true,
            Action::Revoke => {
                let (revoked, _) = last.disk.row.0.revoke(at(last.now), &sample::operator())?;
                next.disk.row = Row(revoked);
            }
            Action::BackUp => next.backup = Some(last.disk.clone()),
            Action::Restore => {
                next.disk = last.backup.clone()?;
                next.restored = true;
                if self.bug != Some(Bug::EpochIgnored) {
                    next.disk.epoch = last.disk.epoch + 1;
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("to at most one key", |_, world: &World| {
                world.answered.len() < 2
            }),
            Property::always("no answer before its record", |_, world: &World| {
                !world.answered_unrecorded
            }),
            Property::always("granted as it is", |_, world: &World| {
                !world.granted_wrongly
            }),
            Property::sometimes("a key gets the card", |_, world: &World| {
                !world.answered.is_empty()
            }),
            Property::sometimes("an unknown outcome is found", |_, world: &World| {
                world.claimants.iter().any(|(step, _)| {
                    matches!(step, Step::Unsure(wish) if world.recorded.contains(&wish.id))
                })
            }),
            Property::sometimes("a second key is noticed", |_, world: &World| {
                world.disk.row.0.conflict
            }),
            Property::sometimes(
                "a lost answer is fetched again",
                |_, world: &World| matches!(&world.disk.row.0.state, State::Held(held) if held.claims.len() > 1),
            ),
        ]
    }
}

/// What was looked at, and what was found.
pub(crate) struct Outcome {
    pub(crate) states: usize,
    /// Of what must never be: what was found, with the shortest way there.
    pub(crate) violated: Vec<String>,
    /// Of what must be possible: what was not found.
    pub(crate) unreached: Vec<&'static str>,
}

/// Looks at every way, or until a planted bug is found.
pub(crate) fn check(model: Redemption, threads: usize) -> Outcome {
    let planted = model.bug.is_some();
    let properties = model.properties();
    let checker = model.checker().threads(threads);
    let checker = if planted {
        let always = [
            "to at most one key",
            "no answer before its record",
            "granted as it is",
        ];
        checker.finish_when(stateright::HasDiscoveries::AnyOf(
            always.into_iter().collect(),
        ))
    } else {
        checker
    };
    let done = checker.spawn_bfs().join();
    let found = done.discoveries();
    let mut outcome = Outcome {
        states: done.unique_state_count(),
        violated: Vec::new(),
        unreached: Vec::new(),
    };
    for property in properties {
        match (&property.expectation, found.get(property.name)) {
            (stateright::Expectation::Always, Some(path)) => {
                let way: Vec<_> = path
                    .clone()
                    .into_actions()
                    .iter()
                    .map(|a| format!("{a:?}"))
                    .collect();
                outcome
                    .violated
                    .push(format!("{}: {}", property.name, way.join(", ")));
            }
            (stateright::Expectation::Sometimes, None) if !planted => {
                outcome.unreached.push(property.name);
            }
            _ => {}
        }
    }
    outcome
}
