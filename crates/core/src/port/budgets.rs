//! Budgets of reveals, for operators. They are charged in the commit of what they are charged for.

use async_trait::async_trait;

use super::Result;
use crate::budget::{Level, Of};

#[async_trait]
pub trait BudgetLevels: Send + Sync {
    /// How far a budget is used; `None` when it is whole, or was never charged.
    async fn budget(&self, of: &Of) -> Result<Option<Level>>;
}
