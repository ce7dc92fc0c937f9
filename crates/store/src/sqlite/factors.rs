//! Second factors and budgets: lookups, and the rows of budgets.

use async_trait::async_trait;
use cardveil_core::budget::{Level, Of};
use cardveil_core::clock::Time;
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::rows::{BudgetRows, Loaded};
use cardveil_core::port::{BudgetLevels, Mfa, Result};
use rusqlite::params;

use super::writer::Batch;
use super::{Sqlite, first};
use crate::sql::rows::{self, PERSON, SESSION};
use crate::sql::table::Statement;
use crate::sql::{Loads, for_sqlite, sql_count};

static FIND_SESSION: Statement = Statement::new(|| for_sqlite(&SESSION.find()));
static FIND_PERSON: Statement = Statement::new(|| for_sqlite(&PERSON.find()));
const LEVEL: &str = "SELECT whole_at, charged_at FROM budget WHERE key = ?1";

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
        self.readers
            .read(|connection| first(connection, LEVEL, [of.key()], |row| rows::level(row, 0)))
    }
}

impl BudgetRows for Loads<'_, Batch<'_>> {
    fn level(&self, of: &Of) -> Loaded<Option<Level>> {
        Ok(self.0.first(LEVEL, [of.key()], |row| rows::level(row, 0))?)
    }

    fn save_level(&self, of: &Of, level: Level) -> Loaded<()> {
        self.0.execute(
            "INSERT OR REPLACE INTO budget (key, whole_at, charged_at) VALUES (?1, ?2, ?3)",
            params![
                of.key(),
                level.whole_at.millis(),
                level.charged_at.map(Time::millis)
            ],
        )?;
        Ok(())
    }

    fn delete_level(&self, of: &Of) -> Loaded<()> {
        self.0
            .execute("DELETE FROM budget WHERE key = ?1", [of.key()])?;
        Ok(())
    }

    fn forget_levels(&self, now: Time, limit: usize) -> Loaded<usize> {
        Ok(self.0.execute(
            "DELETE FROM budget WHERE key IN (
                 SELECT key FROM budget WHERE whole_at <= ?1 ORDER BY whole_at LIMIT ?2)",
            params![now.millis(), sql_count(limit)],
        )?)
    }
}
