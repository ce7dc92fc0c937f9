//! What both adapters say alike, in PostgreSQL.

use std::collections::{BTreeSet, HashSet};
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

use super::batch::Batch;
use super::fault::Fault;
use super::row::Row;
use super::{budgets, cards, keys, tokens};
use crate::left_out::LeftOut;
use crate::sql::deciding::{RowKey, Said, Versions};
use crate::sql::guard::{LAST_CHANGES, LastChanges, last_change, wanted_changes};
use crate::sql::rows::{self, CARD, CARD_TYPES, delivery_columns};
use crate::sql::table::Statement;
use crate::sql::value::{Row as _, Value, columns, values};
use crate::sql::{Sql, record_kinds};

type Outcome<T> = Result<T, Fault>;

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

    fn left_out(&self) -> &LeftOut {
        Batch::left_out(self)
    }

    fn log(&self, event: &Event, said: Said) -> Outcome<()> {
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

    fn guard<const PARTS: usize>(&self, names: &[[&[u8]; PARTS]]) -> Outcome<()> {
        Batch::guard(self, names)
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
        for place in record_kinds(class) {
            let under = values![version.to_be_bytes(), 1_i64];
            if self.first(keys::sql(*place), under, |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn last_entry(&self) -> Outcome<i64> {
        const END: &str = "SELECT audit_seq FROM meta";
        Ok(self.first(END, values![], |row| row.get(0))?.unwrap_or(0))
    }

    fn set_epoch(&self, epoch: Epoch) -> Outcome<()> {
        Batch::set_epoch(self, epoch)
    }

    fn token(&self, key: &TokenKey) -> Outcome<Option<Record>> {
        let held = self.tokens.held.borrow().get(key).cloned();
        match held {
            Some(record) => Ok(record),
            None => Ok(tokens::read_held(self, &[*key])?.pop()),
        }
    }

    fn tokens(&self, keys: &[TokenKey]) -> Outcome<Vec<Record>> {
        tokens::read_held(self, keys)
    }

    fn lives(&self, of: LivesOf) -> Outcome<Arc<Lives>> {
        Batch::lives(self, of)
    }

    /// A token's row is new and nobody else's, so nothing of it need be held; a second one with its
    /// hash is refused by the table.
    fn add_token(&self, row: Vec<Value>) -> Outcome<bool> {
        self.tokens.issued.borrow_mut().push(row);
        Ok(true)
    }

    fn send_tokens(&self) -> Outcome<()> {
        tokens::send_issued(self)
    }

    fn token_saved(&self, record: &Record) {
        if let Some(held) = self.tokens.held.borrow_mut().get_mut(&record.key) {
            *held = Some(record.clone());
        }
    }

    /// Its row is held, if need be as one that has expired.
    fn hold_name(&self, key: &[u8; 32]) -> Outcome<()> {
        const HOLD: &str =
            "INSERT INTO name (key, fingerprint, seed, expires_at, issued_secs, hash)
             VALUES ($1, '', '', 0, 0, '') ON CONFLICT (key) DO UPDATE SET key = excluded.key";
        self.send(HOLD, values![key])
    }

    fn card_state(&self, merchant: &MerchantId, card: CardId) -> Outcome<Option<card::State>> {
        if !self.card_states.borrow().contains_key(&card) {
            cards::hold_states(self, [card].into_iter())?;
        }
        let states = self.card_states.borrow();
        let found = states.get(&card).filter(|held| held.merchant == *merchant);
        Ok(found.map(|held| held.state))
    }

    fn card_saved(&self, card: &Card) {
        if let Some(held) = self.card_states.borrow_mut().get_mut(&card.id) {
            held.state = card.state;
        }
    }

    /// A sequence gives the places.
    fn card_goes(&self) -> Outcome<()> {
        Ok(())
    }

    fn add_cards(&self, rows: Vec<Vec<Value>>) -> Outcome<Vec<bool>> {
        static ADD: Statement = Statement::new(|| {
            let add = CARD.add_many(CARD_TYPES);
            format!("{add} ON CONFLICT DO NOTHING RETURNING id")
        });
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = rows.iter().map(|row| row.first().cloned()).collect();
        let added = self.all(&ADD, columns(rows), |row| {
            Ok(Value::from(row.get::<[u8; 16]>(0)?))
        })?;
        let mut added: HashSet<_> = added.into_iter().map(Some).collect();
        Ok(ids.iter().map(|id| added.remove(id)).collect())
    }

    fn last_changes(&self, rows: &[RowKey]) -> Outcome<LastChanges> {
        let found = self.all(LAST_CHANGES, wanted_changes(rows), last_change)?;
        Ok(found.into_iter().collect())
    }

    /// What was not there is held as one that has been whole since the beginning of time.
    fn level(&self, key: Vec<u8>) -> Outcome<Option<Level>> {
        budgets::hold(self, &BTreeSet::from([key.clone()]))?;
        let kept = self.budgets.borrow().get(&key).copied();
        Ok(kept.filter(|level| level.whole_at.millis() > 0))
    }

    fn level_saved(&self, key: Vec<u8>, level: Option<Level>) {
        let mut held = self.budgets.borrow_mut();
        match level {
            Some(level) => held.insert(key, level),
            None => held.remove(&key),
        };
    }
}
