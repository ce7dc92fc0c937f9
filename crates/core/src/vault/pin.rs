//! PINs: sealed under a DEK of their own class for the row of their card, and opened for one
//! answer.
//!
//! **Invariant:** a PIN of one card opens for no other, and nothing but a PIN opens as one: place,
//! field and class are bound into it.

use cardveil_seal::Class;

use super::{Error, Vault, place_of_card};
use crate::card::{Card, InvalidPin, Pin, PinLength, SealedPin};
use crate::merchant::Credential;

pub(super) const FIELD: &str = "pin";

impl Vault {
    pub fn seal_pin(&self, card: &Card, pin: &Pin) -> Result<SealedPin, Error> {
        let entropy = &*self.entropy;
        let place = place_of_card(&card.id, &card.merchant);
        let (dek, wrapped) = self.keyring().new_dek(Class::Pin, &place, entropy)?;
        Ok(SealedPin {
            pin: dek.seal(FIELD, pin.expose(), entropy)?,
            dek: wrapped,
        })
    }

    /// Opens a card's PIN, if it has one, for the one contract that has a merchant's server told of
    /// it (Equals: "Retrieve a PIN").
    pub fn open_pin(&self, card: &Card) -> Result<Option<Pin>, Error> {
        let Some(sealed) = &card.sealed.pin else {
            return Ok(None);
        };
        let place = place_of_card(&card.id, &card.merchant);
        let dek = self.keyring().open_dek(Class::Pin, &place, &sealed.dek)?;
        Ok(Some(Pin::opened(dek.open(FIELD, &sealed.pin)?)))
    }

    /// A PIN of six digits that a merchant's server has encrypted under its credential's secret
    /// (KeySecure: card/pin/set). What cannot be decrypted is no PIN, like what has no six digits:
    /// to tell them apart would tell of the padding.
    pub fn read_pin(
        &self,
        credential: &Credential,
        ciphertext: &str,
    ) -> Result<Result<Pin, InvalidPin>, Error> {
        let digits = self.read(credential, ciphertext)?;
        Ok(digits.map_or(Err(InvalidPin::Form), |digits| {
            Pin::parse(digits.expose(), PinLength::Six)
        }))
    }
}
