//! What a batch holds of budgets.
//!
//! Many who show cards at once are of few cards or persons, in any order; so all budgets that a
//! batch may charge are held before its jobs run ([`super::batch`]).

use std::collections::{BTreeSet, HashMap};

use cardveil_core::budget::Level;

use super::batch::Batch;
use super::fault::Fault;
use crate::sql::rows;

/// What is held of a batch's budgets, as they are in its transaction.
pub(super) type Held = HashMap<Vec<u8>, Level>;

/// Holds budgets until the commit, in their order; where there is none, one that has been whole
/// since the beginning of time is.
pub(super) fn hold(batch: &Batch<'_>, keys: &BTreeSet<Vec<u8>>) -> Result<(), Fault> {
    const HOLD: &str = "INSERT INTO budget (key, whole_at)
             SELECT wanted.key, 0 FROM unnest($1::bytea[]) AS wanted (key)
         ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING key, whole_at, charged_at";
    let mut held = batch.budgets.borrow_mut();
    let missing: Vec<_> = keys.iter().filter(|key| !held.contains_key(*key)).collect();
    if !missing.is_empty() {
        held.extend(batch.all(HOLD, [missing.into_iter().collect()], rows::budget)?);
    }
    Ok(())
}
