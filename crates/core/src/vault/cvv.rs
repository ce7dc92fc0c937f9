//! A card's CVV: kept, or derived for each answer from the card verification key that the card
//! names.
//!
//! Under the card's DEK of the class CVV is one of the two, each sealed as a field of its own: the
//! digits, or the version of the key. So a card keeps the key that its printed value was made with,
//! whatever keys come later, and nobody who can write to the database can give it another.
//!
//! **Invariant:** a derived value is in memory for the length of an answer, and is kept nowhere.

use cardveil_seal::{Class, CvkNote, Dek, Error as Sealing, Place, Secret};

use super::{ClearCard, Error, Vault, open, place_of_card};
use crate::card::{Card, CardNumber, Expiry, Field, SealedCvv};

/// What the version of a card verification key is sealed as. Bound into it: never change it.
pub(super) const CVK: &str = "cvk";

impl Vault {
    /// Whether a card verification key gives the CVV of new cards of this number.
    pub fn derives(&self, number: &CardNumber) -> bool {
        self.keyring().cvk_for(number.expose()).is_some()
    }

    /// What operators may know of the card verification keys.
    pub fn cvks(&self) -> Vec<CvkNote> {
        self.keyring().cvks().collect()
    }

    /// The CVV that is given; otherwise the name of the key that gives it, if there is one.
    pub(super) fn seal_cvv(
        &self,
        place: &Place<'_>,
        clear: &ClearCard,
    ) -> Result<Option<SealedCvv>, Error> {
        let keyring = self.keyring();
        let version = keyring.cvk_for(clear.number.expose()).map(u32::to_be_bytes);
        let (field, bytes) = match (&clear.cvv, &version) {
            (Some(cvv), _) => (Field::Cvv.as_str(), cvv.expose()),
            (None, Some(version)) => (CVK, version.as_slice()),
            (None, None) => return Ok(None),
        };
        let (dek, wrapped) = keyring.new_dek(Class::Cvv, place, &*self.entropy)?;
        Ok(Some(SealedCvv {
            dek: wrapped,
            cvv: dek.seal(field, bytes, &*self.entropy)?,
        }))
    }

    /// The card verification key that gives a card's CVV; none where the CVV is kept, or there is
    /// none.
    pub fn cvk_of(&self, card: &Card) -> Result<Option<u32>, Error> {
        let Some(sealed) = &card.sealed.cvv else {
            return Ok(None);
        };
        let place = place_of_card(&card.id, &card.merchant);
        let dek = self.keyring().open_dek(Class::Cvv, &place, &sealed.dek)?;
        Ok(match open_either(&dek, &sealed.cvv)? {
            Either::Kept(_) => None,
            Either::Derived(version) => Some(version),
        })
    }

    /// A card's CVV, if it has one.
    pub(super) fn cvv(&self, card: &Card) -> Result<Option<Secret>, Error> {
        let Some(sealed) = &card.sealed.cvv else {
            return Ok(None);
        };
        let keyring = self.keyring();
        let place = place_of_card(&card.id, &card.merchant);
        let dek = keyring.open_dek(Class::Cvv, &place, &sealed.dek)?;
        let version = match open_either(&dek, &sealed.cvv)? {
            Either::Kept(cvv) => return Ok(Some(cvv)),
            Either::Derived(version) => version,
        };
        let dek = keyring.open_dek(Class::Pan, &place, &card.sealed.dek)?;
        let number = open(&dek, Field::Pan, &card.sealed.pan)?;
        let expiry = open(&dek, Field::Expiry, &card.sealed.expiry)?;
        let expiry = Expiry::from_bytes(expiry.expose()).map_err(|_| Error::Form)?;
        let (month, year) = (expiry.month(), expiry.year());
        let year = year.as_bytes().last_chunk::<2>().ok_or(Error::Form)?;
        let at = (month.as_bytes(), year.as_slice());
        Ok(Some(keyring.derive_cvv(version, number.expose(), at)?))
    }
}

/// What a card has of a CVV.
enum Either {
    /// The digits.
    Kept(Secret),
    /// The version of the key that gives them.
    Derived(u32),
}

fn open_either(dek: &Dek, sealed: &[u8]) -> Result<Either, Error> {
    match dek.open(Field::Cvv.as_str(), sealed) {
        Ok(cvv) => Ok(Either::Kept(cvv)),
        Err(Sealing::Refused) => {
            let version = dek.open(CVK, sealed)?;
            let version = version.expose().try_into().map_err(|_| Error::Form)?;
            Ok(Either::Derived(u32::from_be_bytes(version)))
        }
        Err(other) => Err(other.into()),
    }
}
