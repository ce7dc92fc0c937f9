//! How far the sinks of the audit log have come.

use async_trait::async_trait;

use super::Result;
use crate::audit::sink::Progress;

/// The sinks' rows. They write no audit event: each step is about the log, so an event of it would
/// be the next thing to hand over. After an unknown outcome the row may have moved or not; either
/// way nothing is lost, and what was handed over already may be handed over again.
#[async_trait]
pub trait Sinks: Send + Sync {
    /// All rows, by name: also of sinks that nobody feeds any more.
    async fn sinks(&self) -> Result<Vec<Progress>>;
}
