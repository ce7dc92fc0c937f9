//! How callers look things up, outside of any commit: they see what is committed.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use cardveil_core::clock::Time;
use cardveil_core::hook::Bell;
use cardveil_core::keys::Envelope;
use cardveil_core::port::{Class, Load, Result, Writes};
use cardveil_core::token::Epoch;
use cardveil_core::vault::RowMacs;

use super::RecordKind;
use super::deciding::{RowKey, Unchecked};
use super::guard::Recorded;
use super::kept::{COUNT, Checked, Count, Kept, Registered, count};
use super::question::Question;
use super::table::Table;
use super::value::{Row, Value, values};
use crate::left_out::LeftOut;

/// A database that is asked.
pub(crate) trait Lookups: Send + Sync + 'static {
    /// What goes wrong.
    type Fault;
    /// A row that a query found.
    type Row<'r>: Row<Fault = Self::Fault>;

    /// The row with a key, if there is one. `is_it` says whether the row is of this key, where many
    /// lookups are one query: a mistake about places shows nobody what is another's.
    fn find<T: Send>(
        &self,
        by: &'static By,
        key: Vec<Value>,
        read: impl FnOnce(&Self::Row<'_>) -> std::result::Result<T, Self::Fault> + Send,
        is_it: impl FnOnce(&T) -> bool + Send,
    ) -> impl Future<Output = Result<Option<T>>> + Send;

    /// All rows that a query finds.
    fn all<T: Send>(
        &self,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        read: impl FnMut(&Self::Row<'_>) -> std::result::Result<T, Self::Fault> + Send,
    ) -> impl Future<Output = Result<Vec<T>>> + Send;

    /// All rows of a list or search, whose work grows with the data.
    fn ask<T: Send + 'static>(
        &self,
        question: Question,
        read: impl FnMut(&Self::Row<'_>) -> std::result::Result<T, Self::Fault> + Send + 'static,
    ) -> impl Future<Output = Result<Vec<T>>> + Send;

    /// All rows of a question that walks a table, and takes longer than a lookup may.
    fn walk<T: Send>(
        &self,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        read: impl FnMut(&Self::Row<'_>) -> std::result::Result<T, Self::Fault> + Send,
    ) -> impl Future<Output = Result<Vec<T>>> + Send;

    /// Where rows that cannot be read are noted.
    fn left_out(&self) -> &Arc<LeftOut>;

    /// Checks the MACs of rows.
    fn macs(&self) -> &Arc<RowMacs>;

    /// Rows that were looked up and whose MACs were right.
    fn checked(&self) -> &Checked;

    /// What lookups of the registry keep.
    fn registered(&self) -> &Registered;

    /// See [`Keys::is_finished`](cardveil_core::port::Keys::is_finished).
    fn is_finished(&self) -> impl Future<Output = Result<bool>> + Send;

    /// The last changes on record of these rows, by their keys.
    fn last_changes(
        &self,
        rows: Vec<RowKey>,
    ) -> impl Future<Output = Result<HashMap<Vec<u8>, Recorded>>> + Send;

    /// See [`Tokens::first_form_last`](cardveil_core::port::Tokens::first_form_last).
    fn first_form_last(&self, now: Time) -> impl Future<Output = Result<Option<Time>>> + Send;

    /// The epoch, of a database that serves.
    fn epoch(&self) -> impl Future<Output = Result<Epoch>> + Send;

    /// The database's clock, if it has one of its own.
    fn time(&self) -> impl Future<Output = Result<Option<Time>>> + Send;

    /// Whether writes succeed.
    fn writes(&self) -> Writes;

    /// How much waits.
    fn load(&self) -> Load;

    /// Rung when something is queued.
    fn bell(&self) -> Bell;

    /// How many records are under each version of a class key, and of which class.
    fn uses(&self) -> impl Future<Output = Result<Vec<(Class, Vec<u8>, i64)>>> + Send;

    /// What is under a version of a class key at a place.
    fn under(
        &self,
        place: RecordKind,
        version: u32,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Envelope>>> + Send;

    /// All rows of a kind that can be read, and are what was written.
    fn list<T: Send>(
        &self,
        table: &'static Table<T>,
        sql: &'static str,
        mut read: impl FnMut(&Self::Row<'_>) -> std::result::Result<Unchecked<T>, Self::Fault> + Send,
    ) -> impl Future<Output = Result<Vec<T>>> + Send {
        async move {
            let keep = |row: &Self::Row<'_>| {
                let loaded = table.load(self.macs(), row, 0, || read(row));
                row.keep(self.left_out(), table.name, loaded)
            };
            let rows = self.all(sql, [], keep).await?;
            Ok(rows.into_iter().flatten().flatten().collect())
        }
    }

    /// The row of a kind with a key, where it is what was written.
    fn row<T: Send>(
        &self,
        table: &'static Table<T>,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        mut read: impl FnMut(&Self::Row<'_>) -> std::result::Result<Unchecked<T>, Self::Fault> + Send,
    ) -> impl Future<Output = Result<Option<T>>> + Send {
        async move {
            let load = |row: &Self::Row<'_>| table.load(self.macs(), row, 0, || read(row));
            Ok(self.first(sql, values, load).await?.flatten())
        }
    }

    /// What is kept of a lookup in the registry, or what it finds; with the count of then.
    fn find_kept<K, V>(
        &self,
        (kept, key): (&Kept<K, V>, K),
        is_whole: impl Fn(&V) -> bool + Send,
        look_up: impl Future<Output = Result<Option<(Count, Option<V>)>>> + Send,
    ) -> impl Future<Output = Result<Option<V>>> + Send
    where
        K: Eq + Hash + Send + Sync,
        V: Clone + Send + Sync,
    {
        static ALONE: Lookup = Lookup::new(|| By {
            one: format!("{COUNT} WHERE one = $1"),
            many: "SELECT meta.epoch, meta.registry, wanted.place
                 FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (one, place)
                     JOIN meta ON meta.one = wanted.one"
                .into(),
        });
        async move {
            let one = values![1_i64].into();
            let now = self.find(&ALONE, one, |row| count(row, 0), |_| true);
            if let Some(now) = now.await?
                && let Some(found) = kept.find(now, &key)
            {
                return Ok(Some(V::clone(&found)));
            }
            let Some((then, Some(found))) = look_up.await? else {
                return Ok(None);
            };
            if is_whole(&found) {
                kept.keep(then, key, &Arc::new(found.clone()));
            }
            Ok(Some(found))
        }
    }

    /// The first row that a query finds.
    fn first<T: Send>(
        &self,
        sql: &'static str,
        values: impl Into<Vec<Value>> + Send,
        read: impl FnMut(&Self::Row<'_>) -> std::result::Result<T, Self::Fault> + Send,
    ) -> impl Future<Output = Result<Option<T>>> + Send {
        async move { Ok(self.all(sql, values, read).await?.into_iter().next()) }
    }
}

/// How a row is found by its key: alone, and among many that are looked up together.
pub(crate) struct By {
    pub(crate) one: String,
    pub(crate) many: String,
}

/// One that is made once.
pub(crate) type Lookup = LazyLock<By>;

impl By {
    /// The columns of a table's row by these columns, each with its type in PostgreSQL; and what is
    /// joined to it.
    pub(crate) fn new(columns: &str, table: &str, key: &[(&str, &str)], joined: &str) -> Self {
        let terms = |of: &dyn Fn(usize, &str, &str) -> String, by: &str| {
            let terms = (1..)
                .zip(key)
                .map(|(place, (name, kind))| of(place, name, kind));
            terms.collect::<Vec<_>>().join(by)
        };
        let is = terms(
            &|place, name, _| format!("{table}.{name} = ${place}"),
            " AND ",
        );
        let lists = terms(&|place, _, kind| format!("${place}::{kind}[]"), ", ");
        let names = terms(&|_, name, _| name.to_owned(), ", ");
        let wanted = terms(&|_, name, _| format!("{name} = wanted.{name}"), " AND ");
        Self {
            one: format!("SELECT {columns} FROM {table} {joined} WHERE {is}"),
            many: format!(
                "SELECT {columns}, wanted.place
                 FROM unnest({lists}) WITH ORDINALITY AS wanted ({names}, place)
                     CROSS JOIN LATERAL
                     (SELECT *, xmin FROM {table} WHERE {wanted} LIMIT 1) AS {table} {joined}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_alone_and_among_many() {
        let By { one, many } = By::new("pair.a", "pair", &[("a", "text"), ("b", "bytea")], "");
        assert_eq!(
            one,
            "SELECT pair.a FROM pair  WHERE pair.a = $1 AND pair.b = $2"
        );
        let many: Vec<_> = many.split_whitespace().collect();
        assert_eq!(
            many.join(" "),
            "SELECT pair.a, wanted.place \
             FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS wanted (a, b, place) \
             CROSS JOIN LATERAL \
             (SELECT *, xmin FROM pair WHERE a = wanted.a AND b = wanted.b LIMIT 1) AS pair"
        );
    }
}
