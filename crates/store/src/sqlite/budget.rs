//! Budgets of reveals: how far each card's and each person's is used.

use cardveil_core::budget::{Charge, Level, Levels, Of, Overdrawn};
use cardveil_core::clock::Time;
use rusqlite::params;

use super::fault::Fault;
use super::writer::Batch;

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
    const FIND: &str = "SELECT whole_at, charged_at FROM budget WHERE key = ?1";
    batch.first(FIND, [of.key()], |row| {
        Ok(Level {
            whole_at: row.get(0).map(Time::from_millis)?,
            charged_at: row.get::<_, Option<_>>(1)?.map(Time::from_millis),
        })
    })
}
