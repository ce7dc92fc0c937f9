//! Tokens, and the names of requests.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::clock::Time;
use cardveil_core::port::rows::{Loaded, TokenRows};
use cardveil_core::port::{Error, Result, Selection, Tokens};
use cardveil_core::token::{CLOCKS_APART, Idempotency, Lives, LivesOf, Record, TokenKey};

use super::lookups::{By, Lookup, Lookups};
use super::rows::{self, NAME, TOKEN, TOKEN_COLUMNS};
use super::table::Statement;
use super::value::{Row as _, Value, values};
use super::{Loads, Sql, sql_count};
use crate::Store;

impl<B: Sql> TokenRows for Loads<'_, B> {
    fn token(&self, key: &TokenKey) -> Loaded<Option<Record>> {
        self.0.token(key).map_err(Into::into)
    }

    fn tokens(&self, keys: &[TokenKey]) -> Loaded<Vec<Record>> {
        self.0.tokens(keys).map_err(Into::into)
    }

    fn lives(&self, of: LivesOf) -> Loaded<Arc<Lives>> {
        self.0.lives(of).map_err(Into::into)
    }

    fn add_token(&self, record: &Record) -> Loaded<()> {
        let values = self.values_of(&TOKEN, record)?;
        let key = TOKEN.key_of(&values);
        if self.0.add_token(values).map_err(Into::into)? {
            return Ok(());
        }
        self.versions().was_not_added(&key);
        let twice = "a token with this hash exists";
        Err(Error::Unavailable(twice.into()).into())
    }

    fn save_token(&self, record: &Record) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| TOKEN.save());
        self.save_row(&TOKEN, &SAVE, record)?;
        self.token_saved(record);
        Ok(())
    }

    fn count_token(&self, record: &Record) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| TOKEN.save());
        let values = self.values_at(&TOKEN, record, false)?;
        self.send(&SAVE, TOKEN.changes(values))?;
        self.token_saved(record);
        Ok(())
    }

    fn delete_token(&self, key: &TokenKey) -> Loaded<()> {
        const FORGET: &str = "DELETE FROM row_change WHERE kind = $1 AND key = $2";
        static DELETE: Statement = Statement::new(|| TOKEN.delete());
        let values = values![key.issued_secs, key.hash.0];
        let (kind, row) = TOKEN.key_of(&values);
        self.send(&DELETE, values)?;
        self.send(FORGET, values![kind, row])
    }

    fn named(&self, key: &[u8; 32]) -> Loaded<Option<(Idempotency, Record)>> {
        static SQL: Statement = Statement::new(|| {
            let (token, name) = (&*TOKEN_COLUMNS, NAME.select());
            format!(
                "SELECT {token}, {name} FROM name JOIN token USING (issued_secs, hash)
                 WHERE name.key = $1"
            )
        });
        self.send_tokens().map_err(Into::into)?;
        self.hold_name(key).map_err(Into::into)?;
        let found = self.first(&SQL, values![key], |row| {
            let record = self.load(&TOKEN, row, || rows::record(row))?;
            Ok((rows::name(row)?, record))
        })?;
        Ok(found.and_then(|(name, record)| Some((name, record?))))
    }

    fn save_name(&self, name: &Idempotency, token: &TokenKey) -> Loaded<()> {
        static PUT: Statement = Statement::new(|| NAME.put());
        self.send(&PUT, NAME.values(&(name.clone(), *token)))
    }

    fn tokens_due(&self, due: Time, ahead: Time, limit: usize) -> Loaded<Vec<Option<Record>>> {
        static SQL: Statement = Statement::new(|| {
            let columns = &*TOKEN_COLUMNS;
            format!(
                "SELECT {columns} FROM token WHERE sweep_due_at <= $1 OR sweep_due_at > $2
                 ORDER BY sweep_due_at LIMIT $3 FOR UPDATE SKIP LOCKED"
            )
        });
        self.send_tokens().map_err(Into::into)?;
        self.all(&SQL, values![due, ahead, sql_count(limit)], |row| {
            let record = self.load(&TOKEN, row, || rows::record(row));
            Ok(row.keep(self.left_out(), "token", record)?.flatten())
        })
    }

    fn refused_tokens(&self, before: Time, refusals: u32, limit: usize) -> Loaded<Vec<Record>> {
        static SQL: Statement = Statement::new(|| {
            let columns = &*TOKEN_COLUMNS;
            format!(
                "SELECT {columns} FROM token
                 WHERE issued_secs <= $1 AND issued_at < $2 AND sweep_due_at IS NULL
                     AND refusals > $3 LIMIT $4 FOR UPDATE SKIP LOCKED"
            )
        });
        let values = values![before.secs_u32(), before, refusals, sql_count(limit)];
        let found = self.all(&SQL, values, |row| {
            self.load(&TOKEN, row, || rows::record(row))
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    fn old_tokens(&self, before: Time, limit: usize) -> Loaded<Vec<TokenKey>> {
        const SQL: &str = "SELECT issued_secs, hash FROM token
             WHERE issued_secs <= $1 AND issued_at < $2 AND sweep_due_at IS NULL LIMIT $3
             FOR UPDATE SKIP LOCKED";
        let values = values![before.secs_u32(), before, sql_count(limit)];
        self.all(SQL, values, |row| rows::token_key(row))
    }

    fn forget_names(&self, until: Time, limit: usize) -> Loaded<usize> {
        const SQL: &str = "DELETE FROM name WHERE key IN (
             SELECT key FROM name WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
             FOR UPDATE SKIP LOCKED)";
        self.execute(SQL, values![until, sql_count(limit)])
    }
}

#[async_trait]
impl<D: Lookups> Tokens for Store<D> {
    async fn token(&self, key: &TokenKey) -> Result<Option<Record>> {
        static BY_KEY: Lookup = Lookup::new(|| {
            let key = [("issued_secs", "bigint"), ("hash", "bytea")];
            By::new(&TOKEN_COLUMNS, "token", &key, "")
        });
        let keys = values![key.issued_secs, key.hash.0].into();
        let read = |row: &D::Row<'_>| {
            let found = TOKEN.load(self.macs(), row, 0, || rows::record(row))?;
            if let Some(record) = &found
                && let Some((key, seen)) = TOKEN.as_guarded(row, record.clone())?
            {
                self.checked().tokens.note(key, seen);
            }
            Ok(found)
        };
        let is_it = |found: &Option<Record>| found.as_ref().is_none_or(|it| it.key == *key);
        Ok(self.find(&BY_KEY, keys, read, is_it).await?.flatten())
    }

    async fn first_form_last(&self, now: Time) -> Result<Option<Time>> {
        self.0.first_form_last(now).await
    }

    /// The table is read in the order of its key, and nothing waits meanwhile.
    async fn revocable(
        &self,
        selection: &Selection,
        at: Time,
        after: Option<TokenKey>,
        limit: usize,
    ) -> Result<Vec<TokenKey>> {
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
        let (sql, of): (_, Value) = match selection {
            Selection::Hash(hash) => (sql!("hash"), hash.0.into()),
            Selection::Card(card) => (sql!("card"), card.as_bytes().into()),
            Selection::Merchant(merchant) => (sql!("merchant"), merchant.as_str().into()),
        };
        let (secs, hash) = after.map_or((-1, Vec::new()), |after| {
            (i64::from(after.issued_secs), after.hash.0.to_vec())
        });
        let values = values![of, secs, hash, at.minus(CLOCKS_APART), sql_count(limit)];
        self.walk(sql, values, |row| rows::token_key(row)).await
    }
}
