//! Budgets of reveals, for operators. They are charged in the commit of what they are charged for:
//! [`super::Issue`], and the requests of [`super::Handovers`].

use async_trait::async_trait;

use super::Result;
use crate::budget::{Level, Of, Reset};

/// The levels of budgets.
#[async_trait]
pub trait BudgetLevels: Send + Sync {
    /// How far a budget is used; `None` when it is whole, or was never charged.
    async fn budget(&self, of: &Of) -> Result<Option<Level>>;

    /// Applies [`Reset::decide`], forgets the level and writes the record, in one commit. Tells
    /// whether there was one; without one it writes nothing.
    async fn reset_budget(&self, reset: Reset) -> Result<bool>;
}
