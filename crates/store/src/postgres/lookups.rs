//! How lookups ask PostgreSQL.

use std::collections::HashMap;
use std::sync::Arc;

use cardveil_core::clock::Time;
use cardveil_core::hook::Bell;
use cardveil_core::keys::Envelope;
use cardveil_core::port::{Class, Error, Load, Result, Writes};
use cardveil_core::token::Epoch;
use cardveil_core::vault::RowMacs;

use super::fault::Fault;
use super::row::Row;
use super::{Database, keys, schema};
use crate::left_out::LeftOut;
use crate::sql::RecordKind;
use crate::sql::deciding::RowKey;
use crate::sql::guard::{RECORDED_CHANGES, Recorded, recorded, wanted_changes};
use crate::sql::kept::{Checked, Registered};
use crate::sql::lookups::{By, Lookups};
use crate::sql::question::Question;
use crate::sql::value::{Row as _, Value, values};

type Outcome<T> = std::result::Result<T, Fault>;

impl Lookups for Database {
    type Fault = Fault;
    type Row<'r> = Row;

    /// Together with those that wait for a connection too.
    async fn find<T: Send>(
        &self,
        by: &'static By,
        key: Vec<Value>,
        read: impl FnOnce(&Row) -> Outcome<T> + Send,
        is_it: impl FnOnce(&T) -> bool + Send,
    ) -> Result<Option<T>> {
        self.readers.find(&by.many, key, read, is_it).await
    }

    async fn all<T: Send>(
        &self,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        read: impl FnMut(&Row) -> Outcome<T> + Send,
    ) -> Result<Vec<T>> {
        self.readers.all(sql, &values.into(), read).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: Question,
        read: impl FnMut(&Row) -> Outcome<T> + Send + 'static,
    ) -> Result<Vec<T>> {
        self.lists.all(&question.sql, &question.values, read).await
    }

    async fn walk<T: Send>(
        &self,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        read: impl FnMut(&Row) -> Outcome<T> + Send,
    ) -> Result<Vec<T>> {
        let values = values.into();
        let found = async {
            let link = self.readers.patient().await?;
            let found = link.query(sql, &values).await?;
            found.iter().map(read).collect::<Outcome<Vec<_>>>()
        };
        found.await.map_err(Fault::nothing_written)
    }

    fn left_out(&self) -> &Arc<LeftOut> {
        &self.left_out
    }

    fn macs(&self) -> &Arc<RowMacs> {
        &self.macs
    }

    fn checked(&self) -> &Checked {
        &self.checked
    }

    fn registered(&self) -> &Registered {
        &self.registered
    }

    async fn is_finished(&self) -> Result<bool> {
        const SQL: &str = "SELECT works_with >= $1 FROM meta";
        let known = values![i64::from(schema::known())];
        let found = self.first(SQL, known, |row| row.get(0));
        Ok(found.await?.unwrap_or(false))
    }

    async fn last_changes(&self, rows: Vec<RowKey>) -> Result<HashMap<Vec<u8>, Recorded>> {
        let found = self.all(RECORDED_CHANGES, wanted_changes(&rows), recorded);
        Ok(found.await?.into_iter().collect())
    }

    async fn first_form_last(&self, now: Time) -> Result<Option<Time>> {
        // By the database's clock, which all nodes share.
        const AGO: &str = "SELECT (extract(epoch FROM now() - max(touched_at)) * 1000)::bigint
             FROM writer WHERE knows = 0";
        let ago = self.first(AGO, [], |row| row.get::<Option<i64>>(0));
        let ago = ago.await?.flatten();
        Ok(ago.map(|ago| Time::from_millis(now.millis().saturating_sub(ago))))
    }

    /// Readiness asks by it, so it tells of a schema too that was migrated meanwhile.
    async fn epoch(&self) -> Result<Epoch> {
        const SQL: &str = "SELECT epoch, version, works_with FROM meta";
        let read = |row: &Row| {
            schema::check(row.get(1)?, row.get(2)?)?;
            row.get(0).map(Epoch)
        };
        let epoch = self.first(SQL, [], read).await?;
        epoch.ok_or_else(|| Error::Corrupt("the database has no epoch".into()))
    }

    async fn time(&self) -> Result<Option<Time>> {
        const SQL: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        self.first(SQL, [], |row| row.get(0)).await
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

    fn bell(&self) -> Bell {
        self.writer.bell()
    }

    async fn uses(&self) -> Result<Vec<(Class, Vec<u8>, i64)>> {
        let counted = async {
            let link = self.readers.patient().await?;
            let mut uses = Vec::new();
            for (class, sql) in keys::COUNTED {
                for row in link.query(sql, &[]).await? {
                    uses.push((class, row.get(0)?, row.get(1)?));
                }
            }
            Ok(uses)
        };
        counted.await.map_err(Fault::nothing_written)
    }

    async fn under(&self, place: RecordKind, version: u32, limit: i64) -> Result<Vec<Envelope>> {
        let under = values![version.to_be_bytes(), limit];
        self.all(keys::sql(place), under, |row| place.envelope(row))
            .await
    }
}
