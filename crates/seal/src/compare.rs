//! Comparison in constant time.

use aws_lc_rs::constant_time;

/// Whether two strings of bytes are equal, in a time that depends on their lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_sees_every_byte_and_the_length() {
        let a = [5; 33];
        assert!(constant_time_eq(&a, &a));
        assert!(constant_time_eq(&[], &[]));
        assert!(!constant_time_eq(&a, &a[..32]));
        for at in 0..a.len() {
            let mut b = a;
            b[at] ^= 1;
            assert!(!constant_time_eq(&a, &b), "{at}");
        }
    }
}
