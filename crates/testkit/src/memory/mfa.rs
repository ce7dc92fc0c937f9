//! Second factors in memory.

use async_trait::async_trait;

use super::Memory;
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::{Mfa, Result};

#[async_trait]
impl Mfa for Memory {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        Ok(self.inner().sessions.get(id).cloned())
    }

    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        let key = (merchant.clone(), *person);
        Ok(self.inner().persons.get(&key).cloned())
    }
}
