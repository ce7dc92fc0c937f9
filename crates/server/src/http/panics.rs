//! What panics is a fault of ours, and whoever watches over the process must hear of it.
//!
//! **Invariant:** nothing tells what a panic says, which may be of a card (P3). The hook of the
//! process tells where it was.
//!
//! A process that does nothing but panic is to be restarted, and `/healthz` says so. A stranger who
//! has found a request that panics must not get every node restarted by it: a call of a known
//! caller that is carried through ends the run of panics, and a run is told only once it has lasted
//! for a while. No run takes a node out of rotation: `/readyz` only warns of it, since what panics
//! here panics at all nodes.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::http::app::App;
use crate::http::listener::stopped;

/// How many calls in a row have to panic, and for how long, until only a restart may help.
const RUN_CALLS: u32 = 5;
const RUN_LASTS: Duration = Duration::from_secs(60);
/// After how long without another panic a run is over.
const RUN_ENDS: Duration = Duration::from_secs(300);
/// How long readiness warns of a panic.
const WARNS: Duration = Duration::from_secs(600);
/// How long after its panic a worker begins anew.
const WORKER_PAUSE: Duration = Duration::from_secs(5);

/// What panicked.
#[derive(Default)]
pub(crate) struct Panics {
    known: Mutex<Known>,
    /// Whether there is a run, so that a call that is carried through need not ask for more.
    is_run: AtomicBool,
}

#[derive(Default)]
struct Known {
    last: Option<Instant>,
    run: Option<Run>,
    /// What cannot begin anew has ended.
    is_ended: bool,
}

/// Calls that panicked, and none of a known caller was carried through since the first.
#[derive(Clone, Copy)]
struct Run {
    first: Instant,
    last: Instant,
    calls: u32,
}

impl Panics {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self) {
        let (mut known, now) = (self.known(), Instant::now());
        let run = known.run.filter(|run| now - run.last < RUN_ENDS);
        known.run = Some(Run {
            first: run.map_or(now, |run| run.first),
            last: now,
            calls: run.map_or(1, |run| run.calls.saturating_add(1)),
        });
        known.last = Some(now);
        self.is_run.store(true, Ordering::Relaxed);
    }

    /// A call of somebody who is known came to an answer that is no fault of ours.
    pub(crate) fn carried_through(&self) {
        if self.is_run.load(Ordering::Relaxed) {
            self.is_run.store(false, Ordering::Relaxed);
            self.known().run = None;
        }
    }

    /// Whether nothing but a restart may help.
    pub(crate) fn need_restart(&self) -> bool {
        let known = self.known();
        let panics = |run: Run| {
            run.calls >= RUN_CALLS
                && run.last - run.first >= RUN_LASTS
                && run.last.elapsed() < RUN_ENDS
        };
        known.is_ended || known.run.is_some_and(panics)
    }

    /// What an operator should look into.
    pub(crate) fn warning(&self) -> Option<String> {
        let known = self.known();
        let recent = known.last.is_some_and(|last| last.elapsed() < WARNS);
        (recent || known.is_ended).then(|| "panicked".to_owned())
    }
}

impl App {
    /// A call has panicked, at the gate or around it.
    pub(crate) fn note_panicked_call(&self) {
        self.metrics.panics.increment();
        self.panics.call();
    }

    /// Runs a worker that ends once it is to stop, and begins it anew after a panic.
    pub fn keep_up<B, W>(
        self: &Arc<Self>,
        worker: &'static str,
        stop: &watch::Receiver<bool>,
        mut begin: B,
    ) -> impl Future<Output = ()> + use<B, W>
    where
        B: FnMut(Arc<Self>, watch::Receiver<bool>) -> W,
        W: Future<Output = ()>,
    {
        let (app, mut stop) = (Arc::clone(self), stop.clone());
        async move {
            loop {
                let work = begin(Arc::clone(&app), stop.clone());
                if app.run_worker(worker, work).await.is_some() {
                    return;
                }
                tokio::select! {
                    () = stopped(&mut stop) => return,
                    () = tokio::time::sleep(WORKER_PAUSE) => {}
                }
            }
        }
    }

    /// Runs a worker that cannot begin anew: once it has panicked, only a restart helps.
    pub async fn watch_over(self: Arc<Self>, worker: &'static str, work: impl Future<Output = ()>) {
        if self.run_worker(worker, work).await.is_none() {
            self.panics.known().is_ended = true;
        }
    }

    /// `None` when it panicked.
    pub(crate) async fn run_worker(
        &self,
        worker: &str,
        work: impl Future<Output = ()>,
    ) -> Option<()> {
        let ended = AssertUnwindSafe(work).catch_unwind().await.ok();
        if ended.is_none() {
            self.metrics.panics.increment();
            self.panics.known().last = Some(Instant::now());
            tracing::error!(worker, "a worker panicked");
        }
        ended
    }
}
