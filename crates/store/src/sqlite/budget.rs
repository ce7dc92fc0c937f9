//! Budgets of reveals: how far each card's and each person's is used.

use async_trait::async_trait;
use cardveil_core::budget::{Charge, Level, Levels, Of, Overdrawn, Reset};
use cardveil_core::clock::Time;
use cardveil_core::port::{self, BudgetLevels};
use rusqlite::{Row, params};

use super::fault::Fault;
use super::writer::Batch;
use super::{Sqlite, first};

const FIND: &str = "SELECT whole_at, charged_at FROM budget WHERE key = ?1";

#[async_trait]
impl BudgetLevels for Sqlite {
    async fn budget(&self, of: &Of) -> port::Result<Option<Level>> {
        self.readers
            .read(|connection| first(connection, FIND, [of.key()], read))
    }

    async fn reset_budget(&self, reset: Reset) -> port::Result<bool> {
        let work = move |batch: &Batch<'_>| {
            let Some(event) = reset.decide(level(batch, &reset.of)?) else {
                return Ok(false);
            };
            batch.execute("DELETE FROM budget WHERE key = ?1", [reset.of.key()])?;
            batch.log(&event)?;
            Ok(true)
        };
        self.writer.submit(work).await
    }
}

/// Charges what is about to be written in the same batch.
pub(super) fn charge(batch: &Batch<'_>, charge: &Charge) -> Result<Result<(), Overdrawn>, Fault> {
    let decided = charge.decide(&levels(batch, charge)?);
    for (of, level) in charge.levels(decided.write) {
        write(batch, &of, level)?;
    }
    Ok(decided.verdict)
}

/// The levels that a charge is decided over.
pub(super) fn levels(batch: &Batch<'_>, charge: &Charge) -> rusqlite::Result<Levels> {
    Ok(Levels {
        card: level(batch, &charge.of_card())?,
        person: level(batch, &charge.of_person())?,
    })
}

pub(super) fn write(batch: &Batch<'_>, of: &Of, level: Level) -> rusqlite::Result<()> {
    batch.execute(
        "INSERT OR REPLACE INTO budget (key, whole_at, charged_at) VALUES (?1, ?2, ?3)",
        params![
            of.key(),
            level.whole_at.millis(),
            level.charged_at.map(Time::millis)
        ],
    )?;
    Ok(())
}

/// Forgets budgets that are whole; tells how many.
pub(super) fn forget(batch: &Batch<'_>, now: Time, limit: i64) -> rusqlite::Result<usize> {
    batch.execute(
        "DELETE FROM budget WHERE key IN (
             SELECT key FROM budget WHERE whole_at <= ?1 ORDER BY whole_at LIMIT ?2)",
        params![now.millis(), limit],
    )
}

fn level(batch: &Batch<'_>, of: &Of) -> rusqlite::Result<Option<Level>> {
    batch.first(FIND, [of.key()], read)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Level> {
    Ok(Level {
        whole_at: row.get(0).map(Time::from_millis)?,
        charged_at: row.get::<_, Option<_>>(1)?.map(Time::from_millis),
    })
}
