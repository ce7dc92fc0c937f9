//! A credential's own list of networks.

use super::{Caller, Fault, Service};
use crate::audit::Origin;
use crate::merchant::allowlist::{AllowlistChange, AllowlistChanged, Wish};
use crate::verb::Commit;

impl Service {
    /// Changes the list of the credential that asks, and of no other: a credential that could let
    /// itself be called from elsewhere through another would have that one's rights.
    pub async fn change_allowlist(
        &self,
        caller: &Caller,
        wish: Wish,
    ) -> Result<AllowlistChanged, Fault> {
        let from = match caller.source.origin {
            Origin::Network { ip, .. } => ip,
            // A call from an address that is not told is not admitted.
            Origin::Untold { .. } | Origin::Console | Origin::Server => None,
        };
        let change = AllowlistChange {
            credential: caller.credential.id.clone(),
            wish,
            from,
            at: self.now(),
            source: caller.source.clone(),
        };
        Ok(self.store.commit(change).await?)
    }
}
