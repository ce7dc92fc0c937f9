//! Client tokens, and the names of requests.

use cardveil_core::card::Fields;
use cardveil_core::id::{CardId, EmbedId};
use cardveil_core::token::{
    Epoch, Idempotency, Operation, Record, State, Thumbprint, TokenHash, TokenKey,
};

use crate::sql::deciding::{Deciding, Keeps, Places, Unchecked};
use crate::sql::table::{Statement, Table};
use crate::sql::value::{Column, Json, Row, Text};
use crate::text;

/// A set of fields as `pan,cvv`.
struct FieldNames(Fields);

impl Column for FieldNames {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let fields = text::fields(&raw).ok_or("a field of no known name")?;
        Ok(Self(fields))
    }
}

struct OperationName(Operation);

impl Column for OperationName {
    type Raw = String;
    fn from_raw(raw: String) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let operation = Operation::parse(&raw).ok_or("an operation of no known name")?;
        Ok(Self(operation))
    }
}

pub(crate) const TOKEN: Table<Record> = Table {
    name: "token",
    deciding: Some(Deciding {
        sealed: Places::NONE,
        keeps: Keeps::Later,
    }),
    key: 2,
    fixed: 11,
    columns: &[
        ("issued_secs", |it| it.key.issued_secs.into()),
        ("hash", |it| it.key.hash.0.into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("credential", |it| it.credential.as_str().into()),
        ("card", |it| it.card.as_bytes().into()),
        ("operation", |it| it.operation.as_str().into()),
        ("allowed", |it| text::field_names(it.allowed).into()),
        ("bound_to", |it| it.bound_to.map(|key| key.0).into()),
        ("issued_at", |it| it.issued_at.into()),
        ("expires_at", |it| it.expires_at.into()),
        ("embed", |it| it.embed.as_ref().map(EmbedId::as_str).into()),
        // Saved too: that of a row which a dump put back is none.
        ("epoch", |it| it.epoch.0.into()),
        ("conflict", |it| it.conflict.into()),
        ("state", |it| state_column(&it.state).into()),
        ("sweep_due_at", |it| it.sweep_due_at().into()),
        ("refusals", |it| it.refusals.into()),
    ],
};

/// PostgreSQL's types of the columns of [`TOKEN`].
pub(crate) const TOKEN_TYPES: &[&str] = &[
    "bigint", "bytea", "text", "text", "bytea", "text", "text", "bytea", "bigint", "bigint",
    "text", "bigint", "boolean", "text", "bigint", "bigint", "bigint", "bytea",
];

/// Whether the row of a token was put back by a dump, in PostgreSQL: its stamp is not of the
/// transaction that wrote it (`home`).
pub(crate) const PUT_BACK: &str = "coalesce(token.written_by::xid <> token.xmin, false)";

/// The columns of [`TOKEN`], and whether the row was put back.
pub(crate) static TOKEN_COLUMNS: Statement =
    Statement::new(|| format!("{}, {PUT_BACK}", TOKEN.select()));

/// How many columns [`TOKEN_COLUMNS`] has.
const TOKEN_WIDTH: usize = TOKEN.width() + 1;

pub(crate) fn token_key<R: Row>(row: &R) -> Result<TokenKey, R::Fault> {
    Ok(TokenKey {
        issued_secs: row.get(0)?,
        hash: TokenHash(row.get(1)?),
    })
}

pub(crate) fn record<R: Row>(row: &R) -> Result<Unchecked<Record>, R::Fault> {
    let state: Option<Json<State>> = row.get(13)?;
    let was_put_back: bool = row.get(TOKEN.width())?;
    Ok(Unchecked::new(Record {
        key: token_key(row)?,
        // One that was put back is of none.
        epoch: Epoch(if was_put_back { 0 } else { row.get(11)? }),
        merchant: row.text(2)?,
        credential: row.text(3)?,
        card: CardId::from_bytes(row.get(4)?),
        operation: row.get(5).map(|OperationName(operation)| operation)?,
        allowed: row.get(6).map(|FieldNames(fields)| fields)?,
        bound_to: row.get::<Option<_>>(7)?.map(Thumbprint),
        issued_at: row.get(8)?,
        expires_at: row.get(9)?,
        embed: row.get::<Option<_>>(10)?.map(|Text(id)| id),
        conflict: row.get(12)?,
        refusals: row.get(15)?,
        state: state.map_or(State::Issued, |Json(state)| state),
    }))
}

/// The state's column: nothing while nobody has claimed it, so that most rows are short.
fn state_column(state: &State) -> Option<Json<&State>> {
    match state {
        State::Issued => None,
        State::Waiting | State::Held(_) | State::Revoked(_) => Some(Json(state)),
    }
}

/// The name of a request, and the token that it was given.
pub(crate) const NAME: Table<(Idempotency, TokenKey)> = Table {
    name: "name",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("key", |(it, _)| it.key.into()),
        ("fingerprint", |(it, _)| it.fingerprint.into()),
        ("seed", |(it, _)| it.seed.into()),
        ("expires_at", |(it, _)| it.expires_at.into()),
        ("issued_secs", |(_, token)| token.issued_secs.into()),
        ("hash", |(_, token)| token.hash.0.into()),
    ],
};

/// A named request, after the columns of its token.
pub(crate) fn name<R: Row>(row: &R) -> Result<Idempotency, R::Fault> {
    let first = TOKEN_WIDTH;
    Ok(Idempotency {
        key: row.get(first)?,
        fingerprint: row.get(first + 1)?,
        seed: row.get(first + 2)?,
        expires_at: row.get(first + 3)?,
    })
}
