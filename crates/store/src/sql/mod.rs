//! What both adapters say alike: SQL in PostgreSQL's words, and the rows that it is about. SQLite
//! writes parameters otherwise and locks no rows, since it lets one process write at a time
//! ([`for_sqlite`]). What an adapter does in a way of its own stands in its folder.

mod budgets;
mod cards;
pub(crate) mod deciding;
mod factors;
pub(crate) mod guard;
pub(crate) mod kept;
mod keys;
mod log;
pub(crate) mod lookups;
mod outbox;
pub(crate) mod question;
mod registry;
pub(crate) mod rows;
pub(crate) mod table;
mod tokens;
pub(crate) mod value;
mod wallet;

use std::ops::Deref;
use std::sync::Arc;

use cardveil_core::audit::Event;
use cardveil_core::budget::Level;
use cardveil_core::card::{self, Card};
use cardveil_core::hook::Delivery;
use cardveil_core::id::{CardId, DeliveryId, MerchantId, PersonId};
use cardveil_core::mfa::Totp;
use cardveil_core::port::rows::{Fault, Loaded, Rows};
use cardveil_core::port::{Class, Error};
use cardveil_core::token::{Epoch, Lives, LivesOf, Record, TokenKey};
use cardveil_core::vault::RowMacs;

use self::deciding::{RowKey, Said, Unchecked, Versions};
use self::guard::LastChanges;
use self::rows::PUT_BACK;
use self::table::Table;
use self::value::{Row, Value};
use crate::left_out::LeftOut;

pub(crate) use factors::name_of;
pub(crate) use keys::{CARD_FIELDS, RecordKind, record_kinds};
pub(crate) use outbox::FIND_DELIVERY;
#[cfg(test)]
pub(crate) use outbox::{DUE_DELIVERIES, DUE_SUBSCRIPTIONS, UNMARK};
pub(crate) use registry::{LIVES, lives_key};

/// A transaction of an adapter.
pub(crate) trait Sql {
    /// What goes wrong.
    type Fault: Into<Fault>;
    /// A row that a query found.
    type Row<'r>: Row<Fault = Self::Fault>;

    /// Runs a statement; tells how many rows it changed.
    fn execute(&self, sql: &'static str, values: impl AsRef<[Value]>)
    -> Result<usize, Self::Fault>;

    /// Runs a statement, whose answer need not be waited for.
    fn send(&self, sql: &'static str, values: impl Into<Vec<Value>>) -> Result<(), Self::Fault>;

    /// The first row that a query finds.
    fn first<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnOnce(&Self::Row<'_>) -> Result<T, Self::Fault>,
    ) -> Result<Option<T>, Self::Fault>;

    /// All rows that a query finds.
    fn all<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnMut(&Self::Row<'_>) -> Result<T, Self::Fault>,
    ) -> Result<Vec<T>, Self::Fault>;

    /// Where rows that cannot be read are noted.
    fn left_out(&self) -> &LeftOut;

    /// Makes and checks the MACs of rows.
    fn macs(&self) -> &RowMacs;

    /// The versions of this batch's rows.
    fn versions(&self) -> &Versions<'_>;

    /// Appends to the audit log, and queues what merchants are told of.
    fn log(&self, event: &Event, said: Said) -> Result<(), Self::Fault>;

    /// The epoch as it is in this transaction.
    fn epoch(&self) -> Epoch;

    /// Keeps others from what goes by these names until the commit.
    fn guard<const PARTS: usize>(&self, names: &[[&[u8]; PARTS]]) -> Result<(), Self::Fault>;

    /// Subscriptions are about to change: what is known of them is not so any more.
    fn subscriptions_change(&self);

    /// Has the bell rung once this is committed.
    fn ring(&self);

    /// The secret of a person's app was saved: what the adapter finds it by follows.
    fn totp_saved(
        &self,
        merchant: &MerchantId,
        person: &PersonId,
        totp: Option<&Totp>,
    ) -> Result<(), Self::Fault>;

    /// Those of these deliveries that there are.
    fn deliveries(&self, ids: &[DeliveryId]) -> Result<Vec<Delivery>, Self::Fault>;

    /// Whether records are under a key. If not, that stays so until the commit.
    fn has_records(&self, class: Class, version: u32) -> Result<bool, Self::Fault>;

    /// The place of the last entry that is committed.
    fn last_entry(&self) -> Result<i64, Self::Fault>;

    /// Puts another epoch in the place of the one that is.
    fn set_epoch(&self, epoch: Epoch) -> Result<(), Self::Fault>;

    /// A token, held until the commit.
    fn token(&self, key: &TokenKey) -> Result<Option<Record>, Self::Fault>;

    /// Those of these tokens that there are, held until the commit, in the order of their keys.
    fn tokens(&self, keys: &[TokenKey]) -> Result<Vec<Record>, Self::Fault>;

    /// What a token lives by.
    fn lives(&self, of: LivesOf) -> Result<Arc<Lives>, Self::Fault>;

    /// Adds the row of a token, now or before [`send_tokens`](Self::send_tokens) returns; tells
    /// whether its key was free, where that is known at once. Else the commit fails.
    fn add_token(&self, row: Vec<Value>) -> Result<bool, Self::Fault>;

    /// Has all tokens that were added in their table, for a statement that reads it.
    fn send_tokens(&self) -> Result<(), Self::Fault>;

    /// A token was saved: what the adapter keeps of those that it holds follows.
    fn token_saved(&self, record: &Record);

    /// Holds the name of a request, whether there is one or not.
    fn hold_name(&self, key: &[u8; 32]) -> Result<(), Self::Fault>;

    /// The state of the merchant's card, held until the commit.
    fn card_state(
        &self,
        merchant: &MerchantId,
        card: CardId,
    ) -> Result<Option<card::State>, Self::Fault>;

    /// A card was saved: what the adapter keeps of those that it holds follows.
    fn card_saved(&self, card: &Card);

    /// A card is about to be deleted. Its place in the order of cards is given to none again.
    fn card_goes(&self) -> Result<(), Self::Fault>;

    /// Adds the rows of cards; tells of each whether nothing unique of it was in use.
    fn add_cards(&self, rows: Vec<Vec<Value>>) -> Result<Vec<bool>, Self::Fault>;

    /// The last changes on record of these rows.
    fn last_changes(&self, rows: &[RowKey]) -> Result<LastChanges, Self::Fault>;

    /// How far the budget of this key is used; held until the commit.
    fn level(&self, key: Vec<u8>) -> Result<Option<Level>, Self::Fault>;

    /// A budget was saved or deleted: what the adapter keeps of those that it holds follows.
    fn level_saved(&self, key: Vec<u8>, level: Option<Level>);
}

/// A transaction, as verbs load and save through it.
pub(crate) struct Loads<'a, B>(&'a B);

impl<'a, B: Sql> Loads<'a, B> {
    /// For one job of a batch.
    pub(crate) fn of_job(batch: &'a B) -> Self {
        batch.versions().begin_job();
        Self(batch)
    }

    fn execute(&self, sql: &'static str, values: impl AsRef<[Value]>) -> Loaded<usize> {
        self.0.execute(sql, values).map_err(Into::into)
    }

    fn send(&self, sql: &'static str, values: impl Into<Vec<Value>>) -> Loaded<()> {
        self.0.send(sql, values).map_err(Into::into)
    }

    /// An insert that does nothing where a unique column is in use; tells whether it did.
    fn add(&self, sql: &'static str, values: impl AsRef<[Value]>) -> Loaded<bool> {
        Ok(self.execute(sql, values)? > 0)
    }

    fn first<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnOnce(&B::Row<'_>) -> Result<T, B::Fault>,
    ) -> Loaded<Option<T>> {
        self.0.first(sql, values, read).map_err(Into::into)
    }

    /// The first row of a kind that a query finds, where it is what was written.
    fn row<T>(
        &self,
        table: &Table<T>,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnOnce(&B::Row<'_>) -> Result<Unchecked<T>, B::Fault>,
    ) -> Loaded<Option<T>> {
        let found = self.first(sql, values, |row| self.load(table, row, || read(row)))?;
        Ok(found.flatten())
    }

    fn load<T>(
        &self,
        table: &Table<T>,
        row: &B::Row<'_>,
        read: impl FnOnce() -> Result<Unchecked<T>, B::Fault>,
    ) -> Result<Option<T>, B::Fault> {
        table.load_held((self.macs(), self.versions()), row, read)
    }

    /// All values of a row that is about to be saved.
    fn values_of<T>(&self, table: &Table<T>, row: &T) -> Loaded<Vec<Value>> {
        self.values_at(table, row, true)
    }

    /// The same; where no event is of the change, its version stays.
    fn values_at<T>(&self, table: &Table<T>, row: &T, has_event: bool) -> Loaded<Vec<Value>> {
        let values = table.guarded((self.macs(), self.versions()), row, has_event);
        values.map_err(|error| Error::Unavailable(error.to_string()).into())
    }

    /// Adds a row, where no unique column is in use; tells whether it did.
    fn add_row<T>(&self, table: &Table<T>, sql: &'static str, row: &T) -> Loaded<bool> {
        let values = self.values_of(table, row)?;
        let key = table.key_of(&values);
        let added = self.add(sql, values)?;
        if !added {
            self.versions().was_not_added(&key);
        }
        Ok(added)
    }

    /// Saves a row's next form.
    fn save_row<T>(&self, table: &Table<T>, sql: &'static str, row: &T) -> Loaded<()> {
        self.send(sql, table.changes(self.values_of(table, row)?))
    }

    fn count(&self, sql: &'static str, values: impl AsRef<[Value]>) -> Loaded<usize> {
        let counted = self.first(sql, values, |row| row.get::<i64>(0))?;
        Ok(counted.unwrap_or_default().try_into().unwrap_or(usize::MAX))
    }

    fn all<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnMut(&B::Row<'_>) -> Result<T, B::Fault>,
    ) -> Loaded<Vec<T>> {
        self.0.all(sql, values, read).map_err(Into::into)
    }
}

impl<B> Deref for Loads<'_, B> {
    type Target = B;

    fn deref(&self) -> &B {
        self.0
    }
}

impl<B: Sql> Rows for Loads<'_, B> {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn log(&self, event: &Event) -> Loaded<()> {
        let said = self.versions().said(event);
        self.0.log(event, said).map_err(Into::into)
    }
}

/// SQLite's form of a statement. Its truths are numbers, by which its partial indexes are found.
pub(crate) fn for_sqlite(sql: &str) -> String {
    [
        (PUT_BACK, "false"),
        ("audit.hash", "audit.chain_hash"),
        ("$", "?"),
        ("= true", "= 1"),
        ("= false", "= 0"),
        ("FOR UPDATE SKIP LOCKED", ""),
        ("FOR UPDATE", ""),
        ("FOR SHARE", ""),
        ("strpos(", "instr("),
    ]
    .into_iter()
    .fold(sql.to_owned(), |sql, (word, own)| sql.replace(word, own))
}

pub(crate) fn sql_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_has_other_parameters_and_truths_and_no_locks() {
        let sql = "SELECT a FROM b WHERE c = $1 AND d = $12 FOR UPDATE SKIP LOCKED";
        assert_eq!(for_sqlite(sql), "SELECT a FROM b WHERE c = ?1 AND d = ?12 ");
        assert_eq!(for_sqlite("SELECT a FROM b FOR SHARE"), "SELECT a FROM b ");
        assert_eq!(
            for_sqlite("SET a = false WHERE b = true"),
            "SET a = 0 WHERE b = 1"
        );
    }
}
