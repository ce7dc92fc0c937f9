//! The levels of budgets in memory.

use async_trait::async_trait;

use super::Memory;
use cardveil_core::budget::{Level, Of, Reset};
use cardveil_core::port::{BudgetLevels, Result};

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
