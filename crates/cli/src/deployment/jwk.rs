//! A public key as other programs take it.

use cardveil_seal::PublicKey;
use cardveil_server::manifest;
use serde::Serialize;

use crate::print;

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
