//! How long requests take, by route and outcome. A route is its pattern, so there are as many
//! labels as the program has routes, whatever strangers ask for; to count one takes two additions
//! and no memory.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::text::{Kind, Micros, Text};
use crate::http::ListenerKind;

/// The buckets' upper ends: in microseconds, and as labels, in seconds.
const BOUNDS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];
/// Where there is no such route.
const NO_ROUTE: &str = "none";
const NAME: &str = "cardveil_request_duration_seconds";

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// It was refused, in whichever form its API has for that.
    Refused,
    /// By a fault of ours.
    Fault,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Fault];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Fault => "fault",
        }
    }
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    fn note(&self, took_us: u64) {
        let fits = |(bound, _): &(u64, _)| took_us <= *bound;
        let place = BOUNDS.iter().position(fits).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }
}

/// One for each outcome.
type Outcomes = [Histogram; Outcome::ALL.len()];

/// Those of all listeners, each from when its routes are known.
#[derive(Default)]
pub(crate) struct Latencies([OnceLock<BTreeMap<Box<str>, Outcomes>>; ListenerKind::ALL.len()]);

impl Latencies {
    const fn of(&self, kind: ListenerKind) -> &OnceLock<BTreeMap<Box<str>, Outcomes>> {
        let [merchant, client, admin] = &self.0;
        match kind {
            ListenerKind::Merchant => merchant,
            ListenerKind::Client => client,
            ListenerKind::Admin => admin,
        }
    }

    /// These are a listener's routes.
    pub(crate) fn know<'a>(&self, kind: ListenerKind, routes: impl Iterator<Item = &'a str>) {
        self.of(kind).get_or_init(|| {
            let all = routes.chain([NO_ROUTE]);
            all.map(|route| (route.into(), Outcomes::default()))
                .collect()
        });
    }

    /// A request took so long.
    pub(crate) fn note(
        &self,
        kind: ListenerKind,
        route: Option<&str>,
        outcome: Outcome,
        took_us: u64,
    ) {
        let known = self.of(kind).get();
        let route = known.and_then(|routes| routes.get(route.unwrap_or(NO_ROUTE)));
        let Some([done, refused, fault]) = route else {
            return;
        };
        let histogram = match outcome {
            Outcome::Done => done,
            Outcome::Refused => refused,
            Outcome::Fault => fault,
        };
        histogram.note(took_us);
    }

    /// Of what there was at least one of.
    pub(super) fn render(&self, text: &mut Text) {
        let help = "How long requests took, from their head to their answer.";
        text.family(NAME, Kind::Histogram, help);
        for kind in ListenerKind::ALL {
            for (route, outcomes) in self.of(kind).get().into_iter().flatten() {
                for (outcome, histogram) in Outcome::ALL.iter().zip(outcomes) {
                    let labels = [
                        ("listener", kind.as_str()),
                        ("route", route),
                        ("outcome", outcome.as_str()),
                    ];
                    histogram.render(text, labels);
                }
            }
        }
    }
}

impl Histogram {
    fn render(&self, text: &mut Text, labels: [(&str, &str); 3]) {
        let counts = self.buckets.each_ref();
        let counts = counts.map(|bucket| bucket.load(Ordering::Relaxed));
        let count = counts.iter().sum::<u64>();
        if count == 0 {
            return;
        }
        let [listener, route, outcome] = labels;
        let ends = BOUNDS.iter().map(|(_, end)| *end).chain(["+Inf"]);
        let mut so_far = 0;
        for (end, here) in ends.zip(counts) {
            so_far += here;
            let labels = [listener, route, outcome, ("le", end)];
            text.sample(&format!("{NAME}_bucket"), &labels, so_far);
        }
        let sum = Micros(self.sum_us.load(Ordering::Relaxed));
        text.sample(&format!("{NAME}_sum"), &labels, sum);
        text.sample(&format!("{NAME}_count"), &labels, count);
    }
}
