//! Second factors: lookups, and the writes inside a batch. No rule is here: it calls `decide` and
//! writes what comes out.

use async_trait::async_trait;
use cardveil_core::budget::Charge;
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, MerchantId, PersonId, SessionId};
use cardveil_core::mfa::required::{Met, Rows};
use cardveil_core::mfa::{
    Assertion, Decision, Effects, FactorRefused, FactorRequest, Opening, OpeningRefused, Person,
    RETENTION, Required, Session, Totp, Unmet,
};
use cardveil_core::port::{Mfa, Result};
use cardveil_core::token::Epoch;

use super::batch::{Batch, Shared};
use super::fault::Fault;
use super::rows;
use super::value::{Json, Name, Row, values};
use super::writer::Turn;
use super::{Postgres, sql_count};
use super::{budget, keys};

type Outcome<T> = std::result::Result<T, Fault>;

const SESSION: &str = "SELECT id, epoch, merchant, person, card, operation, factor, opened_at,
     expires_at, state FROM mfa_session WHERE id = $1";
const HOLD_SESSION: &str = "SELECT id, epoch, merchant, person, card, operation, factor, opened_at,
     expires_at, state FROM mfa_session WHERE id = $1 FOR UPDATE";
const PERSON: &str = "SELECT merchant, person, totp, wrong, paused_until, opened FROM mfa_person
     WHERE merchant = $1 AND person = $2";

#[async_trait]
impl Mfa for Postgres {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        self.readers
            .first(SESSION, &values![id.as_bytes()], session)
            .await
    }

    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        let key = values![merchant.as_str(), person.as_bytes()];
        self.readers.first(PERSON, &key, person_row).await
    }

    async fn open_mfa(
        &self,
        opening: Opening,
    ) -> Result<std::result::Result<Session, OpeningRefused>> {
        let shared = Shared::default().guard(&name_of(&opening.merchant, &opening.person));
        let work = move |batch: &Batch<'_>| {
            let person = find_person(batch, &opening.merchant, &opening.person)?;
            write(batch, opening.decide(person.as_ref(), batch.epoch()))
        };
        self.writer.submit_with(shared, Turn::Rows, work).await
    }

    async fn change_factor(
        &self,
        request: FactorRequest,
    ) -> Result<std::result::Result<(), FactorRefused>> {
        let shared = Shared::default().guard(&name_of(&request.merchant, &request.person));
        let work = move |batch: &Batch<'_>| {
            keys::refuse_retired(batch, request.deks())?;
            let person = find_person(batch, &request.merchant, &request.person)?;
            write(batch, request.decide(person.as_ref()))
        };
        self.writer.submit_with(shared, Turn::Rows, work).await
    }

    async fn sweep_mfa(&self, now: Time, limit: usize) -> Result<usize> {
        const SQL: &str = "DELETE FROM mfa_session WHERE id IN (
             SELECT id FROM mfa_session WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
             FOR UPDATE SKIP LOCKED)";
        let work = move |batch: &Batch<'_>| {
            let oldest = now.minus(RETENTION).millis();
            batch.execute(SQL, values![oldest, sql_count(limit)])
        };
        self.writer.submit(Turn::Rows, work).await
    }
}

/// What [`admit`] and [`judge`] decide on: the budgets, and the merchant's person whose factor it
/// is.
pub(super) fn shared(charge: Option<&Charge>, factor: Option<(&MerchantId, &Assertion)>) -> Shared {
    let shared = Shared::default().charge(charge);
    match factor {
        Some((merchant, assertion)) => shared.guard(&name_of(merchant, &assertion.person)),
        None => shared,
    }
}

/// By which a person is held.
fn name_of<'a>(merchant: &'a MerchantId, person: &'a PersonId) -> [&'a [u8]; 3] {
    [b"person", merchant.as_str().as_bytes(), person.as_bytes()]
}

/// Loads what is required, decides, and writes what comes out.
pub(super) fn admit(
    batch: &Batch<'_>,
    required: Required<'_>,
) -> Outcome<std::result::Result<(), Unmet>> {
    let met = required.decide(&required_rows(batch, required)?, batch.epoch());
    write_met(batch, &met)?;
    Ok(met.verdict)
}

pub(super) fn required_rows(batch: &Batch<'_>, required: Required<'_>) -> Outcome<Rows> {
    let mut rows = Rows::default();
    if let Some(charge) = required.charge {
        rows.levels = budget::levels(batch, charge)?;
    }
    if let Some((assertion, wanted)) = required.factor {
        rows.person = find_person(batch, &wanted.merchant, &assertion.person)?;
        if let Some(id) = assertion.session {
            rows.session = batch.first(HOLD_SESSION, values![id.as_bytes()], session)?;
        }
    }
    Ok(rows)
}

pub(super) fn write_met(batch: &Batch<'_>, met: &Met) -> Outcome<()> {
    for (of, level) in &met.levels {
        budget::write(batch, of, *level)?;
    }
    if let Some(effects) = &met.effects {
        write_effects(batch, effects)?;
    }
    Ok(())
}

/// The person is held, whether there is anything known of them or not.
fn find_person(
    batch: &Batch<'_>,
    merchant: &MerchantId,
    person: &PersonId,
) -> Outcome<Option<Person>> {
    batch.guard(&name_of(merchant, person))?;
    let key = values![merchant.as_str(), person.as_bytes()];
    batch.first(PERSON, key, person_row)
}

fn write<V>(batch: &Batch<'_>, decision: Decision<V>) -> Outcome<V> {
    write_effects(batch, &decision.effects)?;
    Ok(decision.verdict)
}

fn write_effects(batch: &Batch<'_>, effects: &Effects) -> Outcome<()> {
    if let Some(session) = &effects.session {
        write_session(batch, session)?;
    }
    if let Some(person) = &effects.person {
        write_person(batch, person)?;
    }
    batch.log(&effects.event)?;
    Ok(())
}

/// What a session is for never changes, so only its state is written over.
fn write_session(batch: &Batch<'_>, session: &Session) -> Outcome<()> {
    batch.send(
        "INSERT INTO mfa_session (id, epoch, merchant, person, card, operation, factor, opened_at,
             expires_at, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state",
        values![
            session.id.as_bytes(),
            session.epoch.0,
            session.merchant.as_str(),
            session.person.as_bytes(),
            session.card.as_bytes(),
            Name(session.purpose),
            Name(session.factor),
            session.opened_at.millis(),
            session.expires_at.millis(),
            Json(session.state),
        ],
    )?;
    Ok(())
}

fn write_person(batch: &Batch<'_>, person: &Person) -> Outcome<()> {
    batch.send(
        "INSERT INTO mfa_person (merchant, person, totp, wrong, paused_until, opened, totp_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (merchant, person) DO UPDATE SET totp = excluded.totp,
             wrong = excluded.wrong, paused_until = excluded.paused_until,
             opened = excluded.opened, totp_key = excluded.totp_key",
        values![
            person.merchant.as_str(),
            person.person.as_bytes(),
            person.totp.as_ref().map(Json),
            person.wrong,
            person.paused_until.map(Time::millis),
            Json(&person.opened),
            keys::key_column(person.totp.as_ref()),
        ],
    )?;
    Ok(())
}

fn session(row: &Row) -> Outcome<Session> {
    Ok(Session {
        id: SessionId::from_bytes(row.get(0)?),
        epoch: Epoch(row.get(1)?),
        merchant: rows::id(row, 2)?,
        person: PersonId::from_bytes(row.get(3)?),
        card: CardId::from_bytes(row.get(4)?),
        purpose: rows::name(row, 5)?,
        factor: rows::name(row, 6)?,
        opened_at: row.get(7)?,
        expires_at: row.get(8)?,
        state: rows::json(row, 9)?,
    })
}

fn person_row(row: &Row) -> Outcome<Person> {
    let totp: Option<Json<Totp>> = row.get(2)?;
    Ok(Person {
        merchant: rows::id(row, 0)?,
        person: PersonId::from_bytes(row.get(1)?),
        totp: totp.map(|Json(totp)| totp),
        wrong: row.get(3)?,
        paused_until: row.get(4)?,
        opened: rows::json(row, 5)?,
    })
}
