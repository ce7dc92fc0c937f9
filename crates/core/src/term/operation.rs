//! What a client token is for.

use serde::{Deserialize, Serialize};

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Showing the card (Equals Money: the default).
    #[serde(rename = "VIEW_CARD")]
    ViewCard,
    /// Putting it into a digital wallet.
    #[serde(rename = "ADD_CARD_TO_WALLET")]
    AddCardToWallet,
}

impl Operation {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewCard => "VIEW_CARD",
            Self::AddCardToWallet => "ADD_CARD_TO_WALLET",
        }
    }

    /// The operation of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ViewCard, Self::AddCardToWallet]
            .into_iter()
            .find(|op| op.as_str() == text)
    }
}
