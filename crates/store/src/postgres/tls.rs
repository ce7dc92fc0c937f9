//! TLS to PostgreSQL: the server's certificate is verified to an authority that the deployment
//! names, and for the name that the connection string gives (libpq's `verify-full`).
//!
//! **Invariant:** there is no weaker form. Whoever can stand between could otherwise answer as the
//! database does: that a token was not redeemed, or that a card has another key.
//!
//! Where the server asks for a password, the exchange is bound to its certificate
//! (SCRAM-SHA-256-PLUS, RFC 5929 4.1), unless that is signed without a digest of its own (Ed25519).
//! Revocation lists are not read.

use std::error::Error as StdError;
use std::sync::Arc;

use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore, crypto};

/// "ALPN Protocol IDs" of IANA: what a server that speaks TLS from the first byte asks for.
const PROTOCOL: &[u8] = b"postgresql";

/// What verifies the server.
#[derive(Clone)]
pub(super) struct Tls(MakeRustlsConnect);

impl std::fmt::Debug for Tls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tls")
    }
}

/// Why authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// They cannot be read.
    #[error("{0}")]
    Unread(String),
    #[error("it holds no certificate in PEM form")]
    None,
    /// One of them is broken.
    #[error("its certificate number {0} cannot be read")]
    Unreadable(usize),
    /// TLS has no protocol version to speak.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Tls {
    /// Trusts the authorities in a PEM file, and no others: not those of the system, any of which
    /// could vouch for any name.
    pub(super) fn trusting(pem: &[u8]) -> Result<Self, AuthoritiesError> {
        let mut roots = RootCertStore::empty();
        for (place, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let unreadable = || AuthoritiesError::Unreadable(place + 1);
            let certificate = certificate.map_err(|_| unreadable())?;
            roots.add(certificate).map_err(|_| unreadable())?;
        }
        if roots.is_empty() {
            return Err(AuthoritiesError::None);
        }
        // Said here, so that it does not depend on what else is in the program.
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AuthoritiesError::Setup(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self(MakeRustlsConnect::new(config)))
    }

    pub(super) fn connector(&self) -> MakeRustlsConnect {
        self.0.clone()
    }
}

/// What a certificate was refused for, in an operator's words; nothing when it was not that.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what else there is, rustls says in its own words"
)]
pub(super) fn refusal(error: &(dyn StdError + 'static)) -> Option<String> {
    let error = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    let Error::InvalidCertificate(why) = error.downcast_ref::<Error>()? else {
        return None;
    };
    let words = match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it is of another authority than those that are trusted".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name than the connection string's".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        other => other.to_string(),
    };
    Some(format!("the server's certificate is refused: {words}"))
}
