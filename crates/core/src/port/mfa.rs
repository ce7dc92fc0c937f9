//! The second factors of people, and their sessions.

use async_trait::async_trait;

use super::Result;
use crate::id::{MerchantId, PersonId, SessionId};
use crate::mfa::{Person, Session};

/// Second factors.
#[async_trait]
pub trait Mfa: Send + Sync {
    /// The session, for computing what its code is. It decides nothing.
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>>;

    /// What is known of a person at a merchant, for the same.
    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>>;
}
