//! The header `Timestamp` (seed 000): milliseconds since 1970, not older than a minute and not
//! ahead.
//!
//! **Invariant:** what a refusal says is ours: nothing of the header is repeated.

use http::HeaderMap;

use super::Language;
use crate::api::extract::{self, Header};

const NAME: &str = "timestamp";
/// How old it may be, both ends in.
const WINDOW_MS: i64 = 60_000;
/// Less than this is no present time in milliseconds, and one in seconds for 3,000 years.
const LEAST_MS: i64 = 100_000_000_000;
/// More than this is finer than milliseconds.
const MOST_MS: i64 = 100_000_000_000_000;

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untimely {
    /// There is none.
    Missing,
    /// There are several, or a list of them.
    Doubled,
    /// It has something else than digits in it.
    NotDigits,
    /// It counts seconds.
    Seconds,
    /// It counts microseconds, or less.
    Finer,
    /// It is older than the window.
    Late,
    /// It is ahead.
    Early,
}

/// `now - 60,000 <= timestamp <= now + tolerance`, in digits alone.
pub(super) fn check(headers: &HeaderMap, now_ms: i64, tolerance_ms: i64) -> Result<(), Untimely> {
    if headers.get_all(NAME).iter().nth(1).is_some() {
        return Err(Untimely::Doubled);
    }
    let text = match extract::header(headers, NAME) {
        Header::Missing => return Err(Untimely::Missing),
        Header::Malformed => return Err(Untimely::NotDigits),
        Header::Value(text) => text,
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(text) {
        // As proxies join what came twice (RFC 9110 5.3).
        let several = text.contains(',') && text.split(',').all(|one| is_digits(one.trim()));
        return Err(if several {
            Untimely::Doubled
        } else {
            Untimely::NotDigits
        });
    }
    if text.len() > 16 {
        return Err(Untimely::Finer);
    }
    let ms = text.parse::<i64>().map_err(|_| Untimely::NotDigits)?;
    if (now_ms - WINDOW_MS..=now_ms + tolerance_ms).contains(&ms) {
        return Ok(());
    }
    Err(match ms {
        ..LEAST_MS => Untimely::Seconds,
        MOST_MS.. => Untimely::Finer,
        _ if ms < now_ms => Untimely::Late,
        _ => Untimely::Early,
    })
}

impl Untimely {
    /// What the caller is told: the cause, and the clock to set one's own by.
    pub(super) fn words(self, now_ms: i64, language: Language) -> String {
        let (english, chinese) = match self {
            Self::Missing => ("the header is missing", "缺少该请求头"),
            Self::Doubled => ("the header is there more than once", "该请求头出现多次"),
            Self::NotDigits => ("it must be digits alone", "只能包含数字"),
            Self::Seconds => ("it is in seconds, send milliseconds", "单位为秒，须为毫秒"),
            Self::Finer => ("it is finer than milliseconds", "单位小于毫秒，须为毫秒"),
            Self::Late => ("it is more than 60 seconds old", "已超过 60 秒"),
            Self::Early => ("it is ahead of the server's time", "晚于服务器时间"),
        };
        match language {
            Language::English => format!("{english}; the server's time is {now_ms}"),
            Language::Chinese => format!("{chinese}；服务器时间为 {now_ms}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_716_307_200_000;

    fn of(values: &[&str], tolerance_ms: i64) -> Option<Untimely> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check(&headers, NOW, tolerance_ms).err()
    }

    fn holds(text: &str, tolerance_ms: i64) -> bool {
        of(&[text], tolerance_ms).is_none()
    }

    #[test]
    fn the_timestamp_holds_from_60_seconds_ago_to_now() {
        for (offset, expected) in [
            (0, None),
            (-60_000, None),
            (1, Some(Untimely::Early)),
            (-60_001, Some(Untimely::Late)),
            (-1, None),
            (60_000, Some(Untimely::Early)),
        ] {
            assert_eq!(of(&[&(NOW + offset).to_string()], 0), expected, "{offset}");
        }
        assert!(holds(&(NOW + 5_000).to_string(), 5_000));
        assert!(!holds(&(NOW + 5_001).to_string(), 5_000));
    }

    #[test]
    fn the_timestamp_is_digits_alone() {
        for wrong in [
            "abc",
            "-1716307200000",
            "+1716307200000",
            "1716307200000.0",
            "0x18F9B8B7C00",
            "1.7163072e12",
            "１７１６３０７２０００００",
            "1716307200000, now",
        ] {
            assert_eq!(of(&[wrong], 0), Some(Untimely::NotDigits), "{wrong}");
        }
    }

    #[test]
    fn the_cause_is_told_fxa_auth_server_300_hubspot_api_ruby_357() {
        let now = NOW.to_string();
        for (values, cause) in [
            (&[][..], Untimely::Missing),
            (&[""], Untimely::Missing),
            (&[&now, &now], Untimely::Doubled),
            (&["1716307200000,1716307200000"], Untimely::Doubled),
            (&["1716307200000, 1716307200000"], Untimely::Doubled),
            (&["1716307200"], Untimely::Seconds),
            (&["0"], Untimely::Seconds),
            (&["1716307200000000"], Untimely::Finer),
            (&["1716307200000000000"], Untimely::Finer),
            (&["1716307100000"], Untimely::Late),
            (&["1716307300000"], Untimely::Early),
        ] {
            assert_eq!(of(values, 0), Some(cause), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn the_timestamp_holds_in_its_window_only(offset in -200_000_i64..200_000, tolerance in 0_i64..10_000) {
            let expected = (-60_000..=tolerance).contains(&offset);
            prop_assert_eq!(holds(&(NOW + offset).to_string(), tolerance), expected);
        }
    }
}
