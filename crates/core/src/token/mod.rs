//! Client tokens: their text, their states, and the rules by which they are claimed.
//!
//! A token goes to at most one key, ever (P1). The rules are pure: a [`Claim`] and the stored
//! [`Record`] in, a [`Decision`] out. Every store applies them inside its own transaction, so that
//! all stores redeem by the same rules, and [`crate::flow`] runs them beforehand to fail early.
//!
//! Each decision that changes something carries its audit event in the same value (P2).

pub(crate) mod base62;
mod codec;
mod lives;
mod state;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

pub use crate::clock::CLOCKS_APART;
pub use codec::{ClientToken, Malformed, Said, Unchecked};
pub use lives::{CredentialLife, EmbedLife, Lives, LivesOf, MerchantLife};
pub use state::{
    Around, Attempt, Cause, Claim, ClaimKind, Claimed, Decision, Grant, Held, Observation, Record,
    Release, State, Verdict, Write,
};

use std::time::Duration;

/// How long a token waits for its redemption (KeySecure: `expires_in`; Equals Money: "5 minutes").
pub const TTL: Duration = Duration::from_secs(300);
/// How long after the claim the key may ask for further fields.
pub const REVEAL_WINDOW: Duration = Duration::from_secs(60);
/// How long after a field's release the key may ask for that field again.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(30);
/// How often it may.
pub const REPEATS_MAX: u8 = 3;
/// How long after its issue a token can still be redeemed, by anyone, if it was claimed at its end.
pub const LIFE: Duration = TTL
    .saturating_add(REVEAL_WINDOW)
    .saturating_add(REPEAT_WINDOW);
/// How often one token answers whether its card can go into a wallet; each of three wallets on each
/// of three kinds of device, and some retries.
pub const CHECKS_MAX: usize = 16;
/// How many refusals of one token are records; what comes after is counted in its row, and the count is
/// on record when the row goes. The first try of another key is on record always.
pub const REFUSALS_RECORDED_MAX: u32 = 16;
/// How many events of a browser one redemption records; what comes after is refused.
pub const EVENTS_MAX: u16 = 64;
/// How long a token's row is kept after its issue; past it, the token is unknown.
pub const RETENTION: Duration = Duration::from_secs(3_600);

/// How long a login token of KeySecure ("Access-Token") is good.
pub const ACCESS_TTL: Duration = Duration::from_secs(2 * 3_600);

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Showing the card (Equals Money: the default).
    #[serde(rename = "VIEW_CARD")]
    ViewCard,
    /// Putting it into a digital wallet.
    #[serde(rename = "ADD_CARD_TO_WALLET")]
    AddCardToWallet,
}

impl Operation {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewCard => "VIEW_CARD",
            Self::AddCardToWallet => "ADD_CARD_TO_WALLET",
        }
    }

    /// The operation of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ViewCard, Self::AddCardToWallet]
            .into_iter()
            .find(|op| op.as_str() == text)
    }
}

/// A number in every token, raised at each restore or promotion, so that no token survives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

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

/// Where a token's row is: its second of issue, which the token carries, then its hash. The time
/// comes first so that new rows land at the end of the table, which is worth several times the
/// commit rate of rows that land anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey {
    /// Seconds since the Unix epoch.
    pub issued_secs: u32,
    /// SHA-256 of the text.
    pub hash: TokenHash,
}
