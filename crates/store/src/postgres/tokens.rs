//! The writes of tokens, each inside a batch.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use cardveil_core::audit::Source;
use cardveil_core::clock::Time;
use cardveil_core::id::EmbedId;
use cardveil_core::port::{Selection, Swept, apply};
use cardveil_core::token::{
    Around, Attempt, CLOCKS_APART, Cause, Claim, Decision, Grant, Idempotency, Issue, IssueRows,
    Issued, LivesOf, Observation, REFUSALS_RECORDED_MAX, RETENTION, REVEAL_WINDOW, Record,
    TokenKey, Verdict,
};

use super::batch::Batch;
use super::budget;
use super::cards;
use super::fault::Fault;
use super::keep;
use super::mfa;
use super::rows::{self, record_columns};
use super::value::{Value, columns, values};
use crate::left_out::LeftOut;
use crate::text;

type Outcome<T> = Result<T, Fault>;

pub(super) const FIND: &str = concat!(
    "SELECT ",
    record_columns!(),
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
    record_columns!(),
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

/// A token's row is new and nobody else's, so nothing of it need be held; a second one with its
/// hash is refused by the table and never put in its place: that would un-spend a token.
pub(super) fn issue(batch: &Batch<'_>, issue: &Issue) -> Outcome<Issued> {
    let wanted = issue.second_factor_use();
    let name = issue.idempotency.as_ref();
    let decided = issue.decide(IssueRows {
        epoch: batch.epoch(),
        named: name.map(|name| named(batch, name)).transpose()?.flatten(),
        required: mfa::required_rows(batch, issue.required(&wanted))?,
    });
    if let Some(met) = &decided.met {
        mfa::write_met(batch, met)?;
    }
    if decided.verdict == Issued::New {
        insert(batch, &issue.record);
        if let Some(name) = name {
            remember(batch, name, &issue.record.key)?;
        }
        batch.log(&issue.event)?;
    }
    Ok(decided.verdict)
}

fn named(batch: &Batch<'_>, name: &Idempotency) -> Outcome<Option<(Idempotency, Record)>> {
    send_issued(batch)?;
    // The row is held, if need be as one that has expired.
    batch.execute(
        "INSERT INTO name (key, fingerprint, seed, expires_at, issued_secs, hash)
         VALUES ($1, '', '', 0, 0, '') ON CONFLICT (key) DO UPDATE SET key = excluded.key",
        values![name.key],
    )?;
    batch.first(
        concat!(
            "SELECT ",
            record_columns!(),
            ", name.key, name.fingerprint, name.seed, name.expires_at
             FROM name JOIN token USING (issued_secs, hash) WHERE name.key = $1"
        ),
        values![name.key],
        |row| Ok((rows::idempotency(row)?, rows::record(row)?)),
    )
}

/// It is sent before anything of this batch reads tokens, and at its end.
fn insert(batch: &Batch<'_>, record: &Record) {
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
    batch.tokens.issued.borrow_mut().push(row.into());
}

pub(super) fn send_issued(batch: &Batch<'_>) -> Outcome<()> {
    let issued = batch.tokens.issued.take();
    if !issued.is_empty() {
        batch.send(INSERT, columns(issued))?;
    }
    Ok(())
}

fn remember(batch: &Batch<'_>, name: &Idempotency, token: &TokenKey) -> Outcome<()> {
    batch.send(
        "UPDATE name SET fingerprint = $2, seed = $3, expires_at = $4, issued_secs = $5, hash = $6
         WHERE key = $1",
        values![
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

pub(super) fn redeem(batch: &Batch<'_>, claim: &Claim) -> Outcome<Verdict> {
    let record = find(batch, &claim.token)?;
    let card = match &record {
        Some(record) => cards::state(batch, &record.merchant, record.card)?,
        None => None,
    };
    let lives = match &record {
        Some(record) => batch.lives(LivesOf::token(record, &claim.embed))?,
        None => Arc::default(),
    };
    let around = Around {
        card,
        lives: &lives,
        epoch: batch.epoch(),
    };
    let decision = claim.decide(record.as_ref(), &around);
    let verdict = write(batch, decision)?;
    if let Some(step) = claim.step_of(&verdict) {
        cards::make_transition(batch, step)?;
    }
    Ok(verdict)
}

pub(super) fn settle(batch: &Batch<'_>, attempt: &Attempt) -> Outcome<Option<Grant>> {
    write(batch, attempt.decide(find(batch, &attempt.token)?.as_ref()))
}

pub(super) fn observe(batch: &Batch<'_>, observation: &Observation) -> Outcome<Result<(), Cause>> {
    let record = find(batch, &observation.token)?;
    write(batch, observation.decide(record.as_ref(), batch.epoch()))
}

fn find(batch: &Batch<'_>, key: &TokenKey) -> Outcome<Option<Record>> {
    let held = batch.tokens.held.borrow().get(key).cloned();
    match held {
        Some(record) => Ok(record),
        None => Ok(read_held(batch, &[*key])?.pop()),
    }
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

fn write<V>(batch: &Batch<'_>, decision: Decision<V>) -> Outcome<V> {
    apply(decision, |record, event| {
        if let Some(record) = record {
            update(batch, record)?;
        }
        if let Some(event) = event {
            batch.log(event)?;
        }
        Ok(())
    })
}

/// The columns that a decision may change.
fn update(batch: &Batch<'_>, record: &Record) -> Outcome<()> {
    batch.send(
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
    if let Some(held) = batch.tokens.held.borrow_mut().get_mut(&record.key) {
        *held = Some(record.clone());
    }
    Ok(())
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

/// In the order of their keys, as all batches hold tokens.
pub(super) fn revoke(
    batch: &Batch<'_>,
    keys: &[TokenKey],
    at: Time,
    source: &Source,
) -> Outcome<usize> {
    let held = read_held(batch, keys)?;
    let revoked: Vec<_> = held.iter().filter_map(|it| it.revoke(at, source)).collect();
    for (record, event) in &revoked {
        update(batch, record)?;
        batch.log(event)?;
    }
    Ok(revoked.len())
}

pub(super) fn sweep(
    batch: &Batch<'_>,
    now: Time,
    limit: usize,
    left_out: &LeftOut,
) -> Outcome<Swept> {
    send_issued(batch)?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    // Those that a clock ahead has released are due too: see `Record::sweep`.
    let ahead = now.plus(REVEAL_WINDOW + CLOCKS_APART);
    let due = batch.all(
        concat!(
            "SELECT ",
            record_columns!(),
            " FROM token WHERE sweep_due_at <= $1 OR sweep_due_at > $2
             ORDER BY sweep_due_at LIMIT $3
             FOR UPDATE SKIP LOCKED"
        ),
        values![now.millis(), ahead.millis(), most],
        |row| keep(left_out, "token", row, rows::record(row)),
    )?;
    let mut swept = Swept {
        more: due.len() == limit,
        ..Swept::default()
    };
    for (record, event) in due.iter().flatten().filter_map(|record| record.sweep(now)) {
        update(batch, &record)?;
        if let Some(event) = event {
            batch.log(&event)?;
            swept.unconfirmed += 1;
        }
    }
    let oldest = now.minus(RETENTION);
    let counted = batch.all(
        concat!(
            "SELECT ",
            record_columns!(),
            " FROM token WHERE issued_secs <= $1 AND issued_at < $2 AND sweep_due_at IS NULL
                 AND refusals > $3 LIMIT $4 FOR UPDATE SKIP LOCKED"
        ),
        values![
            oldest.secs_u32(),
            oldest.millis(),
            REFUSALS_RECORDED_MAX,
            most
        ],
        rows::record,
    )?;
    for record in &counted {
        if let Some(event) = record.refusals_told(now) {
            batch.log(&event)?;
        }
        delete(batch, &record.key)?;
    }
    let old = batch.all(
        "SELECT issued_secs, hash FROM token
         WHERE issued_secs <= $1 AND issued_at < $2 AND sweep_due_at IS NULL LIMIT $3
         FOR UPDATE SKIP LOCKED",
        values![oldest.secs_u32(), oldest.millis(), most],
        rows::token_key,
    )?;
    for key in &old {
        delete(batch, key)?;
    }
    swept.deleted = counted.len() + old.len();
    let forgotten = batch.execute(
        "DELETE FROM name WHERE key IN (
             SELECT key FROM name WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
             FOR UPDATE SKIP LOCKED)",
        values![now.millis(), most],
    )?;
    let whole = budget::forget(batch, now, most)?;
    swept.more |= swept.deleted >= limit || forgotten == limit || whole == limit;
    Ok(swept)
}

fn delete(batch: &Batch<'_>, key: &TokenKey) -> Outcome<()> {
    batch.send(
        "DELETE FROM token WHERE issued_secs = $1 AND hash = $2",
        values![key.issued_secs, key.hash.0],
    )
}
