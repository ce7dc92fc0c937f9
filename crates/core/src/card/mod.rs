//! Cards: the clear values, which live in memory only, and the sealed record that stores keep.
//!
//! `state` has the states and which of them follow which; `change` how a card is changed, with its
//! event in the same value. To add a change: a request with its `decide` in `change`, a verb in
//! [`crate::verb`].

mod attributes;
mod change;
mod environment;
mod handover;
mod pin;
mod removal;
mod state;
mod value;

use cardveil_seal::Class;

pub use crate::term::{Field, Fields, Verification};
pub use crate::text::{InvalidText, Label, Reason, is_unique_no, is_word};
pub use attributes::Attributes;
pub use change::{Changed, Decided, Relabel, Transition};
pub use environment::{Environment, TEST_NUMBERS};
pub use handover::{
    Activated, Activation, Decided as HandoverDecided, Export, Exported, GUESSES_MAX,
    GUESSES_WINDOW, Guesses,
};
pub use pin::{InvalidPin, Pin, PinLength, PinRelease, PinReleased, PinSet, PinSetting};
pub use removal::{Removal, Removed};
pub use state::State;
pub use value::{CardNumber, CardholderName, Cvv, Expiry, InvalidCard, LastFour, Network};

use crate::clock::Time;
use crate::id::{AccountId, CardId, CardNo, MerchantId, PersonId};
use crate::named;

named! {
    /// Virtual or physical.
    pub enum Kind {
        /// Exists as data only.
        Virtual = "virtual",
        /// Also exists in plastic.
        Physical = "physical",
    }
}

/// How a card is named by a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardRef {
    /// By KeySecure's order number, within the merchant.
    No(CardNo),
    /// By Equals' id.
    Id(CardId),
}

/// A card as stores keep it: sealed values, and what anyone who may know of the card may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Equals' name for it.
    pub id: CardId,
    /// KeySecure's name for it; unique within the merchant.
    pub no: CardNo,
    /// Whose programme it is of.
    pub merchant: MerchantId,
    /// Equals' account.
    pub account: AccountId,
    /// Equals' person: the cardholder.
    pub person: PersonId,
    /// Virtual or physical.
    pub kind: Kind,
    pub state: State,
    /// The scheme.
    pub network: Network,
    /// The last four digits.
    pub last_four: LastFour,
    /// What people call it; a [`Label`].
    pub label: String,
    /// What it can be without.
    pub attributes: Attributes,
    pub sealed: SealedCard,
    /// Since when we have it.
    pub created_at: Time,
    /// When it was last changed; when it was added, if never.
    pub updated_at: Time,
}

/// A card's sealed values. Bytes that only [`crate::vault::Vault`] can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCard {
    /// The wrapped DEK of the class PAN, which seals number, expiry and name.
    pub dek: Vec<u8>,
    /// The sealed number.
    pub pan: Vec<u8>,
    pub expiry: Vec<u8>,
    pub name: Vec<u8>,
    /// The wrapped DEK of the class CVV and the sealed CVV, where one is kept.
    pub cvv: Option<SealedCvv>,
    /// The wrapped DEK of the class PIN and the sealed PIN, where one was set.
    pub pin: Option<SealedPin>,
    /// The keyed index of the number (PCI DSS 3.5.1.1).
    pub pan_index: [u8; 32],
    /// The version of the key that the index is under.
    pub index_key: u32,
}

/// The index of one number under each version of the key that is open: under the newest, and under
/// the one that is still retiring. Twice the same where there is one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanIndexes(pub [[u8; 32]; 2]);

impl PanIndexes {
    /// Whether this is an index of the number.
    pub fn has(&self, index: &[u8; 32]) -> bool {
        self.0.contains(index)
    }
}

/// A CVV under a DEK of its own class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCvv {
    pub dek: Vec<u8>,
    pub cvv: Vec<u8>,
}

/// A PIN under a DEK of its own class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPin {
    pub dek: Vec<u8>,
    pub pin: Vec<u8>,
}

impl SealedCard {
    /// What its own DEK seals. All of these move with the DEK, in the vault and in stores, where
    /// their columns have the fields' names.
    pub const UNDER_DEK: [Field; 3] = [Field::Pan, Field::Expiry, Field::Name];

    /// Its own DEK, and what that seals in the order of [`Self::UNDER_DEK`].
    pub const fn under_dek(&mut self) -> (&mut Vec<u8>, [&mut Vec<u8>; Self::UNDER_DEK.len()]) {
        // Taken apart, so that no rotation leaves a new field under the DEK before.
        let Self {
            dek,
            pan,
            expiry,
            name,
            cvv: _,
            pin: _,
            pan_index: _,
            index_key: _,
        } = self;
        (dek, [pan, expiry, name])
    }

    /// The wrapped DEKs, each with its class.
    pub fn deks(&self) -> Vec<(Class, &[u8])> {
        let mut deks = vec![(Class::Pan, &*self.dek)];
        deks.extend(self.cvv.iter().map(|cvv| (Class::Cvv, &*cvv.dek)));
        deks.extend(self.pin.iter().map(|pin| (Class::Pin, &*pin.dek)));
        deks
    }
}

impl Card {
    /// The fields that it can release.
    pub fn fields(&self) -> Fields {
        if self.sealed.cvv.is_some() {
            Fields::ALL
        } else {
            Fields::ALL.without(Fields::from_iter([Field::Cvv]))
        }
    }

    /// Its label, or its scheme and last four digits.
    pub fn display_name(&self) -> String {
        if self.label.is_empty() {
            format!("{} {}", self.network.title(), self.last_four.as_str())
        } else {
            self.label.clone()
        }
    }

    /// Whether its details may be shown: it is in use, or it is a virtual card that comes into use
    /// when its details are first shown (Equals, "About card states").
    pub fn viewable(&self) -> bool {
        match self.state {
            State::Active => true,
            State::Unactivated => self.kind == Kind::Virtual,
            State::Pending
            | State::Suspended
            | State::Replaced
            | State::Terminated
            | State::Failed => false,
        }
    }
}
