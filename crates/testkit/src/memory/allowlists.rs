//! Lists of allowed networks in memory.

use async_trait::async_trait;

use super::Memory;
use cardveil_core::merchant::allowlist::{AllowlistChange, AllowlistChanged};
use cardveil_core::port::{Allowlists, Result};

#[async_trait]
impl Allowlists for Memory {
    async fn change_allowlist(&self, change: AllowlistChange) -> Result<AllowlistChanged> {
        let mut inner = self.inner();
        let mut rows = inner.credentials.iter_mut();
        let row = rows.find(|credential| credential.id == change.credential);
        let decided = change.decide(row.as_deref());
        if let Some((next, event)) = decided.write {
            if let Some(row) = row {
                *row = *next;
            }
            inner.log(event);
        }
        Ok(decided.verdict)
    }
}
