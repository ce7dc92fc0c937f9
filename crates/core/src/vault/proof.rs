//! Comparing what a merchant's server claims to know of a card with what is kept, in the vault.
//!
//! **Invariant:** a CVV is compared in constant time, and one answer covers all that can be wrong
//! with it: its Base64, its padding, its key, its digits.

use cardveil_seal::constant_time_eq;

use super::{Error, Vault};
use crate::card::Card;
use crate::merchant::Credential;

impl Vault {
    /// Whether `cvv`, the Base64 of AES-256/ECB/PKCS#7 under the credential's secret, is the
    /// card's, and `last_four` too. `None` when the card has no CVV to compare with.
    pub fn proves_possession(
        &self,
        card: &Card,
        credential: &Credential,
        (cvv, last_four): (&str, &str),
    ) -> Result<Option<bool>, Error> {
        let Some(kept) = self.cvv(card)? else {
            return Ok(None);
        };
        let brought = self.read(credential, cvv)?;
        let same_cvv = brought.is_some_and(|brought| kept.ct_eq(brought.expose()));
        let same_four = constant_time_eq(card.last_four.as_str().as_bytes(), last_four.as_bytes());
        Ok(Some(same_cvv & same_four))
    }
}
