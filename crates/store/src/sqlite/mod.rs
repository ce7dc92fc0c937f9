//! The store in one SQLite file: for a laptop, a pilot, a mid-size programme.
//!
//! Writes go to one thread, which commits all that wait at once (`writer`); lookups run where they
//! are asked for (`readers`), and lists on a thread of their own (`lists`). Several processes may
//! have the same file open: the server, and the command line beside it.
//!
//! **Invariant:** one transaction reads a token, decides, and writes; SQLite lets one process at a
//! time do that, so a token goes to one key in all of them together (P1).
//!
//! # The epoch and its fence
//!
//! A restored backup un-spends tokens. So the database has a random id and a generation (the last
//! place in its audit log, which every change of state moves), and a small file outside its folder,
//! the fence, takes both down after each commit, before the commit is answered. At opening, a
//! database that is behind its fence, of another id, or without its fence has been exchanged: the
//! epoch is raised before anything is served, and no token issued before is good any more. A copy
//! that is put back through SQLite into the open database (`.restore` of `sqlite3`) is noticed by
//! the next write.
//!
//! It detects an older copy of the database put in place of the newer, another database, and a
//! machine that got the database without the fence. It does not detect that fence and database are
//! set back together (so keep them on different volumes, and leave the fence out of backups and
//! snapshots), nor a file exchanged under a running process, which SQLite forbids anyway. The fence
//! is synced once a second: after lost power it may lack that second, and a restore to a point
//! within it goes unseen. `cardveil epoch raise` does it by hand.
//!
//! # To add a migration
//!
//! Add `migrations/NNNN_what.sql`, and where it changes rows that are there, a test that opens a
//! file of the version before. Migrations go forward only and run in one transaction, so a program
//! of the version before must be stopped first; it refuses the file afterwards. Never change one
//! that was released.

mod audit;
mod backup;
mod cards;
mod counters;
mod fault;
mod fence;
mod keys;
mod lists;
mod lookups;
mod open;
mod outbox;
mod readers;
mod sql;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use cardveil_core::Entropy;
use cardveil_core::clock::Clock;
use cardveil_core::port::{Commits, Result, Work};
use cardveil_core::vault::RowMacs;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use self::lists::Lists;
use self::readers::Readers;
use self::writer::Writer;
use crate::Store;
use crate::left_out::LeftOut;
use crate::sql::for_sqlite;
use crate::sql::kept::{Checked, Registered};

pub use self::backup::{Contents, Copy, Revived, copy_to, fence_epoch, put_in_place};
/// The version of files that this program writes.
pub const VERSION: usize = MIGRATIONS.len();

pub(crate) use self::open::MIGRATIONS;
pub use self::open::{OpenError, Opened, Options, Raised, Why, retire};

/// The store. Share it in an [`std::sync::Arc`].
pub type Sqlite = Store<Database>;

/// The file, and who writes and reads it.
pub struct Database {
    writer: Writer,
    readers: Readers,
    lists: Lists,
    texts: Texts,
    left_out: Arc<LeftOut>,
    macs: Arc<RowMacs>,
    checked: Arc<Checked>,
    registered: Registered,
}

impl Sqlite {
    /// Opens the database, or makes it, and migrates it. `clock` says what an epoch that must be
    /// raised is raised to; chance is for the salts of personal values in the audit log.
    pub fn open(
        options: &Options,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> std::result::Result<(Self, Opened), OpenError> {
        let ready = open::open(options, clock.now(), entropy)?;
        let opened = ready.opened.clone();
        let left_out = Arc::<LeftOut>::default();
        let macs = Arc::new(RowMacs::new(Arc::clone(&clock)));
        let checked = Arc::new(Checked::new(&clock));
        let kept = (
            Arc::clone(&left_out),
            Arc::clone(&macs),
            Arc::clone(&checked),
        );
        let registered = Registered::new(&clock);
        let writer = Writer::start(ready, clock, kept).map_err(OpenError::Thread)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = Readers::new(options.database.clone(), cores + 1);
        let lists = Lists::start(options.database.clone()).map_err(OpenError::Thread)?;
        let database = Database {
            writer,
            readers,
            lists,
            texts: Texts::default(),
            left_out,
            macs,
            checked,
            registered,
        };
        Ok((Self(database), opened))
    }
}

impl Database {
    /// Finishes the writes that wait, brings the WAL into the database and syncs the fence. What is
    /// asked afterwards is unavailable. Dropping does the same.
    pub fn close(&self) {
        self.readers.close();
        self.lists.close();
        self.writer.close();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection
        .prepare_cached(sql)?
        .query_row(params, read)
        .optional()
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection
        .prepare_cached(sql)?
        .query_map(params, read)?
        .collect()
}

#[async_trait]
impl Commits for Sqlite {
    async fn run(&self, work: Arc<dyn Work>) -> Result<()> {
        self.writer.run(work).await
    }
}

/// Statements that both adapters have, in SQLite's form, by where their text stands.
#[derive(Default)]
struct Texts(RwLock<HashMap<(usize, usize), Arc<str>>>);

impl Texts {
    fn of(&self, sql: &'static str) -> Arc<str> {
        let place = (sql.as_ptr().addr(), sql.len());
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known.get(&place) {
            return Arc::clone(text);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let text = known.entry(place).or_insert_with(|| for_sqlite(sql).into());
        Arc::clone(text)
    }
}
