//! `cardveil epoch`: looking at it, and raising it by hand.

use std::path::Path;

use cardveil_core::audit::{Kind, Target};
use cardveil_core::verb::{Commit, RaiseEpoch};
use clap::Subcommand;
use serde_json::json;

use crate::deployment::{Deployment, operator};
use crate::print::{self, Yes};

#[derive(Subcommand)]
pub(crate) enum EpochCommand {
    /// Show it
    Show,
    /// Raise it: every token and login issued before is refused from now on
    Raise(Yes),
}

/// `cardveil epoch`.
pub(crate) async fn run(config: &Path, command: EpochCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    let epoch = match command {
        EpochCommand::Show => deployment.store.epoch().await?,
        EpochCommand::Raise(yes) => {
            yes.confirm("Every token and login issued before is refused, on all nodes.")?;
            let target = Target {
                resource: Some("epoch".into()),
                ..Target::default()
            };
            let event = operator().event(deployment.service.now(), Kind::EpochRaised, None, target);
            deployment.store.commit(RaiseEpoch(event)).await?
        }
    };
    let epoch = epoch.0;
    print::object(&json!({ "epoch": epoch }), |_| {
        print::line(&epoch.to_string())
    })
}
