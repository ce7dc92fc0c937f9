//! The rows of tokens, and of the names of requests.

use std::sync::Arc;

use cardveil_core::clock::Time;
use cardveil_core::id::EmbedId;
use cardveil_core::port::rows::{Loaded, TokenRows};
use cardveil_core::port::{Error, Selection};
use cardveil_core::token::{Idempotency, Lives, LivesOf, Record, TokenKey};
use rusqlite::types;
use rusqlite::{Connection, params};

use super::keep;
use super::writer::Batch;
use crate::sql::rows::{self, lives_columns, record_columns};
use crate::sql::value::Value;
use crate::sql::{Loads, sql_count};
use crate::text;

pub(super) const FIND: &str = concat!(
    "SELECT ",
    record_columns!("token.epoch"),
    " FROM token WHERE issued_secs = ?1 AND hash = ?2"
);

impl TokenRows for Loads<'_, Batch<'_>> {
    fn token(&self, key: &TokenKey) -> Loaded<Option<Record>> {
        Ok(self
            .0
            .first(FIND, params![key.issued_secs, key.hash.0], |row| {
                rows::record(row)
            })?)
    }

    fn tokens(&self, keys: &[TokenKey]) -> Loaded<Vec<Record>> {
        let found = keys.iter().map(|key| self.token(key));
        found.filter_map(Result::transpose).collect()
    }

    fn lives(&self, of: LivesOf) -> Loaded<Arc<Lives>> {
        Ok(Arc::new(lives(self.connection(), &of)?))
    }

    fn add_token(&self, record: &Record) -> Loaded<()> {
        let inserted = self.0.execute(
            "INSERT INTO token (issued_secs, hash, epoch, merchant, credential, card, operation,
                 allowed, bound_to, issued_at, expires_at, conflict, state, sweep_due_at, embed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT DO NOTHING",
            params![
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
                Value::from(rows::state_column(&record.state)),
                record.sweep_due_at().map(Time::millis),
                record.embed.as_ref().map(EmbedId::as_str),
            ],
        )?;
        if inserted == 0 {
            let twice = "a token with this hash exists";
            return Err(Error::Unavailable(twice.into()).into());
        }
        Ok(())
    }

    /// The columns that a decision may change.
    fn save_token(&self, record: &Record) -> Loaded<()> {
        self.0.execute(
            "UPDATE token SET conflict = ?3, state = ?4, sweep_due_at = ?5, refusals = ?6
             WHERE issued_secs = ?1 AND hash = ?2",
            params![
                record.key.issued_secs,
                record.key.hash.0,
                record.conflict,
                Value::from(rows::state_column(&record.state)),
                record.sweep_due_at().map(Time::millis),
                record.refusals,
            ],
        )?;
        Ok(())
    }

    fn delete_token(&self, key: &TokenKey) -> Loaded<()> {
        self.0.execute(
            "DELETE FROM token WHERE issued_secs = ?1 AND hash = ?2",
            params![key.issued_secs, key.hash.0],
        )?;
        Ok(())
    }

    fn named(&self, key: &[u8; 32]) -> Loaded<Option<(Idempotency, Record)>> {
        const SQL: &str = concat!(
            "SELECT ",
            record_columns!("token.epoch"),
            ", name.key, name.fingerprint, name.seed, name.expires_at
             FROM name JOIN token USING (issued_secs, hash) WHERE name.key = ?1"
        );
        Ok(self.0.first(SQL, [key], |row| {
            Ok((rows::idempotency(row)?, rows::record(row)?))
        })?)
    }

    fn save_name(&self, name: &Idempotency, token: &TokenKey) -> Loaded<()> {
        self.0.execute(
            "INSERT OR REPLACE INTO name (key, fingerprint, seed, expires_at, issued_secs, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                name.key,
                name.fingerprint,
                name.seed,
                name.expires_at.millis(),
                token.issued_secs,
                token.hash.0,
            ],
        )?;
        Ok(())
    }

    fn tokens_due(&self, due: Time, ahead: Time, limit: usize) -> Loaded<Vec<Option<Record>>> {
        const SQL: &str = concat!(
            "SELECT ",
            record_columns!("token.epoch"),
            " FROM token WHERE sweep_due_at <= ?1 OR sweep_due_at > ?2
             ORDER BY sweep_due_at LIMIT ?3"
        );
        let params = params![due.millis(), ahead.millis(), sql_count(limit)];
        Ok(self.0.all(SQL, params, |row| {
            keep(self.0.left_out(), "token", row, rows::record(row))
        })?)
    }

    fn refused_tokens(&self, before: Time, refusals: u32, limit: usize) -> Loaded<Vec<Record>> {
        const SQL: &str = concat!(
            "SELECT ",
            record_columns!("token.epoch"),
            " FROM token WHERE issued_secs <= ?1 AND issued_at < ?2 AND sweep_due_at IS NULL
                 AND refusals > ?3 LIMIT ?4"
        );
        let (secs, before) = (before.secs_u32(), before.millis());
        let params = params![secs, before, refusals, sql_count(limit)];
        Ok(self.0.all(SQL, params, |row| rows::record(row))?)
    }

    fn old_tokens(&self, before: Time, limit: usize) -> Loaded<Vec<TokenKey>> {
        const SQL: &str = "SELECT issued_secs, hash FROM token
             WHERE issued_secs <= ?1 AND issued_at < ?2 AND sweep_due_at IS NULL LIMIT ?3";
        let params = params![before.secs_u32(), before.millis(), sql_count(limit)];
        Ok(self.0.all(SQL, params, |row| rows::token_key(row))?)
    }

    fn forget_names(&self, until: Time, limit: usize) -> Loaded<usize> {
        Ok(self.0.execute(
            "DELETE FROM name WHERE key IN (
                 SELECT key FROM name WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
            params![until.millis(), sql_count(limit)],
        )?)
    }
}

/// What a token lives by. In a batch, nobody changes that until its commit.
pub(super) fn lives(connection: &Connection, of: &LivesOf) -> rusqlite::Result<Lives> {
    const FIND: &str = concat!(
        "SELECT ",
        lives_columns!(),
        " FROM (SELECT 1)
             LEFT JOIN credential ON credential.id = ?1 AND credential.merchant = ?2
             LEFT JOIN merchant ON merchant.id = ?2
             LEFT JOIN embed ON embed.id = ?3"
    );
    connection.prepare_cached(FIND)?.query_row(
        params![
            of.credential.as_str(),
            of.merchant.as_str(),
            of.embed.as_str()
        ],
        |row| rows::lives(row),
    )
}

/// How the revocable ones of a selection are found, and the first value of the question.
pub(super) fn revocable(selection: &Selection) -> (&'static str, types::Value) {
    macro_rules! sql {
        ($column:literal) => {
            concat!(
                "SELECT issued_secs, hash FROM token WHERE ",
                $column,
                " = ?1 AND (issued_secs, hash) > (?2, ?3)
                     AND (state IS NULL AND expires_at > ?4 OR state NOT LIKE '{\"revoked\"%')
                 ORDER BY issued_secs, hash LIMIT ?5"
            )
        };
    }
    match selection {
        Selection::Hash(hash) => (sql!("hash"), types::Value::Blob(hash.0.to_vec())),
        Selection::Card(card) => (sql!("card"), types::Value::Blob(card.as_bytes().to_vec())),
        Selection::Merchant(merchant) => (
            sql!("merchant"),
            types::Value::Text(merchant.as_str().into()),
        ),
    }
}
