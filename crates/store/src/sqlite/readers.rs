//! Connections for lookups, which run where they are asked for: a lookup of a few pages is cheaper
//! than handing it to another thread.
//!
//! **Invariant:** nothing is kept above SQLite but what SQLite says was not changed
//! ([`crate::sql::kept`]), so a lookup sees what any process has committed.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use cardveil_core::port::{Error, Result};
use rusqlite::Connection;

use super::fault::{nothing_written, unreadable};
use super::open::connect;

pub(super) struct Readers {
    path: PathBuf,
    most: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    /// Those in use and those idle.
    open: usize,
    closed: bool,
}

impl Readers {
    /// At most `most` connections, opened when they are first needed.
    pub(super) fn new(path: PathBuf, most: usize) -> Self {
        Self {
            path,
            most: most.max(1),
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// How many connections are in use, and how many may be.
    pub(super) fn busy(&self) -> (usize, usize) {
        let pool = self.pool();
        (pool.open - pool.idle.len(), self.most)
    }

    /// Runs a lookup of one statement, which is one snapshot.
    pub(super) fn read<T>(
        &self,
        lookup: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut lent = self.lend()?;
        let found = match &lent.connection {
            Some(connection) => lookup(connection),
            None => return Err(closed()),
        };
        match found {
            Ok(value) => Ok(value),
            Err(error) => {
                // A connection that failed is not lent again.
                if !unreadable(&error) {
                    lent.connection = None;
                }
                Err(nothing_written(&error))
            }
        }
    }

    /// Ends all that are idle now, and the others when they come back.
    pub(super) fn close(&self) {
        let mut pool = self.pool();
        pool.closed = true;
        pool.open -= pool.idle.len();
        pool.idle.clear();
        self.returned.notify_all();
    }

    fn lend(&self) -> Result<Lent<'_>> {
        let mut pool = self.pool();
        loop {
            if pool.closed {
                return Err(closed());
            }
            if let Some(connection) = pool.idle.pop() {
                return Ok(Lent {
                    readers: self,
                    connection: Some(connection),
                });
            }
            if pool.open < self.most {
                break;
            }
            // Lookups take microseconds and are not held over an await: the wait is short.
            pool = self
                .returned
                .wait(pool)
                .unwrap_or_else(PoisonError::into_inner);
        }
        pool.open += 1;
        drop(pool);
        let mut lent = Lent {
            readers: self,
            connection: None,
        };
        let connection = connect(&self.path)
            .and_then(|connection| {
                connection.pragma_update(None, "query_only", true)?;
                Ok(connection)
            })
            .map_err(|error| nothing_written(&error))?;
        lent.connection = Some(connection);
        Ok(lent)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}

/// A connection that goes back when it is dropped, if there is still one.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool();
        match self.connection.take() {
            Some(connection) if !pool.closed => pool.idle.push(connection),
            Some(_) | None => pool.open -= 1,
        }
        drop(pool);
        self.readers.returned.notify_one();
    }
}
