//! The writes of tokens, each inside a batch.

use std::collections::BTreeSet;

use cardveil_core::audit::Source;
use cardveil_core::clock::Time;
use cardveil_core::id::EmbedId;
use cardveil_core::port::{Error, Selection, Swept, apply};
use cardveil_core::token::{
    Around, Attempt, CLOCKS_APART, Cause, Claim, Decision, Grant, Idempotency, Issue, IssueRows,
    Issued, Lives, LivesOf, Observation, REFUSALS_RECORDED_MAX, RETENTION, REVEAL_WINDOW, Record,
    TokenKey, Verdict,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::budget;
use super::cards;
use super::fault::Fault;
use super::keep;
use super::mfa;
use super::rows::{self, lives_columns, record_columns};
use super::writer::Batch;
use crate::left_out::LeftOut;
use crate::text;

type Outcome<T> = Result<T, Fault>;

pub(super) const FIND: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM token WHERE issued_secs = ?1 AND hash = ?2"
);

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
        insert(batch, &issue.record)?;
        if let Some(name) = name {
            remember(batch, name, &issue.record.key)?;
        }
        batch.log(&issue.event)?;
    }
    Ok(decided.verdict)
}

fn named(batch: &Batch<'_>, name: &Idempotency) -> Outcome<Option<(Idempotency, Record)>> {
    Ok(batch.first(
        concat!(
            "SELECT ",
            record_columns!(),
            ", name.key, name.fingerprint, name.seed, name.expires_at
             FROM name JOIN token USING (issued_secs, hash) WHERE name.key = ?1"
        ),
        [name.key],
        |row| Ok((rows::idempotency(row)?, rows::record(row)?)),
    )?)
}

/// A row is never put in the place of another: that would un-spend a token.
fn insert(batch: &Batch<'_>, record: &Record) -> Outcome<()> {
    let inserted = batch.execute(
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
            rows::state_column(&record.state),
            record.sweep_due_at().map(Time::millis),
            record.embed.as_ref().map(EmbedId::as_str),
        ],
    )?;
    if inserted == 0 {
        let twice = "a token with this hash exists";
        return Err(Fault::Own(Error::Unavailable(twice.into())));
    }
    Ok(())
}

fn remember(batch: &Batch<'_>, name: &Idempotency, token: &TokenKey) -> Outcome<()> {
    batch.execute(
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

pub(super) fn redeem(batch: &Batch<'_>, claim: &Claim) -> Outcome<Verdict> {
    let record = find(batch, &claim.token)?;
    let card = match &record {
        Some(record) => cards::state(batch, &record.merchant, record.card)?,
        None => None,
    };
    let lives = match &record {
        Some(record) => lives(batch.connection(), &LivesOf::token(record, &claim.embed))?,
        None => Lives::default(),
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
        rows::lives,
    )
}

pub(super) fn settle(batch: &Batch<'_>, attempt: &Attempt) -> Outcome<Option<Grant>> {
    write(batch, attempt.decide(find(batch, &attempt.token)?.as_ref()))
}

pub(super) fn observe(batch: &Batch<'_>, observation: &Observation) -> Outcome<Result<(), Cause>> {
    let record = find(batch, &observation.token)?;
    write(batch, observation.decide(record.as_ref(), batch.epoch()))
}

fn find(batch: &Batch<'_>, key: &TokenKey) -> Outcome<Option<Record>> {
    Ok(batch.first(FIND, params![key.issued_secs, key.hash.0], rows::record)?)
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
    batch.execute(
        "UPDATE token SET conflict = ?3, state = ?4, sweep_due_at = ?5, refusals = ?6
         WHERE issued_secs = ?1 AND hash = ?2",
        params![
            record.key.issued_secs,
            record.key.hash.0,
            record.conflict,
            rows::state_column(&record.state),
            record.sweep_due_at().map(Time::millis),
            record.refusals,
        ],
    )?;
    Ok(())
}

/// How the revocable ones of a selection are found, and the first value of the question.
pub(super) fn revocable(selection: &Selection) -> (&'static str, Value) {
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
        Selection::Hash(hash) => (sql!("hash"), Value::Blob(hash.0.to_vec())),
        Selection::Card(card) => (sql!("card"), Value::Blob(card.as_bytes().to_vec())),
        Selection::Merchant(merchant) => (sql!("merchant"), Value::Text(merchant.as_str().into())),
    }
}

pub(super) fn revoke(
    batch: &Batch<'_>,
    keys: &BTreeSet<TokenKey>,
    at: Time,
    source: &Source,
) -> Outcome<usize> {
    let mut count = 0;
    for key in keys {
        let record = find(batch, key)?;
        if let Some((revoked, event)) = record.and_then(|record| record.revoke(at, source)) {
            update(batch, &revoked)?;
            batch.log(&event)?;
            count += 1;
        }
    }
    Ok(count)
}

pub(super) fn sweep(
    batch: &Batch<'_>,
    now: Time,
    limit: usize,
    left_out: &LeftOut,
) -> Outcome<Swept> {
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    // Those that a clock ahead has released are due too: see `Record::sweep`.
    let ahead = now.plus(REVEAL_WINDOW + CLOCKS_APART);
    let due = batch.all(
        concat!(
            "SELECT ",
            record_columns!(),
            " FROM token WHERE sweep_due_at <= ?1 OR sweep_due_at > ?2
             ORDER BY sweep_due_at LIMIT ?3"
        ),
        params![now.millis(), ahead.millis(), most],
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
            " FROM token WHERE issued_secs <= ?1 AND issued_at < ?2 AND sweep_due_at IS NULL
                 AND refusals > ?3 LIMIT ?4"
        ),
        params![
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
         WHERE issued_secs <= ?1 AND issued_at < ?2 AND sweep_due_at IS NULL LIMIT ?3",
        params![oldest.secs_u32(), oldest.millis(), most],
        rows::token_key,
    )?;
    for key in &old {
        delete(batch, key)?;
    }
    swept.deleted = counted.len() + old.len();
    let forgotten = batch.execute(
        "DELETE FROM name WHERE key IN (
             SELECT key FROM name WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        params![now.millis(), most],
    )?;
    let whole = budget::forget(batch, now, most)?;
    swept.more |= swept.deleted >= limit || forgotten == limit || whole == limit;
    Ok(swept)
}

fn delete(batch: &Batch<'_>, key: &TokenKey) -> Outcome<()> {
    batch.execute(
        "DELETE FROM token WHERE issued_secs = ?1 AND hash = ?2",
        params![key.issued_secs, key.hash.0],
    )?;
    Ok(())
}
