//! The audit log, and its sinks.

use async_trait::async_trait;
use cardveil_core::audit::chain::{Chained, Link};
use cardveil_core::audit::sink::Progress;
use cardveil_core::id::SinkName;
use cardveil_core::port::rows::{Loaded, LogRows};
use cardveil_core::port::{Audit, Result, Sinks};
use cardveil_core::token::Epoch;

use super::lookups::Lookups;
use super::rows::{self, ENTRIES_AFTER, LAST_ENTRY, SINK};
use super::table::Statement;
use super::value::{Row as _, values};
use super::{Loads, Sql, sql_count};
use crate::Store;

impl<B: Sql> LogRows for Loads<'_, B> {
    /// A batch that failed may be run again on another server, so it is looked at in the batch.
    fn has_link(&self, link: &Link) -> Loaded<bool> {
        let at = values![rows::seq(link) - 1, 1_i64];
        let found = self.first(ENTRIES_AFTER, at, |row| rows::chained(row))?;
        Ok(found.is_some_and(|entry| entry.link == *link))
    }

    fn last_entry(&self) -> Loaded<i64> {
        self.0.last_entry().map_err(Into::into)
    }

    fn sink(&self, name: &SinkName) -> Loaded<Option<Progress>> {
        static FIND: Statement = Statement::new(|| SINK.find());
        self.first(&FIND, values![name.as_str()], |row| rows::progress(row))
    }

    fn save_sink(&self, next: &Progress) -> Loaded<()> {
        static PUT: Statement = Statement::new(|| SINK.put());
        self.send(&PUT, SINK.values(next))
    }

    fn save_epoch(&self, epoch: Epoch) -> Loaded<()> {
        self.0.set_epoch(epoch).map_err(Into::into)
    }
}

#[async_trait]
impl<D: Lookups> Sinks for Store<D> {
    async fn sinks(&self) -> Result<Vec<Progress>> {
        static ALL: Statement = Statement::new(|| SINK.all("name"));
        self.all(&ALL, [], |row| rows::progress(row)).await
    }
}

#[async_trait]
impl<D: Lookups> Audit for Store<D> {
    async fn last_entry(&self) -> Result<i64> {
        const SQL: &str = "SELECT max(seq) FROM audit";
        let last = self.first(SQL, [], |row| row.get::<Option<i64>>(0));
        Ok(last.await?.flatten().unwrap_or(0))
    }

    async fn chained(&self, after: i64, limit: usize) -> Result<Vec<Chained>> {
        let values = values![after, sql_count(limit)];
        self.all(ENTRIES_AFTER, values, |row| rows::chained(row))
            .await
    }

    async fn chain_end(&self) -> Result<Option<Chained>> {
        self.first(LAST_ENTRY, [], |row| rows::chained(row)).await
    }
}
