//! One-time codes from a shared secret: HOTP (RFC 4226) over a step of time, which is TOTP (RFC
//! 6238), with the parameters that every authenticator app takes: HMAC-SHA1, 6 digits.
//!
//! HMAC-SHA1 is what the apps speak. The weaknesses of SHA-1 are in its collisions, which HMAC does
//! not rest on (RFC 6238 section 1.2; NIST SP 800-107 rev. 1, 5.3.4). It is used for nothing else.
//!
//! Time does not come in here: the caller knows which step it is.

use aws_lc_rs::hmac;

use crate::Secret;

/// How many digits a code has.
pub const DIGITS: usize = 6;
/// How long a step is (RFC 6238 section 5.2 recommends it).
pub const STEP_SECS: u64 = 30;
/// How many bytes a secret of ours has: the length of the MAC (RFC 4226 section 4, R6).
pub const SECRET_LEN: usize = 20;

/// The code of a step: [`DIGITS`] ASCII digits. Compare it by [`Secret::ct_eq`].
pub fn code(secret: &Secret, step: u64) -> Secret {
    digits(u64::from(truncated(secret, step)))
}

/// The lowest [`DIGITS`] decimal digits of a number, leading zeros kept.
pub fn digits(number: u64) -> Secret {
    let mut rest = number;
    let mut digits = vec![b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        // The remainder of a division by ten is a digit.
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    Secret::new(digits)
}

/// RFC 4226 section 5.3: the 31 bits that the low half of the last byte points at.
fn truncated(secret: &Secret, step: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose());
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let mac = tag.as_ref();
    let offset = mac.last().map_or(0, |last| usize::from(last & 0x0f));
    mac.iter()
        .skip(offset)
        .take(4)
        .fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte))
        & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of both appendices.
    fn secret() -> Secret {
        Secret::new(b"12345678901234567890".to_vec())
    }

    #[test]
    fn rfc_4226_appendix_d() {
        // Count, truncated (hexadecimal), HOTP.
        let vectors = [
            (0, 0x4c93_cf18, "755224"),
            (1, 0x4139_7eea, "287082"),
            (2, 0x082f_ef30, "359152"),
            (3, 0x66ef_7655, "969429"),
            (4, 0x61c5_938a, "338314"),
            (5, 0x33c0_83d4, "254676"),
            (6, 0x7256_c032, "287922"),
            (7, 0x04e5_b397, "162583"),
            (8, 0x2823_443f, "399871"),
            (9, 0x2679_dc69, "520489"),
        ];
        for (step, bits, hotp) in vectors {
            assert_eq!(truncated(&secret(), step), bits, "{step}");
            assert_eq!(code(&secret(), step).expose(), hotp.as_bytes(), "{step}");
        }
        assert_eq!(vectors.len(), 10);
    }

    #[test]
    fn rfc_6238_appendix_b_sha_1() {
        // Seconds, T (hexadecimal), TOTP of eight digits; ours are the last six of them.
        let vectors = [
            (59, 0x1, "94287082"),
            (1_111_111_109, 0x0235_23ec, "07081804"),
            (1_111_111_111, 0x0235_23ed, "14050471"),
            (1_234_567_890, 0x0273_ef07, "89005924"),
            (2_000_000_000, 0x03f9_40aa, "69279037"),
            (20_000_000_000, 0x27bc_86aa, "65353130"),
        ];
        for (secs, step, totp) in vectors {
            assert_eq!(secs / STEP_SECS, step);
            let eight = truncated(&secret(), step) % 100_000_000;
            assert_eq!(format!("{eight:08}"), totp, "{secs}");
            assert_eq!(code(&secret(), step).expose(), &totp.as_bytes()[2..]);
        }
        assert_eq!(vectors.len(), 6);
    }

    #[test]
    fn digits_keep_their_leading_zeros_and_lose_what_is_before_them() {
        for (number, expected) in [
            (0, "000000"),
            (42, "000042"),
            (999_999, "999999"),
            (1_000_000, "000000"),
            (7_000_001, "000001"),
            (u64::MAX, "551615"),
        ] {
            assert_eq!(digits(number).expose(), expected.as_bytes());
        }
    }
}
