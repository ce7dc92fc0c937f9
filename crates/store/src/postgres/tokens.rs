//! The rows of tokens, and of the names of requests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use cardveil_core::clock::Time;
use cardveil_core::id::EmbedId;
use cardveil_core::port::Selection;
use cardveil_core::port::rows::{Loaded, TokenRows};
use cardveil_core::token::{Idempotency, Lives, LivesOf, Record, TokenKey};

use super::batch::Batch;
use super::cards;
use super::fault::Fault;
use super::keep;
use crate::sql::rows::{self, record_columns};
use crate::sql::value::{Value, columns, values};
use crate::sql::{Loads, sql_count};
use crate::text;

type Outcome<T> = Result<T, Fault>;

/// The columns that [`rows::record`] reads. A row that a dump put back is of no epoch: its stamp is
/// not of the transaction that wrote it (`home`).
macro_rules! own_columns {
    () => {
        record_columns!("CASE WHEN token.written_by::xid <> token.xmin THEN 0 ELSE token.epoch END")
    };
}

pub(super) const FIND: &str = concat!(
    "SELECT ",
    own_columns!(),
    ", wanted.place
     FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS wanted (secs, hash, place)
         CROSS JOIN LATERAL
         (SELECT *, xmin FROM token
             WHERE issued_secs = wanted.secs AND hash = wanted.hash LIMIT 1)
         AS token"
);
/// Holds rows until the commit, in the order in which they are named: one lookup by the primary key
/// for each, however small the table was when the statement was planned.
const HOLD: &str = concat!(
    "SELECT ",
    own_columns!(),
    " FROM unnest($1::bigint[], $2::bytea[]) AS wanted (secs, hash) CROSS JOIN LATERAL
         (SELECT *, xmin FROM token
             WHERE issued_secs = wanted.secs AND hash = wanted.hash FOR UPDATE)
         AS token"
);
const INSERT: &str =
    "INSERT INTO token (issued_secs, hash, epoch, merchant, credential, card, operation,
         allowed, bound_to, issued_at, expires_at, conflict, state, sweep_due_at, embed)
     SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[], $5::text[],
         $6::bytea[], $7::text[], $8::text[], $9::bytea[], $10::bigint[], $11::bigint[],
         $12::boolean[], $13::text[], $14::bigint[], $15::text[])";

/// What the jobs of a batch do to many tokens with one statement.
#[derive(Default)]
pub(super) struct Gathered {
    /// Rows that are issued and not yet sent.
    issued: RefCell<Vec<Vec<Value>>>,
    /// Those that [`hold`] holds, as they are in this transaction; nothing where there is none.
    held: RefCell<HashMap<TokenKey, Option<Record>>>,
}

impl TokenRows for Loads<'_, Batch<'_>> {
    fn token(&self, key: &TokenKey) -> Loaded<Option<Record>> {
        let held = self.0.tokens.held.borrow().get(key).cloned();
        match held {
            Some(record) => Ok(record),
            None => Ok(read_held(self.0, &[*key])?.pop()),
        }
    }

    fn tokens(&self, keys: &[TokenKey]) -> Loaded<Vec<Record>> {
        Ok(read_held(self.0, keys)?)
    }

    fn lives(&self, of: LivesOf) -> Loaded<Arc<Lives>> {
        Ok(self.0.lives(of)?)
    }

    /// A token's row is new and nobody else's, so nothing of it need be held; a second one with its
    /// hash is refused by the table. It is sent before anything of this batch reads tokens, and at
    /// its end.
    fn add_token(&self, record: &Record) -> Loaded<()> {
        let row = values![
            record.key.issued_secs,
            record.key.hash.0,
            record.epoch.0,
            record.merchant.as_str(),
            record.credential.as_str(),
            record.card.as_bytes(),
            record.operation.as_str(),
            text::field_names(record.allowed),
            record.bound_to.map(|key| key.0),
            record.issued_at.millis(),
            record.expires_at.millis(),
            record.conflict,
            rows::state_column(&record.state),
            record.sweep_due_at().map(Time::millis),
            record.embed.as_ref().map(EmbedId::as_str),
        ];
        self.0.tokens.issued.borrow_mut().push(row.into());
        Ok(())
    }

    /// The columns that a decision may change.
    fn save_token(&self, record: &Record) -> Loaded<()> {
        self.0.send(
            "UPDATE token SET conflict = $3, state = $4, sweep_due_at = $5, refusals = $6
             WHERE issued_secs = $1 AND hash = $2",
            values![
                record.key.issued_secs,
                record.key.hash.0,
                record.conflict,
                rows::state_column(&record.state),
                record.sweep_due_at().map(Time::millis),
                record.refusals,
            ],
        )?;
        if let Some(held) = self.0.tokens.held.borrow_mut().get_mut(&record.key) {
            *held = Some(record.clone());
        }
        Ok(())
    }

    fn delete_token(&self, key: &TokenKey) -> Loaded<()> {
        Ok(self.0.send(
            "DELETE FROM token WHERE issued_secs = $1 AND hash = $2",
            values![key.issued_secs, key.hash.0],
        )?)
    }

    fn named(&self, key: &[u8; 32]) -> Loaded<Option<(Idempotency, Record)>> {
        const SQL: &str = concat!(
            "SELECT ",
            own_columns!(),
            ", name.key, name.fingerprint, name.seed, name.expires_at
             FROM name JOIN token USING (issued_secs, hash) WHERE name.key = $1"
        );
        send_issued(self.0)?;
        // The row is held, if need be as one that has expired.
        self.0.execute(
            "INSERT INTO name (key, fingerprint, seed, expires_at, issued_secs, hash)
             VALUES ($1, '', '', 0, 0, '') ON CONFLICT (key) DO UPDATE SET key = excluded.key",
            values![key],
        )?;
        Ok(self.0.first(SQL, values![key], |row| {
            Ok((rows::idempotency(row)?, rows::record(row)?))
        })?)
    }

    fn save_name(&self, name: &Idempotency, token: &TokenKey) -> Loaded<()> {
        Ok(self.0.send(
            "UPDATE name SET fingerprint = $2, seed = $3, expires_at = $4, issued_secs = $5,
                 hash = $6
             WHERE key = $1",
            values![
                name.key,
                name.fingerprint,
                name.seed,
                name.expires_at.millis(),
                token.issued_secs,
                token.hash.0,
            ],
        )?)
    }

    fn tokens_due(&self, due: Time, ahead: Time, limit: usize) -> Loaded<Vec<Option<Record>>> {
        const SQL: &str = concat!(
            "SELECT ",
            own_columns!(),
            " FROM token WHERE sweep_due_at <= $1 OR sweep_due_at > $2
             ORDER BY sweep_due_at LIMIT $3
             FOR UPDATE SKIP LOCKED"
        );
        send_issued(self.0)?;
        let values = values![due.millis(), ahead.millis(), sql_count(limit)];
        Ok(self.0.all(SQL, values, |row| {
            keep(self.0.left_out(), "token", row, rows::record(row))
        })?)
    }

    fn refused_tokens(&self, before: Time, refusals: u32, limit: usize) -> Loaded<Vec<Record>> {
        const SQL: &str = concat!(
            "SELECT ",
            own_columns!(),
            " FROM token WHERE issued_secs <= $1 AND issued_at < $2 AND sweep_due_at IS NULL
                 AND refusals > $3 LIMIT $4 FOR UPDATE SKIP LOCKED"
        );
        let (secs, before) = (before.secs_u32(), before.millis());
        let values = values![secs, before, refusals, sql_count(limit)];
        Ok(self.0.all(SQL, values, rows::record)?)
    }

    fn old_tokens(&self, before: Time, limit: usize) -> Loaded<Vec<TokenKey>> {
        const SQL: &str = "SELECT issued_secs, hash FROM token
             WHERE issued_secs <= $1 AND issued_at < $2 AND sweep_due_at IS NULL LIMIT $3
             FOR UPDATE SKIP LOCKED";
        let values = values![before.secs_u32(), before.millis(), sql_count(limit)];
        Ok(self.0.all(SQL, values, rows::token_key)?)
    }

    fn forget_names(&self, until: Time, limit: usize) -> Loaded<usize> {
        Ok(self.0.execute(
            "DELETE FROM name WHERE key IN (
                 SELECT key FROM name WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
                 FOR UPDATE SKIP LOCKED)",
            values![until.millis(), sql_count(limit)],
        )?)
    }
}

pub(super) fn send_issued(batch: &Batch<'_>) -> Outcome<()> {
    let issued = batch.tokens.issued.take();
    if !issued.is_empty() {
        batch.send(INSERT, columns(issued))?;
    }
    Ok(())
}

/// Holds these tokens until the commit, and their cards, for all jobs that decide on one. Whoever
/// else changes them in this batch has done so before.
pub(super) fn hold(batch: &Batch<'_>, keys: &[TokenKey]) -> Outcome<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let found = read_held(batch, keys)?;
    cards::hold_states(batch, found.iter().map(|record| record.card))?;
    let mut held = batch.tokens.held.borrow_mut();
    held.extend(keys.iter().map(|key| (*key, None)));
    held.extend(found.into_iter().map(|record| (record.key, Some(record))));
    Ok(())
}

fn read_held(batch: &Batch<'_>, keys: &[TokenKey]) -> Outcome<Vec<Record>> {
    send_issued(batch)?;
    let secs = keys.iter().map(|key| key.issued_secs).collect();
    let hashes = keys.iter().map(|key| key.hash.0).collect();
    batch.all(HOLD, [secs, hashes], rows::record)
}

/// How the revocable ones of a selection are found, and the first value of the question: the table
/// is read in the order of its key, and nothing waits meanwhile.
pub(super) fn revocable(selection: &Selection) -> (&'static str, Value) {
    macro_rules! sql {
        ($column:literal) => {
            concat!(
                "SELECT issued_secs, hash FROM token WHERE ",
                $column,
                " = $1 AND (issued_secs, hash) > ($2, $3)
                     AND (state IS NULL AND expires_at > $4 OR state NOT LIKE '{\"revoked\"%')
                 ORDER BY issued_secs, hash LIMIT $5"
            )
        };
    }
    match selection {
        Selection::Hash(hash) => (sql!("hash"), hash.0.into()),
        Selection::Card(card) => (sql!("card"), card.as_bytes().into()),
        Selection::Merchant(merchant) => (sql!("merchant"), merchant.as_str().into()),
    }
}
