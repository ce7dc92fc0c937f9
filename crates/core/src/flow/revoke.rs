//! Revoking tokens.

use super::{Fault, Service};
use crate::audit::Source;
use crate::port::Selection;
use crate::verb::{Commit, Revoke};

/// How many tokens are revoked in one commit: redemptions of these wait for it (P8).
pub const REVOKED_TOGETHER: usize = 500;

impl Service {
    /// Revokes all tokens of a selection that are good for anything; tells how many. Each has its
    /// own record, in the commit that revokes it. Should it end half-way, it can be done again.
    pub async fn revoke(&self, selection: &Selection, source: &Source) -> Result<usize, Fault> {
        let at = self.now();
        let (mut after, mut revoked) = (None, 0);
        loop {
            let tokens = self
                .store
                .revocable(selection, at, after, REVOKED_TOGETHER)
                .await?;
            after = tokens.last().copied();
            let more = tokens.len() == REVOKED_TOGETHER;
            if !tokens.is_empty() {
                revoked += self
                    .store
                    .commit(Revoke {
                        tokens,
                        at,
                        source: source.clone(),
                    })
                    .await?;
            }
            if !more {
                return Ok(revoked);
            }
        }
    }
}
