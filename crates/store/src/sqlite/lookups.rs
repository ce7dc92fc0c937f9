//! How lookups ask SQLite.

use std::collections::HashMap;
use std::sync::Arc;

use cardveil_core::clock::Time;
use cardveil_core::hook::Bell;
use cardveil_core::keys::Envelope;
use cardveil_core::port::{Class, Load, Result, Writes};
use cardveil_core::token::Epoch;
use cardveil_core::vault::RowMacs;
use rusqlite::{Row, params_from_iter};

use super::{Database, all, first, keys};
use crate::left_out::LeftOut;
use crate::sql::deciding::RowKey;
use crate::sql::guard::{RECORDED_CHANGE, Recorded, recorded};
use crate::sql::kept::{Checked, Registered};
use crate::sql::lookups::{By, Lookups};
use crate::sql::question::Question;
use crate::sql::value::{Value, values};
use crate::sql::{RecordKind, for_sqlite};

impl Lookups for Database {
    type Fault = rusqlite::Error;
    type Row<'r> = Row<'r>;

    /// Alone: a lookup waits for nothing here.
    async fn find<T: Send>(
        &self,
        by: &'static By,
        key: Vec<Value>,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T> + Send,
        _is_it: impl FnOnce(&T) -> bool + Send,
    ) -> Result<Option<T>> {
        let (sql, key) = (self.texts.of(&by.one), params_from_iter(key));
        self.readers
            .read(|connection| first(connection, &sql, key, read))
    }

    async fn all<T: Send>(
        &self,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T> + Send,
    ) -> Result<Vec<T>> {
        let (sql, values) = (self.texts.of(sql), params_from_iter(values.into()));
        self.readers
            .read(|connection| all(connection, &sql, values, read))
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: Question,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Vec<T>> {
        let Question { sql, values } = question;
        self.lists
            .ask(move |connection| {
                all(
                    connection,
                    &for_sqlite(&sql),
                    params_from_iter(values),
                    read,
                )
            })
            .await
    }

    async fn walk<T: Send>(
        &self,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T> + Send,
    ) -> Result<Vec<T>> {
        self.all(sql, values, read).await
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

    /// A program of the version before cannot write to the file.
    async fn is_finished(&self) -> Result<bool> {
        Ok(true)
    }

    async fn last_changes(&self, rows: Vec<RowKey>) -> Result<HashMap<Vec<u8>, Recorded>> {
        let sql = self.texts.of(RECORDED_CHANGE);
        self.readers.read(|connection| {
            // Each statement would lock the file, and read its pages anew.
            let read = connection.unchecked_transaction()?;
            let mut last = HashMap::new();
            for (kind, key) in rows {
                let of = params_from_iter(values![kind, key]);
                last.extend(first(&read, &sql, of, |row| recorded(row))?);
            }
            Ok(last)
        })
    }

    async fn first_form_last(&self, _: Time) -> Result<Option<Time>> {
        const LAST: &str = "SELECT first_form_last FROM meta WHERE first_form_last > 0";
        let read = |row: &Row<'_>| row.get(0).map(Time::from_millis);
        self.first(LAST, [], read).await
    }

    async fn epoch(&self) -> Result<Epoch> {
        const SQL: &str = "SELECT epoch FROM meta";
        self.readers.read(|connection| {
            connection
                .prepare_cached(SQL)?
                .query_row([], |row| row.get(0).map(Epoch))
        })
    }

    /// The machine's, as ours.
    async fn time(&self) -> Result<Option<Time>> {
        Ok(None)
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
        self.readers.read(keys::uses)
    }

    async fn under(&self, place: RecordKind, version: u32, limit: i64) -> Result<Vec<Envelope>> {
        self.readers
            .read(|connection| keys::under(connection, place, version, limit))
    }
}
