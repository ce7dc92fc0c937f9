//! Second factors.

use async_trait::async_trait;
use cardveil_core::clock::Time;
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::rows::{FactorRows, Loaded};
use cardveil_core::port::{Mfa, Result};

use super::lookups::Lookups;
use super::rows::{self, PERSON, SESSION};
use super::table::Statement;
use super::value::{Row as _, values};
use super::{Loads, Sql, sql_count};
use crate::Store;

impl<B: Sql> FactorRows for Loads<'_, B> {
    fn session(&self, id: &SessionId) -> Loaded<Option<Session>> {
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", SESSION.find()));
        self.row(&SESSION, &FIND, values![id.as_bytes()], |row| {
            rows::session(row)
        })
    }

    fn save_session(&self, session: &Session) -> Loaded<()> {
        static PUT: Statement = Statement::new(|| SESSION.put());
        self.send(&PUT, self.values_of(&SESSION, session)?)
    }

    fn forget_sessions(&self, before: Time, limit: usize) -> Loaded<usize> {
        const SQL: &str = "DELETE FROM mfa_session WHERE id IN (
             SELECT id FROM mfa_session WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
             FOR UPDATE SKIP LOCKED)";
        self.execute(SQL, values![before, sql_count(limit)])
    }

    /// The person is held, whether there is anything known of them or not.
    fn person(&self, merchant: &MerchantId, person: &PersonId) -> Loaded<Option<Person>> {
        // A rewrap changes the row too.
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", PERSON.find()));
        let held = self.guard(&[name_of(merchant, person)]);
        held.map_err(Into::into)?;
        let key = values![merchant.as_str(), person.as_bytes()];
        self.first(&FIND, key, |row| {
            // One that was altered is not one that nothing is known of: that would loosen.
            let person = self.load(&PERSON, row, || rows::person(row))?;
            person.ok_or_else(|| B::Row::unreadable("what is known of a person was altered"))
        })
    }

    fn save_person(&self, person: &Person) -> Loaded<()> {
        static PUT: Statement = Statement::new(|| PERSON.put());
        self.send(&PUT, self.values_of(&PERSON, person)?)?;
        let saved = self.totp_saved(&person.merchant, &person.person, person.totp.as_ref());
        saved.map_err(Into::into)
    }
}

/// By which a person is held.
pub(crate) fn name_of<'a>(merchant: &'a MerchantId, person: &'a PersonId) -> [&'a [u8]; 3] {
    [b"person", merchant.as_str().as_bytes(), person.as_bytes()]
}

#[async_trait]
impl<D: Lookups> Mfa for Store<D> {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        static FIND: Statement = Statement::new(|| SESSION.find());
        let id = values![id.as_bytes()];
        self.row(&SESSION, &FIND, id, |row| rows::session(row))
            .await
    }

    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        static FIND: Statement = Statement::new(|| PERSON.find());
        let key = values![merchant.as_str(), person.as_bytes()];
        self.row(&PERSON, &FIND, key, |row| rows::person(row)).await
    }
}
