//! Setting a card's PIN and telling it: each a request and a pure decision over the card as it then
//! is, with everything to write in the same value.
//!
//! **Invariant:** a PIN is set on, and told of, a card in use only, and only with its record:
//! whatever happened since the card was looked at.
//!
//! **Invariant:** what is told is the PIN that the card has in the commit of its record.

use crate::audit::Event;
use crate::budget::{Charge, Overdrawn};
use crate::card::handover::Decided;
use crate::card::{Card, CardRef, Kind, SealedCard, SealedPin, State};
use crate::id::MerchantId;
use crate::mfa::{Assertion, Required, Unmet, Use};
use crate::term::Cause;

/// A merchant's server wants a card to have this PIN.
#[derive(Clone, Debug)]
pub struct PinSetting {
    pub merchant: MerchantId,
    pub card: CardRef,
    /// The PIN, sealed for that card.
    pub pin: SealedPin,
    /// Whether the contract sets PINs of physical cards only (KeySecure: card/pin/set, 4017).
    pub physical_only: bool,
    /// Set when it needs a second factor, which is judged for that use in the same commit.
    pub mfa: Option<(Assertion, Use)>,
    /// Set when it is charged to budgets: charged in the commit that sets it. Whoever may set a PIN
    /// as often as they like knows it.
    pub charge: Option<Charge>,
    /// Its record.
    pub event: Event,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinSet {
    /// The card has it.
    Done,
    /// The card is virtual. Nothing was written.
    NotPhysical,
    /// The card is in this state by now. Nothing was written.
    Refused(State),
    /// The merchant has no such card. Nothing was written.
    Unknown,
    /// The second factor is refused. The refusal was written, and no PIN.
    MfaRefused(Cause),
    /// A budget does not allow it. Nothing was written.
    Overdrawn(Overdrawn),
}

impl From<Unmet> for PinSet {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::Overdrawn(overdrawn) => Self::Overdrawn(overdrawn),
            Unmet::Mfa(cause) => Self::MfaRefused(cause),
        }
    }
}

impl PinSetting {
    /// What it requires besides the card.
    pub fn required(&self) -> Required<'_> {
        required(self.charge.as_ref(), self.mfa.as_ref())
    }

    /// Decides over the card as it is.
    pub fn decide(&self, card: Option<&Card>) -> Decided<PinSet> {
        let Some(card) = card else {
            return Decided::nothing(PinSet::Unknown);
        };
        if self.physical_only && card.kind != Kind::Physical {
            return Decided::nothing(PinSet::NotPhysical);
        }
        if card.state != State::Active {
            return Decided::nothing(PinSet::Refused(card.state));
        }
        let next = Card {
            sealed: SealedCard {
                pin: Some(self.pin.clone()),
                ..card.sealed.clone()
            },
            updated_at: self.event.at,
            ..card.clone()
        };
        Decided {
            card: Some(Box::new(next)),
            events: vec![self.event.clone()],
            ..Decided::nothing(PinSet::Done)
        }
    }
}

/// A card's PIN is about to leave for a merchant's server.
#[derive(Clone, Debug)]
pub struct PinRelease {
    pub merchant: MerchantId,
    pub card: CardRef,
    /// What was opened for the answer.
    pub opened: Option<SealedPin>,
    /// Set when it needs a second factor, which is judged for that use in the same commit.
    pub mfa: Option<(Assertion, Use)>,
    /// Set when it is charged to budgets: charged in the commit that records it.
    pub charge: Option<Charge>,
    /// Its record; none when there is no PIN to tell, which is no release.
    pub event: Option<Event>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinReleased {
    /// It may leave: the record is durable.
    Recorded,
    /// The card has another PIN by now. Nothing was written: open it again.
    Superseded,
    /// The card is in this state by now. Nothing was written.
    Refused(State),
    /// The merchant has no such card. Nothing was written.
    Unknown,
    /// The second factor is refused. The refusal was written.
    MfaRefused(Cause),
    /// A budget does not allow it. Nothing was written.
    Overdrawn(Overdrawn),
}

impl From<Unmet> for PinReleased {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::Overdrawn(overdrawn) => Self::Overdrawn(overdrawn),
            Unmet::Mfa(cause) => Self::MfaRefused(cause),
        }
    }
}

impl PinRelease {
    /// What it requires besides the card.
    pub fn required(&self) -> Required<'_> {
        required(self.charge.as_ref(), self.mfa.as_ref())
    }

    /// Decides over the card as it is.
    pub fn decide(&self, card: Option<&Card>) -> Decided<PinReleased> {
        let Some(card) = card else {
            return Decided::nothing(PinReleased::Unknown);
        };
        if card.state != State::Active {
            return Decided::nothing(PinReleased::Refused(card.state));
        }
        if card.sealed.pin != self.opened {
            return Decided::nothing(PinReleased::Superseded);
        }
        Decided {
            events: self.event.iter().cloned().collect(),
            ..Decided::nothing(PinReleased::Recorded)
        }
    }
}

fn required<'a>(charge: Option<&'a Charge>, mfa: Option<&'a (Assertion, Use)>) -> Required<'a> {
    Required {
        charge,
        factor: mfa.map(|(assertion, wanted)| (assertion, wanted)),
    }
}
