//! Budgets of reveals: how far each card's and each person's is used.
//!
//! Many who show cards at once are of few cards or persons, in any order; so all budgets that a
//! batch may charge are held before its jobs run ([`super::batch`]).

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use cardveil_core::budget::{Charge, Level, Levels, Of, Overdrawn, Reset};
use cardveil_core::clock::Time;
use cardveil_core::port::{self, BudgetLevels};

use super::Postgres;
use super::batch::{Batch, Shared};
use super::fault::Fault;
use super::value::{Row, values};
use super::writer::Turn;

#[async_trait]
impl BudgetLevels for Postgres {
    async fn budget(&self, of: &Of) -> port::Result<Option<Level>> {
        const FIND: &str = "SELECT whole_at, charged_at FROM budget WHERE key = $1";
        let read = |row: &Row| {
            Ok(Level {
                whole_at: row.get(0)?,
                charged_at: row.get(1)?,
            })
        };
        self.readers.first(FIND, &values![of.key()], read).await
    }

    async fn reset_budget(&self, reset: Reset) -> port::Result<bool> {
        let shared = Shared::default().budget(&reset.of);
        let work = move |batch: &Batch<'_>| {
            let key = reset.of.key();
            hold(batch, &BTreeSet::from([key.clone()]))?;
            // What was not there is held as one that has been whole since the beginning of time.
            let kept = batch.budgets.borrow().get(&key).copied();
            let kept = kept.filter(|level| level.whole_at.millis() > 0);
            let Some(event) = reset.decide(kept) else {
                return Ok(false);
            };
            batch.send("DELETE FROM budget WHERE key = $1", values![&key])?;
            batch.budgets.borrow_mut().remove(&key);
            batch.log(&event)?;
            Ok(true)
        };
        self.writer.submit_with(shared, Turn::Rows, work).await
    }
}

/// What is held of a batch's budgets, as they are in its transaction.
pub(super) type Held = HashMap<Vec<u8>, Level>;

/// The budgets that a charge is of.
pub(super) fn keys(charge: &Charge) -> [Vec<u8>; 2] {
    [charge.of_card().key(), charge.of_person().key()]
}

/// Holds budgets until the commit, in their order; where there is none, one that has been whole
/// since the beginning of time is.
pub(super) fn hold(batch: &Batch<'_>, keys: &BTreeSet<Vec<u8>>) -> Result<(), Fault> {
    const HOLD: &str = "INSERT INTO budget (key, whole_at)
             SELECT wanted.key, 0 FROM unnest($1::bytea[]) AS wanted (key)
         ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING key, whole_at, charged_at";
    let mut held = batch.budgets.borrow_mut();
    let missing: Vec<_> = keys.iter().filter(|key| !held.contains_key(*key)).collect();
    if !missing.is_empty() {
        let read = |row: &Row| {
            let level = Level {
                whole_at: row.get(1)?,
                charged_at: row.get(2)?,
            };
            Ok((row.get(0)?, level))
        };
        held.extend(batch.all(HOLD, [missing.into_iter().collect()], read)?);
    }
    Ok(())
}

/// Charges what is about to be written in the same batch.
pub(super) fn charge(batch: &Batch<'_>, charge: &Charge) -> Result<Result<(), Overdrawn>, Fault> {
    let decided = charge.decide(&levels(batch, charge)?);
    for (of, level) in charge.levels(decided.write) {
        write(batch, &of, level)?;
    }
    Ok(decided.verdict)
}

/// The levels that a charge is decided over. Both rows are held.
pub(super) fn levels(batch: &Batch<'_>, charge: &Charge) -> Result<Levels, Fault> {
    hold(batch, &keys(charge).into())?;
    let held = batch.budgets.borrow();
    let [card, person] = keys(charge).map(|key| held.get(&key).copied());
    Ok(Levels { card, person })
}

/// Inserted where a sweep of the same batch has forgotten it since it was held.
pub(super) fn write(batch: &Batch<'_>, of: &Of, level: Level) -> Result<(), Fault> {
    const WRITE: &str = "INSERT INTO budget (key, whole_at, charged_at) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO UPDATE
         SET whole_at = excluded.whole_at, charged_at = excluded.charged_at";
    let key = of.key();
    batch.send(WRITE, values![&key, level.whole_at, level.charged_at])?;
    batch.budgets.borrow_mut().insert(key, level);
    Ok(())
}

/// Forgets budgets that are whole; tells how many.
pub(super) fn forget(batch: &Batch<'_>, now: Time, limit: i64) -> Result<usize, Fault> {
    batch.execute(
        "DELETE FROM budget WHERE key IN (
             SELECT key FROM budget WHERE whole_at <= $1 ORDER BY whole_at LIMIT $2
             FOR UPDATE SKIP LOCKED)",
        values![now.millis(), limit],
    )
}
