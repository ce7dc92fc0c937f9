//! 32 bytes that name a thing, in base64url where they are text.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// From unpadded base64url.
            pub fn parse(text: &str) -> Option<Self> {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl From<$name> for String {
            fn from(digest: $name) -> Self {
                digest.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text).ok_or("not 32 bytes in base64url")
            }
        }
    };
}

pub(crate) use digest;

digest!(
    /// SHA-256 of a token's text: it finds and verifies a token, and never is one.
    TokenHash
);
digest!(
    /// RFC 7638 thumbprint of a holder key.
    Thumbprint
);
digest!(
    /// SHA-256 of a certificate's DER form: `x5t#S256` (RFC 8705 3.1).
    CertificateHash
);
digest!(
    /// SHA-256 of a certificate's `SubjectPublicKeyInfo` in DER (RFC 7469 2.4).
    PublicKeyHash
);
