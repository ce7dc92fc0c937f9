//! The server's log: a JSON object a line on stderr, whoever writes it. Each has `time`, `level`
//! and `message`, and those of a request its `request.id`; the lines of requests themselves are the
//! access log's, which has the same members. `CARDVEIL_LOG` sets the level.
//!
//! A warning or an error that comes again within [`WINDOW`] is counted, and told once the window is
//! over: a database that is away for an hour fills no disk, and hides nothing else that goes wrong.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardveil_core::Time;
use cardveil_core::clock::{Clock as _, SystemClock};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::print;

/// For how long the same is told once.
const WINDOW: Duration = Duration::from_secs(10);
/// How many different ones are kept apart; more are told each time (P8).
const KINDS_MAX: usize = 256;
/// How often it is looked whether a window is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What tells two lines of the same apart.
const OF_ONE_REQUEST: &str = "request.id";

/// Starts it, at this level unless `CARDVEIL_LOG` says another. What is returned tells what was
/// repeated.
pub(crate) fn start(level: &str) -> Log {
    let log = Log::default();
    let filter = tracing_subscriber::EnvFilter::try_from_env("CARDVEIL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let subscriber = tracing_subscriber::registry().with(filter);
    subscriber.with(log.clone()).init();
    log
}

/// A line without its time.
type Line = Map<String, Value>;

/// Writes events, and keeps what is repeated.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Repeats>>);

impl Log {
    /// Tells what was repeated, each time that a window is over.
    pub(crate) async fn tell_repeated(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let now = SystemClock.now();
            let due = self.repeats().due(now);
            write(now, due);
        }
    }

    /// Tells what was repeated until now: at the end.
    pub(crate) fn tell_rest(&self) {
        let rest = self.repeats().rest();
        write(SystemClock.now(), rest);
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (line, now) = (line_of(event), SystemClock.now());
        let is_trouble = *event.metadata().level() <= Level::WARN;
        if !is_trouble || self.repeats().is_new(now, &line) {
            write(now, [line]);
        }
    }
}

fn line_of(event: &Event<'_>) -> Line {
    let mut line = Line::new();
    let level = event.metadata().level().as_str();
    line.insert("level".to_owned(), level.into());
    // Its place, whenever its field comes.
    line.insert("message".to_owned(), Value::Null);
    if let Some(id) = cardveil_server::log::request_id() {
        line.insert(OF_ONE_REQUEST.to_owned(), (*id).into());
    }
    event.record(&mut Fields(&mut line));
    line.insert("target".to_owned(), event.metadata().target().into());
    line
}

fn write(now: Time, lines: impl IntoIterator<Item = Line>) {
    let mut text = Vec::new();
    for line in lines {
        let mut timed = Line::new();
        timed.insert("time".to_owned(), now.to_string().into());
        timed.extend(line);
        if serde_json::to_writer(&mut text, &timed).is_ok() {
            text.push(b'\n');
        }
    }
    // What cannot be written there stops nothing, as with the line of a request.
    let _ = print::Log.write_all(&text);
}

/// Takes an event's fields.
struct Fields<'a>(&'a mut Line);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

/// What was told of late. It reads no clock.
#[derive(Default)]
struct Repeats {
    known: HashMap<u64, Run>,
    hashes: RandomState,
}

struct Run {
    since: Time,
    count: u64,
    last: Line,
}

impl Repeats {
    /// Whether a line is to be written now. Otherwise it is counted.
    fn is_new(&mut self, now: Time, line: &Line) -> bool {
        let same = |(name, _): &(&String, &Value)| *name != OF_ONE_REQUEST;
        let same: Vec<_> = line.iter().filter(same).collect();
        let is_full = self.known.len() >= KINDS_MAX;
        match self.known.entry(self.hashes.hash_one(same)) {
            Entry::Occupied(mut known) => {
                let run = known.get_mut();
                run.count += 1;
                run.last.clone_from(line);
                false
            }
            Entry::Vacant(_) if is_full => true,
            Entry::Vacant(room) => {
                room.insert(Run {
                    since: now,
                    count: 0,
                    last: Line::new(),
                });
                true
            }
        }
    }

    /// The lines of windows that are over. What was repeated begins another.
    fn due(&mut self, now: Time) -> Vec<Line> {
        let mut lines = Vec::new();
        self.known.retain(|_, run| {
            // A clock that was set back ends it too.
            if now < run.since.plus(WINDOW) && now >= run.since {
                return true;
            }
            run.since = now;
            let line = run.told();
            let is_repeated = line.is_some();
            lines.extend(line);
            is_repeated
        });
        lines
    }

    fn rest(&mut self) -> Vec<Line> {
        self.known
            .drain()
            .filter_map(|(_, mut run)| run.told())
            .collect()
    }
}

impl Run {
    /// The last of those that were counted, with how many they were.
    fn told(&mut self) -> Option<Line> {
        let count = std::mem::take(&mut self.count);
        let mut line = std::mem::take(&mut self.last);
        line.insert("repeated".to_owned(), count.into());
        (count > 0).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const START: Time = Time::from_millis(1_767_225_600_000);

    fn line(error: &str, request: u64) -> Line {
        let line =
            json!({"level": "ERROR", "message": "no", "error": error, "request.id": request});
        line.as_object().unwrap().clone()
    }

    fn at(ms: i64) -> Time {
        Time::from_millis(START.millis() + ms)
    }

    #[test]
    fn what_comes_again_is_told_once_and_counted() {
        let mut repeats = Repeats::default();
        assert!(repeats.is_new(START, &line("gone", 0)));
        for n in 1..1_000 {
            assert!(!repeats.is_new(at(1), &line("gone", n)));
        }
        assert!(repeats.is_new(at(2), &line("another", 0)));
        assert!(repeats.due(at(9_999)).is_empty());
        let mut told = line("gone", 999);
        told.insert("repeated".to_owned(), 999.into());
        assert_eq!(repeats.due(at(10_002)), [told]);
        // The other came once: after its window it is new again. This one is counted on.
        assert!(!repeats.is_new(at(10_003), &line("gone", 0)));
        assert!(repeats.is_new(at(10_003), &line("another", 0)));
        assert_eq!(repeats.rest().len(), 1);
        assert!(repeats.is_new(at(10_004), &line("gone", 0)));
    }

    #[test]
    fn more_kinds_than_are_kept_are_told_each_time() {
        let mut repeats = Repeats::default();
        for n in 0..KINDS_MAX + 10 {
            assert!(repeats.is_new(START, &line(&n.to_string(), 0)));
        }
        assert_eq!(repeats.known.len(), KINDS_MAX);
        assert!(repeats.is_new(START, &line(&KINDS_MAX.to_string(), 0)));
        assert!(!repeats.is_new(START, &line("0", 0)));
    }

    #[test]
    fn a_clock_that_is_set_back_hides_nothing() {
        let mut repeats = Repeats::default();
        assert!(repeats.is_new(START, &line("gone", 0)));
        assert!(!repeats.is_new(at(-3_600_000), &line("gone", 1)));
        assert_eq!(repeats.due(at(-3_599_000)).len(), 1);
    }
}
