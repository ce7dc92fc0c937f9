//! Bytes that must not leak: boxed, so that a move copies a pointer; zeroised on drop; compared in
//! constant time; never printed, cloned or serialised.
//!
//! What still leaks is the length, and time spent by whoever [`Secret::expose`]s.

use std::fmt;

use zeroize::Zeroize;

use crate::{Entropy, Error, constant_time_eq};

/// Secret bytes of any length, such as an opened field.
///
/// ```compile_fail,E0599
/// # let secret = cardveil_seal::Secret::new(vec![1]);
/// secret.clone();
/// ```
/// ```compile_fail,E0277
/// # let secret = cardveil_seal::Secret::new(vec![1]);
/// println!("{secret}");
/// ```
/// ```compile_fail,E0369
/// # use cardveil_seal::Secret;
/// let _ = Secret::new(vec![1]) == Secret::new(vec![1]);
/// ```
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes over. They are moved to an allocation of their exact size, and the given one
    /// is wiped to its whole capacity, so no copy is left behind.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        let secret = Self(bytes.as_slice().into());
        bytes.zeroize();
        secret
    }

    /// The bytes themselves. Whoever copies them answers for the copy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Compares in a time that depends on the lengths only.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        constant_time_eq(&self.0, other)
    }

    /// Room for `len` secret bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self(vec![0; len].into_boxed_slice())
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A 256-bit key.
///
/// ```compile_fail,E0599
/// # let key = cardveil_seal::Key::generate(&cardveil_seal::SystemEntropy);
/// key.clone();
/// ```
/// ```compile_fail,E0277
/// # let key = cardveil_seal::Key::generate(&cardveil_seal::SystemEntropy);
/// println!("{key}");
/// ```
/// ```compile_fail,E0369
/// # use cardveil_seal::{Key, SystemEntropy};
/// let _ = Key::generate(&SystemEntropy) == Key::generate(&SystemEntropy);
/// ```
pub struct Key(Box<[u8; Self::LEN]>);

impl Key {
    /// Bytes in a key.
    pub const LEN: usize = 32;

    /// A new random key.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut key = Self::zeroed();
        entropy.fill(key.expose_mut());
        key
    }

    /// A key from elsewhere, which must be 32 bytes. The caller wipes its own copy.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != Self::LEN {
            return Err(Error::KeyLength);
        }
        let mut key = Self::zeroed();
        key.0.copy_from_slice(bytes);
        Ok(key)
    }

    /// The bytes themselves. Whoever copies them answers for the copy.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Compares in constant time.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        constant_time_eq(self.0.as_slice(), other)
    }

    pub(crate) fn zeroed() -> Self {
        Self(Box::new([0; Self::LEN]))
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_slice()
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
