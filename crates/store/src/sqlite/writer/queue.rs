//! What waits for the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardveil_core::port::{Error, Result};

use super::Job;

/// How many jobs may wait (P8); more are refused.
pub(super) const QUEUE_MAX: usize = 4_096;
/// How many jobs share one commit.
const BATCH_MAX: usize = 512;
/// How often the writer gives way to its callers before it begins a batch.
const GATHER_ROUNDS_MAX: usize = 4;

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    closed: bool,
    /// The writer waits to be woken; at other times waking it would cost for nothing.
    asleep: bool,
}

pub(super) enum Next {
    Jobs(Vec<Box<dyn Job>>),
    Nothing,
    Closed,
}

impl Queue {
    pub(super) fn push(&self, job: Box<dyn Job>) -> Result<()> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(closed());
        }
        if waiting.jobs.len() >= QUEUE_MAX {
            return Err(Error::Unavailable("too many writes wait".into()));
        }
        waiting.jobs.push_back(job);
        if std::mem::take(&mut waiting.asleep) {
            drop(waiting);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// What waits, up to a batch; waits for it, at most for `patience`.
    pub(super) fn next(&self, patience: Duration) -> Next {
        let mut waiting = self.waiting();
        loop {
            if !waiting.jobs.is_empty() {
                waiting = self.gather(waiting);
                let length = waiting.jobs.len().min(BATCH_MAX);
                return Next::Jobs(waiting.jobs.drain(..length).collect());
            }
            if waiting.closed {
                return Next::Closed;
            }
            waiting.asleep = true;
            let timed_out;
            (waiting, timed_out) = self.wait(waiting, patience);
            waiting.asleep = false;
            if timed_out && waiting.jobs.is_empty() && !waiting.closed {
                return Next::Nothing;
            }
        }
    }

    /// Lets callers that are about to write join the batch. Where they share a core with the
    /// writer, whoever wakes it would otherwise be interrupted by it, and each batch would hold
    /// little more than the one write that began it. Where they do not, nothing is given up.
    fn gather<'a>(&'a self, mut waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        for _ in 0..GATHER_ROUNDS_MAX {
            let before = waiting.jobs.len();
            drop(waiting);
            std::thread::yield_now();
            waiting = self.waiting();
            if waiting.jobs.len() == before || waiting.jobs.len() >= BATCH_MAX {
                break;
            }
        }
        waiting
    }

    fn wait<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        patience: Duration,
    ) -> (MutexGuard<'a, Waiting>, bool) {
        let woken = self.arrived.wait_timeout(waiting, patience);
        let (waiting, waited) = woken.unwrap_or_else(PoisonError::into_inner);
        (waiting, waited.timed_out())
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().jobs.len()
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.arrived.notify_one();
    }

    /// Nobody will run what waits.
    pub(super) fn abandon(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        for job in left {
            job.answer(&Err(closed()));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}
