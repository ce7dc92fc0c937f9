//! Base32 (RFC 4648 section 6) without padding: how authenticator apps take a secret.

use cardveil_seal::Secret;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The text of a secret, which is as secret.
pub(crate) fn encode(secret: &Secret) -> Secret {
    let bytes = secret.expose();
    // Its exact size, so that no growing leaves a copy behind.
    let mut text = Vec::with_capacity((bytes.len() * 8).div_ceil(5));
    let mut bits: u16 = 0;
    let mut count = 0;
    for byte in bytes {
        bits = (bits << 8) | u16::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(letter(bits >> count));
        }
    }
    if count > 0 {
        text.push(letter(bits << (5 - count)));
    }
    Secret::new(text)
}

fn letter(bits: u16) -> u8 {
    let index = usize::from(bits & 0x1f);
    // Five bits are always within the alphabet.
    ALPHABET.get(index).copied().unwrap_or(b'A')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_section_10() {
        let vectors = [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ];
        for (text, expected) in vectors {
            let encoded = encode(&Secret::new(text.into()));
            assert_eq!(encoded.expose(), expected.as_bytes());
        }
        assert_eq!(vectors.len(), 7);
    }

    #[test]
    fn a_secret_of_twenty_bytes_is_32_letters() {
        let encoded = encode(&Secret::new(b"12345678901234567890".to_vec()));
        assert_eq!(encoded.expose(), b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }
}
