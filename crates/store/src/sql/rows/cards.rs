//! Cards, and the wrong proofs for them.

use cardveil_core::card::{Attributes, Card, Guesses, SealedCard, SealedCvv, SealedPin, State};
use cardveil_core::clock::Time;
use cardveil_core::id::{AccountId, CardId, PersonId};
use cardveil_core::vault::RowMacs;

use crate::sql::deciding::{Deciding, Keeps, Places, Unchecked};
use crate::sql::kept::{CardSeen, Known};
use crate::sql::table::{Statement, Table};
use crate::sql::value::{Json, Name, Row};

pub(crate) const CARD: Table<Card> = Table {
    name: "card",
    deciding: Some(Deciding {
        sealed: Places::NONE.with(8, 14).with(22, 24),
        keeps: Keeps::All,
    }),
    key: 1,
    fixed: 19,
    columns: &[
        ("id", |it| it.id.as_bytes().into()),
        ("no", |it| it.no.as_str().into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("account", |it| it.account.as_str().into()),
        ("person", |it| it.person.as_bytes().into()),
        ("kind", |it| Name(it.kind).into()),
        ("network", |it| Name(it.network).into()),
        ("last_four", |it| it.last_four.as_str().into()),
        ("dek", |it| (&it.sealed.dek).into()),
        ("pan", |it| (&it.sealed.pan).into()),
        ("expiry", |it| (&it.sealed.expiry).into()),
        ("name", |it| (&it.sealed.name).into()),
        ("cvv_dek", |it| {
            it.sealed.cvv.as_ref().map(|cvv| &cvv.dek).into()
        }),
        ("cvv", |it| {
            it.sealed.cvv.as_ref().map(|cvv| &cvv.cvv).into()
        }),
        ("pan_index", |it| it.sealed.pan_index.into()),
        ("created_at", |it| it.created_at.into()),
        ("product", |it| it.attributes.product.as_deref().into()),
        ("unique_no", |it| it.attributes.unique_no.as_deref().into()),
        ("holder_no", |it| it.attributes.holder_no.as_deref().into()),
        ("state", |it| Name(it.state).into()),
        ("label", |it| it.label.as_str().into()),
        ("updated_at", |it| it.updated_at.into()),
        ("pin_dek", |it| {
            it.sealed.pin.as_ref().map(|pin| &pin.dek).into()
        }),
        ("pin", |it| {
            it.sealed.pin.as_ref().map(|pin| &pin.pin).into()
        }),
        ("index_key", |it| {
            index_key_column(it.sealed.index_key).into()
        }),
    ],
};

/// The first version of the index's key, which rows do not name: those from before cannot, and
/// their MACs stay right.
const FIRST_INDEX_KEY: u32 = 1;

pub(crate) fn index_key_column(version: u32) -> Option<u32> {
    (version != FIRST_INDEX_KEY).then_some(version)
}

pub(super) fn index_key<R: Row>(row: &R, place: usize) -> Result<u32, R::Fault> {
    Ok(row.get::<Option<u32>>(place)?.unwrap_or(FIRST_INDEX_KEY))
}

/// PostgreSQL's types of the columns of [`CARD`].
pub(crate) const CARD_TYPES: &[&str] = &[
    "bytea", "text", "text", "text", "bytea", "text", "text", "text", "bytea", "bytea", "bytea",
    "bytea", "bytea", "bytea", "bytea", "bigint", "text", "text", "text", "text", "text", "bigint",
    "bytea", "bytea", "bigint", "bigint", "bytea",
];

/// The columns of [`CARD`], and the card's place in the order in which they came.
pub(crate) static CARD_COLUMNS: Statement =
    Statement::new(|| format!("{}, card.seq", CARD.select()));

pub(crate) fn card<R: Row>(row: &R) -> Result<Unchecked<Card>, R::Fault> {
    let cvv_dek: Option<Vec<u8>> = row.get(12)?;
    let cvv: Option<Vec<u8>> = row.get(13)?;
    let pin_dek: Option<Vec<u8>> = row.get(22)?;
    let pin: Option<Vec<u8>> = row.get(23)?;
    let created_at: Time = row.get(15)?;
    Ok(Unchecked::new(Card {
        id: CardId::from_bytes(row.get(0)?),
        no: row.text(1)?,
        merchant: row.text(2)?,
        account: row.text(3)?,
        person: PersonId::from_bytes(row.get(4)?),
        kind: row.name(5)?,
        state: row.name(19)?,
        network: row.name(6)?,
        last_four: row.name(7)?,
        label: row.get(20)?,
        sealed: SealedCard {
            dek: row.get(8)?,
            pan: row.get(9)?,
            expiry: row.get(10)?,
            name: row.get(11)?,
            cvv: cvv_dek.zip(cvv).map(|(dek, cvv)| SealedCvv { dek, cvv }),
            pin: pin_dek.zip(pin).map(|(dek, pin)| SealedPin { dek, pin }),
            pan_index: row.get(14)?,
            index_key: index_key(row, 24)?,
        },
        attributes: Attributes {
            product: row.get(16)?,
            unique_no: row.get(17)?,
            holder_no: row.get(18)?,
        },
        created_at,
        updated_at: row.get::<Option<Time>>(21)?.unwrap_or(created_at),
    }))
}

/// What decides of a card that is claimed, from the columns of [`CARD`].
pub(crate) fn card_seen<R: Row>(row: &R) -> Result<CardSeen, R::Fault> {
    Ok((row.text(2)?, row.name(19)?))
}

/// Its state; nothing where the row is not what was written.
pub(crate) fn card_state<R: Row>(
    (macs, known): (&RowMacs, &Known<CardSeen>),
    row: &R,
) -> Result<Option<State>, R::Fault> {
    if let Ok(seen) = card_seen(row)
        && let Some((key, found)) = CARD.as_guarded(row, seen)?
        && known.has(&key, &found)
    {
        return Ok(Some(found.read.1));
    }
    let version = CARD.version(macs, row, 0)?;
    version.map(|_| row.name(19)).transpose()
}

/// The row of one card.
pub(crate) static FIND_CARD: Statement = Statement::new(|| CARD.find());

/// Its account; nothing where the row is not what was written.
pub(crate) fn card_account<R: Row>(macs: &RowMacs, row: &R) -> Result<Option<AccountId>, R::Fault> {
    let version = CARD.version(macs, row, 0)?;
    version.map(|_| row.text(3)).transpose()
}

/// A card's place in the order in which they came.
pub(crate) fn place_of_card<R: Row>(row: &R) -> Result<i64, R::Fault> {
    row.get(CARD.width())
}

/// The wrong proofs for a card.
pub(crate) const GUESSES: Table<(CardId, Guesses)> = Table {
    name: "card_guess",
    deciding: None,
    key: 1,
    fixed: 1,
    columns: &[
        ("card", |(card, _)| card.as_bytes().into()),
        ("at", |(_, it)| Json(it).into()),
    ],
};
