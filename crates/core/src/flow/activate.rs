//! Activating a physical card by what its holder reads off it (KeySecure: card/active).

use super::{Caller, Fault, Service};
use crate::card::{Activated, Activation, CardRef, Kind};
use crate::keys::Slot;
use crate::verb::Commit;

/// What a merchant's server brings to have a card activated.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    pub card: &'a CardRef,
    /// The number of its holder, where the caller names one.
    pub holder_no: Option<&'a str>,
    /// The CVV: the Base64 of its ciphertext under the credential's secret.
    pub cvv: &'a str,
    /// The last four digits.
    pub last_four: &'a str,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activate {
    /// The store has decided.
    Decided(Activated),
    /// Nothing is kept that a proof could be compared with.
    NoCvv,
}

impl Service {
    /// Activates. Wrong proofs count, and too many block the way for a day.
    pub async fn activate(&self, caller: &Caller, proof: Proof<'_>) -> Result<Activate, Fault> {
        let found = self.store.card(&caller.merchant.id, proof.card).await?;
        let named = |held: &Option<String>| {
            proof
                .holder_no
                .is_none_or(|asked| held.as_deref() == Some(asked))
        };
        let card = found.filter(|card| caller.reaches(card) && named(&card.attributes.holder_no));
        let Some(card) = card else {
            return Ok(Activate::Decided(Activated::Unknown));
        };
        if card.kind != Kind::Physical {
            return Ok(Activate::Decided(Activated::NotPhysical));
        }
        let brought = (proof.cvv, proof.last_four);
        let credential = &caller.credential;
        let proven = self
            .open(
                || Slot::Cvv(card.id, card.merchant.clone()),
                |vault| vault.proves_possession(&card, credential, brought),
            )
            .await?;
        let Some(proven) = proven else {
            return Ok(Activate::NoCvv);
        };
        let activation = Activation {
            merchant: caller.merchant.id.clone(),
            card: proof.card.clone(),
            proven,
            at: self.now(),
            source: caller.source.clone(),
        };
        Ok(Activate::Decided(self.store.commit(activation).await?))
    }
}
