//! One limit over all nodes: each tells the others what it has admitted, a few times a second, and
//! counts what they tell as if it had admitted it itself.
//!
//! Counting is exact in the long run and late by one exchange: in any time T, N nodes together
//! admit to a caller at most its burst, its rate times T, and what N - 1 of them admit to it within
//! one exchange, which is another burst for each of them at the very most. Since all of it is
//! counted afterwards, the rate over a longer time is the configured one, whatever N is. It is so,
//! and not exact to the call, because a limit that is decided in the database costs every call a
//! round trip and a row that all nodes want to write; and it is not the limit divided by N, because
//! then a caller that reaches one node gets a part of what it may.
//!
//! **Invariant:** no call waits for an exchange, and without one the node's own limits hold.
//!
//! **Invariant:** what is told is of the last [`LATE_MS`] at most. After a longer silence (the
//! database was away, the process was stopped) a node tells and counts from then on only: counted
//! all at once, the calls of a minute would shut out a caller that kept to its limit.

use std::sync::Arc;
use std::time::Duration;

use cardveil_core::port::{Heard, NodeId, Told};
use governor::clock::Clock as _;
use governor::nanos::Nanos;
use tokio::sync::watch;

use crate::http::app::App;
use crate::http::limit::{Limiter, Stopwatch};
use crate::http::listener;

/// How often nodes tell each other.
const EVERY: Duration = Duration::from_millis(200);
/// An exchange that takes longer is given up, and what is older than this is not told.
const LATE_MS: u64 = 1_000;
/// How many processes are remembered (P8); then it begins anew.
const NODES_MAX: usize = 1_024;

/// A node's part in the exchange.
pub struct Sharing {
    app: Arc<App>,
    node: NodeId,
    round: i64,
    heard: Heard,
    clock: Stopwatch,
    /// When the last exchange was, if it is one to go on from.
    last: Option<Nanos>,
    failing: bool,
}

impl Sharing {
    /// Of this process.
    pub fn new(app: Arc<App>) -> Self {
        app.limiter.pending.want(true);
        Self {
            node: app.service.name_node(),
            clock: Stopwatch::new(app.service.clone()),
            app,
            round: 0,
            heard: Heard::new(),
            last: None,
            failing: false,
        }
    }

    /// Goes on until it is told to stop, or the store turns out to be of one node.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = listener::stopped(&mut stop) => return,
                _ = ticks.tick() => {}
            }
            if !self.exchange().await {
                return;
            }
        }
    }

    /// One exchange; whether there is anybody to share with.
    pub async fn exchange(&mut self) -> bool {
        let now = self.clock.now();
        let late = Nanos::from(Duration::from_millis(LATE_MS));
        let goes_on = self.last.is_some_and(|last| now <= last + late);
        let mut counts = self.limiter().pending.take();
        if !goes_on {
            counts.clear();
            self.heard.clear();
        }
        self.round += 1;
        let told = Told {
            node: self.node,
            round: self.round,
            counts,
        };
        let asked = self.app.service.exchange_counts(told, &self.heard);
        let answer = tokio::time::timeout(Duration::from_millis(LATE_MS), asked).await;
        self.last = None;
        match answer {
            Ok(Ok(Some(others))) => {
                self.hear(&others, goes_on);
                self.last = (self.heard.len() < NODES_MAX).then_some(now);
                self.works();
            }
            Ok(Ok(None)) => {
                self.limiter().pending.want(false);
                return false;
            }
            Ok(Err(fault)) => self.fails(&fault.to_string()),
            Err(_) => self.fails("the store does not answer"),
        }
        true
    }

    /// What was told before this node began to listen is not counted.
    fn hear(&mut self, others: &[Told], counts: bool) {
        for told in others {
            self.heard.insert(told.node, told.round);
            if counts {
                told.counts
                    .iter()
                    .for_each(|count| self.limiter().count(count));
            }
        }
    }

    /// Said once.
    fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("rate limits are shared with the other nodes again");
        }
    }

    /// Said once, and counted each time.
    fn fails(&mut self, error: &str) {
        self.app.metrics.limit_exchanges_failed.increment();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                error,
                "rate limits are this node's own until they can be shared"
            );
        }
    }

    fn limiter(&self) -> &Limiter {
        &self.app.limiter
    }
}
