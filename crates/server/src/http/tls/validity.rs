//! From when until when a certificate is good: of all that is in one, rustls tells this to nobody.
//!
//! It reads no further than that, and nothing but the operator's own files.

use cardveil_core::Time;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// `notBefore` and `notAfter` of a certificate (RFC 5280 4.1).
pub(super) fn of(certificate: &[u8]) -> Option<(Time, Time)> {
    let (_, certificate, _) = element(certificate)?;
    let (_, signed, _) = element(certificate)?;
    let (tag, _, after) = element(signed)?;
    // A certificate of version 1 has no version.
    let rest = if tag == VERSION { after } else { signed };
    let rest = skip(INTEGER, rest)?;
    let rest = skip(SEQUENCE, rest)?;
    let rest = skip(SEQUENCE, rest)?;
    let (_, validity, _) = element(rest)?;
    let (tag, from, after) = element(validity)?;
    let from = moment(tag, from)?;
    let (tag, until, _) = element(after)?;
    Some((from, moment(tag, until)?))
}

fn skip(expected: u8, der: &[u8]) -> Option<&[u8]> {
    let (tag, _, after) = element(der)?;
    (tag == expected).then_some(after)
}

/// The first element's tag and content, and what comes after it (X.690 8.1, 10.1).
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let add = |length: usize, byte: &u8| {
            let room = length.checked_mul(256)?;
            Some(room + usize::from(*byte))
        };
        (bytes.iter().try_fold(0, add)?, rest)
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 4.1.2.5).
fn moment(tag: u8, text: &[u8]) -> Option<Time> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (
                if year < 50 {
                    2_000 + year
                } else {
                    1_900 + year
                },
                rest,
            )
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut pairs = rest.chunks_exact(2);
    let mut pair = || i8::try_from(number(pairs.next()?)?).ok();
    let (month, day, hour, minute, second) = (pair()?, pair()?, pair()?, pair()?, pair()?);
    let whole = rest.len() == 10;
    let date = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let moment = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    whole.then(|| Time::from_millis(moment.as_millisecond()))
}

fn number(digits: &[u8]) -> Option<i16> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn made(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(["cards.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    fn texts(der: &[u8]) -> Option<(String, String)> {
        of(der).map(|(from, until)| (from.to_string(), until.to_string()))
    }

    #[test]
    fn both_forms_of_a_date_are_read() {
        for (from, until, expected) in [
            (
                (2026, 1, 2),
                (2049, 12, 31),
                ("2026-01-02T00:00:00.000Z", "2049-12-31T00:00:00.000Z"),
            ),
            (
                (1999, 12, 31),
                (2050, 1, 1),
                ("1999-12-31T00:00:00.000Z", "2050-01-01T00:00:00.000Z"),
            ),
        ] {
            let expected = (expected.0.to_owned(), expected.1.to_owned());
            assert_eq!(texts(&made(from, until)), Some(expected));
        }
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_none() {
        let whole = made((2026, 1, 1), (2027, 1, 1));
        for length in 0..whole.len() {
            // It must end, and must not panic; what lies beyond the dates is not looked at.
            let _ = of(&whole[..length]);
        }
        assert_eq!(of(&whole[..80]), None);
        assert_eq!(of(b"-----BEGIN CERTIFICATE-----"), None);
        assert_eq!(of(&[0x30, 0xff, 0xff]), None);
    }

    #[test]
    fn a_date_that_is_none_is_refused() {
        for (tag, text) in [
            (UTC_TIME, "261301000000Z"),
            (UTC_TIME, "260101000000"),
            (UTC_TIME, "2601010000Z"),
            (UTC_TIME, "26010100000000Z"),
            (UTC_TIME, "+60101000000Z"),
            (GENERALIZED_TIME, "260101000000Z"),
            (SEQUENCE, "260101000000Z"),
        ] {
            assert_eq!(moment(tag, text.as_bytes()), None, "{text}");
        }
        let last = moment(UTC_TIME, b"261231235959Z").unwrap();
        assert_eq!(last.to_string(), "2026-12-31T23:59:59.000Z");
    }
}
