//! What a second factor may be asked for: all that a client token can be for, and what a merchant's
//! server does with a card's PIN itself.

use serde::{Deserialize, Serialize};

use super::Operation;

/// An operation that a policy names and a session is opened for. The names are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A client token that shows the card.
    #[serde(rename = "VIEW_CARD")]
    ViewCard,
    /// A client token that puts it into a digital wallet.
    #[serde(rename = "ADD_CARD_TO_WALLET")]
    AddCardToWallet,
    /// Telling the card's PIN.
    #[serde(rename = "VIEW_PIN")]
    ViewPin,
    /// Setting it.
    #[serde(rename = "SET_PIN")]
    SetPin,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ViewCard,
        Self::AddCardToWallet,
        Self::ViewPin,
        Self::SetPin,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewCard => Operation::ViewCard.as_str(),
            Self::AddCardToWallet => Operation::AddCardToWallet.as_str(),
            Self::ViewPin => "VIEW_PIN",
            Self::SetPin => "SET_PIN",
        }
    }

    /// The purpose of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
    }
}

impl From<Operation> for Purpose {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::ViewCard => Self::ViewCard,
            Operation::AddCardToWallet => Self::AddCardToWallet,
        }
    }
}
