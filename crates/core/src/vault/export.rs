//! Clear values under a credential's apiSecret, in the one form that KeySecure's contract defines:
//! Base64 of AES-256/ECB/PKCS#7. `private/info` sends a card's data so; `active` and `pin/set`
//! bring a CVV and a PIN so.
//!
//! **Invariant:** the clear JSON lives in this function only, in a [`Secret`] that is wiped; what
//! it returns is ciphertext.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_seal::{Class, Key, Secret, contract_ecb};

use super::{Error, Json, Vault, open, place_of_card};
use crate::card::{Card, Expiry, Field};
use crate::merchant::Credential;

impl Vault {
    /// Opens the card and encrypts `card_no, card_unique_no, cvv, pan, exp_year, exp_month`, all
    /// strings and in this order, under the credential's secret. A card without a CVV has an empty
    /// one.
    pub fn export(&self, card: &Card, credential: &Credential) -> Result<String, Error> {
        let key = self.contract_key(credential)?;
        let place = place_of_card(&card.id, &card.merchant);
        let sealed = &card.sealed;
        let dek = self.keyring().open_dek(Class::Pan, &place, &sealed.dek)?;
        let expiry = open(&dek, Field::Expiry, &sealed.expiry)?;
        let expiry = Expiry::from_bytes(expiry.expose()).map_err(|_| Error::Form)?;
        let mut json = Json::default();
        json.text("card_no", card.no.as_str().as_bytes())?;
        let unique_no = card.attributes.unique_no.as_deref().unwrap_or_default();
        json.text("card_unique_no", unique_no.as_bytes())?;
        match self.cvv(card)? {
            Some(cvv) => json.text("cvv", cvv.expose())?,
            None => json.text("cvv", b"")?,
        }
        json.text("pan", open(&dek, Field::Pan, &sealed.pan)?.expose())?;
        json.text("exp_year", expiry.year().as_bytes())?;
        json.text("exp_month", expiry.month().as_bytes())?;
        let ciphertext = contract_ecb::encrypt_unauthenticated(&key, &json.close().0)?;
        Ok(BASE64_STANDARD.encode(ciphertext))
    }

    /// What a merchant's server has encrypted so. `None` for whatever is wrong with it: its Base64,
    /// its padding, its key.
    pub(super) fn read(
        &self,
        credential: &Credential,
        text: &str,
    ) -> Result<Option<Secret>, Error> {
        let key = self.contract_key(credential)?;
        let bytes = BASE64_STANDARD.decode(text).ok();
        Ok(bytes.and_then(|bytes| contract_ecb::decrypt_unauthenticated(&key, &bytes).ok()))
    }

    fn contract_key(&self, credential: &Credential) -> Result<Key, Error> {
        let secret = self.open_secret(
            &credential.id,
            &credential.merchant,
            &credential.sealed_secret,
        )?;
        Ok(Key::from_slice(secret.expose())?)
    }
}
