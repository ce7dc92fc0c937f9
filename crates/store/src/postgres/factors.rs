//! Second factors and budgets: lookups, and what a batch holds of budgets.
//!
//! Many who show cards at once are of few cards or persons, in any order; so all budgets that a
//! batch may charge are held before its jobs run ([`super::batch`]).

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use cardveil_core::budget::{Level, Of};
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::{BudgetLevels, Mfa, Result};

use super::Postgres;
use super::batch::Batch;
use super::fault::Fault;
use crate::sql::rows::{self, BUDGET, PERSON, SESSION};
use crate::sql::table::Statement;
use crate::sql::value::values;

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
        static FIND: Statement = Statement::new(|| BUDGET.find());
        let key = values![of.key()];
        let found = self.readers.first(&FIND, &key, rows::budget).await?;
        Ok(found.map(|(_, level)| level))
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
        held.extend(batch.all(HOLD, [missing.into_iter().collect()], rows::budget)?);
    }
    Ok(())
}
