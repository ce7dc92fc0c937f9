//! Second factors and budgets: lookups, and the rows of budgets.
//!
//! Many who show cards at once are of few cards or persons, in any order; so all budgets that a
//! batch may charge are held before its jobs run ([`super::batch`]).

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use cardveil_core::budget::{Level, Of};
use cardveil_core::clock::Time;
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::rows::{BudgetRows, Loaded};
use cardveil_core::port::{BudgetLevels, Mfa, Result};

use super::Postgres;
use super::batch::Batch;
use super::fault::Fault;
use super::row::Row;
use crate::sql::rows::{self, PERSON, SESSION};
use crate::sql::table::Statement;
use crate::sql::value::{Row as _, values};
use crate::sql::{Loads, sql_count};

type Outcome<T> = std::result::Result<T, Fault>;

static FIND_SESSION: Statement = Statement::new(|| SESSION.find());
static FIND_PERSON: Statement = Statement::new(|| PERSON.find());

#[async_trait]
impl Mfa for Postgres {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        self.readers
            .first(&FIND_SESSION, &values![id.as_bytes()], rows::session)
            .await
    }

    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        let key = values![merchant.as_str(), person.as_bytes()];
        self.readers.first(&FIND_PERSON, &key, rows::person).await
    }
}

#[async_trait]
impl BudgetLevels for Postgres {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        const FIND: &str = "SELECT whole_at, charged_at FROM budget WHERE key = $1";
        let read = |row: &Row| rows::level(row, 0);
        self.readers.first(FIND, &values![of.key()], read).await
    }
}

/// What is held of a batch's budgets, as they are in its transaction.
pub(super) type Held = HashMap<Vec<u8>, Level>;

/// Holds budgets until the commit, in their order; where there is none, one that has been whole
/// since the beginning of time is.
pub(super) fn hold(batch: &Batch<'_>, keys: &BTreeSet<Vec<u8>>) -> Outcome<()> {
    const HOLD: &str = "INSERT INTO budget (key, whole_at)
             SELECT wanted.key, 0 FROM unnest($1::bytea[]) AS wanted (key)
         ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING key, whole_at, charged_at";
    let mut held = batch.budgets.borrow_mut();
    let missing: Vec<_> = keys.iter().filter(|key| !held.contains_key(*key)).collect();
    if !missing.is_empty() {
        let read = |row: &Row| Ok((row.get(0)?, rows::level(row, 1)?));
        held.extend(batch.all(HOLD, [missing.into_iter().collect()], read)?);
    }
    Ok(())
}

impl BudgetRows for Loads<'_, Batch<'_>> {
    /// What was not there is held as one that has been whole since the beginning of time.
    fn level(&self, of: &Of) -> Loaded<Option<Level>> {
        let key = of.key();
        hold(self.0, &BTreeSet::from([key.clone()]))?;
        let kept = self.0.budgets.borrow().get(&key).copied();
        Ok(kept.filter(|level| level.whole_at.millis() > 0))
    }

    /// Inserted where a sweep of the same batch has forgotten it since it was held.
    fn save_level(&self, of: &Of, level: Level) -> Loaded<()> {
        const SAVE: &str = "INSERT INTO budget (key, whole_at, charged_at) VALUES ($1, $2, $3)
             ON CONFLICT (key) DO UPDATE
             SET whole_at = excluded.whole_at, charged_at = excluded.charged_at";
        let key = of.key();
        self.0
            .send(SAVE, values![&key, level.whole_at, level.charged_at])?;
        self.0.budgets.borrow_mut().insert(key, level);
        Ok(())
    }

    fn delete_level(&self, of: &Of) -> Loaded<()> {
        let key = of.key();
        self.0
            .send("DELETE FROM budget WHERE key = $1", values![&key])?;
        self.0.budgets.borrow_mut().remove(&key);
        Ok(())
    }

    fn forget_levels(&self, now: Time, limit: usize) -> Loaded<usize> {
        Ok(self.0.execute(
            "DELETE FROM budget WHERE key IN (
                 SELECT key FROM budget WHERE whole_at <= $1 ORDER BY whole_at LIMIT $2
                 FOR UPDATE SKIP LOCKED)",
            values![now.millis(), sql_count(limit)],
        )?)
    }
}
