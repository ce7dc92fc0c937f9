//! Client certificates, and how a credential is bound to one (RFC 8705), so that its Api-Key is of
//! no use to whoever does not hold the certificate's private key as well.
//!
//! **Invariant:** a binding narrows. A certificate admits nobody without the Api-Key, and a binding
//! that cannot be judged, because no certificate was shown, is not met.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Credential;
use crate::term::{CertificateHash, PublicKeyHash};

/// What counts of the certificate that a caller showed, after its authority was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub hash: CertificateHash,
    pub key: PublicKeyHash,
    /// The DNS names among its subject's alternative names, as they are written there.
    pub dns_names: Vec<String>,
}

/// A certificate that a credential is bound to.
///
/// Its text is `key:` or `certificate:` and the hash in unpadded base64url, or `dns:` and the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pin {
    /// Any certificate of this key, and so the renewed one.
    Key(PublicKeyHash),
    /// This certificate alone.
    Certificate(CertificateHash),
    /// Any certificate with this DNS name (RFC 8705 2.1.2, `tls_client_auth_san_dns`), in lower
    /// case. It is worth what the authorities look at before they give a name to somebody.
    Dns(String),
}

/// A text that is no [`Pin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPin {
    /// It begins otherwise.
    #[error("it begins with none of key:, certificate: and dns:")]
    Kind,
    /// What follows is no SHA-256.
    #[error("a hash is a SHA-256: 43 characters of base64url, or 64 hexadecimal digits")]
    Hash,
    /// What follows is no host's name.
    #[error("a name is a host's, such as partner.example, and no pattern")]
    Name,
}

impl Pin {
    /// From its text. A hash may be in hexadecimal digits, too, with or without colons, as openssl
    /// has it.
    pub fn parse(text: &str) -> Result<Self, InvalidPin> {
        let (kind, value) = text.split_once(':').ok_or(InvalidPin::Kind)?;
        let hash = || {
            let hash = PublicKeyHash::parse(value).map(|hash| hash.0);
            hash.or_else(|| hexadecimal(value)).ok_or(InvalidPin::Hash)
        };
        match kind {
            "key" => Ok(Self::Key(PublicKeyHash(hash()?))),
            "certificate" => Ok(Self::Certificate(CertificateHash(hash()?))),
            "dns" if is_host(value) => Ok(Self::Dns(value.to_ascii_lowercase())),
            "dns" => Err(InvalidPin::Name),
            _ => Err(InvalidPin::Kind),
        }
    }

    /// Whether this is such a certificate.
    pub fn fits(&self, shown: &ClientCertificate) -> bool {
        match self {
            Self::Key(key) => *key == shown.key,
            Self::Certificate(hash) => *hash == shown.hash,
            Self::Dns(name) => {
                let mut names = shown.dns_names.iter();
                names.any(|shown| shown.eq_ignore_ascii_case(name))
            }
        }
    }
}

impl Credential {
    /// Whether it may be used by who showed this certificate, or none.
    pub fn allows_certificate(&self, shown: Option<&ClientCertificate>) -> bool {
        let pins = &self.client_certificates;
        pins.is_empty() || shown.is_some_and(|shown| pins.iter().any(|pin| pin.fits(shown)))
    }
}

fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<_> = text
        .bytes()
        .filter(|byte| *byte != b':')
        .map(|byte| char::from(byte).to_digit(16))
        .collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// A name as it is in certificates (RFC 5280 4.2.1.6), without a wildcard.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl fmt::Display for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(out, "key:{key}"),
            Self::Certificate(hash) => write!(out, "certificate:{hash}"),
            Self::Dns(name) => write!(out, "dns:{name}"),
        }
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        pin.to_string()
    }
}

impl TryFrom<String> for Pin {
    type Error = InvalidPin;
    fn try_from(text: String) -> Result<Self, InvalidPin> {
        Self::parse(&text)
    }
}
