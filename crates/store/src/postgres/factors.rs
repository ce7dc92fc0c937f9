//! Second factors and budgets: lookups, and the rows inside a batch.
//!
//! Many who show cards at once are of few cards or persons, in any order; so all budgets that a
//! batch may charge are held before its jobs run ([`super::batch`]).

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use cardveil_core::budget::{Level, Of};
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session, Totp};
use cardveil_core::port::rows::{FactorRows, Loaded};
use cardveil_core::port::{BudgetLevels, Mfa, Result};
use cardveil_core::token::Epoch;

use super::batch::Batch;
use super::fault::Fault;
use super::rows;
use super::value::{Json, Name, Row, values};
use super::{Postgres, keys, sql_count};

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
}

#[async_trait]
impl BudgetLevels for Postgres {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        const FIND: &str = "SELECT whole_at, charged_at FROM budget WHERE key = $1";
        let read = |row: &Row| level(row, 0);
        self.readers.first(FIND, &values![of.key()], read).await
    }
}

/// By which a person is held.
pub(super) fn name_of<'a>(merchant: &'a MerchantId, person: &'a PersonId) -> [&'a [u8]; 3] {
    [b"person", merchant.as_str().as_bytes(), person.as_bytes()]
}

/// What is held of a batch's budgets, as they are in its transaction.
pub(super) type Held = HashMap<Vec<u8>, Level>;

/// Holds budgets until the commit, in their order; where there is none, one that has been whole
/// since the beginning of time is.
pub(super) fn hold(batch: &Batch<'_>, keys: &BTreeSet<Vec<u8>>) -> Outcome<()> {
    const HOLD: &str = "INSERT INTO budget (key, whole_at)
             SELECT wanted.key, 0 FROM unnest($1::bytea[]) AS wanted (key)
         ON CONFLICT (key) DO UPDATE SET key = excluded.key RETURNING key, whole_at, charged_at";
    let mut held = batch.budgets.borrow_mut();
    let missing: Vec<_> = keys.iter().filter(|key| !held.contains_key(*key)).collect();
    if !missing.is_empty() {
        let read = |row: &Row| Ok((row.get(0)?, level(row, 1)?));
        held.extend(batch.all(HOLD, [missing.into_iter().collect()], read)?);
    }
    Ok(())
}

impl FactorRows for Batch<'_> {
    fn session(&self, id: &SessionId) -> Loaded<Option<Session>> {
        Ok(self.first(HOLD_SESSION, values![id.as_bytes()], session)?)
    }

    fn save_session(&self, session: &Session) -> Loaded<()> {
        self.send(
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

    fn forget_sessions(&self, before: Time, limit: usize) -> Loaded<usize> {
        Ok(self.execute(
            "DELETE FROM mfa_session WHERE id IN (
                 SELECT id FROM mfa_session WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
                 FOR UPDATE SKIP LOCKED)",
            values![before.millis(), sql_count(limit)],
        )?)
    }

    /// The person is held, whether there is anything known of them or not.
    fn person(&self, merchant: &MerchantId, person: &PersonId) -> Loaded<Option<Person>> {
        self.guard(&name_of(merchant, person))?;
        let key = values![merchant.as_str(), person.as_bytes()];
        Ok(self.first(PERSON, key, person_row)?)
    }

    fn save_person(&self, person: &Person) -> Loaded<()> {
        Ok(self.send(
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
        )?)
    }

    /// What was not there is held as one that has been whole since the beginning of time.
    fn level(&self, of: &Of) -> Loaded<Option<Level>> {
        let key = of.key();
        hold(self, &BTreeSet::from([key.clone()]))?;
        let kept = self.budgets.borrow().get(&key).copied();
        Ok(kept.filter(|level| level.whole_at.millis() > 0))
    }

    /// Inserted where a sweep of the same batch has forgotten it since it was held.
    fn save_level(&self, of: &Of, level: Level) -> Loaded<()> {
        const SAVE: &str = "INSERT INTO budget (key, whole_at, charged_at) VALUES ($1, $2, $3)
             ON CONFLICT (key) DO UPDATE
             SET whole_at = excluded.whole_at, charged_at = excluded.charged_at";
        let key = of.key();
        self.send(SAVE, values![&key, level.whole_at, level.charged_at])?;
        self.budgets.borrow_mut().insert(key, level);
        Ok(())
    }

    fn delete_level(&self, of: &Of) -> Loaded<()> {
        let key = of.key();
        self.send("DELETE FROM budget WHERE key = $1", values![&key])?;
        self.budgets.borrow_mut().remove(&key);
        Ok(())
    }

    fn forget_levels(&self, now: Time, limit: usize) -> Loaded<usize> {
        Ok(self.execute(
            "DELETE FROM budget WHERE key IN (
                 SELECT key FROM budget WHERE whole_at <= $1 ORDER BY whole_at LIMIT $2
                 FOR UPDATE SKIP LOCKED)",
            values![now.millis(), sql_count(limit)],
        )?)
    }
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

/// A level whose columns begin at `first`.
fn level(row: &Row, first: usize) -> Outcome<Level> {
    Ok(Level {
        whole_at: row.get(first)?,
        charged_at: row.get(first + 1)?,
    })
}
