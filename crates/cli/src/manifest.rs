//! `cardveil manifest`: the manifest of the served scripts.

use std::path::Path;

use cardveil_seal::PublicKey;
use cardveil_server::manifest;
use clap::Subcommand;
use serde::Serialize;

use crate::deployment::Deployment;
use crate::print;

#[derive(Subcommand)]
pub(crate) enum ManifestCommand {
    /// Print the public key that signs it, for merchants to pin
    Key,
}

/// A public key as a JWK (RFC 8037 2).
#[derive(Serialize)]
pub(crate) struct Jwk {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

impl Jwk {
    pub(crate) fn of(key: &PublicKey) -> Self {
        Self {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: manifest::kid(key),
            x: manifest::key_text(key),
        }
    }

    /// For people.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        print::line(&format!("key  {}", self.x))?;
        print::line(&format!("kid  {}", self.kid))
    }
}

/// `cardveil manifest`.
pub(crate) async fn run(config: &Path, command: ManifestCommand) -> anyhow::Result<()> {
    let house = Deployment::load(config).await?;
    match command {
        ManifestCommand::Key => {
            let jwk = Jwk::of(&house.service.vault().manifest_key()?);
            print::object(&jwk, Jwk::print)
        }
    }
}
