//! Second factors and budgets: lookups, and the rows inside a batch.

use async_trait::async_trait;
use cardveil_core::budget::{Level, Of};
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session, Totp};
use cardveil_core::port::rows::{FactorRows, Loaded};
use cardveil_core::port::{BudgetLevels, Mfa, Result};
use cardveil_core::token::Epoch;
use rusqlite::{Row, params};

use super::rows::{Json, Name, Text};
use super::writer::Batch;
use super::{Sqlite, first, sql_count};

const SESSION: &str = "SELECT id, epoch, merchant, person, card, operation, factor, opened_at,
     expires_at, state FROM mfa_session WHERE id = ?1";
const PERSON: &str = "SELECT merchant, person, totp, wrong, paused_until, opened FROM mfa_person
     WHERE merchant = ?1 AND person = ?2";
const LEVEL: &str = "SELECT whole_at, charged_at FROM budget WHERE key = ?1";

#[async_trait]
impl Mfa for Sqlite {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        self.readers
            .read(|connection| first(connection, SESSION, [id.as_bytes()], session))
    }

    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        let key = params![merchant.as_str(), person.as_bytes()];
        self.readers
            .read(|connection| first(connection, PERSON, key, person_row))
    }
}

#[async_trait]
impl BudgetLevels for Sqlite {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        self.readers
            .read(|connection| first(connection, LEVEL, [of.key()], level))
    }
}

impl FactorRows for Batch<'_> {
    fn session(&self, id: &SessionId) -> Loaded<Option<Session>> {
        Ok(self.first(SESSION, [id.as_bytes()], session)?)
    }

    /// What a session is for never changes, so only its state is written over.
    fn save_session(&self, session: &Session) -> Loaded<()> {
        self.execute(
            "INSERT INTO mfa_session (id, epoch, merchant, person, card, operation, factor,
                 opened_at, expires_at, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (id) DO UPDATE SET state = excluded.state",
            params![
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
                 SELECT id FROM mfa_session WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
            params![before.millis(), sql_count(limit)],
        )?)
    }

    fn person(&self, merchant: &MerchantId, person: &PersonId) -> Loaded<Option<Person>> {
        let key = params![merchant.as_str(), person.as_bytes()];
        Ok(self.first(PERSON, key, person_row)?)
    }

    fn save_person(&self, person: &Person) -> Loaded<()> {
        self.execute(
            "INSERT INTO mfa_person (merchant, person, totp, wrong, paused_until, opened)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (merchant, person) DO UPDATE SET totp = excluded.totp,
                 wrong = excluded.wrong, paused_until = excluded.paused_until,
                 opened = excluded.opened",
            params![
                person.merchant.as_str(),
                person.person.as_bytes(),
                person.totp.as_ref().map(Json),
                person.wrong,
                person.paused_until.map(Time::millis),
                Json(&person.opened),
            ],
        )?;
        Ok(())
    }

    fn level(&self, of: &Of) -> Loaded<Option<Level>> {
        Ok(self.first(LEVEL, [of.key()], level)?)
    }

    fn save_level(&self, of: &Of, level: Level) -> Loaded<()> {
        self.execute(
            "INSERT OR REPLACE INTO budget (key, whole_at, charged_at) VALUES (?1, ?2, ?3)",
            params![
                of.key(),
                level.whole_at.millis(),
                level.charged_at.map(Time::millis)
            ],
        )?;
        Ok(())
    }

    fn delete_level(&self, of: &Of) -> Loaded<()> {
        self.execute("DELETE FROM budget WHERE key = ?1", [of.key()])?;
        Ok(())
    }

    fn forget_levels(&self, now: Time, limit: usize) -> Loaded<usize> {
        Ok(self.execute(
            "DELETE FROM budget WHERE key IN (
                 SELECT key FROM budget WHERE whole_at <= ?1 ORDER BY whole_at LIMIT ?2)",
            params![now.millis(), sql_count(limit)],
        )?)
    }
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: SessionId::from_bytes(row.get(0)?),
        epoch: Epoch(row.get(1)?),
        merchant: row.get(2).map(|Text(id)| id)?,
        person: PersonId::from_bytes(row.get(3)?),
        card: CardId::from_bytes(row.get(4)?),
        purpose: row.get(5).map(|Name(purpose)| purpose)?,
        factor: row.get(6).map(|Name(factor)| factor)?,
        opened_at: row.get(7).map(Time::from_millis)?,
        expires_at: row.get(8).map(Time::from_millis)?,
        state: row.get(9).map(|Json(state)| state)?,
    })
}

fn person_row(row: &Row<'_>) -> rusqlite::Result<Person> {
    let totp: Option<Json<Totp>> = row.get(2)?;
    Ok(Person {
        merchant: row.get(0).map(|Text(id)| id)?,
        person: PersonId::from_bytes(row.get(1)?),
        totp: totp.map(|Json(totp)| totp),
        wrong: row.get(3)?,
        paused_until: row.get::<_, Option<_>>(4)?.map(Time::from_millis),
        opened: row.get(5).map(|Json(opened)| opened)?,
    })
}

fn level(row: &Row<'_>) -> rusqlite::Result<Level> {
    Ok(Level {
        whole_at: row.get(0).map(Time::from_millis)?,
        charged_at: row.get::<_, Option<_>>(1)?.map(Time::from_millis),
    })
}
