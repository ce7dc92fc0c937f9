//! Sessions, and people's factors.

use cardveil_core::id::{CardId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session, Totp};
use cardveil_core::token::Epoch;

use super::ALL;
use crate::sql::deciding::{Deciding, Keeps, Places, Unchecked};
use crate::sql::table::Table;
use crate::sql::value::{Json, Name, Row};

pub(crate) const SESSION: Table<Session> = Table {
    name: "mfa_session",
    deciding: Some(Deciding {
        sealed: Places::NONE,
        keeps: Keeps::Nothing,
    }),
    key: 1,
    fixed: 9,
    columns: &[
        ("id", |it| it.id.as_bytes().into()),
        ("epoch", |it| it.epoch.0.into()),
        ("merchant", |it| it.merchant.as_str().into()),
        ("person", |it| it.person.as_bytes().into()),
        ("card", |it| it.card.as_bytes().into()),
        ("operation", |it| Name(it.purpose).into()),
        ("factor", |it| Name(it.factor).into()),
        ("opened_at", |it| it.opened_at.into()),
        ("expires_at", |it| it.expires_at.into()),
        ("state", |it| Json(it.state).into()),
    ],
};

pub(crate) const PERSON: Table<Person> = Table {
    name: "mfa_person",
    deciding: ALL,
    key: 2,
    fixed: 2,
    columns: &[
        ("merchant", |it| it.merchant.as_str().into()),
        ("person", |it| it.person.as_bytes().into()),
        ("totp", |it| it.totp.as_ref().map(Json).into()),
        ("wrong", |it| it.wrong.into()),
        ("paused_until", |it| it.paused_until.into()),
        ("opened", |it| Json(&it.opened).into()),
    ],
};

pub(crate) fn session<R: Row>(row: &R) -> Result<Unchecked<Session>, R::Fault> {
    Ok(Unchecked::new(Session {
        id: SessionId::from_bytes(row.get(0)?),
        epoch: Epoch(row.get(1)?),
        merchant: row.text(2)?,
        person: PersonId::from_bytes(row.get(3)?),
        card: CardId::from_bytes(row.get(4)?),
        purpose: row.name(5)?,
        factor: row.name(6)?,
        opened_at: row.get(7)?,
        expires_at: row.get(8)?,
        state: row.json(9)?,
    }))
}

pub(crate) fn person<R: Row>(row: &R) -> Result<Unchecked<Person>, R::Fault> {
    let totp: Option<Json<Totp>> = row.get(2)?;
    Ok(Unchecked::new(Person {
        merchant: row.text(0)?,
        person: PersonId::from_bytes(row.get(1)?),
        totp: totp.map(|Json(totp)| totp),
        wrong: row.get(3)?,
        paused_until: row.get(4)?,
        opened: row.json(5)?,
    }))
}
