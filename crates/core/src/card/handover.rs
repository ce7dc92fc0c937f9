//! What a merchant's server gets of a card's secret values, or proves to know of them: an export of
//! its data, and the activation of a physical card by its CVV and last four digits. Each is a
//! request and a pure decision over the card as it then is, with everything to write in the same
//! value.
//!
//! **Invariant:** an export is decided together with its record: no state in which a card is not
//! shown lets one out, whatever happened since it was looked at.
//!
//! **Invariant:** an activation that proves nothing counts. After [`GUESSES_MAX`] within
//! [`GUESSES_WINDOW`] a card is not activated by any proof, right ones included, so that three
//! digits cannot be tried out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Card, CardRef, Changed, Kind, Reason, State, Transition};
use crate::audit::{Event, Kind as EventKind, Outcome, Source, Target};
use crate::budget::{Charge, Overdrawn};
use crate::clock::Time;
use crate::id::MerchantId;

/// So many wrong proofs block the way.
pub const GUESSES_MAX: usize = 5;
/// For so long each of them counts.
pub const GUESSES_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// Card data is about to leave for a merchant's server.
#[derive(Clone, Debug)]
pub struct Export {
    pub merchant: MerchantId,
    pub card: CardRef,
    /// Its record.
    pub event: Event,
    /// Who, and from where.
    pub source: Source,
    /// Set when it is charged to budgets: charged in the commit that records it.
    pub charge: Option<Charge>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// It may leave: the record is durable.
    Recorded,
    /// The card is in this state by now. Nothing was written.
    Refused(State),
    /// The merchant has no such card. Nothing was written.
    Unknown,
    /// A budget does not allow it. Nothing was written.
    Overdrawn(Overdrawn),
}

/// What is to be written in one commit, and told then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decided<V> {
    /// The card's next form, where it changes.
    pub card: Option<Box<Card>>,
    /// The wrong proofs that count from now on, where they change.
    pub guesses: Option<Guesses>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// What to tell.
    pub verdict: V,
}

impl<V> Decided<V> {
    /// This verdict, and nothing that changes.
    pub const fn nothing(verdict: V) -> Self {
        Self {
            card: None,
            guesses: None,
            events: Vec::new(),
            verdict,
        }
    }
}

impl Export {
    /// Decides over the card as it is. A virtual card that was never used comes into use when its
    /// details are first shown (Equals, "About card states"), to a merchant's server too.
    pub fn decide(&self, card: Option<&Card>) -> Decided<Exported> {
        let Some(card) = card else {
            return Decided::nothing(Exported::Unknown);
        };
        if !card.viewable() {
            return Decided::nothing(Exported::Refused(card.state));
        }
        let mut decided = Decided::nothing(Exported::Recorded);
        decided.events.push(self.event.clone());
        if card.state == State::Unactivated {
            let shown = Transition {
                merchant: self.merchant.clone(),
                card: self.card.clone(),
                to: State::Active,
                from: None,
                reason: Some(Reason::details_shown()),
                at: self.event.at,
                source: self.source.clone(),
            };
            if let Some((next, event)) = shown.decide(Some(card)).write {
                decided.card = Some(next);
                decided.events.push(event);
            }
        }
        decided
    }
}

/// When wrong proofs were brought for a card, oldest first; at most [`GUESSES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Guesses(Vec<Time>);

impl Guesses {
    /// Those that still count. One of a clock that was ahead counts from now on.
    fn counting(&self, now: Time) -> Vec<Time> {
        let dated = |at: &Time| if at.is_ahead_of(now) { now } else { *at };
        let counts = |at: &Time| now < at.plus(GUESSES_WINDOW);
        self.0.iter().map(dated).filter(counts).collect()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A merchant's server wants a physical card activated.
#[derive(Clone, Debug)]
pub struct Activation {
    pub merchant: MerchantId,
    pub card: CardRef,
    /// Whether what it brought proves that somebody has the card.
    pub proven: bool,
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// The card is in use.
    Done,
    /// The proof is wrong. It counts.
    Wrong,
    /// There were too many wrong ones. This one was not looked at.
    Blocked,
    /// The card is virtual.
    NotPhysical,
    /// The card is in this state, which does not lead there.
    Refused(State),
    /// The merchant has no such card.
    Unknown,
}

impl Activation {
    /// Decides over the card and its wrong proofs as they are. A card that is in use already is no
    /// refusal to who proves to have it: an answer may have been lost.
    pub fn decide(&self, card: Option<&Card>, guesses: &Guesses) -> Decided<Activated> {
        let Some(card) = card else {
            return Decided::nothing(Activated::Unknown);
        };
        if card.kind != Kind::Physical {
            return Decided::nothing(Activated::NotPhysical);
        }
        if !matches!(card.state, State::Unactivated | State::Active) {
            return Decided::nothing(Activated::Refused(card.state));
        }
        let mut counting = guesses.counting(self.at);
        if counting.len() >= GUESSES_MAX {
            return Decided {
                // Kept as they are dated now, or they would count until another clock's time.
                guesses: Some(Guesses(counting))
                    .filter(|dated| dated.0.iter().any(|at| !guesses.0.contains(at))),
                ..Decided::nothing(Activated::Blocked)
            };
        }
        if !self.proven {
            counting.push(self.at);
            return Decided {
                guesses: Some(Guesses(counting)),
                events: vec![self.refused(card)],
                ..Decided::nothing(Activated::Wrong)
            };
        }
        let transition = Transition {
            merchant: self.merchant.clone(),
            card: self.card.clone(),
            to: State::Active,
            from: None,
            reason: None,
            at: self.at,
            source: self.source.clone(),
        };
        let moved = transition.decide(Some(card));
        let (next, event) = moved.write.unzip();
        Decided {
            card: next,
            guesses: Some(Guesses::default()).filter(|none| none != guesses),
            events: event.into_iter().collect(),
            verdict: match moved.verdict {
                Changed::Done(_) | Changed::Already(_) => Activated::Done,
                Changed::Refused(state) => Activated::Refused(state),
                Changed::Unknown => Activated::Unknown,
            },
        }
    }

    fn refused(&self, card: &Card) -> Event {
        let target = Target {
            card: Some(card.id),
            ..Target::default()
        };
        let merchant = Some(card.merchant.clone());
        Event {
            outcome: Outcome::Failure,
            ..self
                .source
                .event(self.at, EventKind::CardActivationRefused, merchant, target)
        }
    }
}
