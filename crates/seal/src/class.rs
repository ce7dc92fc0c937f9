//! What class keys are for, and how one is stored.

use std::fmt;

/// What a class key is for. Codes and names are written to storage: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Wraps the DEKs of card records (PAN, expiry, name).
    Pan = 1,
    /// Wraps the DEKs of card verification values.
    Cvv = 2,
    /// Wraps the DEKs of PINs.
    Pin = 3,
    /// Wraps the DEKs of what merchants and their users authenticate with: API secrets, TOTP seeds.
    Credential = 4,
    /// Authenticates lookup keys, such as the index by PAN.
    Index = 5,
    /// Authenticates what we hand out and later check, such as an Access-Token.
    Access = 6,
    /// Signs the manifest of the served scripts.
    Manifest = 7,
    /// Signs how far the audit log had come.
    Audit = 8,
    /// Derives card verification values. Such keys are the card programme's: none is generated,
    /// each version is another card verification key, and there may be none.
    Cvk = 9,
    /// Authenticates the rows that decide. A database that programs from before this class serve on
    /// has no key of it.
    Row = 10,
}

/// How keys of a class are used.
#[derive(PartialEq, Eq)]
pub(crate) enum Purpose {
    Wrap,
    Authenticate,
    AuthenticateRows,
    Sign,
    Derive,
}

impl Class {
    /// Every class of which each environment has a key from its beginning, in the order of the codes.
    pub const ALL: [Self; 8] = [
        Self::Pan,
        Self::Cvv,
        Self::Pin,
        Self::Credential,
        Self::Index,
        Self::Access,
        Self::Manifest,
        Self::Audit,
    ];

    /// The stable byte that stands for the class in storage and in AAD.
    pub const fn code(self) -> u8 {
        self as u8
    }

    pub fn from_code(code: u8) -> Option<Self> {
        Self::known().find(|class| class.code() == code)
    }

    /// The stable name, for operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pan => "pan",
            Self::Cvv => "cvv",
            Self::Pin => "pin",
            Self::Credential => "credential",
            Self::Index => "index",
            Self::Access => "access",
            Self::Manifest => "manifest",
            Self::Audit => "audit",
            Self::Cvk => "cvk",
            Self::Row => "row",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::known().find(|class| class.name() == name)
    }

    fn known() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain([Self::Cvk, Self::Row])
    }

    /// Whether records name the version of the class key that they are under.
    pub const fn wraps(self) -> bool {
        match self {
            Self::Pan | Self::Cvv | Self::Pin | Self::Credential => true,
            Self::Index | Self::Access | Self::Manifest | Self::Audit | Self::Cvk | Self::Row => {
                false
            }
        }
    }

    /// What keys of the class are used with and for, in words for a cryptographic inventory (PCI
    /// DSS 12.3.3): algorithm, strength in bits, purpose.
    pub const fn inventory(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Pan => (
                "AES-256-GCM",
                256,
                "wraps the keys of card records: number, expiry, name",
            ),
            Self::Cvv => (
                "AES-256-GCM",
                256,
                "wraps the keys of card verification values",
            ),
            Self::Pin => ("AES-256-GCM", 256, "wraps the keys of PINs"),
            Self::Credential => (
                "AES-256-GCM",
                256,
                "wraps the keys of API secrets, authenticator secrets and webhook secrets",
            ),
            Self::Index => ("HMAC-SHA-256", 256, "index by card number"),
            Self::Access => (
                "HMAC-SHA-256",
                256,
                "login tokens, client tokens, one-time codes",
            ),
            Self::Manifest => ("Ed25519", 128, "signs the manifest of served scripts"),
            Self::Audit => ("Ed25519", 128, "signs the checkpoints of the audit log"),
            Self::Cvk => (
                "DES, two keys",
                112,
                "derives card verification values (CVV2, CVC2)",
            ),
            Self::Row => (
                "AES-256-CMAC",
                256,
                "authenticates the rows that decide whose card is whose and who may call",
            ),
        }
    }

    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::Pan | Self::Cvv | Self::Pin | Self::Credential => Purpose::Wrap,
            Self::Index | Self::Access => Purpose::Authenticate,
            Self::Manifest | Self::Audit => Purpose::Sign,
            Self::Cvk => Purpose::Derive,
            Self::Row => Purpose::AuthenticateRows,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A class key as it is stored: sealed under the root. Not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    pub class: Class,
    /// Counts up from 1 within a class and environment.
    pub version: u32,
    /// What [`Root::wrap`](crate::Root::wrap) returned.
    pub wrapped: Vec<u8>,
}
