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

/// A charge that is granted and not yet written.
pub(super) struct Charged([(Of, Option<Level>); 2]);

/// Applies [`Charge::decide`] over what is kept. What a refusal writes is written here.
pub(super) fn decide(
    batch: &Batch<'_>,
    charge: &Charge,
) -> Result<Result<Charged, Overdrawn>, Fault> {
    let (card, person) = (charge.of_card(), charge.of_person());
    let kept = Levels {
        card: level(batch, &card)?,
        person: level(batch, &person)?,
    };
    let decided = charge.decide(&kept);
    let write = Charged([(card, decided.write.card), (person, decided.write.person)]);
    Ok(match decided.verdict {
        Ok(()) => Ok(write),
        Err(overdrawn) => {
            write.write(batch)?;
            Err(overdrawn)
        }
    })
}

impl Charged {
    pub(super) fn write(self, batch: &Batch<'_>) -> rusqlite::Result<()> {
        for (of, level) in self.0 {
            if let Some(level) = level {
                batch.execute(
                    "INSERT OR REPLACE INTO budget (key, whole_at, charged_at) VALUES (?1, ?2, ?3)",
                    params![
                        of.key(),
                        level.whole_at.millis(),
                        level.charged_at.map(Time::millis)
                    ],
                )?;
            }
        }
        Ok(())
    }
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
