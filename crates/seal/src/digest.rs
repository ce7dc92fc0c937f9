//! SHA-256, HMAC-SHA256 and comparison in constant time.
//!
//! `parts` are hashed one after the other, as one message. Where parts of varying length meet, use
//! [`Keyring::mac`](crate::Keyring::mac), which separates them, or separate them yourself.

use aws_lc_rs::{constant_time, digest, hmac};

use crate::Key;

/// SHA-256 of all parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    array(context.finish().as_ref())
}

/// HMAC-SHA256 of all parts, one after the other.
pub fn hmac_sha256(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    mac(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), parts)
}

/// Whether two strings of bytes are equal, in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The MAC under a key that is prepared already. `key` must be one for HMAC-SHA256.
pub(crate) fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

#[expect(
    clippy::expect_used,
    reason = "SHA-256 and HMAC-SHA256 are 32 bytes by definition"
)]
fn array(output: &[u8]) -> [u8; 32] {
    output.try_into().expect("a SHA-256 output is 32 bytes")
}
