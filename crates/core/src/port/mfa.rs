//! The second factors of people, and their sessions.

use async_trait::async_trait;

use super::Result;
use crate::clock::Time;
use crate::id::{MerchantId, PersonId, SessionId};
use crate::mfa::{FactorRefused, FactorRequest, Opening, OpeningRefused, Person, Session};

/// Second factors. A session is passed by [`super::Tokens::issue`], which judges its code in the
/// commit that writes the token; here are the other changes. Each is decided inside the write, over
/// the rows as they then are, and a refusal is written too.
#[async_trait]
pub trait Mfa: Send + Sync {
    /// The session, for computing what its code is. It decides nothing.
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>>;

    /// What is known of a person at a merchant, for the same.
    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>>;

    /// Applies [`Opening::decide`].
    async fn open_mfa(
        &self,
        opening: Opening,
    ) -> Result<std::result::Result<Session, OpeningRefused>>;

    /// Applies [`FactorRequest::decide`].
    async fn change_factor(
        &self,
        request: FactorRequest,
    ) -> Result<std::result::Result<(), FactorRefused>>;

    /// Deletes up to `limit` sessions that ended before `now` less [`crate::mfa::RETENTION`]; tells
    /// how many.
    async fn sweep_mfa(&self, now: Time, limit: usize) -> Result<usize>;
}
