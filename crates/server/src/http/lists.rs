//! Lists and searches, whose work grows with the data: how many at once, and how much of them one
//! credential may have. Issue and redeem do not pass here, and the store has a lane of its own for
//! what does (P8).
//!
//! A credential has one list worked on at a time, and all together [`AT_ONCE`]. What comes beside
//! it waits, for [`WAIT`] at most: so a caller of many connections is slowed, and does not come
//! again the sooner. The time that its lists take is counted, [`SHARE`] times, and when that
//! reaches [`AHEAD`] it waits until it has passed.
//!
//! **Invariant:** the memory of it is bounded: an entry for a credential that was admitted, and at
//! most [`WAITING_MAX`] callers that wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cardveil_core::flow::Caller;
use tokio::sync::{MutexGuard, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::app::App;

/// How many lists are worked on at once, of all credentials.
const AT_ONCE: usize = 2;
/// How many callers may wait for their turn.
const WAITING_MAX: usize = 256;
/// How long a caller waits for its turn.
const WAIT: Duration = Duration::from_secs(1);
/// The lists of one credential are worked on for one part in so many of the time.
const SHARE: u32 = 4;
/// How far ahead of that it may be.
const AHEAD: Duration = Duration::from_secs(4);
/// As how long a list counts whose caller has gone, since the store works on.
const ABANDONED: Duration = Duration::from_millis(250);
/// No list counts as longer, whatever held it up.
const LONGEST: Duration = Duration::from_secs(5);

pub(crate) struct Lists {
    at_once: Semaphore,
    waiting: Semaphore,
    credentials: Mutex<HashMap<Box<str>, Arc<Turn>>>,
}

/// A credential's turn: who holds it has a list worked on. In it is until when its lists of before
/// count.
type Turn = tokio::sync::Mutex<Option<Instant>>;

/// Too many lists, or too much work: come back after [`Busy::RETRY_AFTER_SECS`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Busy {
    pub(crate) const RETRY_AFTER_SECS: u64 = WAIT.as_secs();
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            at_once: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(WAITING_MAX),
            credentials: Mutex::default(),
        }
    }
}

impl App {
    /// Has a list worked on for whoever asks.
    pub(crate) async fn list<T>(
        &self,
        caller: &Caller,
        list: impl Future<Output = T>,
    ) -> Result<T, Busy> {
        let listed = self.lists.run(caller.credential.id.as_str(), list).await;
        if listed.is_err() {
            self.metrics.rate_limited.increment();
        }
        listed
    }
}

impl Lists {
    /// Has `list` worked on when it is this credential's turn. What makes the answer of the rows
    /// belongs to it.
    pub(crate) async fn run<T>(
        &self,
        credential: &str,
        list: impl Future<Output = T>,
    ) -> Result<T, Busy> {
        let waits = self.waiting.try_acquire().map_err(|_| Busy)?;
        let turn = self.turn(credential);
        let begin = async {
            let counts_until = turn.lock().await;
            if let Some(from) = counts_until.and_then(|until| until.checked_sub(AHEAD)) {
                sleep_until(from).await;
            }
            // It is never closed.
            (counts_until, self.at_once.acquire().await.ok())
        };
        let (counts_until, _place) = timeout(WAIT, begin).await.map_err(|_| Busy)?;
        drop(waits);
        let mut work = Work {
            counts_until,
            begun: Instant::now(),
            least: ABANDONED,
        };
        let found = list.await;
        work.least = Duration::ZERO;
        Ok(found)
    }

    fn turn(&self, credential: &str) -> Arc<Turn> {
        let mut credentials = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = credentials.get(credential) {
            return Arc::clone(turn);
        }
        let turn = Arc::new(Turn::default());
        credentials.insert(credential.into(), Arc::clone(&turn));
        turn
    }
}

/// A list that is worked on. It counts when this is dropped: when it is done, or when its caller
/// has gone.
struct Work<'a> {
    counts_until: MutexGuard<'a, Option<Instant>>,
    begun: Instant,
    least: Duration,
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let took = self.begun.elapsed().clamp(self.least, LONGEST);
        let from = self
            .counts_until
            .map_or(self.begun, |until| until.max(self.begun));
        *self.counts_until = Some(from + took * SHARE);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    async fn work_of(time: Duration) {
        sleep(time).await;
    }

    /// 48 connections of one credential, whose lists never end.
    #[tokio::test(start_paused = true)]
    async fn the_lists_of_one_credential_leave_room_for_anothers() {
        let lists = Lists::default();
        let mut held: Vec<_> = (0..48)
            .map(|_| Box::pin(lists.run("thief", pending::<()>())))
            .collect();
        for list in &mut held {
            assert!(list.now_or_never().is_none());
        }
        assert_eq!(lists.run("other", ready(7)).await, Ok(7));
        let refused = join_all(held.drain(1..)).await;
        assert!(
            refused.iter().all(|answer| *answer == Err(Busy)),
            "one is worked on"
        );
        assert_eq!(lists.run("other", ready(8)).await, Ok(8));
    }

    #[tokio::test(start_paused = true)]
    async fn of_all_credentials_a_few_lists_are_worked_on_and_the_rest_is_told_to_come_again() {
        let lists = Lists::default();
        let names: Vec<_> = (0..WAITING_MAX + AT_ONCE).map(|n| n.to_string()).collect();
        let mut held: Vec<_> = names
            .iter()
            .map(|name| Box::pin(lists.run(name, pending::<()>())))
            .collect();
        for list in &mut held {
            assert!(list.now_or_never().is_none());
        }
        assert_eq!(
            lists.run("one more", ready(())).now_or_never(),
            Some(Err(Busy))
        );
        let waited = join_all(held.drain(AT_ONCE..)).await;
        assert!(waited.iter().all(|answer| *answer == Err(Busy)));
        drop(held);
        assert_eq!(lists.run("later", ready(())).await, Ok(()));
    }

    /// A list of 100 ms may be had ten times at once, and then as often as a quarter of the time
    /// allows.
    #[tokio::test(start_paused = true)]
    async fn the_work_of_one_credentials_lists_is_bounded() {
        let lists = Lists::default();
        let work = Duration::from_millis(100);
        let begun = Instant::now();
        for _ in 0..11 {
            assert_eq!(lists.run("thief", work_of(work)).await, Ok(()));
        }
        assert_eq!(begun.elapsed(), work * 11, "nothing was held up");
        for _ in 0..100 {
            assert_eq!(lists.run("thief", work_of(work)).await, Ok(()));
        }
        assert!(
            begun.elapsed() > work * 100 * SHARE,
            "{:?}",
            begun.elapsed()
        );
        let other = Instant::now();
        assert_eq!(lists.run("other", work_of(work)).await, Ok(()));
        assert_eq!(other.elapsed(), work);
    }

    /// Who leaves before the answer has had the work done all the same.
    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_not_waited_for_counts() {
        let lists = Lists::default();
        for _ in 0..10 {
            assert_eq!(lists.run("thief", pending::<()>()).now_or_never(), None);
        }
        assert_eq!(
            lists.run("thief", ready(())).now_or_never(),
            None,
            "it has to wait"
        );
        assert_eq!(lists.run("other", ready(())).await, Ok(()));
    }
}
