//! The sinks' rows in memory.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::audit::sink::{Fed, Hold, Progress};
use cardveil_core::id::SinkName;
use cardveil_core::port::{Result, Sinks};

impl Inner {
    fn sink(&self, name: &SinkName) -> Option<&Progress> {
        self.sinks.get(name)
    }

    fn put_sink(&mut self, next: Option<&Progress>) {
        if let Some(next) = next {
            self.sinks.insert(next.name.clone(), next.clone());
        }
    }
}

#[async_trait]
impl Sinks for Memory {
    async fn sinks(&self) -> Result<Vec<Progress>> {
        Ok(self.inner().sinks.values().cloned().collect())
    }

    async fn hold_sink(&self, hold: Hold) -> Result<Option<Progress>> {
        let mut inner = self.inner();
        let end = i64::try_from(inner.chain.len()).unwrap_or(i64::MAX);
        let next = hold.decide(inner.sink(&hold.name), end);
        inner.put_sink(next.as_ref());
        Ok(next)
    }

    async fn record_fed(&self, fed: Fed) -> Result<Option<Progress>> {
        let mut inner = self.inner();
        let next = fed.decide(inner.sink(&fed.name));
        inner.put_sink(next.as_ref());
        Ok(next)
    }
}
