//! What only the vault can open.

use serde::{Deserialize, Serialize};

/// A sealed text with the wrapped key that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    pub dek: Vec<u8>,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}
