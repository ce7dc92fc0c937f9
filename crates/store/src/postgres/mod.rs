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
mod cards;
mod counters;
mod factors;
mod fault;
pub mod fit;
mod home;
mod import;
mod keys;
mod link;
mod lives;
mod options;
mod outbox;
mod readers;
mod row;
pub mod schema;
mod sinks;
mod sql;
pub mod survey;
mod tls;
mod tokens;
mod wallet;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::Entropy;
use cardveil_core::audit::Entry;
use cardveil_core::audit::chain::Chained;
use cardveil_core::card::{Card, CardRef};
use cardveil_core::clock::{Clock, Time};
use cardveil_core::hook::{Bell, Delivery, Subscription};
use cardveil_core::id::{CredentialId, DeliveryId, EmbedId, MerchantId, SubscriptionId};
use cardveil_core::merchant::{Admission, Credential, Embed, Merchant};
use cardveil_core::port::{
    Admin, Audit, Commits, Counts, DeliveryFilter, Error, Load, Outbox, Registry, Result,
    Selection, Tokens, Work, Writes,
};
use cardveil_core::token::{Epoch, Lives, LivesOf, Record, TokenKey};

use self::counters::Exchange;
use self::fault::Fault;
use self::home::Home;
use self::readers::{LISTS, LOOKUPS, Readers};
use self::row::Row;
use self::writer::Writer;
use crate::left_out::{LeftOut, name_of};
use crate::sql::question::{self, Question};
use crate::sql::rows::{self, CREDENTIAL, EMBED, MERCHANT, SUBSCRIPTION};
use crate::sql::table::Statement;
use crate::sql::value::{Json, Row as _, Text, Value, values};
use crate::sql::{FIND_DELIVERY, revocable, sql_count};

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

/// Of a row of many: what was read, or nothing where the row cannot be read and is left out.
fn keep<T>(
    left_out: &LeftOut,
    table: &'static str,
    row: &Row,
    read: std::result::Result<T, Fault>,
) -> std::result::Result<Option<T>, Fault> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Own(Error::Corrupt(_))) => {
            let text = || row.get::<String>(0).ok();
            let key = text().map(|text| text.chars().take(64).collect());
            let bytes = || row.get::<Vec<u8>>(0).ok();
            let key = key.or_else(|| bytes().map(|b| name_of(b.get(..32).unwrap_or(&b))));
            left_out.note(table, key.as_deref().unwrap_or("?"));
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// The store. Share it in an [`Arc`].
pub struct Postgres {
    writer: Writer,
    readers: Arc<Readers>,
    lists: Readers,
    exchange: Exchange,
    left_out: Arc<LeftOut>,
}

impl Postgres {
    /// Connects, and looks whether the database serves. The schema must be there:
    /// [`schema::migrate`]. `clock` says what an epoch that must be raised is raised to, now or
    /// later.
    pub async fn open(
        options: &Options,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> std::result::Result<(Self, Option<Raised>), OpenError> {
        let home = Arc::new(Home::default());
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
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let left_out = Arc::default();
        let writer =
            Writer::start(options, &home, &clock, &left_out, id).map_err(OpenError::Thread)?;
        let exchange = Exchange::new(options.clone(), home, clock);
        let store = Self {
            writer,
            readers,
            lists,
            exchange,
            left_out,
        };
        Ok((store, raised))
    }

    /// All rows of a list that can be read.
    async fn list<T>(
        &self,
        (table, sql): (&'static str, &str),
        values: &[Value],
        read: impl Fn(&Row) -> std::result::Result<T, Fault>,
    ) -> Result<Vec<T>> {
        let kept = |row: &Row| keep(&self.left_out, table, row, read(row));
        let rows = self.readers.all(sql, values, kept).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Finishes the writes that wait. What is asked afterwards is unavailable. Dropping does the
    /// same.
    pub fn close(&self) {
        self.readers.close();
        self.lists.close();
        self.exchange.close();
        self.writer.close();
    }
}

impl Drop for Postgres {
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

#[async_trait]
impl Registry for Postgres {
    async fn admission(&self, key_hash: &[u8; 32]) -> Result<Option<Admission>> {
        static SQL: Statement = Statement::new(|| {
            let (credential, merchant) = (CREDENTIAL.select(), MERCHANT.select());
            format!(
                "SELECT {credential}, {merchant}, (SELECT epoch FROM meta), wanted.place
             FROM unnest($1::bytea[]) WITH ORDINALITY AS wanted (key_hash, place)
                 CROSS JOIN LATERAL
                 (SELECT * FROM credential WHERE key_hash = wanted.key_hash LIMIT 1) AS credential
                 LEFT JOIN merchant ON merchant.id = credential.merchant"
            )
        });
        let admission = |row: &Row| {
            let has_merchant: Option<Text<MerchantId>> = row.get(CREDENTIAL.columns.len())?;
            let merchant = has_merchant
                .map(|_| rows::merchant(row, CREDENTIAL.columns.len()))
                .transpose()?;
            Ok(Admission {
                credential: rows::credential(row)?,
                merchant,
                epoch: Epoch(row.get(CREDENTIAL.columns.len() + MERCHANT.columns.len())?),
            })
        };
        let is_it = |found: &Admission| found.credential.key_hash == *key_hash;
        self.readers
            .find(&SQL, values![key_hash], admission, is_it)
            .await
    }

    async fn embed(&self, id: &EmbedId) -> Result<Option<Embed>> {
        static SQL: Statement = Statement::new(|| {
            let columns = EMBED.select();
            format!(
                "SELECT {columns}, wanted.place
             FROM unnest($1::text[]) WITH ORDINALITY AS wanted (embed, place) CROSS JOIN LATERAL
                 (SELECT * FROM embed WHERE id = wanted.embed LIMIT 1) AS embed"
            )
        });
        self.readers
            .find(&SQL, values![id.as_str()], rows::embed, |it| it.id == *id)
            .await
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>> {
        static SQL: Statement = Statement::new(|| {
            let columns = MERCHANT.select();
            format!(
                "SELECT {columns}, wanted.place
             FROM unnest($1::text[]) WITH ORDINALITY AS wanted (id, place) CROSS JOIN LATERAL
                 (SELECT * FROM merchant WHERE id = wanted.id LIMIT 1) AS merchant"
            )
        });
        let read = |row: &Row| rows::merchant(row, 0);
        self.readers
            .find(&SQL, values![id.as_str()], read, |it| it.id == *id)
            .await
    }

    async fn lives(&self, of: &LivesOf) -> Result<Lives> {
        let read = |row: &Row| Ok((rows::lives_of(row)?, rows::lives(row)?));
        let is_it = |(whose, _): &(LivesOf, Lives)| whose == of;
        let found = self.readers.find(lives::FIND, lives::keys(of), read, is_it);
        Ok(found.await?.map_or_else(Lives::default, |(_, lives)| lives))
    }

    async fn card(&self, merchant: &MerchantId, card: &CardRef) -> Result<Option<Card>> {
        let (sql, values) = match card {
            CardRef::No(no) => (
                cards::BY_NO.as_str(),
                values![merchant.as_str(), no.as_str()],
            ),
            CardRef::Id(id) => (
                cards::BY_ID.as_str(),
                values![merchant.as_str(), id.as_bytes()],
            ),
        };
        let is_it = |found: &Card| {
            found.merchant == *merchant
                && match card {
                    CardRef::No(no) => found.no == *no,
                    CardRef::Id(id) => found.id == *id,
                }
        };
        self.readers.find(sql, values, rows::card, is_it).await
    }
}

#[async_trait]
impl Tokens for Postgres {
    async fn token(&self, key: &TokenKey) -> Result<Option<Record>> {
        let keys = values![key.issued_secs, key.hash.0];
        self.readers
            .find(&tokens::FIND, keys, rows::record, |it| it.key == *key)
            .await
    }

    async fn first_form_last(&self, now: Time) -> Result<Option<Time>> {
        // By the database's clock, which all nodes share.
        const AGO: &str = "SELECT (extract(epoch FROM now() - max(touched_at)) * 1000)::bigint
             FROM writer WHERE knows = 0";
        let read = |row: &Row| row.get::<Option<i64>>(0);
        let ago = self.readers.first(AGO, &[], read).await?.flatten();
        Ok(ago.map(|ago| Time::from_millis(now.millis().saturating_sub(ago))))
    }

    async fn revocable(
        &self,
        selection: &Selection,
        at: Time,
        after: Option<TokenKey>,
        limit: usize,
    ) -> Result<Vec<TokenKey>> {
        let (sql, values) = revocable(selection, at, after, limit);
        let found = async {
            let link = self.readers.patient().await?;
            let found = link.query(sql, &values).await?;
            found
                .iter()
                .map(rows::token_key)
                .collect::<std::result::Result<Vec<_>, _>>()
        };
        found.await.map_err(Fault::nothing_written)
    }
}

#[async_trait]
impl Audit for Postgres {
    async fn entries(&self, after: i64, limit: usize) -> Result<Vec<Entry>> {
        const SQL: &str = "SELECT seq, event FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
        let values = values![after, sql_count(limit)];
        let entry = |row: &Row| {
            let Json(event) = row.get(1)?;
            Ok(Entry {
                seq: row.get(0)?,
                event,
            })
        };
        self.readers.all(SQL, &values, entry).await
    }

    async fn last_entry(&self) -> Result<i64> {
        const SQL: &str = "SELECT max(seq) FROM audit";
        let last = self
            .readers
            .first(SQL, &values![], |row| row.get::<Option<i64>>(0))
            .await?;
        Ok(last.flatten().unwrap_or(0))
    }

    async fn chained(&self, after: i64, limit: usize) -> Result<Vec<Chained>> {
        let values = values![after, sql_count(limit)];
        self.readers
            .all(audit::AFTER, &values, audit::chained)
            .await
    }

    async fn chain_end(&self) -> Result<Option<Chained>> {
        self.readers
            .first(audit::LAST, &values![], audit::chained)
            .await
    }
}

#[async_trait]
impl Admin for Postgres {
    async fn merchants(&self) -> Result<Vec<Merchant>> {
        static SQL: Statement = Statement::new(|| MERCHANT.all("id"));
        self.list(("merchant", &SQL), &values![], |row| rows::merchant(row, 0))
            .await
    }

    async fn credentials(&self) -> Result<Vec<Credential>> {
        static SQL: Statement = Statement::new(|| CREDENTIAL.all("id"));
        self.list(("credential", &SQL), &values![], rows::credential)
            .await
    }

    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>> {
        const SQL: &str = "SELECT credential, used_at FROM credential_use";
        let read = |row: &Row| Ok((row.text(0)?, row.get(1)?));
        let all = self.list(("credential_use", SQL), &values![], read).await?;
        Ok(all.into_iter().collect())
    }

    async fn embeds(&self) -> Result<Vec<Embed>> {
        static SQL: Statement = Statement::new(|| EMBED.all("id"));
        self.list(("embed", &SQL), &values![], rows::embed).await
    }

    async fn epoch(&self) -> Result<Epoch> {
        // Readiness asks by it, so it tells of a schema too that was migrated meanwhile.
        const SQL: &str = "SELECT epoch, version, works_with FROM meta";
        let read = |row: &Row| {
            schema::check(row.get(1)?, row.get(2)?)?;
            row.get(0).map(Epoch)
        };
        let epoch = self.readers.first(SQL, &values![], read).await?;
        epoch.ok_or_else(|| Error::Corrupt("the database has no epoch".into()))
    }

    async fn time(&self) -> Result<Option<Time>> {
        const SQL: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let read = |row: &Row| row.get(0).map(Time::from_millis);
        self.readers.first(SQL, &values![], read).await
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
impl Outbox for Postgres {
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        static FIND: Statement = Statement::new(|| SUBSCRIPTION.find());
        let id = values![id.as_bytes()];
        self.readers.first(&FIND, &id, rows::subscription).await
    }

    async fn subscriptions(&self, merchant: Option<&MerchantId>) -> Result<Vec<Subscription>> {
        static SQL: Statement = Statement::new(|| {
            let columns = SUBSCRIPTION.select();
            format!(
                "SELECT {columns} FROM subscription WHERE $1::text IS NULL OR merchant = $1 ORDER BY seq"
            )
        });
        let merchant = merchant.map(MerchantId::as_str);
        let subscription = |row: &Row| {
            let read = rows::subscription(row);
            keep(&self.left_out, "subscription", row, read)
        };
        let found = self
            .lists
            .all(&SQL, &values![merchant], subscription)
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn next_due(&self) -> Result<Option<Time>> {
        let due = self
            .readers
            .first(outbox::NEXT_DUE, &values![], |row| row.get(0))
            .await?;
        Ok(due.flatten())
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<(i64, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let question = question::deliveries(filter, after, limit);
        let Question { sql, values } = question;
        self.lists.all(&sql, &values, rows::delivery).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        self.readers
            .first(FIND_DELIVERY, &values![id.as_bytes()], |row| {
                rows::delivery(row)
            })
            .await
    }

    async fn outbox_counts(&self) -> Result<Counts> {
        const SQL: &str = "SELECT (SELECT count(*) FROM delivery WHERE state = 'waiting'),
                (SELECT count(*) FROM delivery WHERE state = 'failed')";
        let counts = self
            .lists
            .first(SQL, &values![], |row| {
                Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))
            })
            .await?;
        let (waiting, failed) = counts.unwrap_or_default();
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
