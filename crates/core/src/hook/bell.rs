//! A bell that the store rings after a commit that queued something or settled an attempt, so that
//! a courier of the same process need not wait for its next round. It belongs to no runtime.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Rung by the store, heard by couriers. Clones are the same bell.
#[derive(Clone, Default)]
pub struct Bell(Arc<Mutex<Rung>>);

#[derive(Default)]
struct Rung {
    times: u64,
    waiting: Vec<Waker>,
}

impl Bell {
    pub fn ring(&self) {
        let waiting = {
            let mut rung = self.rung();
            rung.times = rung.times.wrapping_add(1);
            std::mem::take(&mut rung.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// How often it has been rung: what [`Bell::heard`] is told, before looking at the outbox.
    pub fn times(&self) -> u64 {
        self.rung().times
    }

    /// Returns once it has been rung more often than `before`.
    pub async fn heard(&self, before: u64) {
        poll_fn(|context| {
            let mut rung = self.rung();
            if rung.times != before {
                return Poll::Ready(());
            }
            if !rung.waiting.iter().any(|w| w.will_wake(context.waker())) {
                rung.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ring_before_the_wait_is_heard_and_one_during_it_too() {
        let bell = Bell::default();
        let before = bell.times();
        bell.ring();
        bell.heard(before).await;
        let before = bell.times();
        let other = bell.clone();
        let listening = tokio::spawn(async move { other.heard(before).await });
        tokio::task::yield_now().await;
        assert!(!listening.is_finished());
        bell.ring();
        listening.await.unwrap();
    }
}
