//! How the audit log's sinks stand.

use cardveil_core::flow::SinkStanding;
use cardveil_core::id::SinkName;
use cardveil_server::sinks::Target;
use serde::Serialize;

use super::Deployment;
use super::config::{Config, Sink};

/// A sink that is configured here.
#[derive(Serialize)]
pub(crate) struct Listed {
    name: SinkName,
    kind: &'static str,
    target: String,
    required: bool,
    place: i64,
    lag_entries: u64,
    lag_secs: u64,
    /// How many of the entries from before it was there it does not have yet.
    history_left: u64,
    pub(crate) full: bool,
    taken_at: Option<String>,
    pub(crate) error: Option<String>,
}

impl Listed {
    /// For `doctor`.
    pub(crate) fn words(&self) -> String {
        let full = if self.full {
            ", and nothing is released until it has caught up"
        } else {
            ""
        };
        let behind = format!("{}: {} entries behind{full}", self.name, self.lag_entries);
        match &self.error {
            Some(error) => format!("{behind}: {error}"),
            None => behind,
        }
    }
}

/// The configured sinks, as they stand.
pub(crate) async fn listed(deployment: &Deployment) -> anyhow::Result<Vec<Listed>> {
    let sinks = &configured(&deployment.config);
    let names: Vec<_> = sinks.iter().map(|sink| sink.name.clone()).collect();
    let standings = deployment.service.sink_standings(&names).await?;
    let now = deployment.service.now();
    let one = |(sink, standing): (&Sink, SinkStanding)| {
        let (kind, target) = words(&sink.target()?);
        let lag = standing.lag;
        let progress = standing.progress;
        Ok(Listed {
            name: standing.name,
            kind,
            target,
            required: sink.required,
            place: progress.as_ref().map_or(0, |row| row.place),
            lag_entries: lag.entries,
            lag_secs: lag.age(now).as_secs(),
            history_left: progress
                .as_ref()
                .and_then(|row| row.history)
                .map_or(0, |history| history.left()),
            full: progress.is_some()
                && sink.limit().is_some_and(|limit| limit.is_passed(&lag, now)),
            taken_at: progress
                .as_ref()
                .and_then(|row| row.taken_at)
                .map(|at| at.to_string()),
            error: progress.and_then(|row| row.error),
        })
    };
    sinks.iter().zip(standings).map(one).collect()
}

fn configured(config: &Config) -> Vec<Sink> {
    config.audit.sink.clone()
}

fn words(target: &Target) -> (&'static str, String) {
    match target {
        Target::File(path) => ("file", path.display().to_string()),
        Target::Syslog(receiver) => ("syslog", receiver.to_string()),
    }
}
