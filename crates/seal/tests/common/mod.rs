//! What all vector tests need.

use serde_json::Value;

/// The bytes of a hex string in a vector file.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("a hex string").as_bytes();
    assert!(digits.len().is_multiple_of(2), "an even number of digits");
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hex digits")
        })
        .collect()
}
