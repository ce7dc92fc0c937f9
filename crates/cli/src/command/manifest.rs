//! `cardveil manifest`: the manifest of the served scripts.

use std::path::Path;

use clap::Subcommand;

use crate::deployment::Deployment;
use crate::deployment::jwk::Jwk;
use crate::print;

#[derive(Subcommand)]
pub(crate) enum ManifestCommand {
    /// Print the public key that signs it, for merchants to pin
    Key,
}

/// `cardveil manifest`.
pub(crate) async fn run(config: &Path, command: ManifestCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    match command {
        ManifestCommand::Key => {
            let jwk = Jwk::of(&deployment.service.vault().manifest_key()?);
            print::object(&jwk, Jwk::print)
        }
    }
}
