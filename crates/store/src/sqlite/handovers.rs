//! Exports, activations and PINs, each inside a batch.

use async_trait::async_trait;
use cardveil_core::card::{
    Activated, Activation, Card, Export, Exported, Guesses, HandoverDecided as Decided, PinRelease,
    PinReleased, PinSet, PinSetting,
};
use cardveil_core::port::{Class, Handovers, Result};
use rusqlite::params;

use super::Sqlite;
use super::cards::{find, update};
use super::fault::Fault;
use super::rows::Json;
use super::writer::Batch;
use super::{budget, keys, mfa};

type Outcome<T> = std::result::Result<T, Fault>;

#[async_trait]
impl Handovers for Sqlite {
    async fn export_card(&self, export: Export) -> Result<Exported> {
        let work = move |batch: &Batch<'_>| {
            let card = find(batch, &export.merchant, &export.card)?;
            let decided = export.decide(card.as_ref());
            if decided.verdict == Exported::Recorded
                && let Some(charge) = &export.charge
                && let Err(overdrawn) = budget::charge(batch, charge)?
            {
                return Ok(Exported::Overdrawn(overdrawn));
            }
            write(batch, card.as_ref(), decided)
        };
        self.writer.submit(work).await
    }

    async fn activate_card(&self, activation: Activation) -> Result<Activated> {
        let work = move |batch: &Batch<'_>| {
            let card = find(batch, &activation.merchant, &activation.card)?;
            let guesses = match &card {
                Some(card) => guesses(batch, card)?,
                None => Guesses::default(),
            };
            let decided = activation.decide(card.as_ref(), &guesses);
            write(batch, card.as_ref(), decided)
        };
        self.writer.submit(work).await
    }

    async fn set_pin(&self, setting: PinSetting) -> Result<PinSet> {
        let work = move |batch: &Batch<'_>| {
            keys::refuse_retired(batch, [(Class::Pin, &*setting.pin.dek)])?;
            let card = find(batch, &setting.merchant, &setting.card)?;
            let decided = setting.decide(card.as_ref());
            if decided.verdict == PinSet::Done
                && let Err(unmet) = mfa::admit(batch, setting.required())?
            {
                return Ok(unmet.into());
            }
            write(batch, card.as_ref(), decided)
        };
        self.writer.submit(work).await
    }

    async fn release_pin(&self, release: PinRelease) -> Result<PinReleased> {
        let work = move |batch: &Batch<'_>| {
            let card = find(batch, &release.merchant, &release.card)?;
            let decided = release.decide(card.as_ref());
            if decided.verdict == PinReleased::Recorded
                && let Err(unmet) = mfa::admit(batch, release.required())?
            {
                return Ok(unmet.into());
            }
            write(batch, card.as_ref(), decided)
        };
        self.writer.submit(work).await
    }
}

fn guesses(batch: &Batch<'_>, card: &Card) -> Outcome<Guesses> {
    let kept = batch.first(
        "SELECT at FROM card_guess WHERE card = ?1",
        [card.id.as_bytes()],
        |row| row.get(0).map(|Json(guesses)| guesses),
    )?;
    Ok(kept.unwrap_or_default())
}

fn write<V>(batch: &Batch<'_>, card: Option<&Card>, decided: Decided<V>) -> Outcome<V> {
    if let Some(next) = &decided.card {
        update(batch, next)?;
    }
    match (card, &decided.guesses) {
        (Some(card), Some(none)) if none.is_empty() => {
            batch.execute(
                "DELETE FROM card_guess WHERE card = ?1",
                [card.id.as_bytes()],
            )?;
        }
        (Some(card), Some(guesses)) => {
            batch.execute(
                "INSERT OR REPLACE INTO card_guess (card, at) VALUES (?1, ?2)",
                params![card.id.as_bytes(), Json(guesses)],
            )?;
        }
        (None, _) | (Some(_), None) => {}
    }
    for event in &decided.events {
        batch.log(event)?;
    }
    Ok(decided.verdict)
}
