//! The levels of budgets in memory.

use async_trait::async_trait;

use super::Memory;
use cardveil_core::budget::{Level, Of};
use cardveil_core::port::{BudgetLevels, Result};

#[async_trait]
impl BudgetLevels for Memory {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        Ok(self.inner().budgets.get(of).copied())
    }
}
