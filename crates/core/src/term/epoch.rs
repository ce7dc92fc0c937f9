//! The number that ends all tokens of before.

use serde::{Deserialize, Serialize};

/// A number in every token, raised at each restore or promotion, so that no token survives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);
