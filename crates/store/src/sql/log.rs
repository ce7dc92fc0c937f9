//! The audit log's sinks.

use async_trait::async_trait;
use cardveil_core::audit::chain::Link;
use cardveil_core::audit::sink::Progress;
use cardveil_core::id::SinkName;
use cardveil_core::port::rows::{Loaded, LogRows};
use cardveil_core::port::{Result, Sinks};
use cardveil_core::token::Epoch;

use super::lookups::Lookups;
use super::rows::{self, SINK};
use super::table::Statement;
use super::value::values;
use super::{Loads, Sql};
use crate::Store;

impl<B: Sql> LogRows for Loads<'_, B> {
    fn has_link(&self, link: &Link) -> Loaded<bool> {
        self.0.has_link(link).map_err(Into::into)
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
