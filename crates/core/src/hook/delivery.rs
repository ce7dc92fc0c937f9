//! One event on its way to one subscription, and the rules by which it is sent, sent again, given
//! up and replayed. Pure: stores apply these inside a commit.
//!
//! **Invariant:** a delivery leaves [`State::Waiting`] only by the answer to an attempt, so a crash
//! between sending and recording leads to a repeat and never to a loss: the lease runs out, and it
//! is due again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cardveil_seal::sha256;
use serde::{Deserialize, Serialize};

use super::Form;
use crate::audit::{Event, Kind, Outcome, Source, Target, Topic};
use crate::clock::Time;
use crate::id::{CardId, DeliveryId, InvalidId, MerchantId, SessionId, SubscriptionId};

/// For how long an event is tried (Equals: "every 5 minutes for two weeks", how-it-works).
pub const PATIENCE: Duration = Duration::from_secs(14 * 24 * 3_600);
/// How long a one-time code is of use: as long as its session.
pub const CODE_PATIENCE: Duration = Duration::from_secs(300);
/// How long deliveries that arrived are remembered, so that they can be replayed.
pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The wait after each attempt (Equals, how-it-works). KeySecure's pages are silent: the same.
const EVERY: Duration = Duration::from_secs(300);
/// The waits after the first attempts, in seconds, as the Standard Webhooks specification
/// recommends ("Deliverability and reliability"); the last is repeated.
const STANDARD_SECS: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// No wait is longer.
pub const WAIT_MAX: Duration = Duration::from_secs(86_400);
/// The same for a one-time code, which somebody waits for.
const CODE_SECS: [u64; 5] = [2, 5, 10, 30, 60];

/// One event on its way to one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message id, the same at every attempt.
    pub id: DeliveryId,
    /// To whom.
    pub subscription: SubscriptionId,
    pub merchant: MerchantId,
    /// Within which it keeps its order.
    pub line: Line,
    /// The event's place in the audit log.
    pub seq: i64,
    /// What it is told as.
    pub topic: Topic,
    /// When it happened.
    pub queued_at: Time,
    /// Since when it is tried: when it happened, or was last replayed.
    pub since: Time,
    /// How often it was tried since then.
    pub attempts: u32,
    /// From when it may be taken; while it is leased, when the lease ends.
    pub due_at: Time,
    /// Set while a courier has it: the end of its lease, which also names the lease.
    pub leased_until: Option<Time>,
    /// What has become of it.
    pub state: State,
    /// The last attempt.
    pub last: Option<Tried>,
}

/// Within which deliveries to a subscription keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// Those about one card.
    Card(CardId),
    /// One MFA session: a code does not wait behind a card's older events.
    Session(SessionId),
    /// All others together.
    Rest,
}

impl Line {
    pub(super) fn of(event: &Event, topic: Topic) -> Self {
        let target = &event.target;
        match (topic, target.session, target.card) {
            (Topic::MfaCode, Some(session), _) => Self::Session(session),
            (_, _, Some(card)) => Self::Card(card),
            (_, _, None) => Self::Rest,
        }
    }

    /// The card, where it is one's.
    pub const fn card(self) -> Option<CardId> {
        match self {
            Self::Card(card) => Some(card),
            Self::Session(_) | Self::Rest => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(card) => write!(out, "card/{card}"),
            Self::Session(session) => write!(out, "session/{session}"),
            Self::Rest => out.write_str("rest"),
        }
    }
}

/// Not the text of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a line of deliveries")]
pub struct InvalidLine;

impl From<InvalidId> for InvalidLine {
    fn from(_: InvalidId) -> Self {
        Self
    }
}

impl FromStr for Line {
    type Err = InvalidLine;
    fn from_str(text: &str) -> Result<Self, InvalidLine> {
        match text.split_once('/') {
            Some(("card", id)) => Ok(Self::Card(CardId::parse(id)?)),
            Some(("session", id)) => Ok(Self::Session(SessionId::parse(id)?)),
            None if text == "rest" => Ok(Self::Rest),
            Some(_) | None => Err(InvalidLine),
        }
    }
}

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is to be sent, for the first time or again.
    Waiting,
    /// It arrived then.
    Delivered(Time),
    /// It was given up then. It is kept, and can be replayed.
    Failed(Time),
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered(_) => "delivered",
            Self::Failed(_) => "failed",
        }
    }

    /// When it ended, if it has.
    pub const fn ended_at(self) -> Option<Time> {
        match self {
            Self::Waiting => None,
            Self::Delivered(at) | Self::Failed(at) => Some(at),
        }
    }
}

/// One attempt, as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When it ended.
    pub at: Time,
    /// How.
    pub answer: Answer,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The receiver took it, with this status.
    Accepted(u16),
    /// The receiver answered with this status, which is not 2xx. Redirects are not followed.
    Status(u16),
    /// 2xx, but not KeySecure's `{"code":0}`.
    NotConfirmed(u16),
    /// No answer in time.
    TimedOut,
    /// No connection, or it broke.
    Unreachable,
    /// The name leads to an address that may not be called, or the URL is not `https`.
    AddressRefused,
    /// What it is about is no more: a code whose session has ended. It is given up at once.
    Gone,
    /// The message could not be made: our own fault.
    Unprepared,
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(status) => write!(out, "accepted ({status})"),
            Self::Status(status) => write!(out, "status {status}"),
            Self::NotConfirmed(status) => write!(out, "status {status} without code 0"),
            Self::TimedOut => out.write_str("no answer in time"),
            Self::Unreachable => out.write_str("no connection, or it broke"),
            Self::AddressRefused => out.write_str("the address may not be called"),
            Self::Gone => out.write_str("it is out of date"),
            Self::Unprepared => out.write_str("the message could not be made"),
        }
    }
}

/// The wait after `attempts` attempts, the first of which is 1.
fn wait(form: Form, topic: Topic, attempts: u32) -> Duration {
    let step = |steps: &[u64]| {
        let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let secs = steps.get(at).or_else(|| steps.last());
        secs.map_or(EVERY, |secs| Duration::from_secs(*secs))
    };
    match (topic, form) {
        (Topic::MfaCode, _) => step(&CODE_SECS),
        (_, Form::KeySecure | Form::Equals) => EVERY,
        (_, Form::Standard) => step(&STANDARD_SECS),
    }
}

const fn patience(topic: Topic) -> Duration {
    match topic {
        Topic::MfaCode => CODE_PATIENCE,
        Topic::CardState | Topic::WalletToken | Topic::RevealConflict => PATIENCE,
    }
}

/// The message id: of this subscription, of this place in the log, and of the event's time, because
/// a restored database gives places a second time. RFC 9562 version 8.
pub fn message_id(subscription: SubscriptionId, seq: i64, at: Time) -> DeliveryId {
    let digest = sha256(&[
        b"cardveil/delivery/v1",
        subscription.as_bytes(),
        &seq.to_be_bytes(),
        &at.millis().to_be_bytes(),
    ]);
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    DeliveryId::from_bytes(
        uuid::Builder::from_custom_bytes(bytes)
            .into_uuid()
            .into_bytes(),
    )
}

impl Delivery {
    /// Takes it for an attempt, until `until`. `None` when it is not due.
    #[must_use]
    pub fn lease(&self, now: Time, until: Time) -> Option<Self> {
        let due = self.state == State::Waiting && self.due_at <= now && now < until;
        due.then(|| Self {
            due_at: until,
            leased_until: Some(until),
            ..self.clone()
        })
    }

    /// Makes it due now, where it waits further ahead than a wait or a lease can last: a clock that
    /// was ahead has said so. `None` when it waits as it should, or not at all.
    #[must_use]
    pub fn dated(&self, now: Time) -> Option<Self> {
        let ahead = self.due_at.is_ahead_of(now.plus(WAIT_MAX));
        (self.state == State::Waiting && ahead).then(|| Self {
            since: self.since.min(now),
            due_at: now,
            leased_until: None,
            ..self.clone()
        })
    }

    /// Queues it once more, whatever has become of it. One that is being sent stays with its
    /// courier.
    #[must_use]
    pub fn replay(&self, at: Time) -> Self {
        Self {
            since: at,
            attempts: 0,
            due_at: self.leased_until.unwrap_or(at),
            state: State::Waiting,
            ..self.clone()
        }
    }

    /// Which of a line's deliveries may be taken next: one that is being sent, until its lease
    /// ends; then the oldest.
    pub fn head<'a>(line: impl Iterator<Item = &'a Self>) -> Option<&'a Self> {
        line.filter(|delivery| delivery.state == State::Waiting)
            .min_by_key(|delivery| (delivery.leased_until.is_none(), delivery.seq))
    }
}

/// What became of an attempt: everything that is needed to record it.
#[derive(Clone, Debug)]
pub struct Attempted {
    pub delivery: DeliveryId,
    /// Under which lease.
    pub lease: Time,
    /// When it ended.
    pub at: Time,
    /// In which form it was sent, whose schedule applies.
    pub form: Form,
    /// How.
    pub answer: Answer,
}

/// What recording an attempt does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The lease is not the attempt's any more: whoever has it now records it.
    Nothing,
    /// The next row, and an event when it was given up.
    Change(Box<Delivery>, Option<Box<Event>>),
}

impl Attempted {
    /// Decides over the row as it is.
    pub fn decide(&self, row: Option<&Delivery>) -> Settled {
        let Some(row) = row.filter(|row| row.leased_until == Some(self.lease)) else {
            return Settled::Nothing;
        };
        let attempts = row.attempts.saturating_add(1);
        let tried = Tried {
            at: self.at,
            answer: self.answer,
        };
        let mut next = Delivery {
            attempts,
            leased_until: None,
            last: Some(tried),
            ..row.clone()
        };
        let again = match self.answer {
            Answer::Accepted(_) => {
                next.state = State::Delivered(self.at);
                return Settled::Change(Box::new(next), None);
            }
            Answer::Gone => None,
            Answer::Status(_)
            | Answer::NotConfirmed(_)
            | Answer::TimedOut
            | Answer::Unreachable
            | Answer::AddressRefused
            | Answer::Unprepared => {
                let due = self.at.plus(wait(self.form, row.topic, attempts));
                Some(due).filter(|due| *due <= row.since.plus(patience(row.topic)))
            }
        };
        if let Some(due) = again {
            next.due_at = due;
            return Settled::Change(Box::new(next), None);
        }
        next.state = State::Failed(self.at);
        let event = self.given_up(&next);
        Settled::Change(Box::new(next), Some(Box::new(event)))
    }

    fn given_up(&self, failed: &Delivery) -> Event {
        let target = Target {
            card: failed.line.card(),
            subscription: Some(failed.subscription),
            ..Target::default()
        };
        let merchant = Some(failed.merchant.clone());
        let mut event = Source::server().event(self.at, Kind::WebhookFailed, merchant, target);
        event.outcome = Outcome::Failure;
        let note = format!(
            "delivery {} of {} was given up after {} attempts: {}",
            failed.id,
            failed.topic.as_str(),
            failed.attempts,
            self.answer
        );
        event.detail.note = Some(note.into());
        event
    }
}

/// The event of a replay; `None` when nothing was replayed. All are one merchant's subscription's.
pub fn replayed(deliveries: &[Delivery], at: Time, source: &Source) -> Option<Event> {
    let first = deliveries.first()?;
    let target = Target {
        subscription: Some(first.subscription),
        ..Target::default()
    };
    let merchant = Some(first.merchant.clone());
    let mut event = source.event(at, Kind::WebhookReplayed, merchant, target);
    event.detail.note = Some(format!("{} deliveries", deliveries.len()).into());
    Some(event)
}
