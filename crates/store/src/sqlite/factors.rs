//! Second factors and budgets: lookups.

use async_trait::async_trait;
use cardveil_core::budget::{Level, Of};
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::{BudgetLevels, Mfa, Result};
use rusqlite::params;

use super::{Sqlite, first};
use crate::sql::for_sqlite;
use crate::sql::rows::{self, BUDGET, PERSON, SESSION};
use crate::sql::table::Statement;

static FIND_SESSION: Statement = Statement::new(|| for_sqlite(&SESSION.find()));
static FIND_PERSON: Statement = Statement::new(|| for_sqlite(&PERSON.find()));
static FIND_BUDGET: Statement = Statement::new(|| for_sqlite(&BUDGET.find()));

#[async_trait]
impl Mfa for Sqlite {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        self.readers.read(|connection| {
            first(connection, &FIND_SESSION, [id.as_bytes()], |row| {
                rows::session(row)
            })
        })
    }

    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        let key = params![merchant.as_str(), person.as_bytes()];
        self.readers
            .read(|connection| first(connection, &FIND_PERSON, key, |row| rows::person(row)))
    }
}

#[async_trait]
impl BudgetLevels for Sqlite {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        let found = self.readers.read(|connection| {
            first(connection, &FIND_BUDGET, [of.key()], |row| {
                rows::budget(row)
            })
        })?;
        Ok(found.map(|(_, level)| level))
    }
}
