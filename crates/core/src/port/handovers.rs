//! Card data that crosses between the vault and a merchant's server: exports, activations, PINs.

use async_trait::async_trait;

use super::Result;
use crate::card::{
    Activated, Activation, Export, Exported, PinRelease, PinReleased, PinSet, PinSetting,
};

/// Exports, activations and PINs. Each is decided inside the write, over the card as it then is,
/// and all that a decision holds is one commit. Where a decision grants what a second factor or a
/// budget must allow, those are judged in the same commit, the budget first, as for
/// [`super::Tokens::issue`].
#[async_trait]
pub trait Handovers: Send + Sync {
    /// Applies [`Export::decide`]. Only after `Recorded` may the data leave (P2).
    async fn export_card(&self, export: Export) -> Result<Exported>;

    /// Applies [`Activation::decide`] over the card and the wrong proofs that were brought for it,
    /// which are kept as long as they count.
    async fn activate_card(&self, activation: Activation) -> Result<Activated>;

    /// Applies [`PinSetting::decide`].
    async fn set_pin(&self, setting: PinSetting) -> Result<PinSet>;

    /// Applies [`PinRelease::decide`]. Only after `Recorded` may the PIN leave (P2).
    async fn release_pin(&self, release: PinRelease) -> Result<PinReleased>;
}
