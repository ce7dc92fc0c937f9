//! The states of a token and the rules between them.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::challenge::Answered;
use super::lives::Refused;
use super::{
    CHECKS_MAX, CLOCKS_APART, Cause, EVENTS_MAX, Epoch, Lives, Operation, REFUSALS_RECORDED_MAX,
    REPEAT_WINDOW, REPEATS_MAX, REVEAL_WINDOW, Thumbprint, TokenKey,
};
use crate::audit::{Actor, Detail, Event, Kind, Origin, Outcome, Source, Target, Visibility};
use crate::card::{self, Field, Fields, Transition};
use crate::clock::Time;
use crate::id::{
    AttemptId, CardId, ClaimId, CredentialId, EmbedId, MerchantId, PersonId, RedemptionId,
};

/// A token as stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub key: TokenKey,
    /// The epoch of its issue.
    pub epoch: Epoch,
    pub merchant: MerchantId,
    /// Who asked for it.
    pub credential: CredentialId,
    pub card: CardId,
    pub operation: Operation,
    /// What may be released.
    pub allowed: Fields,
    /// The only key that can claim it, when the merchant named one.
    pub bound_to: Option<Thumbprint>,
    /// The only embed that it can be redeemed in, when the merchant named one.
    pub embed: Option<EmbedId>,
    pub issued_at: Time,
    /// The first moment at which it can no longer be claimed.
    pub expires_at: Time,
    /// Whether another key has tried; recorded once.
    pub conflict: bool,
    /// How often a claim was refused, in all nodes together.
    pub refusals: u32,
    /// What has become of it.
    pub state: State,
}

/// What has become of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has claimed it.
    Issued,
    /// Nobody has claimed it, and no key can without a second factor.
    Waiting,
    /// A key holds it.
    Held(Held),
    /// It was revoked at this moment.
    Revoked(Time),
}

/// A token that a key holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub redemption: RedemptionId,
    /// The key.
    pub by: Thumbprint,
    /// When it was claimed.
    pub at: Time,
    /// What was released to it: at most one entry a field.
    pub releases: Vec<Release>,
    /// The claims that were granted: at most four a field, or [`CHECKS_MAX`].
    pub claims: Vec<ClaimId>,
    /// How many events its browser has sent.
    pub events: u16,
    /// Whether the sweep has looked at it after its window.
    pub swept: bool,
}

/// The release of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub field: Field,
    /// When it was first released.
    pub at: Time,
    /// How often it was released again.
    pub repeats: u8,
    /// The attempts that it was released to. A node of the version before writes none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptId>,
    /// Whether the browser claims to have shown it.
    pub displayed: bool,
}

/// What a store is to write. It comes with the event that the change needs, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Nothing,
    /// An event alone.
    Event(Event),
    /// The token's new form and its event, in one commit.
    Change(Box<Record>, Event),
    /// The token with its refusal counted and nothing else changed: there were enough on record.
    Count(Box<Record>),
}

/// What was decided, and what must be durable before anyone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision<V> {
    /// To be written first.
    pub write: Write,
    /// To be told then.
    pub verdict: V,
}

/// A key's wish to have fields of a token's card. Everything that can fail has been done: the
/// answer that was sealed before bears the name `redemption`.
#[derive(Clone, Debug)]
pub struct Claim {
    pub token: TokenKey,
    /// The embed that asks.
    pub embed: EmbedId,
    /// Whether it asks from a page of our own origin. One that says another was refused before.
    pub with_origin: bool,
    /// The key.
    pub by: Thumbprint,
    pub operation: Operation,
    /// The fields that are asked for: at least one to view a card, none for a wallet.
    pub fields: Fields,
    /// What the answer says, for the record, where no fields say it.
    pub note: Option<Cow<'static, str>>,
    /// This claim, by which [`Attempt`] finds out whether it was committed.
    pub id: ClaimId,
    /// The frame's attempt, for the record.
    pub attempt: AttemptId,
    /// The redemption that the answer is sealed under.
    pub redemption: RedemptionId,
    /// The person of the card that the answer was made of.
    pub person: Option<PersonId>,
    /// A reason outside the token and its lives to refuse: the card's state.
    pub barred: Option<Cause>,
    /// The state in which the card was when the answer was made of it; none while none was made.
    pub seen: Option<card::State>,
    /// What it brings of a second factor, which counts where the token waits for one.
    pub answered: Option<Answered>,
    /// What the card does when this is granted, in the same commit and with its own event: a
    /// virtual card comes into use when its details are first shown. It says itself from which
    /// states, so it does nothing to a card that has moved meanwhile.
    pub step: Option<Transition>,
    pub at: Time,
    /// From where.
    pub origin: Origin,
}

/// What a claim finds beside the token's row, all of it in its own commit.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The state of the token's card.
    pub card: Option<card::State>,
    /// What the token lives by.
    pub lives: &'a Lives,
    pub epoch: Epoch,
}

/// What becomes of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer may go out.
    Granted(Grant),
    /// It may not.
    Refused(Cause),
    /// It may, with a second factor, and none was brought. Nothing was written.
    WantsFactor,
    /// It may, with a second factor, and the one that was brought is refused. That is on record, and
    /// the token is as before.
    FactorRefused(Cause),
    /// The key holds the token already under another redemption than the answer was sealed for, or
    /// the card is in another state than the answer was made in. Nothing was written: look again
    /// and seal again.
    Superseded,
}

/// A claim that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Under which redemption.
    pub redemption: RedemptionId,
    /// Until when further fields may be asked for.
    pub window_ends_at: Time,
    /// Which were not released yet.
    pub fields_left: Fields,
}

/// Whether fields go out for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// At least one does.
    First,
    /// All had gone out before.
    Repeat,
}

/// A granted claim with the token's next form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    held: Held,
    kind: ClaimKind,
}

impl Record {
    /// Until when its holder may ask for further fields; `None` while nobody holds it.
    pub fn window_ends_at(&self) -> Option<Time> {
        match &self.state {
            State::Held(held) => Some(held.at.plus(REVEAL_WINDOW)),
            State::Issued | State::Waiting | State::Revoked(_) => None,
        }
    }

    /// When the sweep must look at it; `None` when it need not.
    pub fn sweep_due_at(&self) -> Option<Time> {
        match &self.state {
            State::Held(held) if !held.swept => Some(held.at.plus(REVEAL_WINDOW)),
            State::Held(_) | State::Issued | State::Waiting | State::Revoked(_) => None,
        }
    }

    /// The redemption under which `by` holds it.
    pub fn redemption_of(&self, by: Thumbprint) -> Option<&RedemptionId> {
        match &self.state {
            State::Held(held) if held.by == by => Some(&held.redemption),
            State::Held(_) | State::Issued | State::Waiting | State::Revoked(_) => None,
        }
    }

    /// Whether a revocation at `at` would keep anything from anyone: one that is revoked, or that
    /// nobody claimed before it expired, gives nothing any more.
    pub fn is_revocable(&self, at: Time) -> bool {
        match &self.state {
            State::Issued | State::Waiting => at.minus(CLOCKS_APART) < self.expires_at,
            State::Held(_) => true,
            State::Revoked(_) => false,
        }
    }

    /// Revokes it: no key gets anything for it any more. `None` when it is revoked already.
    pub fn revoke(&self, at: Time, source: &Source) -> Option<(Self, Event)> {
        match self.state {
            State::Revoked(_) => None,
            State::Issued | State::Waiting | State::Held(_) => {
                let event = source.event(
                    at,
                    Kind::TokenRevoked,
                    Some(self.merchant.clone()),
                    self.target(),
                );
                Some((
                    Self {
                        state: State::Revoked(at),
                        ..self.clone()
                    },
                    event,
                ))
            }
        }
    }

    /// After the window: marks it as looked at, with an event when a release was never confirmed
    /// (P7). `None` when there is nothing to do yet, or any more.
    pub fn sweep(&self, now: Time) -> Option<(Self, Option<Event>)> {
        let State::Held(held) = &self.state else {
            return None;
        };
        let due = now >= held.at.plus(REVEAL_WINDOW) || held.at.is_ahead_of(now);
        if held.swept || !due {
            return None;
        }
        let unconfirmed: Fields = held
            .releases
            .iter()
            .filter(|release| !release.displayed)
            .map(|r| r.field)
            .collect();
        let event = (!unconfirmed.is_empty()).then(|| {
            let mut event = Source::server().event(
                now,
                Kind::RevealUnconfirmed,
                Some(self.merchant.clone()),
                self.target(),
            );
            event.outcome = Outcome::Failure;
            event.detail = Detail {
                fields: Some(unconfirmed),
                operation: Some(self.operation.into()),
                ..Detail::default()
            };
            event
        });
        let held = Held {
            swept: true,
            ..held.clone()
        };
        Some((
            Self {
                state: State::Held(held),
                ..self.clone()
            },
            event,
        ))
    }

    /// When its row goes: how many refusals are not on record each, if there are any (P7).
    pub fn refusals_told(&self, now: Time) -> Option<Event> {
        (self.refusals > REFUSALS_RECORDED_MAX).then(|| {
            let mut event = Source::server().event(
                now,
                Kind::RevealRefused,
                Some(self.merchant.clone()),
                self.target(),
            );
            event.outcome = Outcome::Failure;
            let all = self.refusals;
            event.detail.note = Some(format!("{all} refusals in all").into());
            event
        })
    }

    fn target(&self) -> Target {
        let redemption = match &self.state {
            State::Held(held) => Some(held.redemption.clone()),
            State::Issued | State::Waiting | State::Revoked(_) => None,
        };
        Target {
            card: Some(self.card),
            token: Some(self.key.hash),
            redemption,
            ..Target::default()
        }
    }

    fn grant(&self, held: &Held) -> Grant {
        let released = held.releases.iter().map(|release| release.field).collect();
        Grant {
            redemption: held.redemption.clone(),
            window_ends_at: held.at.plus(REVEAL_WINDOW),
            fields_left: self.allowed.without(released),
        }
    }
}

impl Claim {
    /// The rules of redemption (docs/reference/protocol.md), over all that decides as it is at the
    /// moment of writing: what is granted is granted of the card, the credential, the merchant and
    /// the embed as they are then.
    ///
    /// A token of ours without a row leaves nothing: nobody could count how often it comes.
    pub fn decide(&self, record: Option<&Record>, around: &Around<'_>) -> Decision<Verdict> {
        let Some(record) = record else {
            return Decision {
                write: Write::Nothing,
                verdict: Verdict::Refused(Cause::Unknown),
            };
        };
        match self.judge(record, around) {
            Ok(_) if record.waits_for_factor() && self.answered.is_none() => Decision {
                write: Write::Nothing,
                verdict: Verdict::WantsFactor,
            },
            Ok(Claimed { held, kind: _ })
                if held.redemption != self.redemption || self.seen != around.card =>
            {
                Decision {
                    write: Write::Nothing,
                    verdict: Verdict::Superseded,
                }
            }
            Ok(Claimed { held, kind }) => {
                let grant = record.grant(&held);
                let next = Record {
                    state: State::Held(held),
                    ..record.clone()
                };
                let mut event = self.release(&next, kind);
                event.target.session = self
                    .second_factor(record)
                    .and_then(|(assertion, _)| assertion.session);
                Decision {
                    write: Write::Change(Box::new(next), event),
                    verdict: Verdict::Granted(grant),
                }
            }
            Err(refused) => self.refuse(record, refused),
        }
    }

    fn refuse(&self, record: &Record, refused: Refused) -> Decision<Verdict> {
        let alarm = refused.cause == Cause::OtherKey && !record.conflict;
        let next = Box::new(Record {
            conflict: record.conflict || alarm,
            ..record.refused_once()
        });
        let write = if alarm {
            let event = self.refusal(record, Kind::RevealConflict, refused);
            Write::Change(next, event)
        } else if record.tells_refusals() {
            let event = self.refusal(record, Kind::RevealRefused, refused);
            Write::Change(next, event)
        } else {
            Write::Count(next)
        };
        Decision {
            write,
            verdict: Verdict::Refused(refused.cause),
        }
    }

    /// The step of the card that belongs into the commit of this verdict. Stores apply it.
    pub fn step_of(&self, verdict: &Verdict) -> Option<&Transition> {
        match verdict {
            Verdict::Granted(_) => self.step.as_ref(),
            Verdict::Refused(_)
            | Verdict::WantsFactor
            | Verdict::FactorRefused(_)
            | Verdict::Superseded => None,
        }
    }

    fn judge(&self, record: &Record, around: &Around<'_>) -> Result<Claimed, Refused> {
        if record.epoch != around.epoch {
            return Err(Cause::OldEpoch.into());
        }
        around.lives.admit(self, record)?;
        if record.operation != self.operation {
            return Err(Cause::WrongOperation.into());
        }
        let claimed = match &record.state {
            State::Revoked(_) => Err(Cause::Revoked),
            _ if record.bound_to.is_some_and(|key| key != self.by) => Err(Cause::OtherKey),
            State::Issued | State::Waiting => self.first(record),
            State::Held(held) => self.again(held, record),
        }?;
        around.lives.last(self)?;
        if let Some(cause) = self.barred {
            return Err(cause.into());
        }
        // Last of all: who is told of fields has been told that the token is good (P6).
        let fits = match self.operation {
            Operation::ViewCard => !self.fields.is_empty() && self.fields.within(record.allowed),
            Operation::AddCardToWallet => self.fields.is_empty(),
        };
        if fits {
            Ok(claimed)
        } else {
            Err(Cause::FieldNotAllowed.into())
        }
    }

    /// The first claim, by whichever key comes first.
    fn first(&self, record: &Record) -> Result<Claimed, Cause> {
        if self.is_past_life_of(record) {
            return Err(Cause::Expired);
        }
        let held = Held {
            redemption: self.redemption.clone(),
            by: self.by,
            at: self.at,
            releases: self
                .fields
                .iter()
                .map(|field| self.new_release(field))
                .collect(),
            claims: vec![self.id],
            events: 0,
            swept: false,
        };
        Ok(Claimed {
            held,
            kind: ClaimKind::First,
        })
    }

    /// One that a clock ahead has issued would live until that clock's time comes.
    fn is_past_life_of(&self, record: &Record) -> bool {
        self.at >= record.expires_at || record.issued_at.is_ahead_of(self.at)
    }

    /// A claim on a token that is held: the same key may repeat and go on, any other gets nothing.
    fn again(&self, held: &Held, record: &Record) -> Result<Claimed, Cause> {
        if held.by != self.by {
            return Err(Cause::OtherKey);
        }
        match self.operation {
            Operation::ViewCard => self.further_fields(held, record),
            Operation::AddCardToWallet => self.further_check(held),
        }
    }

    /// A wallet's answer has no fields that could run out: the window and a number bound it.
    fn further_check(&self, held: &Held) -> Result<Claimed, Cause> {
        if passed(held.at, REVEAL_WINDOW, self.at) {
            return Err(Cause::WindowClosed);
        }
        if held.claims.len() >= CHECKS_MAX {
            return Err(Cause::RepeatsExhausted);
        }
        let mut next = held.clone();
        next.claims.push(self.id);
        Ok(Claimed {
            held: next,
            kind: ClaimKind::Repeat,
        })
    }

    /// An attempt whose answer got lost, as in a stall, may be made again for as long as the token
    /// lives: its key was granted this field for this attempt. It counts like any other repeat.
    fn further_fields(&self, held: &Held, record: &Record) -> Result<Claimed, Cause> {
        let mut next = held.clone();
        let mut kind = ClaimKind::Repeat;
        for field in self.fields.iter() {
            match next
                .releases
                .iter_mut()
                .find(|release| release.field == field)
            {
                Some(release) => {
                    let is_known = release.attempts.contains(&self.attempt);
                    let in_time = !passed(release.at, REPEAT_WINDOW, self.at)
                        || (is_known && !self.is_past_life_of(record));
                    if !in_time || release.repeats >= REPEATS_MAX {
                        return Err(Cause::RepeatsExhausted);
                    }
                    release.repeats += 1;
                    if !is_known {
                        release.attempts.push(self.attempt);
                    }
                }
                None if passed(held.at, REVEAL_WINDOW, self.at) => {
                    return Err(Cause::WindowClosed);
                }
                None => {
                    next.releases.push(self.new_release(field));
                    kind = ClaimKind::First;
                }
            }
        }
        next.claims.push(self.id);
        Ok(Claimed { held: next, kind })
    }

    fn new_release(&self, field: Field) -> Release {
        Release {
            field,
            at: self.at,
            repeats: 0,
            attempts: vec![self.attempt],
            displayed: false,
        }
    }

    fn release(&self, record: &Record, kind: ClaimKind) -> Event {
        let kind = match (self.operation, kind) {
            (Operation::ViewCard, ClaimKind::First) => Kind::RevealReleased,
            (Operation::ViewCard, ClaimKind::Repeat) => Kind::RevealRepeated,
            (Operation::AddCardToWallet, _) => Kind::WalletChecked,
        };
        Event {
            at: self.at,
            kind,
            actor: Actor::Holder(self.by),
            origin: self.origin.clone(),
            outcome: Outcome::Success,
            merchant: Some(record.merchant.clone()),
            target: record.target(),
            detail: Detail {
                operation: Some(self.operation.into()),
                fields: self.fields.some(),
                attempt: Some(self.attempt),
                note: self.released_note(),
                ..Detail::default()
            },
        }
    }

    fn refusal(&self, record: &Record, kind: Kind, refused: Refused) -> Event {
        Event {
            at: self.at,
            kind,
            actor: Actor::Holder(self.by),
            origin: self.origin.clone(),
            outcome: Outcome::Failure,
            merchant: Some(record.merchant.clone()),
            target: record.target(),
            detail: Detail {
                operation: Some(self.operation.into()),
                fields: self.fields.some(),
                cause: Some(refused.cause),
                attempt: Some(self.attempt),
                note: refused.note.map(Cow::Borrowed),
                ..Detail::default()
            },
        }
    }

    /// What the record of a release says where no fields say it.
    fn released_note(&self) -> Option<Cow<'static, str>> {
        const ALONE: &str = "without an Origin";
        match (&self.note, self.with_origin) {
            (note, true) => note.clone(),
            (None, false) => Some(ALONE.into()),
            (Some(note), false) => Some(format!("{note}; {ALONE}").into()),
        }
    }
}

/// Whether a window has passed, or was opened by a clock that was ahead: it would stay open until
/// that clock's time comes.
fn passed(from: Time, window: Duration, at: Time) -> bool {
    at > from.plus(window) || from.is_ahead_of(at)
}

/// An attempt whose commit did not answer.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub token: TokenKey,
    /// The key.
    pub by: Thumbprint,
    /// The claim. Not the frame's attempt: a frame may name several claims alike, and what one of
    /// them released must not go out for another.
    pub claim: ClaimId,
    /// When it is looked up.
    pub at: Time,
    /// From where it came.
    pub origin: Origin,
}

impl Attempt {
    /// What became of it. The event makes the store commit, so that what it has read is durable.
    pub fn decide(&self, record: Option<&Record>) -> Decision<Option<Grant>> {
        let grant = record.and_then(|record| match &record.state {
            State::Held(held) if held.by == self.by && held.claims.contains(&self.claim) => {
                Some(record.grant(held))
            }
            State::Held(_) | State::Issued | State::Waiting | State::Revoked(_) => None,
        });
        let target = record.map_or_else(
            || Target {
                token: Some(self.token.hash),
                ..Target::default()
            },
            Record::target,
        );
        let event = Event {
            at: self.at,
            kind: Kind::RevealSettled,
            actor: Actor::System,
            origin: self.origin.clone(),
            outcome: if grant.is_some() {
                Outcome::Success
            } else {
                Outcome::Failure
            },
            merchant: record.map(|record| record.merchant.clone()),
            target,
            detail: Detail::default(),
        };
        Decision {
            write: Write::Event(event),
            verdict: grant,
        }
    }
}

/// What a browser says of a redemption. Nobody can check it, so its event is labelled a claim.
#[derive(Clone, Debug)]
pub struct Observation {
    pub token: TokenKey,
    pub redemption: RedemptionId,
    /// Displayed, copied, hidden or expired.
    pub kind: Kind,
    /// Which field; `None` for all that were released.
    pub field: Option<Field>,
    /// Whether the browser says that nothing hid the frame.
    pub seen: bool,
    /// When it came.
    pub at: Time,
    /// From where.
    pub origin: Origin,
}

impl Observation {
    /// Records it, if it is of this token's redemption. A refusal is not recorded: it tells nothing
    /// of a card, and anyone could fill the log with it.
    pub fn decide(&self, record: Option<&Record>, epoch: Epoch) -> Decision<Result<(), Cause>> {
        let refused = |cause| Decision {
            write: Write::Nothing,
            verdict: Err(cause),
        };
        let Some(record) = record else {
            return refused(Cause::Unknown);
        };
        if record.epoch != epoch {
            return refused(Cause::OldEpoch);
        }
        let State::Held(held) = &record.state else {
            return refused(Cause::WrongRedemption);
        };
        if held.redemption != self.redemption {
            return refused(Cause::WrongRedemption);
        }
        if held.events >= EVENTS_MAX {
            return refused(Cause::TooManyEvents);
        }
        let mut held = held.clone();
        held.events += 1;
        let mut fields = Fields::NONE;
        for release in &mut held.releases {
            if self.field.is_none_or(|field| field == release.field) {
                fields.insert(release.field);
                release.displayed |= self.kind == Kind::RevealDisplayed;
            }
        }
        if fields.is_empty() {
            return refused(Cause::FieldNotAllowed);
        }
        let event = Event {
            at: self.at,
            kind: self.kind,
            actor: Actor::Holder(held.by),
            origin: self.origin.clone(),
            outcome: Outcome::Success,
            merchant: Some(record.merchant.clone()),
            target: record.target(),
            detail: Detail {
                fields: Some(fields),
                claim: true,
                visibility: self.visibility(),
                ..Detail::default()
            },
        };
        let next = Record {
            state: State::Held(held),
            ..record.clone()
        };
        Decision {
            write: Write::Change(Box::new(next), event),
            verdict: Ok(()),
        }
    }

    /// Said of what a cardholder must be able to see: what is shown, and the button that copies.
    fn visibility(&self) -> Option<Visibility> {
        let matters = matches!(self.kind, Kind::RevealDisplayed | Kind::RevealCopied);
        matters.then_some(if self.seen {
            Visibility::Seen
        } else {
            Visibility::NotLookedAt
        })
    }
}
