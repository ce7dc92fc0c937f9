//! Budgets.

use async_trait::async_trait;
use cardveil_core::budget::{Level, Of};
use cardveil_core::clock::Time;
use cardveil_core::port::rows::{BudgetRows, Loaded};
use cardveil_core::port::{BudgetLevels, Result};

use super::lookups::Lookups;
use super::rows::{self, BUDGET};
use super::table::Statement;
use super::value::values;
use super::{Loads, Sql, sql_count};
use crate::Store;

impl<B: Sql> BudgetRows for Loads<'_, B> {
    fn level(&self, of: &Of) -> Loaded<Option<Level>> {
        self.0.level(of.key()).map_err(Into::into)
    }

    fn save_level(&self, of: &Of, level: Level) -> Loaded<()> {
        static PUT: Statement = Statement::new(|| BUDGET.put());
        let row = (of.key(), level);
        self.send(&PUT, BUDGET.values(&row))?;
        self.level_saved(row.0, Some(level));
        Ok(())
    }

    fn delete_level(&self, of: &Of) -> Loaded<()> {
        static DELETE: Statement = Statement::new(|| BUDGET.delete());
        self.send(&DELETE, values![&of.key()])?;
        self.level_saved(of.key(), None);
        Ok(())
    }

    fn forget_levels(&self, now: Time, limit: usize) -> Loaded<usize> {
        const SQL: &str = "DELETE FROM budget WHERE key IN (
             SELECT key FROM budget WHERE whole_at <= $1 ORDER BY whole_at LIMIT $2
             FOR UPDATE SKIP LOCKED)";
        self.execute(SQL, values![now, sql_count(limit)])
    }
}

#[async_trait]
impl<D: Lookups> BudgetLevels for Store<D> {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        static FIND: Statement = Statement::new(|| BUDGET.find());
        let found = self.first(&FIND, values![of.key()], |row| rows::budget(row));
        Ok(found.await?.map(|(_, level)| level))
    }
}
