//! What both adapters say alike, in SQLite.

use std::sync::Arc;

use cardveil_core::audit::Event;
use cardveil_core::budget::Level;
use cardveil_core::card::{self, Card};
use cardveil_core::hook::Delivery;
use cardveil_core::id::{CardId, DeliveryId, MerchantId, PersonId};
use cardveil_core::mfa::Totp;
use cardveil_core::port::Class;
use cardveil_core::token::{Epoch, Lives, LivesOf, Record, TokenKey};
use cardveil_core::vault::RowMacs;
use rusqlite::types::Type;
use rusqlite::{Row, params_from_iter};

use super::writer::Batch;
use super::{fault, keys};
use crate::left_out::LeftOut;
use crate::sql::deciding::{RowKey, Said, Versions};
use crate::sql::guard::{LAST_CHANGE, LastChanges, last_change};
use crate::sql::rows::{BUDGET, CARD, TOKEN, TOKEN_COLUMNS};
use crate::sql::table::Statement;
use crate::sql::value::{self, Column, Value, values};
use crate::sql::{FIND_DELIVERY, Sql, record_kinds, rows};

static FIND_TOKEN: Statement = Statement::new(|| {
    let columns = &*TOKEN_COLUMNS;
    format!("SELECT {columns} FROM token WHERE issued_secs = $1 AND hash = $2")
});
static FIND_BUDGET: Statement = Statement::new(|| BUDGET.find());

impl value::Row for Row<'_> {
    type Fault = rusqlite::Error;

    fn get<T: Column>(&self, column: usize) -> rusqlite::Result<T> {
        let raw = Row::get(self, column)?;
        let unreadable =
            |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Null, error);
        T::from_raw(raw).map_err(unreadable)
    }

    fn is_unreadable(error: &rusqlite::Error) -> bool {
        fault::unreadable(error)
    }

    fn unreadable(why: &'static str) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Null, why.into())
    }

    fn put(&self, column: usize, out: &mut Vec<u8>) -> rusqlite::Result<()> {
        value::put_column(self.get_ref(column)?, out);
        Ok(())
    }
}

impl Sql for Batch<'_> {
    type Fault = rusqlite::Error;
    type Row<'r> = Row<'r>;

    fn execute(&self, sql: &'static str, values: impl AsRef<[Value]>) -> rusqlite::Result<usize> {
        Batch::execute(self, &self.text(sql), params_from_iter(values.as_ref()))
    }

    fn send(&self, sql: &'static str, values: impl Into<Vec<Value>>) -> rusqlite::Result<()> {
        Sql::execute(self, sql, values.into()).map(drop)
    }

    fn first<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        Batch::first(
            self,
            &self.text(sql),
            params_from_iter(values.as_ref()),
            read,
        )
    }

    fn all<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        Batch::all(
            self,
            &self.text(sql),
            params_from_iter(values.as_ref()),
            read,
        )
    }

    fn left_out(&self) -> &LeftOut {
        Batch::left_out(self)
    }

    fn log(&self, event: &Event, said: Said) -> rusqlite::Result<()> {
        Batch::log(self, event, said)
    }

    fn epoch(&self) -> Epoch {
        Batch::epoch(self)
    }

    fn macs(&self) -> &RowMacs {
        Batch::macs(self)
    }

    fn versions(&self) -> &Versions<'_> {
        Batch::versions(self)
    }

    /// No other process writes meanwhile.
    fn guard<const PARTS: usize>(&self, _: &[[&[u8]; PARTS]]) -> rusqlite::Result<()> {
        Ok(())
    }

    /// They are looked up for each event.
    fn subscriptions_change(&self) {}

    fn ring(&self) {
        Batch::ring(self);
    }

    /// It is found by what is in it.
    fn totp_saved(&self, _: &MerchantId, _: &PersonId, _: Option<&Totp>) -> rusqlite::Result<()> {
        Ok(())
    }

    fn deliveries(&self, ids: &[DeliveryId]) -> rusqlite::Result<Vec<Delivery>> {
        let find = |id: &DeliveryId| {
            Sql::first(self, FIND_DELIVERY, values![id.as_bytes()], |row| {
                rows::delivery(row)
            })
        };
        ids.iter().map(find).filter_map(Result::transpose).collect()
    }

    fn has_records(&self, class: Class, version: u32) -> rusqlite::Result<bool> {
        for place in record_kinds(class) {
            if !keys::under(self.connection(), *place, version, 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn last_entry(&self) -> rusqlite::Result<i64> {
        const END: &str = "SELECT coalesce(max(seq), 0) FROM audit";
        let last = Batch::first(self, END, [], |row| Row::get(row, 0))?;
        Ok(last.unwrap_or(0))
    }

    fn set_epoch(&self, epoch: Epoch) -> rusqlite::Result<()> {
        Batch::set_epoch(self, epoch)
    }

    fn token(&self, key: &TokenKey) -> rusqlite::Result<Option<Record>> {
        let key = values![key.issued_secs, key.hash.0];
        let guards = (Sql::macs(self), Sql::versions(self));
        let found = Sql::first(self, &FIND_TOKEN, key, |row| {
            TOKEN.load_known(guards, &self.checked().tokens, row, || rows::record(row))
        })?;
        Ok(found.flatten())
    }

    fn tokens(&self, keys: &[TokenKey]) -> rusqlite::Result<Vec<Record>> {
        let found = keys.iter().map(|key| Sql::token(self, key));
        found.filter_map(Result::transpose).collect()
    }

    fn lives(&self, of: LivesOf) -> rusqlite::Result<Arc<Lives>> {
        Batch::lives(self, of)
    }

    fn add_token(&self, row: Vec<Value>) -> rusqlite::Result<bool> {
        static ADD: Statement = Statement::new(|| TOKEN.add());
        Ok(Sql::execute(self, &ADD, row)? > 0)
    }

    fn send_tokens(&self) -> rusqlite::Result<()> {
        Ok(())
    }

    fn token_saved(&self, _: &Record) {}

    fn hold_name(&self, _: &[u8; 32]) -> rusqlite::Result<()> {
        Ok(())
    }

    fn card_state(
        &self,
        merchant: &MerchantId,
        card: CardId,
    ) -> rusqlite::Result<Option<card::State>> {
        static SQL: Statement = Statement::new(|| {
            let columns = CARD.select();
            format!("SELECT {columns} FROM card WHERE id = $1 AND merchant = $2")
        });
        let key = values![card.as_bytes(), merchant.as_str()];
        let guards = (Sql::macs(self), &self.checked().cards);
        let found = Sql::first(self, &SQL, key, |row| rows::card_state(guards, row))?;
        Ok(found.flatten())
    }

    fn card_saved(&self, _: &Card) {}

    /// The page that its row is in is written anyway, and then the row's bytes are zeroes
    /// (`secure_delete`).
    fn card_goes(&self) -> rusqlite::Result<()> {
        const KEEP_PLACE: &str =
            "UPDATE meta SET last_card = (SELECT coalesce(max(seq), 0) FROM card)
             WHERE last_card < (SELECT coalesce(max(seq), 0) FROM card)";
        Sql::send(self, KEEP_PLACE, values![])
    }

    fn add_cards(&self, rows: Vec<Vec<Value>>) -> rusqlite::Result<Vec<bool>> {
        static ADD: Statement = Statement::new(|| {
            CARD.insert_with(&[(
                "seq",
                "(SELECT max(last_card, (SELECT coalesce(max(seq), 0) FROM card)) + 1 FROM meta)",
            )])
        });
        let add = |row| Ok(Sql::execute(self, &ADD, row)? > 0);
        rows.into_iter().map(add).collect()
    }

    fn last_changes(&self, rows: &[RowKey]) -> rusqlite::Result<LastChanges> {
        let find = |(kind, key): &RowKey| {
            let of = values![*kind, key];
            Sql::first(self, LAST_CHANGE, of, |row| last_change(row)).transpose()
        };
        rows.iter().filter_map(find).collect()
    }

    fn level(&self, key: Vec<u8>) -> rusqlite::Result<Option<Level>> {
        let found = Sql::first(self, &FIND_BUDGET, values![key], |row| rows::budget(row))?;
        Ok(found.map(|(_, level)| level))
    }

    fn level_saved(&self, _: Vec<u8>, _: Option<Level>) {}
}
