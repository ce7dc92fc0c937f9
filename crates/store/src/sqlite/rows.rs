//! Rows and the domain's types, in both directions.

use cardveil_core::card::{Card, Fields, SealedCard, SealedCvv, SealedPin};
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, PersonId};
use cardveil_core::keys::{self, ClassKey};
use cardveil_core::merchant::{Credential, Embed, Merchant, Permissions, SealedSecret};
use cardveil_core::port::{Class, WrappedKey};
use cardveil_core::token::{
    CredentialLife, EmbedLife, Epoch, Idempotency, Lives, MerchantLife, Operation, Record, State,
    Thumbprint, TokenHash, TokenKey,
};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::str::FromStr;

use crate::text;

/// A column with the text of an id.
pub(super) struct Text<T>(pub(super) T);

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql for Text<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value
            .as_str()?
            .parse()
            .map(Self)
            .map_err(FromSqlError::other)
    }
}

/// A column with the name of a variant, as serde knows it.
pub(super) struct Name<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Name<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = text::named(value.as_str()?);
        name.map(Self).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Name<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match text::name(&self.0) {
            Ok(name) => Ok(name.into()),
            Err(error) => Err(unwritable(error)),
        }
    }
}

/// A column with JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?)
            .map(Self)
            .map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_string(&self.0) {
            Ok(json) => Ok(json.into()),
            Err(error) => Err(unwritable(error.into())),
        }
    }
}

pub(super) fn unwritable(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error)
}

/// A set of fields as `pan,cvv`.
struct FieldNames(Fields);

impl FromSql for FieldNames {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        text::fields(value.as_str()?)
            .map(Self)
            .ok_or(FromSqlError::InvalidType)
    }
}

struct OperationName(Operation);

impl FromSql for OperationName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Operation::parse(value.as_str()?)
            .map(Self)
            .ok_or(FromSqlError::InvalidType)
    }
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Time> {
    row.get(column).map(Time::from_millis)
}

pub(super) fn text<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get(column).map(|Text(id)| id)
}

pub(super) fn name<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get(column).map(|Name(variant)| variant)
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get(column).map(|Json(value)| value)
}

/// The columns that [`record`] reads, first in a row.
macro_rules! record_columns {
    () => {
        "token.issued_secs, token.hash, token.epoch, token.merchant, token.credential, token.card, \
         token.operation, token.allowed, token.bound_to, token.issued_at, token.expires_at, \
         token.conflict, token.state, token.embed, token.refusals"
    };
}
pub(super) use record_columns;

pub(super) fn token_key(row: &Row<'_>) -> rusqlite::Result<TokenKey> {
    Ok(TokenKey {
        issued_secs: row.get(0)?,
        hash: TokenHash(row.get(1)?),
    })
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let state: Option<Json<State>> = row.get(12)?;
    Ok(Record {
        key: token_key(row)?,
        epoch: Epoch(row.get(2)?),
        merchant: text(row, 3)?,
        credential: text(row, 4)?,
        card: CardId::from_bytes(row.get(5)?),
        operation: row.get(6).map(|OperationName(operation)| operation)?,
        allowed: row.get(7).map(|FieldNames(fields)| fields)?,
        bound_to: row.get::<_, Option<_>>(8)?.map(Thumbprint),
        embed: row.get::<_, Option<_>>(13)?.map(|Text(id)| id),
        issued_at: time(row, 9)?,
        expires_at: time(row, 10)?,
        conflict: row.get(11)?,
        refusals: row.get(14)?,
        state: state.map_or(State::Issued, |Json(state)| state),
    })
}

/// The state's column: nothing while nobody has claimed it, so that most rows are short.
pub(super) fn state_column(state: &State) -> Option<Json<&State>> {
    match state {
        State::Issued => None,
        State::Held(_) | State::Revoked(_) => Some(Json(state)),
    }
}

/// A named request, after the columns of its token.
pub(super) fn idempotency(row: &Row<'_>) -> rusqlite::Result<Idempotency> {
    Ok(Idempotency {
        key: row.get(15)?,
        fingerprint: row.get(16)?,
        seed: row.get(17)?,
        expires_at: time(row, 18)?,
    })
}

/// The columns that [`merchant`] reads.
macro_rules! merchant_columns {
    () => {
        "merchant.id, merchant.name, merchant.state, merchant.pci_enabled, merchant.created_at, \
         merchant.wallets, merchant.mfa, merchant.may_export, merchant.may_read_pins, \
         merchant.may_set_pins"
    };
}
pub(super) use merchant_columns;

/// A merchant whose columns begin at `first`.
pub(super) fn merchant(row: &Row<'_>, first: usize) -> rusqlite::Result<Merchant> {
    Ok(Merchant {
        id: text(row, first)?,
        name: row.get(first + 1)?,
        state: name(row, first + 2)?,
        pci_enabled: row.get(first + 3)?,
        created_at: time(row, first + 4)?,
        wallets: json(row, first + 5)?,
        mfa: json(row, first + 6)?,
        permissions: Permissions {
            export: row.get(first + 7)?,
            read_pins: row.get(first + 8)?,
            set_pins: row.get(first + 9)?,
        },
    })
}

/// The columns that [`credential`] reads, first in a row.
macro_rules! credential_columns {
    () => {
        "credential.id, credential.merchant, credential.key_hash, credential.dek, \
         credential.sealed, credential.allowed_ips, credential.scopes, credential.person, \
         credential.state, credential.expires_at, credential.created_at, credential.rights, \
         credential.ip_ceiling, credential.inherited, credential.client_certificates"
    };
}
pub(super) use credential_columns;

pub(super) fn credential(row: &Row<'_>) -> rusqlite::Result<Credential> {
    Ok(Credential {
        id: text(row, 0)?,
        merchant: text(row, 1)?,
        key_hash: row.get(2)?,
        sealed_secret: SealedSecret {
            dek: row.get(3)?,
            sealed: row.get(4)?,
        },
        allowed_ips: json(row, 5)?,
        // What a program of the version before wrote has no rights of its own.
        scopes: match row.get::<_, Option<_>>(11)? {
            Some(Json(scopes)) => scopes,
            None => json(row, 6)?,
        },
        ip_ceiling: row.get::<_, Option<_>>(12)?.map(|Json(nets)| nets),
        inherited: row.get(13)?,
        client_certificates: json(row, 14)?,
        person: row.get::<_, Option<_>>(7)?.map(PersonId::from_bytes),
        state: name(row, 8)?,
        expires_at: row.get::<_, Option<_>>(9)?.map(Time::from_millis),
        created_at: time(row, 10)?,
    })
}

/// The columns that [`embed`] reads, first in a row.
macro_rules! embed_columns {
    () => {
        "id, merchant, origins, copy_cvv, enabled, created_at, transparent"
    };
}
pub(super) use embed_columns;

pub(super) fn embed(row: &Row<'_>) -> rusqlite::Result<Embed> {
    Ok(Embed {
        id: text(row, 0)?,
        merchant: text(row, 1)?,
        origins: json(row, 2)?,
        copy_cvv: row.get(3)?,
        transparent: row.get(6)?,
        enabled: row.get(4)?,
        created_at: time(row, 5)?,
    })
}

/// The columns that [`lives`] reads.
macro_rules! lives_columns {
    () => {
        "credential.state, credential.expires_at, coalesce(credential.rights, credential.scopes), \
         credential.person, merchant.state, merchant.pci_enabled, embed.merchant, embed.enabled, embed.origins <> '[]'"
    };
}
pub(super) use lives_columns;

/// A part that is not there has no state, or no owner.
pub(super) fn lives(row: &Row<'_>) -> rusqlite::Result<Lives> {
    let credential = match row.get(0)? {
        None => None,
        Some(Name(state)) => Some(CredentialLife {
            state,
            expires_at: row.get::<_, Option<_>>(1)?.map(Time::from_millis),
            scopes: json(row, 2)?,
            person: row.get::<_, Option<_>>(3)?.map(PersonId::from_bytes),
        }),
    };
    let merchant = match row.get(4)? {
        None => None,
        Some(Name(state)) => Some(MerchantLife {
            state,
            pci_enabled: row.get(5)?,
        }),
    };
    let embed = match row.get(6)? {
        None => None,
        Some(Text(merchant)) => Some(EmbedLife {
            merchant,
            enabled: row.get(7)?,
            is_web: row.get(8)?,
        }),
    };
    Ok(Lives {
        credential,
        merchant,
        embed,
    })
}

/// The columns that [`card`] reads, first in a row.
macro_rules! card_columns {
    () => {
        "card.id, card.no, card.merchant, card.account, card.person, card.kind, card.state, \
         card.network, card.last_four, card.label, card.dek, card.pan, card.expiry, card.name, \
         card.cvv_dek, card.cvv, card.pan_index, card.created_at, card.updated_at, card.product, \
         card.unique_no, card.holder_no, card.pin_dek, card.pin, card.seq"
    };
}
pub(super) use card_columns;

pub(super) fn card(row: &Row<'_>) -> rusqlite::Result<Card> {
    let cvv_dek: Option<Vec<u8>> = row.get(14)?;
    let cvv: Option<Vec<u8>> = row.get(15)?;
    let pin_dek: Option<Vec<u8>> = row.get(22)?;
    let pin: Option<Vec<u8>> = row.get(23)?;
    let created_at = time(row, 17)?;
    Ok(Card {
        id: CardId::from_bytes(row.get(0)?),
        no: text(row, 1)?,
        merchant: text(row, 2)?,
        account: text(row, 3)?,
        person: PersonId::from_bytes(row.get(4)?),
        kind: name(row, 5)?,
        state: name(row, 6)?,
        network: name(row, 7)?,
        last_four: name(row, 8)?,
        label: row.get(9)?,
        sealed: SealedCard {
            dek: row.get(10)?,
            pan: row.get(11)?,
            expiry: row.get(12)?,
            name: row.get(13)?,
            cvv: cvv_dek.zip(cvv).map(|(dek, cvv)| SealedCvv { dek, cvv }),
            pin: pin_dek.zip(pin).map(|(dek, pin)| SealedPin { dek, pin }),
            pan_index: row.get(16)?,
        },
        product: row.get(19)?,
        unique_no: row.get(20)?,
        holder_no: row.get(21)?,
        created_at,
        updated_at: row
            .get::<_, Option<_>>(18)?
            .map_or(created_at, Time::from_millis),
    })
}

/// A card's place in the order in which they came.
pub(super) fn place_of_card(row: &Row<'_>) -> rusqlite::Result<i64> {
    row.get(24)
}

/// The columns that [`class_key`] reads.
pub(super) const CLASS_KEYS: &str = "SELECT class, version, wrapped, created_at, retiring_at, \
     retired_at FROM wrapped_key ORDER BY class, version";

pub(super) fn class_key(row: &Row<'_>) -> rusqlite::Result<ClassKey> {
    let ClassCode(class) = row.get(0)?;
    let when = |column| -> rusqlite::Result<Option<Time>> {
        Ok(row.get::<_, Option<_>>(column)?.map(Time::from_millis))
    };
    Ok(ClassKey {
        key: WrappedKey {
            class,
            version: row.get(1)?,
            wrapped: row.get(2)?,
        },
        created_at: when(3)?,
        state: keys::State::from_dates(when(4)?, when(5)?),
    })
}

struct ClassCode(Class);

impl FromSql for ClassCode {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Class::from_code(u8::column_result(value)?)
            .map(Self)
            .ok_or(FromSqlError::InvalidType)
    }
}
