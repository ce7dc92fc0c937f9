//! Budgets of reveals: for each card and each person the moment at which theirs is whole again.

use cardveil_core::budget::{Charge, Overdrawn, WholeAt};
use cardveil_core::clock::Time;
use rusqlite::params;

use super::fault::Fault;
use super::writer::Batch;

/// A charge that is granted and not yet written.
pub(super) struct Charged([(Vec<u8>, Option<Time>); 2]);

/// Applies [`Charge::decide`] over what is kept.
pub(super) fn decide(
    batch: &Batch<'_>,
    charge: &Charge,
) -> Result<Result<Charged, Overdrawn>, Fault> {
    let (card, person) = (card_key(charge), person_key(charge));
    let kept = WholeAt {
        card: whole_at(batch, &card)?,
        person: whole_at(batch, &person)?,
    };
    let decided = charge.decide(&kept);
    Ok(decided.map(|next| Charged([(card, next.card), (person, next.person)])))
}

impl Charged {
    pub(super) fn write(self, batch: &Batch<'_>) -> rusqlite::Result<()> {
        for (key, at) in self.0 {
            if let Some(at) = at {
                batch.execute(
                    "INSERT OR REPLACE INTO budget (key, whole_at) VALUES (?1, ?2)",
                    params![key, at.millis()],
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

fn whole_at(batch: &Batch<'_>, key: &[u8]) -> rusqlite::Result<Option<Time>> {
    batch.first("SELECT whole_at FROM budget WHERE key = ?1", [key], |row| {
        row.get(0).map(Time::from_millis)
    })
}

fn card_key(charge: &Charge) -> Vec<u8> {
    [b"c", &charge.card.as_bytes()[..]].concat()
}

fn person_key(charge: &Charge) -> Vec<u8> {
    let person = &charge.person.as_bytes()[..];
    [b"p", person, charge.merchant.as_str().as_bytes()].concat()
}
