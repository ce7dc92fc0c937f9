//! The levels of budgets in memory.

use async_trait::async_trait;

use super::Memory;
use crate::budget::{Level, Of, Reset};
use crate::port::{BudgetLevels, Result};

#[async_trait]
impl BudgetLevels for Memory {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        Ok(self.inner().budgets.get(of).copied())
    }

    async fn reset_budget(&self, reset: Reset) -> Result<bool> {
        let mut inner = self.inner();
        let Some(event) = reset.decide(inner.budgets.get(&reset.of).copied()) else {
            return Ok(false);
        };
        inner.budgets.remove(&reset.of);
        inner.log(event);
        Ok(true)
    }
}
