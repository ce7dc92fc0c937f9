//! Exports, activations and PINs in memory.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::card::{
    Activated, Activation, Export, Exported, HandoverDecided, PinRelease, PinReleased, PinSet,
    PinSetting,
};
use cardveil_core::id::CardId;
use cardveil_core::port::{Class, Handovers, Result};

impl Inner {
    fn hand_over<V>(&mut self, card: Option<CardId>, decided: HandoverDecided<V>) -> V {
        if let Some(next) = decided.card
            && let Some(card) = self.cards.iter_mut().find(|card| card.id == next.id)
        {
            *card = *next;
        }
        if let Some((card, guesses)) = card.zip(decided.guesses) {
            self.guesses.insert(card, guesses);
        }
        for event in decided.events {
            self.log(event);
        }
        decided.verdict
    }
}

#[async_trait]
impl Handovers for Memory {
    async fn export_card(&self, export: Export) -> Result<Exported> {
        let mut inner = self.inner();
        let decided = export.decide(inner.find_card(&export.merchant, &export.card));
        if decided.verdict == Exported::Recorded
            && let Some(charge) = &export.charge
            && let Err(overdrawn) = inner.charge(charge)
        {
            return Ok(Exported::Overdrawn(overdrawn));
        }
        Ok(inner.hand_over(None, decided))
    }

    async fn activate_card(&self, activation: Activation) -> Result<Activated> {
        let mut inner = self.inner();
        let card = inner.find_card(&activation.merchant, &activation.card);
        let id = card.map(|card| card.id);
        let guesses = id.and_then(|id| inner.guesses.get(&id)).cloned();
        let decided = activation.decide(card, &guesses.unwrap_or_default());
        Ok(inner.hand_over(id, decided))
    }

    async fn set_pin(&self, setting: PinSetting) -> Result<PinSet> {
        let mut inner = self.inner();
        inner.refuse_retired([(Class::Pin, &*setting.pin.dek)])?;
        let decided = setting.decide(inner.find_card(&setting.merchant, &setting.card));
        if decided.verdict == PinSet::Done
            && let Err(unmet) = inner.admit(setting.required())
        {
            return Ok(unmet.into());
        }
        Ok(inner.hand_over(None, decided))
    }

    async fn release_pin(&self, release: PinRelease) -> Result<PinReleased> {
        let mut inner = self.inner();
        let decided = release.decide(inner.find_card(&release.merchant, &release.card));
        if decided.verdict == PinReleased::Recorded
            && let Err(unmet) = inner.admit(release.required())
        {
            return Ok(unmet.into());
        }
        Ok(inner.hand_over(None, decided))
    }
}
