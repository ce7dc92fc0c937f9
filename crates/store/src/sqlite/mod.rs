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
//! Add `migrations/NNNN_what.sql` and its line at the end of `MIGRATIONS` in `open.rs`, and a test
//! that opens a file of the version before. Migrations go forward only and run in one transaction,
//! so a program of the version before must be stopped first; it refuses the file afterwards.

mod audit;
mod backup;
mod cards;
mod counters;
mod factors;
mod fault;
mod fence;
mod keys;
mod lists;
mod open;
mod outbox;
mod readers;
mod sinks;
mod sql;
mod tokens;
mod wallet;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::audit::Entry;
use cardveil_core::audit::chain::Chained;
use cardveil_core::card::{Card, CardRef};
use cardveil_core::clock::{Clock, Time};
use cardveil_core::hook::{Bell, Delivery, Subscription};
use cardveil_core::id::{CredentialId, DeliveryId, EmbedId, MerchantId, SubscriptionId};
use cardveil_core::merchant::{Admission, Credential, Embed, Merchant};
use cardveil_core::port::{
    Admin, Audit, Commits, Counts, DeliveryFilter, Load, Outbox, Registry, Result, Selection,
    Tokens, Work, Writes,
};
use cardveil_core::token::{Epoch, Lives, LivesOf, Record, TokenKey};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, params, params_from_iter};

use self::lists::Lists;
use self::readers::Readers;
use self::writer::Writer;
use crate::left_out::{LeftOut, name_of};
use crate::sql::rows::{self, CREDENTIAL, EMBED, MERCHANT, SUBSCRIPTION};
use crate::sql::table::Statement;
use crate::sql::value::Row as _;
use crate::sql::{FIND_DELIVERY, for_sqlite, question, revocable, sql_count};

pub use self::backup::{Contents, Copy, Revived, copy_to, fence_epoch, put_in_place};
/// The version of files that this program writes.
pub const VERSION: usize = MIGRATIONS.len();

pub(crate) use self::open::MIGRATIONS;
pub use self::open::{OpenError, Opened, Options, Raised, Why, retire};

/// The store. Share it in an [`std::sync::Arc`].
pub struct Sqlite {
    writer: Writer,
    readers: Readers,
    lists: Lists,
    left_out: Arc<LeftOut>,
}

impl Sqlite {
    /// Opens the database, or makes it, and migrates it. `clock` says what an epoch that must be
    /// raised is raised to.
    pub fn open(
        options: &Options,
        clock: Arc<dyn Clock>,
    ) -> std::result::Result<(Self, Opened), OpenError> {
        let ready = open::open(options, clock.now())?;
        let left_out = Arc::<LeftOut>::default();
        let writer = Writer::start(
            ready.connection,
            ready.fence,
            ready.database_id,
            clock,
            Arc::clone(&left_out),
        )
        .map_err(OpenError::Thread)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = Readers::new(options.database.clone(), cores + 1);
        let lists = Lists::start(options.database.clone()).map_err(OpenError::Thread)?;
        let store = Self {
            writer,
            readers,
            lists,
            left_out,
        };
        Ok((store, ready.opened))
    }

    /// Finishes the writes that wait, brings the WAL into the database and syncs the fence. What is
    /// asked afterwards is unavailable. Dropping does the same.
    pub fn close(&self) {
        self.readers.close();
        self.lists.close();
        self.writer.close();
    }

    /// All rows of a list that can be read.
    fn list<T>(
        &self,
        connection: &Connection,
        (table, sql): (&'static str, &str),
        params: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let kept = |row: &Row<'_>| keep(&self.left_out, table, row, read(row));
        let rows = all(connection, sql, params, kept)?;
        Ok(rows.into_iter().flatten().collect())
    }
}

impl Drop for Sqlite {
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

/// Of a row of many: what was read, or nothing where the row cannot be read and is left out.
fn keep<T>(
    left_out: &LeftOut,
    table: &'static str,
    row: &Row<'_>,
    read: rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if fault::unreadable(&error) => {
            let key = match row.get_ref(0)? {
                ValueRef::Text(text) => String::from_utf8_lossy(text).chars().take(64).collect(),
                ValueRef::Blob(bytes) => name_of(bytes.get(..32).unwrap_or(bytes)),
                ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => "?".to_owned(),
            };
            left_out.note(table, &key);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Commits for Sqlite {
    async fn run(&self, work: Arc<dyn Work>) -> Result<()> {
        self.writer.run(work).await
    }
}

#[async_trait]
impl Registry for Sqlite {
    async fn admission(&self, key_hash: &[u8; 32]) -> Result<Option<Admission>> {
        static SQL: Statement = Statement::new(|| {
            let (credential, merchant) = (CREDENTIAL.select(), MERCHANT.select());
            format!(
                "SELECT {credential}, {merchant}, (SELECT epoch FROM meta)
             FROM credential LEFT JOIN merchant ON merchant.id = credential.merchant
             WHERE credential.key_hash = ?1"
            )
        });
        self.readers.read(|connection| {
            first(connection, &SQL, [key_hash], |row| {
                let has_merchant: Option<String> = row.get(CREDENTIAL.columns.len())?;
                let merchant = has_merchant
                    .map(|_| rows::merchant(row, CREDENTIAL.columns.len()))
                    .transpose()?;
                Ok(Admission {
                    credential: rows::credential(row)?,
                    merchant,
                    epoch: Epoch(row.get(CREDENTIAL.columns.len() + MERCHANT.columns.len())?),
                })
            })
        })
    }

    async fn embed(&self, id: &EmbedId) -> Result<Option<Embed>> {
        static FIND: Statement = Statement::new(|| for_sqlite(&EMBED.find()));
        self.readers
            .read(|connection| first(connection, &FIND, [id.as_str()], |row| rows::embed(row)))
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>> {
        static FIND: Statement = Statement::new(|| for_sqlite(&MERCHANT.find()));
        self.readers.read(|connection| {
            first(connection, &FIND, [id.as_str()], |row| {
                rows::merchant(row, 0)
            })
        })
    }

    async fn lives(&self, of: &LivesOf) -> Result<Lives> {
        self.readers
            .read(|connection| tokens::lives(connection, of))
    }

    async fn card(&self, merchant: &MerchantId, card: &CardRef) -> Result<Option<Card>> {
        let merchant = merchant.as_str();
        self.readers.read(|connection| match card {
            CardRef::No(no) => first(
                connection,
                &cards::BY_NO,
                params![merchant, no.as_str()],
                |row| rows::card(row),
            ),
            CardRef::Id(id) => first(
                connection,
                &cards::BY_ID,
                params![merchant, id.as_bytes()],
                |row| rows::card(row),
            ),
        })
    }
}

#[async_trait]
impl Tokens for Sqlite {
    async fn token(&self, key: &TokenKey) -> Result<Option<Record>> {
        let key = params![key.issued_secs, key.hash.0];
        self.readers
            .read(|connection| first(connection, &tokens::FIND, key, |row| rows::record(row)))
    }

    async fn first_form_last(&self, _: Time) -> Result<Option<Time>> {
        const LAST: &str = "SELECT first_form_last FROM meta WHERE first_form_last > 0";
        let read = |row: &Row<'_>| row.get(0).map(Time::from_millis);
        self.readers
            .read(|connection| first(connection, LAST, [], read))
    }

    async fn revocable(
        &self,
        selection: &Selection,
        at: Time,
        after: Option<TokenKey>,
        limit: usize,
    ) -> Result<Vec<TokenKey>> {
        let (sql, values) = revocable(selection, at, after, limit);
        let (sql, values) = (for_sqlite(sql), params_from_iter(values));
        self.readers
            .read(|connection| all(connection, &sql, values, |row| rows::token_key(row)))
    }
}

#[async_trait]
impl Audit for Sqlite {
    async fn entries(&self, after: i64, limit: usize) -> Result<Vec<Entry>> {
        const SQL: &str = "SELECT seq, event FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let params = params![after, sql_count(limit)];
        self.readers.read(|connection| {
            all(connection, SQL, params, |row| {
                Ok(Entry {
                    seq: row.get(0)?,
                    event: row.json(1)?,
                })
            })
        })
    }

    async fn last_entry(&self) -> Result<i64> {
        const SQL: &str = "SELECT max(seq) FROM audit";
        let last = self
            .readers
            .read(|connection| first(connection, SQL, [], |row| row.get::<_, Option<i64>>(0)))?;
        Ok(last.flatten().unwrap_or(0))
    }

    async fn chained(&self, after: i64, limit: usize) -> Result<Vec<Chained>> {
        let params = params![after, sql_count(limit)];
        self.readers
            .read(|connection| all(connection, audit::AFTER, params, audit::chained))
    }

    async fn chain_end(&self) -> Result<Option<Chained>> {
        self.readers
            .read(|connection| first(connection, audit::LAST, [], audit::chained))
    }
}

#[async_trait]
impl Admin for Sqlite {
    async fn merchants(&self) -> Result<Vec<Merchant>> {
        static SQL: Statement = Statement::new(|| MERCHANT.all("id"));
        self.readers.read(|connection| {
            self.list(connection, ("merchant", &SQL), [], |row| {
                rows::merchant(row, 0)
            })
        })
    }

    async fn credentials(&self) -> Result<Vec<Credential>> {
        static SQL: Statement = Statement::new(|| CREDENTIAL.all("id"));
        self.readers.read(|connection| {
            self.list(connection, ("credential", &SQL), [], |row| {
                rows::credential(row)
            })
        })
    }

    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>> {
        const SQL: &str = "SELECT credential, used_at FROM credential_use";
        let read = |row: &Row<'_>| Ok((row.text(0)?, Time::from_millis(row.get(1)?)));
        let all = self
            .readers
            .read(|connection| self.list(connection, ("credential_use", SQL), [], read))?;
        Ok(all.into_iter().collect())
    }

    async fn embeds(&self) -> Result<Vec<Embed>> {
        static SQL: Statement = Statement::new(|| EMBED.all("id"));
        self.readers
            .read(|connection| self.list(connection, ("embed", &SQL), [], |row| rows::embed(row)))
    }

    async fn time(&self) -> Result<Option<Time>> {
        // The machine's, as ours.
        Ok(None)
    }

    async fn epoch(&self) -> Result<Epoch> {
        const SQL: &str = "SELECT epoch FROM meta";
        self.readers.read(|connection| {
            connection
                .prepare_cached(SQL)?
                .query_row([], |row| row.get(0).map(Epoch))
        })
    }

    fn left_out(&self) -> Vec<String> {
        self.left_out.all()
    }

    fn writes(&self) -> Writes {
        self.writer.writes()
    }

    fn load(&self) -> Load {
        let (writes_waiting, writes_most) = self.writer.waiting();
        let (lookups_busy, lookups_most) = self.readers.busy();
        Load {
            writes_waiting,
            writes_most,
            lookups_busy,
            lookups_most,
        }
    }
}

#[async_trait]
impl Outbox for Sqlite {
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        static FIND: Statement = Statement::new(|| for_sqlite(&SUBSCRIPTION.find()));
        self.readers.read(|connection| {
            let id = [id.as_bytes()];
            first(connection, &FIND, id, |row| rows::subscription(row))
        })
    }

    async fn subscriptions(&self, merchant: Option<&MerchantId>) -> Result<Vec<Subscription>> {
        static SQL: Statement = Statement::new(|| {
            let columns = SUBSCRIPTION.select();
            format!(
                "SELECT {columns} FROM subscription WHERE ?1 IS NULL OR merchant = ?1 ORDER BY seq"
            )
        });
        let merchant = merchant.map(|merchant| merchant.as_str().to_owned());
        let left_out = Arc::clone(&self.left_out);
        let found = self.lists.ask(move |connection| {
            all(connection, &SQL, [merchant], |row| {
                keep(&left_out, "subscription", row, rows::subscription(row))
            })
        });
        Ok(found.await?.into_iter().flatten().collect())
    }

    async fn next_due(&self) -> Result<Option<Time>> {
        self.readers.read(|connection| {
            let due = connection
                .prepare_cached(outbox::NEXT_DUE)?
                .query_row([], |row| row.get::<_, Option<_>>(0))?;
            Ok(due.map(Time::from_millis))
        })
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<(i64, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let question = question::deliveries(filter, after, limit);
        self.lists
            .ask(move |connection| wallet::ask(connection, &question, |row| rows::delivery(row)))
            .await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        static FIND: Statement = Statement::new(|| for_sqlite(FIND_DELIVERY));
        self.readers.read(|connection| {
            first(connection, &FIND, [id.as_bytes()], |row| {
                rows::delivery(row)
            })
        })
    }

    async fn outbox_counts(&self) -> Result<Counts> {
        const SQL: &str = "SELECT (SELECT count(*) FROM delivery WHERE state = 'waiting'),
                (SELECT count(*) FROM delivery WHERE state = 'failed')";
        let counted = self.lists.ask(|connection| {
            connection
                .prepare_cached(SQL)?
                .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        });
        let (waiting, failed) = counted.await?;
        let count = |count: i64| usize::try_from(count).unwrap_or_default();
        Ok(Counts {
            waiting: count(waiting),
            failed: count(failed),
        })
    }

    fn bell(&self) -> Bell {
        self.writer.bell()
    }
}
