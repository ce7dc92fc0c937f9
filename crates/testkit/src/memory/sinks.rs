//! The sinks' rows in memory.

use async_trait::async_trait;

use super::Memory;
use cardveil_core::audit::sink::Progress;
use cardveil_core::port::{Result, Sinks};

#[async_trait]
impl Sinks for Memory {
    async fn sinks(&self) -> Result<Vec<Progress>> {
        Ok(self.inner().sinks.values().cloned().collect())
    }
}
