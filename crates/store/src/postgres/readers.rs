//! Connections for lookups: a bounded pool, opened when they are needed. They read the primary.
//!
//! When all connections are busy, lookups wait; those that ask the same share one query, such as of the
//! one credential by which a partner's server asks for all of its tokens.
//!
//! **Invariant:** nothing is cached above PostgreSQL: the query that answers a lookup was sent after the
//! lookup was made, so it sees what any node had committed by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardveil_core::clock::Clock;
use cardveil_core::port::{Error, Result};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::fault::{Fault, Remedy};
use super::home::{Home, Raised};
use super::link::Link;
use super::options::Options;
use super::value::{Row, Value};
use super::writer::closed;

/// How long a lookup waits for a connection (P8).
const WAIT: Duration = Duration::from_secs(5);
const SETTINGS: &str = "SET default_transaction_read_only = on; SET statement_timeout = '5s'";

/// A statement and its parameters.
type Asked = (String, Vec<Value>);
/// What a query found, for all who asked for it.
type Found = BoxFuture<'static, Result<Arc<Vec<Row>>>>;

pub(super) struct Readers {
    options: Options,
    home: Arc<Home>,
    clock: Arc<dyn Clock>,
    permits: Semaphore,
    idle: Mutex<Vec<Link>>,
    /// Lookups that wait for a connection, and may be joined.
    waiting: Mutex<HashMap<Asked, WeakShared<Found>>>,
}

impl Readers {
    pub(super) fn new(options: Options, home: Arc<Home>, clock: Arc<dyn Clock>) -> Self {
        Self {
            permits: Semaphore::new(options.readers),
            options,
            home,
            clock,
            idle: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// The first row that a query finds.
    pub(super) async fn first<T>(
        self: &Arc<Self>,
        sql: &str,
        values: impl Into<Vec<Value>>,
        read: impl FnOnce(&Row) -> std::result::Result<T, Fault>,
    ) -> Result<Option<T>> {
        let rows = self.join((sql.to_owned(), values.into())).await?;
        let found = rows.first().map(read).transpose();
        found.map_err(Fault::nothing_written)
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

    /// Two queries of one moment.
    pub(super) async fn both(
        &self,
        one: (&str, &[Value]),
        other: (&str, &[Value]),
    ) -> Result<(Vec<Row>, Vec<Row>)> {
        let lent = self.lend().await?;
        let read = async {
            let link = lent.link()?;
            link.run("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
            let one = link.query(one.0, one.1).await?;
            let other = link.query(other.0, other.1).await?;
            link.run("COMMIT").await?;
            Ok((one, other))
        };
        let read = read.await;
        self.give_back(lent, read.is_ok());
        read.map_err(Fault::nothing_written)
    }

    /// Connects once, to learn whether the database serves, and what was found.
    pub(super) async fn probe(&self) -> std::result::Result<Option<Raised>, Fault> {
        let (link, raised) = self.connect().await?;
        self.idle().push(link);
        Ok(raised)
    }

    /// Ends all that are idle now, and the others when they come back.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle().clear();
    }

    /// The answer to a lookup that asks the same and still waits, or to a new one.
    fn join(self: &Arc<Self>, asked: Asked) -> Shared<Found> {
        let mut waiting = self.waiting();
        if let Some(answer) = waiting.get(&asked).and_then(WeakShared::upgrade) {
            return answer;
        }
        let place = Place {
            readers: Arc::clone(self),
            asked: asked.clone(),
        };
        let answer = place.ask().boxed().shared();
        if let Some(answer) = answer.downgrade() {
            waiting.insert(asked, answer);
        }
        answer
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

    async fn connect(&self) -> std::result::Result<(Link, Option<Raised>), Fault> {
        let link = Link::connect(&self.options).await?;
        let raised = self.home.admit(&link, self.clock.now()).await?;
        link.run(SETTINGS).await?;
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

    fn waiting(&self) -> MutexGuard<'_, HashMap<Asked, WeakShared<Found>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lookup's place among those that wait; it is left when the connection is there, or nobody waits any
/// more.
struct Place {
    readers: Arc<Readers>,
    asked: Asked,
}

impl Place {
    async fn ask(self) -> Result<Arc<Vec<Row>>> {
        let readers = Arc::clone(&self.readers);
        let lent = readers.lend().await?;
        let (sql, values) = self.asked.clone();
        // Whoever asks from here on may know of a commit that this query does not see.
        drop(self);
        readers.query(lent, &sql, &values).await.map(Arc::new)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.readers.waiting().remove(&self.asked);
    }
}

/// A connection on loan.
struct Lent<'a> {
    link: Option<Link>,
    /// It was opened for this loan.
    fresh: bool,
    _permit: SemaphorePermit<'a>,
}

impl Lent<'_> {
    fn link(&self) -> std::result::Result<&Link, Fault> {
        let gone = || Fault::Connection("there is no connection".into());
        self.link.as_ref().ok_or_else(gone)
    }
}
