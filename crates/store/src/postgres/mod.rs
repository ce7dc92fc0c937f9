//! The store in PostgreSQL 15 or later: any number of nodes on one primary.
//!
//! Writes of a node go to its writer, which commits all that wait at once (`writer`, `batch`);
//! lookups go to a pool (`readers`) and read the primary too.
//!
//! **Invariant:** a job holds the rows that it decides on until its commit, so a token goes to one
//! key in all nodes together (P1).
//!
//! **Invariant:** no connection serves before its server was compared with the one that the epoch
//! is of (`home`), so no token survives a promotion or a restore.
//!
//! **Invariant:** a commit is on disk before it is answered, whatever the database's defaults
//! (`link`).
//!
//! The SQL is what distributed databases of PostgreSQL's kind know too: row locks and upserts, and
//! no advisory locks but for migrations.
//!
//! # To add a migration
//!
//! See [`schema`].

mod audit;
mod batch;
mod budgets;
mod cards;
mod counters;
mod fault;
pub mod fit;
mod home;
mod import;
mod keys;
mod link;
mod lookups;
mod options;
mod outbox;
mod readers;
mod row;
pub mod schema;
mod sql;
pub mod survey;
mod tls;
mod tokens;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::Entropy;
use cardveil_core::clock::Clock;
use cardveil_core::port::{Commits, Error, Result, Work};
use cardveil_core::vault::RowMacs;

use self::counters::Exchange;
use self::fault::Fault;
use self::home::Home;
use self::readers::{LISTS, LOOKUPS, Readers};
use self::writer::Writer;
use crate::Store;
use crate::left_out::LeftOut;
use crate::sql::kept::{Checked, Registered};

pub use self::home::{Raised, Why};
pub use self::import::from_sqlite;
pub use self::options::{Fresh, Options, OptionsError, Transport};
pub use self::tls::AuthoritiesError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database is not one to serve on.
    #[error(transparent)]
    Unfit(#[from] fit::Unfit),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] Error),
    /// The system cannot start a thread.
    #[error("cannot start a writer's thread: {0}")]
    Thread(std::io::Error),
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unfit(unfit) => Self::Unfit(unfit),
            Fault::Postgres(_) | Fault::Connection(_) | Fault::Stale | Fault::Own(_) => {
                Self::Database(fault.nothing_written())
            }
        }
    }
}

/// The store. Share it in an [`Arc`].
pub type Postgres = Store<Database>;

/// The connections of a node.
pub struct Database {
    writer: Writer,
    readers: Arc<Readers>,
    lists: Readers,
    exchange: Exchange,
    left_out: Arc<LeftOut>,
    macs: Arc<RowMacs>,
    checked: Arc<Checked>,
    registered: Registered,
}

impl Postgres {
    /// Connects, and looks whether the database serves. The schema must be there:
    /// [`schema::migrate`]. `clock` says what an epoch that must be raised is raised to, now or
    /// later.
    pub async fn open(
        options: &Options,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> std::result::Result<(Self, Option<Raised>), OpenError> {
        let home = Arc::new(Home::new(Arc::clone(&entropy)));
        let pool = |r#use| {
            Readers::new(
                r#use,
                options.clone(),
                Arc::clone(&home),
                Arc::clone(&clock),
            )
        };
        let (readers, lists) = (Arc::new(pool(LOOKUPS)), pool(LISTS));
        // Boxed: whoever opens a store need not be as large as what opens connections.
        Box::pin(fit::examine(options)).await?;
        let raised = readers.probe().await?;
        let left_out = Arc::default();
        let macs = Arc::new(RowMacs::new(Arc::clone(&clock)));
        let checked = Arc::new(Checked::new(&clock));
        let kept = (&left_out, &macs, &checked);
        let registered = Registered::new(&clock);
        let writer =
            Writer::start(options, &home, &clock, kept, entropy).map_err(OpenError::Thread)?;
        let exchange = Exchange::new(options.clone(), home, clock);
        let database = Database {
            writer,
            readers,
            lists,
            exchange,
            left_out,
            macs,
            checked,
            registered,
        };
        Ok((Self(database), raised))
    }
}

impl Database {
    /// Finishes the writes that wait. What is asked afterwards is unavailable. Dropping does the
    /// same.
    pub fn close(&self) {
        self.readers.close();
        self.lists.close();
        self.exchange.close();
        self.writer.close();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Commits for Postgres {
    async fn run(&self, work: Arc<dyn Work>) -> Result<()> {
        self.writer.run(work).await
    }
}
