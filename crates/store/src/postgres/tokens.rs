//! The rows of tokens, as the jobs of a batch hold and add them together.

use std::cell::RefCell;
use std::collections::HashMap;

use cardveil_core::token::{Record, TokenKey};

use super::batch::Batch;
use super::cards;
use super::fault::Fault;
use crate::sql::rows::{self, TOKEN, TOKEN_COLUMNS, TOKEN_TYPES};
use crate::sql::table::Statement;
use crate::sql::value::{Value, columns};

type Outcome<T> = Result<T, Fault>;

/// Holds rows until the commit, in the order in which they are named: one lookup by the primary key
/// for each, however small the table was when the statement was planned.
static HOLD: Statement = Statement::new(|| {
    let columns = &*TOKEN_COLUMNS;
    format!(
        "SELECT {columns} FROM unnest($1::bigint[], $2::bytea[]) AS wanted (secs, hash)
             CROSS JOIN LATERAL
             (SELECT *, xmin FROM token
                 WHERE issued_secs = wanted.secs AND hash = wanted.hash FOR UPDATE)
             AS token"
    )
});

/// What the jobs of a batch do to many tokens with one statement.
#[derive(Default)]
pub(super) struct Gathered {
    /// Rows that are issued and not yet sent.
    pub(super) issued: RefCell<Vec<Vec<Value>>>,
    /// Those that [`hold`] holds, as they are in this transaction; nothing where there is none.
    pub(super) held: RefCell<HashMap<TokenKey, Option<Record>>>,
}

pub(super) fn send_issued(batch: &Batch<'_>) -> Outcome<()> {
    static ADD: Statement = Statement::new(|| TOKEN.add_many(TOKEN_TYPES));
    let issued = batch.tokens.issued.take();
    if !issued.is_empty() {
        batch.send(&ADD, columns(issued))?;
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

pub(super) fn read_held(batch: &Batch<'_>, keys: &[TokenKey]) -> Outcome<Vec<Record>> {
    send_issued(batch)?;
    let secs = keys.iter().map(|key| key.issued_secs).collect();
    let hashes = keys.iter().map(|key| key.hash.0).collect();
    let found = batch.all(&HOLD, [secs, hashes], |row| {
        let guards = (batch.macs(), batch.versions());
        TOKEN.load_known(guards, &batch.checked().tokens, row, || rows::record(row))
    })?;
    Ok(found.into_iter().flatten().collect())
}
