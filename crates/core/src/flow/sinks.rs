//! How the sinks of the audit log stand.

use super::{Fault, Service};
use crate::audit::chain::Chained;
use crate::audit::sink::{Holder, Lag, Progress};
use crate::id::SinkName;

/// How a sink stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkStanding {
    pub name: SinkName,
    /// How far it has come; `None` when it was never fed.
    pub progress: Option<Progress>,
    /// How far it is behind.
    pub lag: Lag,
}

impl Service {
    /// A name for who feeds a sink, which nobody else has.
    pub fn sink_holder(&self) -> Holder {
        Holder(self.random())
    }

    /// How these sinks stand. The log may grow meanwhile, so the lag is rather too large than too
    /// small.
    pub async fn sink_standings(&self, names: &[SinkName]) -> Result<Vec<SinkStanding>, Fault> {
        let rows = self.store.sinks().await?;
        let last = self.store.last_entry().await?;
        let mut standings = Vec::new();
        for name in names {
            let progress = rows.iter().find(|row| row.name == *name).cloned();
            let place = progress.as_ref().map_or(0, |row| row.place);
            let entries = u64::try_from(last.saturating_sub(place)).unwrap_or(0);
            let since = if entries > 0 {
                let oldest = self.store.chained(place, 1).await?;
                oldest.first().and_then(Chained::at)
            } else {
                None
            };
            standings.push(SinkStanding {
                name: name.clone(),
                progress,
                lag: Lag { entries, since },
            });
        }
        Ok(standings)
    }
}
