//! The lane of lists and searches: questions whose work grows with the data. They run one after the
//! other on a thread of their own, so none holds a connection of the lookups or a thread that
//! answers callers.
//!
//! **Invariant:** no lookup, no write and no checkpoint waits for a list longer than [`STEPS_MAX`]
//! steps last.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use cardveil_core::port::{Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::{nothing_written, unreadable};
use super::open::connect;

/// How many questions may wait (P8); more are refused.
const QUEUE_MAX: usize = 256;
/// After so many steps of SQLite's machine a question is given up: a few seconds, or 10^7 rows of
/// an index. A read transaction keeps the WAL from starting anew, so none may last.
const STEPS_MAX: u64 = 250_000_000;
/// How often the steps are looked at.
const STEPS_TOGETHER: u32 = 100_000;

/// The way to the lane's thread.
pub(super) struct Lists {
    queue: Mutex<Option<SyncSender<Question>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

type Question = Box<dyn FnOnce(&mut Lane) + Send>;

impl Lists {
    pub(super) fn start(path: PathBuf) -> std::io::Result<Self> {
        Self::with(path, STEPS_MAX)
    }

    fn with(path: PathBuf, steps_max: u64) -> std::io::Result<Self> {
        let (queue, questions) = sync_channel(QUEUE_MAX);
        let lane = Lane {
            path,
            connection: None,
            steps_max,
            steps_left: Arc::default(),
        };
        let thread = std::thread::Builder::new()
            .name("cardveil-lists".into())
            .spawn(move || lane.run(&questions))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Asks when its turn has come, unless the caller has gone by then.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.push(Box::new(move |lane| {
            if !reply.is_closed() {
                drop(reply.send(lane.read(question)));
            }
        }))?;
        answer.await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Takes no more, answers what waits, and ends.
    pub(super) fn close(&self) {
        let queue = self.queue.lock();
        drop(queue.unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has said so itself.
        drop(thread.map(JoinHandle::join));
    }

    fn push(&self, question: Question) -> Result<()> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = &*queue else {
            return Err(Error::Unavailable("the store is closed".into()));
        };
        let busy = |_| Error::Unavailable("too many lists wait".into());
        queue.try_send(question).map_err(busy)
    }
}

fn given_up() -> Error {
    Error::Unavailable("a list was given up".into())
}

/// The thread's own things.
struct Lane {
    path: PathBuf,
    connection: Option<Connection>,
    steps_max: u64,
    steps_left: Arc<AtomicU64>,
}

impl Lane {
    fn run(mut self, questions: &Receiver<Question>) {
        for question in questions {
            // Its connection went with it; the next question gets a fresh one.
            if catch_unwind(AssertUnwindSafe(|| question(&mut self))).is_err() {
                tracing::error!("a list panicked");
            }
        }
    }

    fn read<T>(&mut self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.open().map_err(|error| nothing_written(&error))?,
        };
        self.steps_left.store(self.steps_max, Ordering::Relaxed);
        match question(&connection) {
            Ok(found) => {
                self.connection = Some(connection);
                Ok(found)
            }
            Err(error) => {
                // A connection that failed is not used again.
                self.connection = Some(connection).filter(|_| unreadable(&error));
                Err(nothing_written(&error))
            }
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let mut connection = connect(&self.path)?;
        connection.pragma_update(None, "query_only", true)?;
        let steps_left = Arc::clone(&self.steps_left);
        let is_enough = move || {
            let together = u64::from(STEPS_TOGETHER);
            let left = steps_left.load(Ordering::Relaxed).saturating_sub(together);
            steps_left.store(left, Ordering::Relaxed);
            left == 0
        };
        let every = i32::try_from(STEPS_TOGETHER).unwrap_or(i32::MAX);
        connection.progress_handler(every, Some(is_enough))?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use cardveil_core::card::Field;
    use cardveil_core::port::{
        Admin, CardFilter, Cards, Change, Paging, Registry, Tokens, WalletFilter, WalletPage,
        WalletTokens,
    };
    use cardveil_core::token::Verdict;
    use cardveil_core::verb::{Changes, Commit};
    use cardveil_seal::SystemEntropy;
    use cardveil_testkit::ManualClock;
    use cardveil_testkit::sample::{self, START};
    use futures_util::FutureExt as _;

    use super::*;
    use crate::sqlite::{Options, Sqlite};

    fn open(folder: &tempfile::TempDir) -> Sqlite {
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let options = Options {
            database: data.join("cardveil.db"),
            fence: folder.path().join("fence"),
        };
        Sqlite::open(
            &options,
            Arc::new(ManualClock::at(START)),
            Arc::new(SystemEntropy),
        )
        .unwrap()
        .0
    }

    async fn with_merchant(store: &Sqlite) {
        let added = |change| {
            (
                change,
                sample::event(cardveil_core::audit::Kind::CardAdded, START),
            )
        };
        let changes = vec![
            added(Change::AddMerchant(sample::merchant(1))),
            added(Change::AddCredential(sample::credential(1))),
            added(Change::AddEmbed(sample::embed(1))),
            added(Change::AddCard(Box::new(sample::card(1)))),
        ];
        let results = store.commit(Changes(changes)).await.unwrap();
        assert!(results.iter().all(std::result::Result::is_ok));
    }

    /// Searches over 10^6 cards held every reader, and another merchant's issue and redeem waited
    /// for seconds.
    #[tokio::test]
    async fn while_lists_hold_their_lane_cards_are_issued_and_redeemed() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        with_merchant(&store).await;
        let (release, held) = mpsc::channel::<()>();
        let mut holds = Box::pin(store.lists.ask(move |_| Ok(held.recv().is_err())));
        assert!((&mut holds).now_or_never().is_none());
        let (filter, paging) = (
            CardFilter::default(),
            Paging {
                limit: 1,
                ..Paging::default()
            },
        );
        let mut lists: Vec<_> = (0..32).map(|_| store.list_cards(&filter, paging)).collect();
        for list in &mut lists {
            assert!(list.now_or_never().is_none(), "it must wait for its lane");
        }
        let tokens = WalletFilter::default();
        let page = WalletPage {
            after: None,
            offset: 0,
            limit: 1,
        };
        let mut tokens = store.wallet_tokens(&tokens, page);
        assert!(
            (&mut tokens).now_or_never().is_none(),
            "it must wait for its lane"
        );

        let card = sample::card(1);
        let credential = sample::credential(1);
        assert!(
            store
                .admission(&credential.key_hash)
                .await
                .unwrap()
                .is_some()
        );
        let by_no = cardveil_core::card::CardRef::No(card.no.clone());
        assert!(store.card(&card.merchant, &by_no).await.unwrap().is_some());
        let issue = sample::issue(1, START, store.epoch().await.unwrap());
        let record = issue.record.clone();
        store.commit(issue).await.unwrap();
        assert!(store.token(&record.key).await.unwrap().is_some());
        let claim = sample::claim(&record, 1, &[Field::Pan], START);
        let verdict = store.commit(claim).await.unwrap();
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");

        drop(release);
        assert!(holds.await.unwrap());
        for list in lists {
            assert_eq!(list.await.unwrap().cards.len(), 1);
        }
        assert!(tokens.await.unwrap().is_empty());
    }

    /// A read transaction that never ends would keep the WAL from starting anew.
    #[tokio::test]
    async fn a_question_without_end_is_given_up_and_the_next_is_answered() {
        const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
             SELECT count(*) FROM n";
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let path = folder.path().join("data/cardveil.db");
        let lists = Lists::with(path, 1_000_000).unwrap();
        let ask = |sql: &'static str| {
            lists.ask(move |connection| connection.query_row(sql, [], |row| row.get::<_, i64>(0)))
        };
        let error = ask(ENDLESS).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert_eq!(ask("SELECT 7").await.unwrap(), 7);
        lists.close();
        assert!(ask("SELECT 7").await.is_err());
        store.close();
    }

    #[tokio::test]
    async fn a_question_that_panics_takes_none_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let panics = store
            .lists
            .ask(|_| -> rusqlite::Result<()> { panic!("planted") });
        assert!(panics.await.is_err());
        assert_eq!(store.lists.ask(|_| Ok(7)).await.unwrap(), 7);
    }
}
