//! Sinks: where the audit log is copied to as it grows, and what happens when one cannot take more.
//!
//! The record that a release waits for is the database's own (P2). A sink follows it: a worker
//! reads the log after the sink's place, hands the entries over in their order, and moves the place
//! once they are where they should be. So an entry goes out once, and again only after a crash in
//! between; each carries its place and hash, by which a reader drops what it has.
//!
//! A required sink that is added to a log longer than its limit begins with what comes now, and
//! gets the history beside it ([`History`]): so adding one stops nothing.
//!
//! A sink that is required and lags by more than its [`Limit`] closes the [`Gate`]: nothing is
//! released until it has caught up. Nothing else waits for it.
//!
//! **Invariant:** of all who feed a sink under one name, one holds its lease, and only that one
//! moves its place; the place never goes back.
//!
//! **Invariant:** a gate that nobody keeps is closed. Whoever looks at the lag opens it for
//! [`GATE_HOLDS`] at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::Time;
use crate::id::SinkName;

/// How long the gate stays open without anybody looking at the lag.
pub const GATE_HOLDS: Duration = Duration::from_secs(10);
/// How much of an error's words is kept.
const ERROR_CHARS: usize = 200;

/// Who feeds a sink: random, one for each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(pub [u8; 16]);

/// Until when a sink is one worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub holder: Holder,
    /// Until when, if it is not made longer.
    pub until: Time,
}

/// How far a sink has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub name: SinkName,
    /// The place in the log of the last entry that it has taken; 0 when there is none.
    pub place: i64,
    /// What it gets of the time before it was there, where it did not begin with the first entry.
    pub history: Option<History>,
    /// When it last took one.
    pub taken_at: Option<Time>,
    /// Who feeds it.
    pub lease: Option<Lease>,
    /// Why it takes nothing, as long as it does not. Holds nothing of an entry.
    pub error: Option<String>,
}

/// The entries from before a sink was there, which it gets after those that come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// The place of the last of them that the sink has taken; 0 when there is none.
    pub place: i64,
    /// The place of the last that there is.
    pub end: i64,
}

impl History {
    /// How many are left.
    pub fn left(&self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.place)).unwrap_or(0)
    }
}

/// Wants to feed a sink, or to go on feeding it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub name: SinkName,
    /// Who.
    pub holder: Holder,
    /// Now.
    pub at: Time,
    /// Until when.
    pub until: Time,
    /// How many entries a required sink may be behind.
    pub most: Option<u64>,
}

impl Hold {
    /// The row as it is to be; `None` while another has the sink. A sink that nobody knew begins
    /// before the log's first entry; a required one that would be too far behind then begins at
    /// `end`, where the log ends, with all before that as its history.
    pub fn decide(&self, row: Option<&Progress>, end: i64) -> Option<Progress> {
        let is_too_long = |most| u64::try_from(end).is_ok_and(|entries| entries > most);
        let history = self.most.is_some_and(is_too_long);
        let history = history.then_some(History { place: 0, end });
        let fresh = || Progress {
            name: self.name.clone(),
            place: history.map_or(0, |history| history.end),
            history,
            taken_at: None,
            lease: None,
            error: None,
        };
        let row = row.cloned().unwrap_or_else(fresh);
        // One that was taken under a clock ahead would be held until that clock's time comes.
        let lasts = |until: Time| until > self.at && !until.is_ahead_of(self.until);
        let taken = |lease: &Lease| lease.holder != self.holder && lasts(lease.until);
        if row.lease.as_ref().is_some_and(taken) {
            return None;
        }
        let lease = Lease {
            holder: self.holder,
            until: self.until,
        };
        Some(Progress {
            lease: Some(lease),
            ..row
        })
    }
}

/// What became of feeding a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    pub name: SinkName,
    /// By whom.
    pub holder: Holder,
    pub at: Time,
    /// Until when it goes on; `None` gives the sink to whoever asks next.
    pub until: Option<Time>,
    /// The place of the last entry that the sink has taken.
    pub place: i64,
    /// The same of its history, where it has taken some of that.
    pub history: Option<i64>,
    /// Why it takes no more, if it does not.
    pub error: Option<String>,
}

impl Fed {
    /// The row as it is to be; `None` when the sink has gone to another, and then nothing is
    /// written.
    pub fn decide(&self, row: Option<&Progress>) -> Option<Progress> {
        let row = row.filter(|row| row.lease.is_some_and(|l| l.holder == self.holder))?;
        let history = row.history.map(|history| History {
            place: self.history.unwrap_or(0).clamp(history.place, history.end),
            ..history
        });
        let taken_at = if self.place > row.place || history != row.history {
            Some(self.at)
        } else {
            row.taken_at
        };
        let lease = self.until.map(|until| Lease {
            holder: self.holder,
            until,
        });
        let short = |error: &String| error.chars().take(ERROR_CHARS).collect();
        Some(Progress {
            name: row.name.clone(),
            place: self.place.max(row.place),
            history,
            taken_at,
            lease,
            error: self.error.as_ref().map(short),
        })
    }
}

/// How far a sink is behind the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How many entries it has not taken.
    pub entries: u64,
    /// When the oldest of them happened.
    pub since: Option<Time>,
}

impl Lag {
    /// For how long the oldest entry has waited.
    pub fn age(&self, now: Time) -> Duration {
        let waited = self
            .since
            .map(|since| now.millis().saturating_sub(since.millis()));
        Duration::from_millis(waited.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0))
    }
}

/// How far a required sink may be behind before nothing is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// By so many entries.
    pub entries: u64,
    /// The oldest of them so long.
    pub age: Duration,
}

impl Limit {
    /// Whether it is too far.
    pub fn is_passed(&self, lag: &Lag, now: Time) -> bool {
        lag.entries > self.entries || lag.age(now) > self.age
    }
}

/// Whether anything may be released: asked by the flows, kept by whoever looks at the sinks. Clones
/// are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<AtomicI64>>);

impl Gate {
    /// Always open: no sink is required.
    pub const fn open() -> Self {
        Self(None)
    }

    /// Closed, until [`Gate::hold_open`].
    pub fn kept() -> Self {
        Self(Some(Arc::new(AtomicI64::new(i64::MIN))))
    }

    /// Whether something may be released now.
    pub fn admits(&self, now: Time) -> bool {
        let open = |until: &Arc<AtomicI64>| {
            let until = Time::from_millis(until.load(Ordering::Acquire));
            now < until && !until.is_ahead_of(now.plus(GATE_HOLDS))
        };
        self.0.as_ref().is_none_or(open)
    }

    /// Open for the next [`GATE_HOLDS`].
    pub fn hold_open(&self, now: Time) {
        if let Some(until) = &self.0 {
            until.store(now.plus(GATE_HOLDS).millis(), Ordering::Release);
        }
    }

    /// Closed, until it is held open again.
    pub fn close(&self) {
        if let Some(until) = &self.0 {
            until.store(i64::MIN, Ordering::Release);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_some() {
            "Gate(kept)"
        } else {
            "Gate(open)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_millis(1_000_000);

    fn lag(entries: u64, waited_ms: i64) -> Lag {
        Lag {
            entries,
            since: Some(Time::from_millis(NOW.millis() - waited_ms)),
        }
    }

    #[test]
    fn a_limit_is_passed_by_one_entry_or_one_millisecond_more() {
        let limit = Limit {
            entries: 10,
            age: Duration::from_secs(5),
        };
        for (lag, passed) in [
            (Lag::default(), false),
            (lag(10, 5_000), false),
            (lag(11, 0), true),
            (lag(1, 5_001), true),
            (lag(10, -60_000), false),
        ] {
            assert_eq!(limit.is_passed(&lag, NOW), passed, "{lag:?}");
        }
    }

    #[test]
    fn a_gate_that_nobody_keeps_closes() {
        assert!(Gate::open().admits(NOW));
        let gate = Gate::kept();
        assert!(!gate.admits(NOW), "before anyone has looked");
        gate.clone().hold_open(NOW);
        let end = NOW.plus(GATE_HOLDS);
        assert!(gate.admits(end.minus(Duration::from_millis(1))));
        assert!(!gate.admits(end));
        gate.hold_open(end);
        gate.close();
        assert!(!gate.admits(end));
        gate.hold_open(NOW.plus(Duration::from_secs(2 * 86_400)));
        assert!(!gate.admits(NOW), "held open by a clock that was ahead");
    }
}
