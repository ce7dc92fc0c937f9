//! Budgets of reveals: for each card and each person the moment at which theirs is whole again.
//!
//! Many who show cards at once are of few cards or persons, in any order; so all budgets that a batch may
//! charge are held before its jobs run ([`super::batch`]).

use std::collections::{BTreeSet, HashMap};

use cardveil_core::budget::{Charge, Overdrawn, WholeAt};
use cardveil_core::clock::Time;

use super::batch::Batch;
use super::fault::Fault;
use super::value::{Row, values};

/// A charge that is granted and not yet written.
pub(super) struct Charged([(Vec<u8>, Option<Time>); 2]);

/// What is held of a batch's budgets, as they are in its transaction.
pub(super) type Held = HashMap<Vec<u8>, Time>;

/// The budgets that a charge is of.
pub(super) fn keys(charge: &Charge) -> [Vec<u8>; 2] {
    [card_key(charge), person_key(charge)]
}

/// Holds budgets until the commit, in their order; where there is none, one that has been whole since the
/// beginning of time is.
pub(super) fn hold(batch: &Batch<'_>, keys: &BTreeSet<Vec<u8>>) -> Result<(), Fault> {
    const HOLD: &str = "INSERT INTO budget (key, whole_at)
             SELECT wanted.key, 0 FROM unnest($1::bytea[]) AS wanted (key)
         ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING key, whole_at";
    let mut held = batch.budgets.borrow_mut();
    let missing: Vec<_> = keys.iter().filter(|key| !held.contains_key(*key)).collect();
    if !missing.is_empty() {
        let read = |row: &Row| Ok((row.get(0)?, row.get(1)?));
        held.extend(batch.all(HOLD, [missing.into_iter().collect()], read)?);
    }
    Ok(())
}

/// Applies [`Charge::decide`] over what is kept. Both rows are held.
pub(super) fn decide(
    batch: &Batch<'_>,
    charge: &Charge,
) -> Result<Result<Charged, Overdrawn>, Fault> {
    let [card, person] = keys(charge);
    hold(batch, &[card.clone(), person.clone()].into())?;
    let held = batch.budgets.borrow();
    let decided = charge.decide(&WholeAt {
        card: held.get(&card).copied(),
        person: held.get(&person).copied(),
    });
    Ok(decided.map(|next| Charged([(card, next.card), (person, next.person)])))
}

impl Charged {
    pub(super) fn write(self, batch: &Batch<'_>) -> Result<(), Fault> {
        // Inserted where a sweep of the same batch has forgotten it since it was held.
        const WRITE: &str = "INSERT INTO budget (key, whole_at) VALUES ($1, $2)
             ON CONFLICT (key) DO UPDATE SET whole_at = excluded.whole_at";
        for (key, at) in self.0 {
            if let Some(at) = at {
                batch.send(WRITE, values![&key, at])?;
                batch.budgets.borrow_mut().insert(key, at);
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
