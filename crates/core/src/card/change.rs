//! How a card is changed: a request with everything in it, and a pure decision over the card as it
//! then is, which holds the card's next form and its audit event in one value.
//!
//! **Invariant:** it reads no clock and no store, and there is no next form without its event.

use super::{Card, CardRef, Label, Reason, State};
use crate::audit::{Event, Kind, Source, Target};
use crate::clock::Time;
use crate::id::MerchantId;

/// What was decided, and what must be durable before anyone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decided {
    /// To be written first, in one commit.
    pub write: Option<(Box<Card>, Event)>,
    /// To be told then.
    pub verdict: Changed,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made; the card as it is now.
    Done(Box<Card>),
    /// It was so already. Nothing was written.
    Already(Box<Card>),
    /// The card's state, which is this one, does not lead there. Nothing was written.
    Refused(State),
    /// The merchant has no such card.
    Unknown,
}

/// A wish that a card go to another state.
#[derive(Clone, Debug)]
pub struct Transition {
    pub merchant: MerchantId,
    pub card: CardRef,
    pub to: State,
    /// Only out of one of these, when a dialect allows less than [`State::next`] does (KeySecure's
    /// card/status/update activates a frozen card and no other). A card that is in `to` already is
    /// no refusal.
    pub from: Option<&'static [State]>,
    /// Why, in the caller's words.
    pub reason: Option<Reason>,
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

impl Transition {
    /// Applies the machine to the card as it is.
    pub fn decide(&self, card: Option<&Card>) -> Decided {
        let Some(card) = card else {
            return nothing(Changed::Unknown);
        };
        if card.state == self.to {
            return nothing(Changed::Already(Box::new(card.clone())));
        }
        let allowed = self.from.is_none_or(|from| from.contains(&card.state));
        if !allowed || !card.state.leads_to(self.to) {
            return nothing(Changed::Refused(card.state));
        }
        let next = Card {
            state: self.to,
            updated_at: self.at,
            ..card.clone()
        };
        let mut event = changed_event(&self.source, self.at, card);
        event.detail.from = Some(card.state.as_str().into());
        event.detail.to = Some(self.to.as_str().into());
        event.detail.reason = self.reason.clone().map(String::from);
        done(next, event)
    }
}

/// A wish that a card be called otherwise.
#[derive(Clone, Debug)]
pub struct Relabel {
    pub merchant: MerchantId,
    pub card: CardRef,
    /// What people call it.
    pub label: Label,
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

impl Relabel {
    /// A card may be called otherwise in any state. The label itself is not in the event: people
    /// write names of people there.
    pub fn decide(&self, card: Option<&Card>) -> Decided {
        let Some(card) = card else {
            return nothing(Changed::Unknown);
        };
        if card.label == self.label.as_str() {
            return nothing(Changed::Already(Box::new(card.clone())));
        }
        let next = Card {
            label: self.label.clone().into(),
            updated_at: self.at,
            ..card.clone()
        };
        let mut event = changed_event(&self.source, self.at, card);
        event.detail.note = Some("label".into());
        done(next, event)
    }
}

fn changed_event(source: &Source, at: Time, card: &Card) -> Event {
    let target = Target {
        card: Some(card.id),
        ..Target::default()
    };
    source.event(at, Kind::CardChanged, Some(card.merchant.clone()), target)
}

const fn nothing(verdict: Changed) -> Decided {
    Decided {
        write: None,
        verdict,
    }
}

fn done(next: Card, event: Event) -> Decided {
    let next = Box::new(next);
    Decided {
        write: Some((next.clone(), event)),
        verdict: Changed::Done(next),
    }
}
