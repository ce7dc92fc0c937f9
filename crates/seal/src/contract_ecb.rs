//! AES-256 in ECB mode with PKCS#7 padding, because a published contract says so, and for nothing
//! else: KeySecure, "private/info", "active" and "pin/set" ("AES/ECB/PKCS5Padding" in Java's
//! words).
//!
//! ECB shows which blocks are equal, and nothing here tells whether a ciphertext was altered. It
//! never guards data at rest; on the wire it travels inside TLS, which does what it cannot. The
//! functions say in their names what they lack, so that nobody takes them for [`crate::Dek::seal`].
//!
//! **Invariant.** One error for all that can be wrong with a ciphertext: its length, its padding,
//! its key. What differs would be a padding oracle (Vaudenay, EUROCRYPT 2002). Callers answer for
//! the same: what they say of a wrong plaintext must be what they say of a refused ciphertext.

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use zeroize::Zeroize as _;

use crate::{Error, Key, Secret};

/// Bytes in a block.
const BLOCK: usize = 16;

/// Pads and encrypts. The answer is 1 to 16 bytes longer, always whole blocks.
pub fn encrypt_unauthenticated(key: &Key, plaintext: &Secret) -> Result<Vec<u8>, Error> {
    let cipher = unbound(key)
        .and_then(PaddedBlockEncryptingKey::ecb_pkcs7)
        .map_err(|_| Error::Library)?;
    let clear = plaintext.expose();
    // Room for the padding: a vector that grows would leave the plaintext in its old place.
    let mut buffer = Vec::with_capacity(clear.len() + BLOCK);
    buffer.extend_from_slice(clear);
    if cipher.encrypt(&mut buffer).is_err() {
        buffer.zeroize();
        return Err(Error::Library);
    }
    Ok(buffer)
}

/// Decrypts and takes the padding off. Any fault is [`Error::Refused`].
pub fn decrypt_unauthenticated(key: &Key, ciphertext: &[u8]) -> Result<Secret, Error> {
    let cipher = unbound(key)
        .and_then(PaddedBlockDecryptingKey::ecb_pkcs7)
        .map_err(|_| Error::Library)?;
    let mut buffer = ciphertext.to_vec();
    let opened = match cipher.decrypt(&mut buffer, DecryptionContext::None) {
        Ok(clear) => Ok(Secret::new(clear.to_vec())),
        Err(_) => Err(Error::Refused),
    };
    buffer.zeroize();
    opened
}

fn unbound(key: &Key) -> Result<UnboundCipherKey, aws_lc_rs::error::Unspecified> {
    UnboundCipherKey::new(&AES_256, key.expose())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::common::hex;

    fn vectors(file: &str) -> Vec<Value> {
        let file: Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap().clone();
        assert_eq!(file["count"], vectors.len());
        vectors
    }

    /// The published vectors have no padding: theirs is the ciphertext before the padding's block.
    #[test]
    fn nist_aes_256_ecb() {
        let vectors = vectors(include_str!("../tests/vectors/nist_aes_256_ecb.json"));
        for vector in &vectors {
            let key = Key::from_slice(&hex(&vector["key"])).unwrap();
            let [plaintext, expected] = ["plaintext", "ciphertext"].map(|part| hex(&vector[part]));
            let sealed = encrypt_unauthenticated(&key, &Secret::new(plaintext.clone())).unwrap();
            let (blocks, padding) = sealed.split_at(plaintext.len());
            assert_eq!(blocks, expected);
            assert_eq!(padding.len(), BLOCK);
            let opened = decrypt_unauthenticated(&key, &sealed).unwrap();
            assert_eq!(opened.expose(), plaintext);
        }
        assert_eq!(vectors.len(), 12);
    }

    /// With padding there are no published vectors; these are another implementation's.
    #[test]
    fn openssl_aes_256_ecb_with_padding() {
        let vectors = vectors(include_str!(
            "../tests/vectors/openssl_aes_256_ecb_pkcs7.json"
        ));
        for vector in &vectors {
            let key = Key::from_slice(&hex(&vector["key"])).unwrap();
            let [plaintext, expected] = ["plaintext", "ciphertext"].map(|part| hex(&vector[part]));
            let sealed = encrypt_unauthenticated(&key, &Secret::new(plaintext.clone())).unwrap();
            assert_eq!(sealed, expected);
            let opened = decrypt_unauthenticated(&key, &expected).unwrap();
            assert_eq!(opened.expose(), plaintext);
        }
        assert_eq!(vectors.len(), 5);
    }

    #[test]
    fn whatever_is_wrong_with_a_ciphertext_is_one_error() {
        let key = Key::from_slice(&[b's'; 32]).unwrap();
        let sealed = encrypt_unauthenticated(&key, &Secret::new(b"739".to_vec())).unwrap();
        let other = Key::from_slice(&[b't'; 32]).unwrap();
        let mut wrong: Vec<(&Key, Vec<u8>)> = vec![
            (&key, vec![]),
            (&key, vec![0; 15]),
            (&key, vec![0; 16]),
            (&key, vec![0; 17]),
            (&other, sealed.clone()),
        ];
        // Paddings that are not PKCS#7: of no byte, of more than a block, of unequal bytes.
        for last in [[7, 0], [17, 17], [3, 2]] {
            let mut clear = vec![b'1'; 14];
            clear.extend(last);
            let whole = encrypt_unauthenticated(&key, &Secret::new(clear)).unwrap();
            wrong.push((&key, whole.iter().take(BLOCK).copied().collect()));
        }
        for (key, ciphertext) in wrong {
            let told = decrypt_unauthenticated(key, &ciphertext).unwrap_err();
            assert!(matches!(told, Error::Refused), "{told}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(key in any::<[u8; 32]>(), clear in proptest::collection::vec(any::<u8>(), 0..100)) {
            let key = Key::from_slice(&key).unwrap();
            let sealed = encrypt_unauthenticated(&key, &Secret::new(clear.clone())).unwrap();
            prop_assert_eq!(sealed.len(), (clear.len() / BLOCK + 1) * BLOCK);
            let opened = decrypt_unauthenticated(&key, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), clear);
        }

        #[test]
        fn a_strangers_bytes_are_refused_or_opened_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let key = Key::from_slice(&[7; 32]).unwrap();
            match decrypt_unauthenticated(&key, &bytes) {
                Ok(opened) => prop_assert!(opened.expose().len() < bytes.len()),
                Err(told) => prop_assert!(matches!(told, Error::Refused)),
            }
        }
    }
}
