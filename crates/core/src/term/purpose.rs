//! What a second factor may be asked for: all that a client token can be for, and what a merchant's
//! server does with a card's PIN itself.

use super::Operation;
use crate::named;

named! {
    /// An operation that a policy names and a session is opened for. The names are those of the wire.
    pub enum Purpose {
        /// A client token that shows the card.
        ViewCard = "VIEW_CARD",
        /// A client token that puts it into a digital wallet.
        AddCardToWallet = "ADD_CARD_TO_WALLET",
        /// Telling the card's PIN.
        ViewPin = "VIEW_PIN",
        /// Setting it.
        SetPin = "SET_PIN",
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
