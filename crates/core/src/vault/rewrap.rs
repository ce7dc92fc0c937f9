//! Moving records from one class key to another. Where a record's DEK stays, its fields stay as
//! they are; where it gets a new one, its fields are opened and sealed again, and are in memory in
//! between only.

use cardveil_seal::{Class, Place};

use super::{Error, FactorOf, SecretPlace, Vault, place_of_card};
use crate::card::{Field, SealedCard};
use crate::keys::{Envelope, Moved, Slot};

impl Vault {
    /// An envelope under the active key of its class; none if it is already. With `anew`, its DEK
    /// is a new one too.
    pub fn rewrap(&self, envelope: &Envelope, anew: bool) -> Result<Option<Moved>, Error> {
        let slot = &envelope.slot;
        match slot {
            Slot::Card(id, merchant) | Slot::Cvv(id, merchant) | Slot::Pin(id, merchant) => {
                self.rewrap_at(&place_of_card(id, merchant), envelope, anew)
            }
            Slot::Credential(id, merchant) => {
                let at = SecretPlace::credential(id, merchant);
                self.rewrap_at(&at.place, envelope, anew)
            }
            Slot::WebhookSecret(id, merchant) => {
                let at = SecretPlace::webhook_secret(id, merchant);
                self.rewrap_at(&at.place, envelope, anew)
            }
            Slot::WebhookAuthorization(id, merchant) => {
                let at = SecretPlace::webhook_authorization(id, merchant);
                self.rewrap_at(&at.place, envelope, anew)
            }
            Slot::Totp(merchant, person, factor) => {
                let of = FactorOf {
                    merchant,
                    person,
                    factor,
                };
                let row = of.row();
                self.rewrap_at(&of.place(&row), envelope, anew)
            }
        }
    }

    fn rewrap_at(
        &self,
        place: &Place<'_>,
        envelope: &Envelope,
        anew: bool,
    ) -> Result<Option<Moved>, Error> {
        let (class, keyring) = (envelope.slot.class(), self.keyring());
        let entropy = &*self.entropy;
        let moved = |dek, sealed| Moved {
            slot: envelope.slot.clone(),
            was: envelope.dek.clone(),
            dek,
            sealed,
        };
        let Some(dek) = keyring.rewrap_dek(class, place, &envelope.dek, entropy)? else {
            return Ok(None);
        };
        let old = keyring.open_dek(class, place, &envelope.dek)?;
        let fields = fields(&envelope.slot);
        if envelope.sealed.len() != fields.len() {
            return Err(Error::Form);
        }
        if !anew {
            return Ok(Some(moved(dek, None)));
        }
        let (new, dek) = keyring.new_dek(class, place, entropy)?;
        let mut sealed = Vec::with_capacity(fields.len());
        for (field, was) in fields.into_iter().zip(&envelope.sealed) {
            let (field, opened) = match old.open(field, was) {
                // In the place of a CVV there can be the name of the key that gives it.
                Err(cardveil_seal::Error::Refused) if class == Class::Cvv => {
                    (super::cvv::CVK, old.open(super::cvv::CVK, was)?)
                }
                opened => (field, opened?),
            };
            sealed.push(new.seal(field, opened.expose(), entropy)?);
        }
        Ok(Some(moved(dek, Some(sealed))))
    }
}

/// What an envelope's parts are sealed as, in the order of [`Slot`].
fn fields(slot: &Slot) -> Vec<&'static str> {
    match slot {
        Slot::Card(..) => SealedCard::UNDER_DEK.map(Field::as_str).to_vec(),
        Slot::Cvv(..) => vec![Field::Cvv.as_str()],
        Slot::Pin(..) => vec![super::pin::FIELD],
        Slot::Credential(..) => vec![super::API_SECRET],
        Slot::Totp(..) => vec![super::TOTP_SECRET],
        Slot::WebhookSecret(..) => vec![super::WEBHOOK_SECRET],
        Slot::WebhookAuthorization(..) => vec![super::WEBHOOK_AUTHORIZATION],
    }
}
