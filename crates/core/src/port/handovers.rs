//! Card data that crosses between the vault and a merchant's server: exports and activations.

use async_trait::async_trait;

use super::Result;
use crate::card::{Activated, Activation, Export, Exported};

/// Exports and activations. Both are decided inside the write, over the card as it then is, and all
/// that a decision holds is one commit.
#[async_trait]
pub trait Handovers: Send + Sync {
    /// Applies [`Export::decide`]. Only after `Recorded` may the data leave (P2).
    async fn export_card(&self, export: Export) -> Result<Exported>;

    /// Applies [`Activation::decide`] over the card and the wrong proofs that were brought for it,
    /// which are kept as long as they count.
    async fn activate_card(&self, activation: Activation) -> Result<Activated>;
}
