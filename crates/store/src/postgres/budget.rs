//! Budgets of reveals: for each card and each person the moment at which theirs is whole again.

use cardveil_core::budget::{Charge, Overdrawn, WholeAt};
use cardveil_core::clock::Time;

use super::batch::Batch;
use super::fault::Fault;
use super::value::values;

/// A charge that is granted and not yet written.
pub(super) struct Charged([(Vec<u8>, Option<Time>); 2]);

/// Applies [`Charge::decide`] over what is kept. Both rows are held, the card's first; where there is
/// none, one that has been whole since the beginning of time is.
pub(super) fn decide(
    batch: &Batch<'_>,
    charge: &Charge,
) -> Result<Result<Charged, Overdrawn>, Fault> {
    const HOLD: &str = "INSERT INTO budget (key, whole_at) VALUES ($1, 0), ($2, 0)
         ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING whole_at";
    let (card, person) = (card_key(charge), person_key(charge));
    let kept = batch.all(HOLD, values![&card, &person], |row| row.get(0))?;
    let kept = WholeAt {
        card: kept.first().copied(),
        person: kept.get(1).copied(),
    };
    let decided = charge.decide(&kept);
    Ok(decided.map(|next| Charged([(card, next.card), (person, next.person)])))
}

impl Charged {
    pub(super) fn write(self, batch: &Batch<'_>) -> Result<(), Fault> {
        for (key, at) in self.0 {
            if let Some(at) = at {
                let sql = "UPDATE budget SET whole_at = $2 WHERE key = $1";
                batch.send(sql, values![key, at])?;
            }
        }
        Ok(())
    }
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

fn card_key(charge: &Charge) -> Vec<u8> {
    [b"c", &charge.card.as_bytes()[..]].concat()
}

fn person_key(charge: &Charge) -> Vec<u8> {
    let person = &charge.person.as_bytes()[..];
    [b"p", person, charge.merchant.as_str().as_bytes()].concat()
}
