//! Names of things. Each kind is its own type, so that none can be passed for another.

pub(crate) mod base62;

use std::fmt;
use std::sync::Arc;

use cardveil_seal::Entropy;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not an id: the kind of id that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct InvalidId(&'static str);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the form and takes the text.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId($what)) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                (*id.0).to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

/// Ids that we make: a prefix and 22 base62 characters (128 random bits).
macro_rules! made_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $prefix:literal) => {
        text_id!(
            $(#[$doc])*
            $name,
            $what,
            |text| text.strip_prefix($prefix).is_some_and(|rest| is_word(rest, 1, 40))
        );

        impl $name {
            /// A new one.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                let mut random = [0; 16];
                entropy.fill(&mut random);
                Self(format!("{}{}", $prefix, base62::encode(&random)).into())
            }
        }
    };
}

/// 1 to `max` ASCII letters, digits, `_` or `-`.
fn is_word(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

made_id!(
    /// A merchant, `mer_...`.
    MerchantId, "merchant id", "mer_"
);
made_id!(
    /// A credential, `crd_...`. It names an Api-Key and is not one.
    CredentialId, "credential id", "crd_"
);
made_id!(
    /// The public id in a frame's address, `emb_...`.
    EmbedId, "embed id", "emb_"
);
made_id!(
    /// One claim of a token by a holder key, `rdm_...`.
    RedemptionId, "redemption id", "rdm_"
);
text_id!(
    /// KeySecure's card order number, such as `C202605220001`: 1 to 64 letters, digits, `_`, `-`.
    CardNo, "card number of an order", |text| is_word(text, 1, 64)
);
text_id!(
    /// Equals' account, such as `F50091`: 1 to 64 letters, digits, `_`, `-`.
    AccountId, "account id", |text| is_word(text, 1, 64)
);

text_id!(
    /// A wallet's name for the device that it is on: 1 to 64 letters, digits, `_`, `-`.
    DeviceId, "device id", |text| is_word(text, 1, 64)
);

text_id!(
    /// An operator's name for a sink of the audit log: 1 to 40 letters, digits, `_`, `-`.
    SinkName, "name of a sink", |text| is_word(text, 1, 40)
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// From the hyphenated form of 36 characters, and from no other.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId($what));
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId($what))
            }

            /// A new one (RFC 9562 version 4).
            pub fn generate(entropy: &dyn Entropy) -> Self {
                let mut random = [0; 16];
                entropy.fill(&mut random);
                Self(uuid::Builder::from_random_bytes(random).into_uuid())
            }

            /// The 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From the 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }
    };
}

uuid_id!(
    /// Equals' card id.
    CardId, "card id (a UUID)"
);
uuid_id!(
    /// Equals' person id: the cardholder.
    PersonId, "person id (a UUID)"
);
uuid_id!(
    /// One attempt of a frame at a redemption. The frame makes it, and sends it again with a retry.
    AttemptId, "attempt id (a UUID)"
);
uuid_id!(
    /// One MFA session of a person for a card and an operation.
    SessionId, "MFA session id (a UUID)"
);
uuid_id!(
    /// One enrolment of an authenticator app.
    FactorId, "factor id (a UUID)"
);
uuid_id!(
    /// A card's token in a digital wallet, as the network knows it.
    WalletTokenId, "digital wallet token (a UUID)"
);
uuid_id!(
    /// A merchant's subscription to events.
    SubscriptionId, "subscription id (a UUID)"
);
uuid_id!(
    /// One event on its way to one subscription: the message id, the same at every attempt.
    DeliveryId, "delivery id (a UUID)"
);
uuid_id!(
    /// A network from which a credential may call.
    NetworkId, "network id (a UUID)"
);

impl NetworkId {
    pub(crate) fn derived(digest: [u8; 32]) -> Self {
        Self(derived(digest))
    }
}

impl SessionId {
    pub(crate) fn derived(digest: [u8; 32]) -> Self {
        Self(derived(digest))
    }

    /// Whether it is named by what it is for, and not by chance.
    pub(crate) fn is_derived(&self) -> bool {
        self.0.get_version() == Some(uuid::Version::Custom)
    }
}

/// From a digest (RFC 9562 version 8).
fn derived(digest: [u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

uuid_id!(
    /// One claim, made by us: no two commits share one, whatever a frame sends twice.
    ClaimId, "claim id (a UUID)"
);

uuid_id!(
    /// One chain of the audit log: a SQLite database has one, and each process that writes to a
    /// PostgreSQL has its own.
    ChainId, "chain id (a UUID)"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_to_their_form() {
        assert!(MerchantId::parse("mer_1").is_ok());
        for wrong in ["", "mer_", "emb_1", "mer_a b", "mer_é", "MER_1"] {
            assert!(MerchantId::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(CardNo::parse("C202605220001").is_ok());
        assert!(CardNo::parse(&"C".repeat(65)).is_err());
        assert!(CardId::parse("e9293471-5eb3-4dbc-916c-dbaf9e2deefd").is_ok());
        assert!(
            CardId::parse("e92934715eb34dbc916cdbaf9e2deefd").is_err(),
            "no second form"
        );
        assert!(CardId::parse("{e9293471-5eb3-4dbc-916c-dbaf9e2deefd}").is_err());
    }
}
