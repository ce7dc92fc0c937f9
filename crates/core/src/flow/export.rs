//! Exporting a card's clear data to a merchant's own server, encrypted under the secret of the
//! credential that asks: what KeySecure's `private/info` defines. No other dialect may call it.
//!
//! The same rules as for a client token say who may have which card. What it gives is a release, so
//! its record is durable before the answer goes out (P2).

use super::keys::slot_of;
use super::mfa::secs_until;
use super::redeem::derived;
use super::{Caller, Fault, Service};
use crate::audit::{Detail, Event, Kind, Target};
use crate::budget::Overdrawn;
use crate::card::{Card, CardRef, Export, Exported, Field, State};
use crate::merchant::Need;
use crate::mfa::{Policy, Purpose};
use crate::verb::Commit;

/// What an export holds where the card has it: everything but the name, which the contract leaves
/// out.
const EXPORTED: [Field; 3] = [Field::Pan, Field::Expiry, Field::Cvv];

/// Why nothing is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportRefusal {
    /// The merchant or the credential may not have clear card data (KeySecure 1013).
    NotPermitted,
    /// The merchant's policy asks for a second factor to view a card, which this call cannot carry.
    MfaUnsupported,
    /// There is no such card that this caller may know of.
    UnknownCard,
    /// The card's state does not allow it.
    CardState(State),
    /// The card or its person was asked for too often.
    Budget {
        /// In how many seconds to come back; at least 1.
        retry_after_secs: u64,
    },
}

impl Service {
    /// Exports. When this returns a ciphertext, the record of its release is durable.
    pub async fn export(
        &self,
        caller: &Caller,
        card: &CardRef,
    ) -> Result<Result<String, ExportRefusal>, Fault> {
        self.pass_gate()?;
        if caller.may(Need::ExportCards).is_err() {
            return Ok(Err(ExportRefusal::NotPermitted));
        }
        match caller.merchant.mfa.of(Purpose::ViewCard) {
            Policy::Off => {}
            Policy::Delegated | Policy::Required | Policy::InFrame => {
                return Ok(Err(ExportRefusal::MfaUnsupported));
            }
        }
        let found = self.store.card(&caller.merchant.id, card).await?;
        let Some(card) = found.filter(|card| caller.sees(card)) else {
            return Ok(Err(ExportRefusal::UnknownCard));
        };
        if !card.viewable() {
            return Ok(Err(ExportRefusal::CardState(card.state)));
        }
        // Everything that can fail comes before the record, so that what is on record went out.
        let (ciphertext, cvk) = self
            .open(
                || slot_of(&card),
                |vault| {
                    let ciphertext = vault.export(&card, &caller.credential)?;
                    Ok((ciphertext, vault.cvk_of(&card)?))
                },
            )
            .await?;
        let export = Export {
            merchant: card.merchant.clone(),
            card: CardRef::Id(card.id),
            event: self.exported(caller, &card, cvk),
            source: caller.source.clone(),
            charge: self.charge(Purpose::ViewCard, &card, false),
        };
        Ok(match self.store.commit(export).await? {
            Exported::Recorded => Ok(ciphertext),
            Exported::Refused(state) => Err(ExportRefusal::CardState(state)),
            Exported::Unknown => Err(ExportRefusal::UnknownCard),
            // No second factor can stand behind an export.
            Exported::Overdrawn(
                Overdrawn::NeedsFactor { until } | Overdrawn::Exhausted { until },
            ) => Err(ExportRefusal::Budget {
                retry_after_secs: secs_until(self.now(), until),
            }),
        })
    }

    fn exported(&self, caller: &Caller, card: &Card, cvk: Option<u32>) -> Event {
        let target = Target {
            card: Some(card.id),
            credential: Some(caller.credential.id.clone()),
            ..Target::default()
        };
        let merchant = Some(card.merchant.clone());
        let fields = EXPORTED
            .into_iter()
            .filter(|field| card.fields().contains(*field));
        Event {
            detail: Detail {
                fields: Some(fields.collect()),
                note: cvk.map(derived),
                ..Detail::default()
            },
            ..caller
                .source
                .event(self.now(), Kind::CardExported, merchant, target)
        }
    }
}
