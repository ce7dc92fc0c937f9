//! Why an operation was refused. For logs and for the caller's own decisions; never an answer.

use std::{io, path::PathBuf};

use crate::class::Class;

/// Every way in which this crate can refuse.
///
/// **Invariant.** No variant holds a secret, a plaintext, a ciphertext or any other input bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first byte names no algorithm that this version knows.
    #[error("sealed by an algorithm that this version does not know")]
    UnknownAlgorithm,
    /// Fewer bytes than the format's fixed parts.
    #[error("sealed bytes are cut short")]
    TooShort,
    /// A part is longer than its length prefix (u32) or the cipher's limit can tell.
    #[error("a value is too long to be sealed or bound")]
    TooLong,
    /// The tag does not fit: other bytes, another key, or another place than where it was sealed.
    /// Without a tag (ECB): the padding does not fit.
    #[error("sealed bytes do not open here: altered, moved, or sealed under another key")]
    Refused,
    /// The signature is not this key's of these bytes.
    #[error("the signature does not fit")]
    BadSignature,
    /// A wrapped DEK names a class key version that the keyring does not hold.
    #[error("the keyring holds no version {version} of the {class} key")]
    UnknownVersion {
        /// The class that was asked for.
        class: Class,
        /// The version that the wrapped DEK names.
        version: u32,
    },
    /// The keyring was opened without any key of a class.
    #[error("there is no {0} key among the class keys")]
    MissingClass(Class),
    /// The same class and version twice.
    #[error("version {version} of the {class} key is there twice")]
    DuplicateKey {
        /// The class that is there twice.
        class: Class,
        /// The version that is there twice.
        version: u32,
    },
    /// Keys that were not bound together.
    #[error(
        "the class keys were not made together: version {version} of the {class} key does not go with those before it"
    )]
    OfOtherKeys {
        /// The class of the first that does not.
        class: Class,
        /// Its version.
        version: u32,
    },
    /// The class has no version after this one.
    #[error("the {0} key has used up its version numbers")]
    VersionsExhausted(Class),
    /// A class was asked to do what another purpose's do: wrap, authenticate or sign.
    #[error("the {0} key is not for this use")]
    WrongPurpose(Class),
    /// Not 32 bytes.
    #[error("a key must be exactly 32 bytes")]
    KeyLength,
    /// Not a point of P-256: wrong coordinate length, off the curve, or the identity.
    #[error("the holder's key is not a valid P-256 public key")]
    InvalidHolderKey,
    /// AWS-LC or rustls failed in a way that no input explains.
    #[error("the cryptographic library failed")]
    Library,
    /// There is a file already; a root key is never overwritten.
    #[error(
        "{} exists already; a root key is never overwritten, choose another path or move the file away",
        .path.display()
    )]
    RootExists {
        /// The file.
        path: PathBuf,
    },
    /// Group or others may read or write the root key.
    #[error(
        "{} has mode {mode:03o}, so others than its owner can use the root key; run: chmod 600 '{}'",
        .path.display(), .path.display()
    )]
    RootExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a root key file.
    #[error(
        "{} is not a root key file (one line, `cardveil-root-1` and 64 hex digits); restore it from your backup of the root key",
        .path.display()
    )]
    RootFormat {
        /// The file.
        path: PathBuf,
    },
    /// Not what a split asks for.
    #[error("a root key is split into 2 to 16 shares, of which 2 or more open it")]
    ShareCount,
    /// Not a share of a root key, or not as it was written.
    #[error("{} is not a share of a root key as it was written: {why}", .path.display())]
    ShareFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Fewer shares than open the key.
    #[error("{missing} more of the root key's shares are needed: {there} of {threshold} are there")]
    SharesMissing {
        /// How many are missing.
        missing: u8,
        /// How many are there.
        there: u8,
        /// How many open the key.
        threshold: u8,
    },
    /// Shares that were not made together, or the same one twice.
    #[error("{} and {} {why}", .path.display(), .other.display())]
    SharesDiffer {
        /// A file.
        path: PathBuf,
        /// The file that it does not go with.
        other: PathBuf,
        /// What is wrong with them.
        why: &'static str,
    },
    /// The shares give a key that is not the one that was split.
    #[error("the shares give another key than the one that was split: one of them was altered")]
    SharesAltered,
    /// The root key cannot be reached. The text holds no secret.
    #[error("the root key cannot be reached: {0}")]
    RootUnavailable(String),
    /// The PIN of the root key's token is wrong or locked, or was not entered. Whoever goes on
    /// trying locks the token for everybody. The text holds no secret.
    #[error("the root key cannot be reached: {0}")]
    PinRefused(String),
    /// The class keys do not open; the text says why, and holds no secret.
    #[error("the class keys do not open: {0}")]
    KeysUnopened(String),
    /// The operating system refused.
    #[error("cannot {action} the root key file {}", .path.display())]
    RootIo {
        /// What was being done: `create`, `write`, `open` or `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
