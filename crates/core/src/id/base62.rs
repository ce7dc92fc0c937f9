//! Base62 in blocks of 8 bytes, so that every text has one meaning and every value one text.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^11 is the first power of 62 over 2^64.
const BLOCK_CHARS: usize = 11;
const BLOCK_BYTES: usize = 8;

/// Encodes whole blocks of 8 bytes as 11 characters each; a last, shorter block is read as a number
/// with leading zeros.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(BLOCK_BYTES) * BLOCK_CHARS);
    for block in bytes.chunks(BLOCK_BYTES) {
        let value = block
            .iter()
            .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
        push_number(&mut text, value, BLOCK_CHARS);
    }
    text
}

/// Decodes what [`encode`] made of `N` bytes, a multiple of 8; `None` for any other text.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    const { assert!(N.is_multiple_of(BLOCK_BYTES), "whole blocks only") };
    if text.len() != N / BLOCK_BYTES * BLOCK_CHARS {
        return None;
    }
    let mut bytes = [0; N];
    let blocks = text.as_bytes().chunks(BLOCK_CHARS);
    for (to, from) in bytes.chunks_mut(BLOCK_BYTES).zip(blocks) {
        to.copy_from_slice(&number(from)?.to_be_bytes());
    }
    Some(bytes)
}

/// The digit of a value below 62.
pub(crate) fn digit(value: u8) -> u8 {
    DIGITS.get(usize::from(value)).copied().unwrap_or(b'0')
}

/// A CRC-32 as six characters.
pub(crate) fn encode_crc(crc: u32) -> String {
    let mut text = String::with_capacity(6);
    push_number(&mut text, u64::from(crc), 6);
    text
}

fn push_number(text: &mut String, mut value: u64, chars: usize) {
    let mut block = [b'0'; BLOCK_CHARS];
    for place in block.iter_mut().take(chars).rev() {
        *place = digit(u8::try_from(value % 62).unwrap_or(0));
        value /= 62;
    }
    let digits = block
        .get(..chars)
        .and_then(|digits| str::from_utf8(digits).ok());
    text.push_str(digits.unwrap_or_default());
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        value.checked_mul(62)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(bytes: [u8; 40]) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len(), 55);
            prop_assert_eq!(decode::<40>(&text), Some(bytes));
        }

        #[test]
        fn a_text_that_decodes_is_the_one_that_is_encoded(text in "[0-9A-Za-z]{55}") {
            if let Some(bytes) = decode::<40>(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }

    #[test]
    fn a_block_over_64_bits_is_refused() {
        assert_eq!(decode::<8>("LygHa16AHYF"), Some([0xff; 8]));
        assert_eq!(decode::<8>("LygHa16AHYG"), None, "2^64");
        assert_eq!(decode::<8>("zzzzzzzzzzz"), None);
        assert_eq!(decode::<8>("0000000000-"), None);
        assert_eq!(decode::<8>("0000000000"), None);
    }
}
