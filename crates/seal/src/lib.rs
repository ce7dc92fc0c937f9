//! Cryptography for Cardveil: bytes in, bytes out, and the only crate that touches it.
//!
//! # What is here
//!
//! | module | what it does |
//! | --- | --- |
//! | [`entropy`] | where chance comes from; injected, so that tests can repeat it |
//! | [`secret`] | boxed, zeroised bytes that are compared in constant time and never printed |
//! | [`digest`] | SHA-256, HMAC-SHA256 |
//! | [`root`] | the key above all keys: in a file, or in several while one takes the other's place |
//! | [`shares`] | the key above all keys in shares, of which some open it |
//! | [`pkcs11`] | the key above all keys in a hardware module |
//! | [`class`] | what class keys are for, and how one is stored |
//! | [`keyring`] | class keys under the root, record keys (DEKs) under a class key, fields under a DEK |
//! | [`contract_ecb`] | AES-ECB for the one contract that demands it; never for anything else |
//! | [`cvk`] | card verification keys, and the values that they give |
//! | [`sign`] | Ed25519 signatures by class keys that sign (RFC 8032) |
//! | [`stream`] | what is too long to hold, such as a backup, in chunks under a key of its own |
//! | [`totp`] | the codes of authenticator apps (RFC 4226, RFC 6238) |
//! | [`hpke`] | sealing to the key that a cardholder's frame or device made (RFC 9180) |
//!
//! The primitives are AWS-LC's, through `aws-lc-rs`, HPKE is rustls', shares are blahaj's, and
//! the DES of card verification values is `RustCrypto`'s. No cipher, curve or hash
//! is written here; what is written here is which bytes are bound to which.
//!
//! # The key hierarchy
//!
//! ```text
//! root key        Root::wrap            cardveil/kek/v1   environment, class, version,
//!                                                         once it is so: "every row has a MAC", birth
//!   class key     Keyring::new_dek      cardveil/dek/v1   environment, table, row, merchant, class, class key version
//!     DEK         Dek::seal             cardveil/field/v1 environment, table, row, merchant, class, field
//!       field
//! ```
//!
//! The right column is the AAD of each layer. Every part is preceded by its length (u32, big
//! endian), so no two lists of parts have the same bytes. A field's AAD names no class key version:
//! its DEK is its own, and so [`Keyring::rewrap_dek`] moves a record to a newer class key without
//! touching its fields.
//!
//! **Invariant.** What was sealed opens only where it was sealed: the same environment, table, row,
//! merchant, class and field. A record of the test environment never opens in production, and a
//! ciphertext copied to another row or column is refused.
//!
//! **Invariant.** No type that holds key material can be cloned, serialised or shown. [`Secret`]
//! and [`Key`] have an opaque `Debug`; [`Keyring`], [`Dek`] and [`FileRoot`] have none.
//!
//! **Invariant.** An [`Error`] carries no secret and no input bytes, so it may be logged. It tells
//! more than a stranger may know, so it is never an answer.
//!
//! **Invariant.** Every nonce comes from an [`Entropy`], but for those of [`stream`], which count
//! under a key that is used once. The one piece of chance that cannot be injected is HPKE's
//! ephemeral key, which rustls draws from AWS-LC itself.
//!
//! # Formats
//!
//! ```text
//! sealed field, wrapped class key   01 | nonce (12) | ciphertext | tag (16)
//! class key that names its birth    10 | birth (16) | wrapped class key
//! wrapped DEK                       01 | class key version (u32) | nonce (12) | ciphertext (32) | tag (16)
//! ```
//!
//! `01` is AES-256-GCM. Class keys of one birth are those of one deployment, and no others are taken
//! beside them. A new algorithm takes a new byte; the old byte goes on opening.
//!
//! # How to add
//!
//! - **A root provider** (PKCS#11, a KMS): implement [`Root`] in a file of its own beside
//!   [`root::FileRoot`]. Bind the `aad` it is given, give it a name with its own prefix, and run
//!   the cases of `tests/root.rs` on it.
//! - **A class**: add a variant to [`Class`] with the next free code and a name, and say in
//!   `Class::purpose` whether it wraps, authenticates or signs. Codes are never reused. An existing
//!   installation gets a first key of the class ([`Keyring::missing`]) before it opens its keyring.

mod aead;
pub mod class;
mod compare;
pub mod contract_ecb;
pub mod cvk;
pub mod digest;
pub mod entropy;
mod error;
mod exposed;
pub mod hpke;
pub mod keyring;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod root;
pub mod secret;
#[cfg(any(test, feature = "testing"))]
mod seeded;
pub mod shares;
pub mod sign;
pub mod stream;
pub mod totp;

pub use class::{Class, WrappedKey};
pub use compare::constant_time_eq;
pub use cvk::{CvkError, CvkNote, CvkParts, ExpiryOrder};
pub use digest::{hmac_sha256, hmac_sha256_with, sha256, sha384};
pub use entropy::{Entropy, SystemEntropy};
pub use error::Error;
pub use exposed::is_exposed;
#[cfg(any(test, feature = "testing"))]
pub use hpke::holder;
pub use hpke::{HolderKey, Sealed, seal_to};
pub use keyring::{Birth, DEK_ALGORITHM, Dek, Keyring, Place, version_of};
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11Place, Pkcs11Root};
pub use root::{FileRoot, Root, Roots};
pub use secret::{Key, Secret};
#[cfg(any(test, feature = "testing"))]
pub use seeded::SeededEntropy;
pub use shares::{SHARES_MAX, SharesRoot};
pub use sign::PublicKey;
pub use stream::{StreamError, open_stream, read_header, seal_stream};

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;
