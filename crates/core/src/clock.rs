//! Time, injected (promise P9): nothing below asks the machine for the hour but [`SystemClock`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// By how much the clocks of nodes, and of whoever operates them, may differ.
pub const CLOCKS_APART: Duration = Duration::from_secs(60);

/// By how much a clock may differ before it is told of.
const CLOCKS_TOLD: Duration = Duration::from_secs(5);

/// How a node's clock stands to its store's, which is the one that all nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead(i64);

impl Ahead {
    /// Of a node whose clock said `before` when it asked the store, and `after` when it had the
    /// answer: the least that fits, so that an answer which took long makes no difference.
    pub const fn of(before: Time, store: Time, after: Time) -> Self {
        Self(if store.0 < before.0 {
            before.0.saturating_sub(store.0)
        } else if store.0 > after.0 {
            after.0.saturating_sub(store.0)
        } else {
            0
        })
    }

    /// In seconds.
    pub fn secs(self) -> f64 {
        let secs = Duration::from_millis(self.0.unsigned_abs()).as_secs_f64();
        if self.0 < 0 { -secs } else { secs }
    }

    /// Whether an operator should look at the clocks.
    pub fn is_told(self) -> bool {
        self.is_over(CLOCKS_TOLD)
    }

    /// Whether the node would take its peers' tokens for expired, or for written by a clock ahead.
    pub fn is_too_far(self) -> bool {
        self.is_over(CLOCKS_APART)
    }

    fn is_over(self, most: Duration) -> bool {
        u128::from(self.0.unsigned_abs()) > most.as_millis()
    }
}

impl fmt::Display for Ahead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.unsigned_abs() / 1_000;
        let word = if self.0 < 0 { "behind" } else { "ahead" };
        write!(out, "{secs} s {word}")
    }
}

/// A moment: whole milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, held to what 32 unsigned bits can carry (until 2106).
    pub fn secs_u32(self) -> u32 {
        let secs = self.0.div_euclid(1_000).clamp(0, i64::from(u32::MAX));
        u32::try_from(secs).unwrap_or(u32::MAX)
    }

    /// The moment `by` later, held at the end of time instead of wrapping.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The moment `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Whether a clock that was ahead has written it down: it is later than `now` by more than
    /// clocks may differ. Whatever lives for a while from such a moment would live too long, and
    /// whoever waits for it would wait too long, so each rule says what it makes of one
    /// (docs/operate/clocks.md).
    pub fn is_ahead_of(self, now: Self) -> bool {
        self > now.plus(CLOCKS_APART)
    }

    /// From RFC 3339 text, such as `2026-11-22T10:00:00Z`.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|moment| Self(moment.as_millisecond()))
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2026-11-22T10:00:00.000Z`.
impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(out, "{moment:.3}"),
            Err(_) => write!(out, "{}ms", self.0),
        }
    }
}

/// Whether a clock goes evenly, beside a stopwatch that nobody sets: what cannot be undone waits
/// until it has for a while.
#[derive(Debug, Default)]
pub struct Steadiness {
    last: Option<(Time, Duration)>,
    since: Duration,
}

impl Steadiness {
    /// For how long the clock, which says `now`, has kept up with the stopwatch, which says
    /// `passed`. A jump by more than [`CLOCKS_APART`] begins that anew.
    pub fn look(&mut self, now: Time, passed: Duration) -> Duration {
        if let Some((then, before)) = self.last {
            let expected = then.plus(passed.saturating_sub(before));
            if now.is_ahead_of(expected) || expected.is_ahead_of(now) {
                self.since = passed;
            }
        } else {
            self.since = passed;
        }
        self.last = Some((now, passed));
        passed.saturating_sub(self.since)
    }
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Time;
}

/// The machine's clock; the only place that reads it to decide something.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one reading that all others inject"
        )]
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Time::from_millis(0).plus(since),
            Err(before) => Time::from_millis(0).minus(before.duration()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc3339_and_read_back() {
        let moment = Time::from_millis(1_716_307_200_123);
        assert_eq!(moment.to_string(), "2024-05-21T16:00:00.123Z");
        assert_eq!(
            Time::parse_rfc3339("2024-05-21T16:00:00.123Z"),
            Some(moment)
        );
        assert_eq!(Time::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_clock_is_off_by_no_more_than_an_answer_shows() {
        let of = |before, store, after| {
            let [before, store, after] = [before, store, after].map(Time::from_millis);
            Ahead::of(before, store, after)
        };
        for (store, off) in [(0, 100), (99, 1), (100, 0), (150, 0), (200, 0), (201, -1)] {
            assert_eq!(of(100, store, 200), Ahead(off), "{store}");
        }
        assert!(!of(0, 90_000, 180_000).is_told(), "it was asleep meanwhile");
        assert!(of(i64::MAX, i64::MIN, i64::MAX).is_too_far());
        assert!(of(i64::MIN, i64::MAX, i64::MIN).is_too_far());
    }

    #[test]
    fn a_moment_is_ahead_once_it_is_later_than_clocks_may_differ() {
        let now = Time::from_millis(1_716_307_200_000);
        let edge = now.plus(CLOCKS_APART);
        assert!(!edge.is_ahead_of(now));
        assert!(edge.plus(Duration::from_millis(1)).is_ahead_of(now));
        assert!(!Time::from_millis(i64::MAX).is_ahead_of(Time::from_millis(i64::MAX)));
        assert!(!Time::from_millis(i64::MIN).is_ahead_of(now));
    }

    #[test]
    fn a_clock_is_steady_since_its_last_jump() {
        let secs = Duration::from_secs;
        let start = Time::from_millis(1_716_307_200_000);
        let mut steadiness = Steadiness::default();
        assert_eq!(steadiness.look(start, secs(100)), secs(0));
        let slewed = start.plus(secs(3_600) + CLOCKS_APART);
        assert_eq!(steadiness.look(slewed, secs(3_700)), secs(3_600));
        let ahead = slewed.plus(secs(80 * 365 * 86_400));
        assert_eq!(steadiness.look(ahead, secs(3_700)), secs(0));
        assert_eq!(steadiness.look(ahead.plus(secs(9)), secs(3_709)), secs(9));
        assert_eq!(steadiness.look(slewed, secs(3_710)), secs(0), "right again");
    }

    #[test]
    fn every_moment_can_be_moved_and_told() {
        for millis in [i64::MIN, -1, 0, 20_650_000_000_000, i64::MAX] {
            let moment = Time::from_millis(millis);
            assert!(moment.plus(Duration::MAX) >= moment);
            assert!(moment.minus(Duration::MAX) <= moment);
            assert!(!moment.to_string().is_empty());
        }
    }

    #[test]
    fn seconds_are_held_to_their_range() {
        assert_eq!(Time::from_millis(-1).secs_u32(), 0);
        assert_eq!(Time::from_millis(1_999).secs_u32(), 1);
        assert_eq!(Time::from_millis(i64::MAX).secs_u32(), u32::MAX);
    }
}
