//! How a card's record goes, and with it the keys of its fields.
//!
//! **Invariant:** only a card in a final state is removed. So whoever is told of a card has been
//! told of its end, and its digital wallet tokens have ended, before nothing is left of it but its
//! audit records.

use super::{Card, CardRef, State};
use crate::audit::{Event, Kind, Source, Target};
use crate::clock::Time;
use crate::id::MerchantId;

/// A wish that nothing of a card be kept. The wrapped keys of its fields go with it, so what
/// backups and freed pages may still hold of them is under keys that are nowhere.
#[derive(Clone, Debug)]
pub struct Removal {
    pub merchant: MerchantId,
    pub card: CardRef,
    /// Why, in words that hold no secret.
    pub why: &'static str,
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Done,
    /// The card is in this state, which is not final. Nothing was written.
    Refused(State),
    /// The merchant has no such card.
    Unknown,
}

impl Removal {
    /// Whether the card as it is may go, and the event that is written when it does.
    pub fn decide(&self, card: Option<&Card>) -> (Removed, Option<Event>) {
        let Some(card) = card else {
            return (Removed::Unknown, None);
        };
        if !card.state.is_final() {
            return (Removed::Refused(card.state), None);
        }
        let target = Target {
            card: Some(card.id),
            person: Some(card.person),
            ..Target::default()
        };
        let merchant = Some(card.merchant.clone());
        let mut event = self
            .source
            .event(self.at, Kind::CardRemoved, merchant, target);
        event.detail.from = Some(card.state.as_str().into());
        event.detail.note = Some(self.why.into());
        (Removed::Done, Some(event))
    }
}
