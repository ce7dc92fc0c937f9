//! Connections for lookups: a bounded pool, opened when they are needed. They read the primary.
//! Lists and searches, whose work grows with the data, have a pool of their own, so that no lookup
//! waits for them.
//!
//! When all connections are busy, lookups wait; those of one kind that wait together are one query,
//! in which what is asked for twice is there once: a partner's server asks for all of its tokens by
//! one credential.
//!
//! **Invariant:** nothing is kept above PostgreSQL but what PostgreSQL says was not changed
//! ([`crate::sql::kept`]): the query that answers a lookup, or says so, was sent after the lookup was
//! made, so it sees what any node had committed by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardveil_core::clock::Clock;
use cardveil_core::port::{Error, Result};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::fault::{Fault, Remedy};
use super::fit;
use super::home::{Home, Raised};
use super::link::Link;
use super::options::Options;
use super::row::Row;
use super::writer::closed;
use crate::sql::value::{Value, columns};

/// How long a lookup waits for a connection (P8).
const WAIT: Duration = Duration::from_secs(5);

/// What a pool is for.
#[derive(Clone, Copy)]
pub(super) struct Use {
    /// How many connections at most, of one node.
    most: usize,
    settings: &'static str,
}

pub(super) const LOOKUPS: Use = Use {
    most: 8,
    settings: "SET default_transaction_read_only = on; SET statement_timeout = '5s'",
};
/// A list takes no more of the server than one process, and ends soon. Its plan is made for its
/// values, from the indexes that are there for it.
pub(super) const LISTS: Use = Use {
    most: 2,
    settings: "SET default_transaction_read_only = on; SET statement_timeout = '3s';
        SET max_parallel_workers_per_gather = 0; SET jit = off; SET enable_seqscan = off;
        SET plan_cache_mode = force_custom_plan",
};

/// What lookups that wait together ask for, and the place of each in their answer.
type Asked = HashMap<Vec<Value>, usize>;
/// What they find, each at its place.
type Found = BoxFuture<'static, Result<Arc<Vec<Option<Row>>>>>;

pub(super) struct Readers {
    r#use: Use,
    options: Options,
    home: Arc<Home>,
    clock: Arc<dyn Clock>,
    permits: Semaphore,
    idle: Mutex<Vec<Link>>,
    waiting: Mutex<Waiting>,
}

/// Lookups that wait for a connection, and may be joined: by their statement.
#[derive(Default)]
struct Waiting {
    together: HashMap<&'static str, Together>,
    /// The number of the last of them.
    last: u64,
}

struct Together {
    number: u64,
    asked: Asked,
    answer: WeakShared<Found>,
}

impl Readers {
    pub(super) fn new(
        r#use: Use,
        options: Options,
        home: Arc<Home>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            permits: Semaphore::new(r#use.most),
            r#use,
            options,
            home,
            clock,
            idle: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// How many connections are in use, and how many may be.
    pub(super) fn busy(&self) -> (usize, usize) {
        let most = self.r#use.most;
        (most - self.permits.available_permits().min(most), most)
    }

    /// The row that a statement finds by keys, if there is one. The statement takes a list for each
    /// key, and its last column is the place in these lists (`WITH ORDINALITY`, from 1 on). Keys
    /// are ids and hashes, which PostgreSQL refuses none of, so that no lookup fails another.
    /// `is_it` says whether the row is of these keys: a mistake about places shows nobody what is
    /// another's.
    pub(super) async fn find<T>(
        self: &Arc<Self>,
        sql: &'static str,
        keys: impl Into<Vec<Value>>,
        read: impl FnOnce(&Row) -> std::result::Result<T, Fault>,
        is_it: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>> {
        let (answer, place) = self.join(sql, keys.into());
        let found = answer.await?;
        let Some(found) = found.get(place) else {
            return Err(Error::Unavailable("a lookup was not made".into()));
        };
        let found = found.as_ref().map(read).transpose();
        let found = found.map_err(Fault::nothing_written)?;
        if found.as_ref().is_some_and(|found| !is_it(found)) {
            return Err(Error::Corrupt("a lookup found another row".into()));
        }
        Ok(found)
    }

    /// All rows that a query finds.
    pub(super) async fn all<T>(
        &self,
        sql: &str,
        values: &[Value],
        read: impl FnMut(&Row) -> std::result::Result<T, Fault>,
    ) -> Result<Vec<T>> {
        let lent = self.lend().await?;
        let rows = self.query(lent, sql, values).await?;
        let read: std::result::Result<_, _> = rows.iter().map(read).collect();
        read.map_err(Fault::nothing_written)
    }

    /// A connection for several queries of one moment; [`Self::end`] takes it back.
    pub(super) async fn begin(&self) -> Result<Lent<'_>> {
        let lent = self.lend().await?;
        let begun = lent.begin().await;
        let again =
            matches!(&begun, Err(fault) if !lent.fresh && fault.remedy() == Remedy::Reconnect);
        if !again {
            begun.map_err(Fault::nothing_written)?;
            return Ok(lent);
        }
        drop(lent);
        self.idle().clear();
        let lent = self.lend().await?;
        lent.begin().await.map_err(Fault::nothing_written)?;
        Ok(lent)
    }

    /// What was read on it.
    pub(super) async fn end<T>(
        &self,
        lent: Lent<'_>,
        read: std::result::Result<T, Fault>,
    ) -> Result<T> {
        let ended = match (read, lent.link()) {
            (Ok(value), Ok(link)) => link.run("COMMIT").await.map(|()| value),
            (Ok(_), Err(fault)) | (Err(fault), _) => Err(fault),
        };
        self.give_back(lent, ended.is_ok());
        ended.map_err(Fault::nothing_written)
    }

    /// Connects once, to learn whether the database serves, and what was found.
    pub(super) async fn probe(&self) -> std::result::Result<Option<Raised>, Fault> {
        let (link, raised) = self.connect().await?;
        Box::pin(fit::rights(&link)).await?;
        self.idle().push(link);
        Ok(raised)
    }

    /// Ends all that are idle now, and the others when they come back.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle().clear();
    }

    /// The answer to the lookups by this statement that still wait, or to a new one; and the place
    /// in it.
    fn join(self: &Arc<Self>, sql: &'static str, keys: Vec<Value>) -> (Shared<Found>, usize) {
        let mut waiting = self.waiting();
        if let Some(together) = waiting.together.get_mut(sql)
            && let Some(answer) = together.answer.upgrade()
        {
            let next = together.asked.len();
            let place = *together.asked.entry(keys).or_insert(next);
            return (answer, place);
        }
        waiting.last += 1;
        let place = Turn {
            readers: Arc::clone(self),
            sql,
            number: waiting.last,
        };
        let number = place.number;
        let answer = place.ask().boxed().shared();
        if let Some(weak) = answer.downgrade() {
            let together = Together {
                number,
                asked: HashMap::from([(keys, 0)]),
                answer: weak,
            };
            waiting.together.insert(sql, together);
        }
        (answer, 0)
    }

    /// A lookup may be done again: when its connection turns out to be dead, on a fresh one.
    async fn query(&self, lent: Lent<'_>, sql: &str, values: &[Value]) -> Result<Vec<Row>> {
        let fresh = lent.fresh;
        let read = match lent.link() {
            Ok(link) => link.query(sql, values).await,
            Err(fault) => Err(fault),
        };
        let again = match &read {
            Ok(_) => false,
            Err(fault) => !fresh && fault.remedy() == Remedy::Reconnect,
        };
        self.give_back(lent, read.is_ok());
        if !again {
            return read.map_err(Fault::nothing_written);
        }
        self.idle().clear();
        let lent = self.lend().await?;
        let read = match lent.link() {
            Ok(link) => link.query(sql, values).await,
            Err(fault) => Err(fault),
        };
        self.give_back(lent, read.is_ok());
        read.map_err(Fault::nothing_written)
    }

    async fn lend(&self) -> Result<Lent<'_>> {
        let busy = || Error::Unavailable("too many lookups wait".into());
        let permit = tokio::time::timeout(WAIT, self.permits.acquire())
            .await
            .map_err(|_| busy())?
            .map_err(|_| closed())?;
        let idle = self.idle().pop();
        if let Some(link) = idle.filter(|link| !link.is_closed()) {
            return Ok(Lent {
                link: Some(link),
                fresh: false,
                _permit: permit,
            });
        }
        let (link, _) = self.connect().await.map_err(Fault::nothing_written)?;
        Ok(Lent {
            link: Some(link),
            fresh: true,
            _permit: permit,
        })
    }

    /// A connection of its own for questions about all rows, which take longer than a lookup may.
    pub(super) async fn patient(&self) -> std::result::Result<Link, Fault> {
        let link = Link::patient(&self.options).await?;
        self.home.admit(&link, self.clock.now()).await?;
        link.run("SET default_transaction_read_only = on").await?;
        Ok(link)
    }

    async fn connect(&self) -> std::result::Result<(Link, Option<Raised>), Fault> {
        let link = Link::connect(&self.options).await?;
        let raised = self.home.admit(&link, self.clock.now()).await?;
        link.run(self.r#use.settings).await?;
        Ok((link, raised))
    }

    /// A connection that failed is not lent again; nor is one whose lookup was given up.
    fn give_back(&self, mut lent: Lent<'_>, good: bool) {
        if let Some(link) = lent.link.take()
            && good
            && !self.permits.is_closed()
        {
            self.idle().push(link);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of lookups among those that wait; it is left when the connection is there, or nobody
/// waits any more.
struct Turn {
    readers: Arc<Readers>,
    sql: &'static str,
    number: u64,
}

impl Turn {
    async fn ask(self) -> Result<Arc<Vec<Option<Row>>>> {
        let readers = Arc::clone(&self.readers);
        let sql = self.sql;
        let lent = readers.lend().await?;
        // Whoever asks from here on may know of a commit that this query does not see.
        let mut asked: Vec<_> = self.leave().into_iter().collect();
        asked.sort_unstable_by_key(|(_, place)| *place);
        let asked: Vec<_> = asked.into_iter().map(|(keys, _)| keys).collect();
        let mut found: Vec<_> = asked.iter().map(|_| None).collect();
        let rows = readers.query(lent, sql, &columns(asked)).await?;
        for row in rows {
            let place: usize = row.last().map_err(Fault::nothing_written)?;
            if let Some(found) = place.checked_sub(1).and_then(|place| found.get_mut(place)) {
                *found = Some(row);
            }
        }
        Ok(Arc::new(found))
    }

    fn leave(&self) -> Asked {
        let mut waiting = self.readers.waiting();
        match waiting.together.get(self.sql) {
            Some(together) if together.number == self.number => {
                let left = waiting.together.remove(self.sql);
                left.map(|together| together.asked).unwrap_or_default()
            }
            Some(_) | None => Asked::new(),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A connection on loan.
pub(super) struct Lent<'a> {
    link: Option<Link>,
    /// It was opened for this loan.
    fresh: bool,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    async fn begin(&self) -> std::result::Result<(), Fault> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
        self.link()?.run(begin).await
    }

    pub(super) fn link(&self) -> std::result::Result<&Link, Fault> {
        let gone = || Fault::Connection("there is no connection".into());
        self.link.as_ref().ok_or_else(gone)
    }
}
