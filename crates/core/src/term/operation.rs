//! What a client token is for.

use crate::named;

named! {
    /// What a token is good for.
    pub enum Operation {
        /// Showing the card (Equals Money: the default).
        ViewCard = "VIEW_CARD",
        /// Putting it into a digital wallet.
        AddCardToWallet = "ADD_CARD_TO_WALLET",
    }
}
