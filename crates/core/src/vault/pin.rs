//! PINs: sealed under a DEK of their own class for the row of their card, and opened for one answer.
//!
//! **Invariant:** a PIN of one card opens for no other, and nothing but a PIN opens as one: place, field
//! and class are bound into it.

use cardveil_seal::Class;

use super::{Error, Vault, place_of_card};
use crate::card::{Card, InvalidPin, Pin, PinLength, SealedPin};
use crate::merchant::Credential;

pub(super) const FIELD: &str = "pin";

impl Vault {
    /// Seals a PIN for a card.
    pub fn seal_pin(&self, card: &Card, pin: &Pin) -> Result<SealedPin, Error> {
        let entropy = &*self.entropy;
        let place = place_of_card(&card.id, &card.merchant);
        let (dek, wrapped) = self.keyring().new_dek(Class::Pin, &place, entropy)?;
        Ok(SealedPin {
            pin: dek.seal(FIELD, pin.expose(), entropy)?,
            dek: wrapped,
        })
    }

    /// Opens a card's PIN, if it has one, for the one contract that has a merchant's server told of it
    /// (Equals: "Retrieve a PIN").
    pub fn open_pin(&self, card: &Card) -> Result<Option<Pin>, Error> {
        let Some(sealed) = &card.sealed.pin else {
            return Ok(None);
        };
        let place = place_of_card(&card.id, &card.merchant);
        let dek = self.keyring().open_dek(Class::Pin, &place, &sealed.dek)?;
        Ok(Some(Pin::opened(dek.open(FIELD, &sealed.pin)?)))
    }

    /// A PIN of six digits that a merchant's server has encrypted under its credential's secret
    /// (KeySecure: card/pin/set). What cannot be decrypted is no PIN, like what has no six digits: to
    /// tell them apart would tell of the padding.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use cardveil_seal::{FileRoot, Key, Keyring, Secret, SeededEntropy, contract_ecb};

    use super::*;
    use crate::card::{Environment, SealedCvv};
    use crate::testing::sample;

    fn vault() -> Vault {
        let chance = Arc::new(SeededEntropy::new(3));
        let folder = tempfile::tempdir().unwrap();
        let root = FileRoot::create(&folder.path().join("root.key"), &*chance).unwrap();
        let wrapped = Keyring::generate(&root, "sandbox", &*chance).unwrap();
        let keyring = Keyring::open(&root, "sandbox", &wrapped).unwrap();
        Vault::new(keyring, Environment::Sandbox, chance)
    }

    fn pin() -> Pin {
        Pin::parse(b"2580", PinLength::Four).unwrap()
    }

    #[test]
    fn a_pin_opens_for_its_own_card_and_no_other() {
        let vault = vault();
        let mut card = sample::card(1);
        assert!(vault.open_pin(&card).unwrap().is_none());
        let sealed = vault.seal_pin(&card, &pin()).unwrap();
        assert!(!sealed.pin.windows(4).any(|window| window == b"2580"));
        card.sealed.pin = Some(sealed.clone());
        let opened = vault.open_pin(&card).unwrap().unwrap();
        assert_eq!(opened.expose(), b"2580");
        let mut other = sample::card(2);
        other.sealed.pin = Some(sealed.clone());
        assert!(vault.open_pin(&other).is_err());
        let mut foreign = card.clone();
        foreign.merchant = sample::merchant(2).id;
        assert!(vault.open_pin(&foreign).is_err());
        // What was sealed as one kind of secret opens as no other.
        card.sealed.cvv = Some(SealedCvv {
            dek: sealed.dek,
            cvv: sealed.pin,
        });
        let credential = sample::credential(1);
        let proof = vault.proves_possession(&card, &credential, ("AAAA", "0001"));
        assert!(proof.is_err());
    }

    /// Two sealings of one PIN share nothing that would show that they are of the same.
    #[test]
    fn the_same_pin_is_sealed_differently_each_time() {
        let vault = vault();
        let card = sample::card(1);
        let [first, second] = [(), ()].map(|()| vault.seal_pin(&card, &pin()).unwrap());
        assert_ne!(first.pin, second.pin);
        assert_ne!(first.dek, second.dek);
    }

    #[test]
    fn a_pin_is_read_under_the_credentials_own_secret() {
        let vault = vault();
        let mut credential = sample::credential(1);
        let (id, merchant) = (&credential.id, &credential.merchant);
        credential.sealed_secret = vault.seal_secret(id, merchant, &[b's'; 32]).unwrap();
        let encrypted = |pin: &[u8], key: u8| {
            let key = Key::from_slice(&[key; 32]).unwrap();
            let clear = Secret::new(pin.to_vec());
            BASE64_STANDARD.encode(contract_ecb::encrypt_unauthenticated(&key, &clear).unwrap())
        };
        let read = |text: &str| vault.read_pin(&credential, text).unwrap();
        let good = read(&encrypted(b"258036", b's')).unwrap();
        assert_eq!(good.expose(), b"258036");
        let weak = read(&encrypted(b"111258", b's'));
        assert_eq!(weak.err(), Some(InvalidPin::Weak));
        for text in [
            &*encrypted(b"2580", b's'),
            &*encrypted(b"258036", b't'),
            "AAAA",
            "?",
            "",
        ] {
            assert_eq!(read(text).err(), Some(InvalidPin::Form), "{text}");
        }
    }
}
