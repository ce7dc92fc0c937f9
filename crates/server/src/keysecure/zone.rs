//! Times as this dialect writes them: without a zone, in the one of the header `Timezone` (`UTC+8`
//! when it is left out).
//!
//! A zone is a distance from UTC. Names such as `Asia/Shanghai` are refused: the source shows none,
//! and what they mean changes with a database that this program would have to carry.

use cardveil_core::Time;
use http::HeaderMap;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use crate::api::extract::{Header, header};

/// A list covers at most so many days.
pub(super) const DAYS_MAX: i64 = 90;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// A distance from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zone(Offset);

/// A stretch of time, both ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Time,
    pub(super) to: Time,
}

/// What is wrong with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadRange {
    /// The start is no moment.
    Start,
    /// The end is no moment.
    End,
    /// The end is not after the start.
    Order,
    /// It is longer than [`DAYS_MAX`].
    TooLong,
}

impl Zone {
    /// The header's; `None` when it is there and is no distance.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        match header(headers, "timezone") {
            Header::Missing => Self::parse("UTC+8"),
            Header::Malformed => None,
            Header::Value(text) => Self::parse(text),
        }
    }

    /// `UTC`, `UTC+8`, `UTC+08`, `UTC-05:30`, and the same with `GMT`: within 14 hours of UTC.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let distance = text
            .strip_prefix("UTC")
            .or_else(|| text.strip_prefix("GMT"))?;
        if distance.is_empty() {
            return Some(Self(Offset::UTC));
        }
        let (sign, distance) = match distance.strip_prefix('+') {
            Some(rest) => (1, rest),
            None => (-1, distance.strip_prefix('-')?),
        };
        let (hours, minutes) = distance.split_once(':').unwrap_or((distance, "00"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let formed = (1..=2).contains(&hours.len()) && minutes.len() == 2;
        if !formed || !digits(hours) || !digits(minutes) {
            return None;
        }
        let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
        let all = hours * 60 + minutes;
        if minutes > 59 || all > 14 * 60 {
            return None;
        }
        Offset::from_seconds(sign * all * 60).ok().map(Self)
    }

    /// A moment as `yyyy-MM-dd HH:mm:ss`.
    pub(super) fn show(self, time: Time) -> String {
        match jiff::Timestamp::from_millisecond(time.millis()) {
            Ok(moment) => self
                .0
                .to_datetime(moment)
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string(),
            Err(_) => String::new(),
        }
    }

    /// A range from its ends as texts. An end without a time is that day to its last moment, and an
    /// end with one is that second to its last; so the same day twice is that day. The days are
    /// those between what was written.
    pub(super) fn range(self, start: &str, end: &str) -> Result<Range, BadRange> {
        let (start, _) = self.read(start).ok_or(BadRange::Start)?;
        let (end, length_ms) = self.read(end).ok_or(BadRange::End)?;
        let last = end + length_ms - 1;
        let ordered = if length_ms == DAY_MS {
            last > start
        } else {
            end > start
        };
        if !ordered {
            return Err(BadRange::Order);
        }
        if end - start > DAYS_MAX * DAY_MS {
            return Err(BadRange::TooLong);
        }
        Ok(Range {
            from: Time::from_millis(start),
            to: Time::from_millis(last),
        })
    }

    /// Where a text's moment begins, and how long it is: a day, or a second.
    fn read(self, text: &str) -> Option<(i64, i64)> {
        let digits = |text: &str, form: &str| {
            text.len() == form.len()
                && text
                    .bytes()
                    .zip(form.bytes())
                    .all(|(byte, form)| match form {
                        b'0' => byte.is_ascii_digit(),
                        _ => byte == form,
                    })
        };
        let (moment, length_ms): (DateTime, i64) = if digits(text, "0000-00-00") {
            (text.parse::<Date>().ok()?.into(), DAY_MS)
        } else if digits(text, "0000-00-00 00:00:00") {
            // What no clock shows is no moment; the parser would take a leap second for the one
            // before.
            if text.ends_with(":60") {
                return None;
            }
            (text.parse::<DateTime>().ok()?, 1_000)
        } else {
            return None;
        };
        let moment = self.0.to_timestamp(moment).ok()?;
        Some((moment.as_millisecond(), length_ms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zone(text: &str) -> Zone {
        Zone::parse(text).unwrap()
    }

    fn at(text: &str) -> Time {
        Time::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_zone_is_a_distance_from_utc() {
        for (text, shown) in [
            ("UTC", "2026-01-01 00:00:00"),
            ("UTC+8", "2026-01-01 08:00:00"),
            ("UTC+08", "2026-01-01 08:00:00"),
            ("UTC+08:00", "2026-01-01 08:00:00"),
            ("GMT+8", "2026-01-01 08:00:00"),
            ("UTC-05:30", "2025-12-31 18:30:00"),
            ("UTC+14", "2026-01-01 14:00:00"),
            ("UTC-0", "2026-01-01 00:00:00"),
        ] {
            assert_eq!(zone(text).show(at("2026-01-01T00:00:00Z")), shown, "{text}");
        }
        for text in [
            "",
            "8",
            "+8",
            "utc+8",
            "UTC8",
            "UTC+",
            "UTC+15",
            "UTC+14:01",
            "UTC+8:60",
            "UTC+8:0",
            "UTC+008",
            "UTC++8",
            "UTC+8 ",
            "Asia/Shanghai",
            "CST",
            "UTC+８",
            "UTC+-8",
        ] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_zone_is_utc_8_when_it_is_left_out() {
        let mut headers = HeaderMap::new();
        assert_eq!(Zone::of(&headers), Zone::parse("UTC+8"));
        headers.append("timezone", "UTC-1".parse().unwrap());
        assert_eq!(Zone::of(&headers), Zone::parse("UTC-1"));
        headers.append("timezone", "UTC-1".parse().unwrap());
        assert_eq!(Zone::of(&headers), None);
    }

    #[test]
    fn a_range_has_both_ends_in() {
        let range = zone("UTC+8").range("2026-01-01", "2026-01-01").unwrap();
        assert_eq!(range.from, at("2025-12-31T16:00:00Z"));
        assert_eq!(range.to, at("2026-01-01T15:59:59.999Z"));
        let range = zone("UTC").range("2026-01-01 10:00:00", "2026-01-01 10:00:01");
        assert_eq!(range.unwrap().to, at("2026-01-01T10:00:01.999Z"));
    }

    #[test]
    fn a_range_is_refused_at_its_edges() {
        let utc = zone("UTC");
        for (start, end, expected) in [
            (
                "2026-01-01 00:00:00",
                "2026-01-01 00:00:00",
                Some(BadRange::Order),
            ),
            (
                "2026-01-01 00:00:01",
                "2026-01-01 00:00:00",
                Some(BadRange::Order),
            ),
            ("2026-01-01 00:00:00", "2026-01-01 00:00:01", None),
            ("2026-01-02", "2026-01-01", Some(BadRange::Order)),
            ("2026-01-01 23:59:59", "2026-01-01", None),
            ("2026-01-01", "2026-04-01", None),
            ("2026-01-01", "2026-04-02", Some(BadRange::TooLong)),
            ("2026-01-01 00:00:00", "2026-04-01 00:00:00", None),
            (
                "2026-01-01 00:00:00",
                "2026-04-01 00:00:01",
                Some(BadRange::TooLong),
            ),
            ("2026-02-29", "2026-03-01", Some(BadRange::Start)),
            ("2024-02-29", "2024-03-01", None),
            ("2026-01-01", "2026-1-2", Some(BadRange::End)),
            ("2026-01-01T00:00:00", "2026-01-02", Some(BadRange::Start)),
            ("2026-01-01 00:00", "2026-01-02", Some(BadRange::Start)),
            ("2026-01-01 24:00:00", "2026-01-02", Some(BadRange::Start)),
            ("2026-01-01 23:59:60", "2026-01-02", Some(BadRange::Start)),
            ("2026-13-01", "2026-12-31", Some(BadRange::Start)),
            ("", "2026-12-31", Some(BadRange::Start)),
        ] {
            assert_eq!(utc.range(start, end).err(), expected, "{start} to {end}");
        }
    }

    proptest! {
        /// A range is what was written, in every zone, and the limits are exact.
        #[test]
        fn a_range_keeps_to_its_bounds(
            start in 1_700_000_000_i64..1_900_000_000,
            secs in -200_000_i64..9_000_000,
            minutes in -14 * 60_i32..=14 * 60,
        ) {
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = minutes.unsigned_abs();
            let zone = zone(&format!("UTC{sign}{}:{:02}", minutes / 60, minutes % 60));
            let text = |secs: i64| zone.show(Time::from_millis(secs * 1_000));
            let expected = match secs {
                ..=0 => Err(BadRange::Order),
                7_776_001.. => Err(BadRange::TooLong),
                _ => Ok(Range {
                    from: Time::from_millis(start * 1_000),
                    to: Time::from_millis((start + secs) * 1_000 + 999),
                }),
            };
            prop_assert_eq!(zone.range(&text(start), &text(start + secs)), expected);
        }

        #[test]
        fn a_strangers_text_never_panics(text in ".{0,24}", other in "[0-9: -]{0,20}") {
            let _ = Zone::parse(&text);
            let _ = zone("UTC+8").range(&text, &other);
            let _ = zone("UTC+8").range(&other, &other);
        }
    }
}
