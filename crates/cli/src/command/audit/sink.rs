//! `cardveil audit sink`: how the audit log's sinks stand.

use std::path::Path;

use clap::Subcommand;

use crate::deployment::Deployment;
use crate::deployment::sinks::listed;
use crate::print;

#[derive(Subcommand)]
pub(crate) enum SinkCommand {
    /// List the sinks: how far each has come, and why it takes nothing
    List,
}

/// `cardveil audit sink`.
pub(crate) async fn run(config: &Path, command: SinkCommand) -> anyhow::Result<()> {
    let SinkCommand::List = command;
    let deployment = Deployment::load(config).await?;
    let sinks = listed(&deployment).await?;
    let columns = [
        "name",
        "kind",
        "required",
        "place",
        "lag_entries",
        "lag_secs",
        "history_left",
        "taken_at",
        "error",
    ];
    print::list(&sinks, &columns)
}
