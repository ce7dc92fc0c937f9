//! What both adapters say alike, in PostgreSQL.

use cardveil_core::audit::Event;
use cardveil_core::audit::chain::Link;
use cardveil_core::hook::Delivery;
use cardveil_core::id::{DeliveryId, MerchantId, PersonId};
use cardveil_core::mfa::Totp;
use cardveil_core::port::Class;
use cardveil_core::port::rows::{Loaded, Rows};
use cardveil_core::token::Epoch;

use super::batch::Batch;
use super::fault::Fault;
use super::row::Row;
use super::{audit, keep, keys};
use crate::sql::rows::{self, delivery_columns};
use crate::sql::value::{Row as _, Value, values};
use crate::sql::{Loads, Sql, places};

type Outcome<T> = Result<T, Fault>;

impl Rows for Loads<'_, Batch<'_>> {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn log(&self, event: &Event) -> Loaded<()> {
        Ok(self.0.log(event)?)
    }
}

impl Sql for Batch<'_> {
    type Fault = Fault;
    type Row<'r> = Row;

    fn execute(&self, sql: &'static str, values: impl AsRef<[Value]>) -> Outcome<usize> {
        Batch::execute(self, sql, values)
    }

    fn send(&self, sql: &'static str, values: impl Into<Vec<Value>>) -> Outcome<()> {
        Batch::send(self, sql, values)
    }

    fn first<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnOnce(&Row) -> Outcome<T>,
    ) -> Outcome<Option<T>> {
        Batch::first(self, sql, values, read)
    }

    fn all<T>(
        &self,
        sql: &'static str,
        values: impl AsRef<[Value]>,
        read: impl FnMut(&Row) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        Batch::all(self, sql, values, read)
    }

    fn keep<T>(&self, table: &'static str, row: &Row, read: Outcome<T>) -> Outcome<Option<T>> {
        keep(self.left_out(), table, row, read)
    }

    fn guard(&self, name: &[&[u8]]) -> Outcome<()> {
        Batch::guard(self, name)
    }

    fn subscriptions_change(&self) {
        self.told().borrow_mut().clear();
    }

    fn ring(&self) {
        Batch::ring(self);
    }

    fn totp_saved(
        &self,
        merchant: &MerchantId,
        person: &PersonId,
        totp: Option<&Totp>,
    ) -> Outcome<()> {
        const SQL: &str = "UPDATE mfa_person SET totp_key = $3 WHERE merchant = $1 AND person = $2";
        let key = keys::key_column(totp);
        self.send(SQL, values![merchant.as_str(), person.as_bytes(), key])
    }

    fn deliveries(&self, ids: &[DeliveryId]) -> Outcome<Vec<Delivery>> {
        const SQL: &str = concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM delivery WHERE delivery.id = ANY ($1)"
        );
        let ids = [ids.iter().map(DeliveryId::as_bytes).collect()];
        self.all(SQL, ids, rows::delivery)
    }

    /// Whoever writes under the version shares its row until their commit.
    fn has_records(&self, class: Class, version: u32) -> Outcome<bool> {
        const HOLD: &str = "SELECT 1 FROM wrapped_key WHERE class = $1 AND version = $2 FOR UPDATE";
        self.execute(HOLD, values![class.code(), version])?;
        for place in places(class) {
            let under = values![version.to_be_bytes(), 1_i64];
            if self.first(keys::sql(*place), under, |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A batch that failed may be run again on another server, so it is looked at in the batch.
    fn has_link(&self, link: &Link) -> Outcome<bool> {
        let at = values![audit::seq(link) - 1, 1_i64];
        let found = self.first(audit::AFTER, at, audit::chained)?;
        Ok(found.is_some_and(|entry| entry.link == *link))
    }

    fn last_entry(&self) -> Outcome<i64> {
        const END: &str = "SELECT audit_seq FROM meta";
        Ok(self.first(END, values![], |row| row.get(0))?.unwrap_or(0))
    }

    fn set_epoch(&self, epoch: Epoch) -> Outcome<()> {
        Batch::set_epoch(self, epoch)
    }
}
