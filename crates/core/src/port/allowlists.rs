//! The networks from which credentials may call, as credentials change them themselves.

use async_trait::async_trait;

use super::Result;
use crate::merchant::allowlist::{AllowlistChange, AllowlistChanged};

/// Lists of allowed networks. Changes are decided inside the write, over the credential as it then
/// is.
#[async_trait]
pub trait Allowlists: Send + Sync {
    /// Applies [`AllowlistChange::decide`].
    async fn change_allowlist(&self, change: AllowlistChange) -> Result<AllowlistChanged>;
}
