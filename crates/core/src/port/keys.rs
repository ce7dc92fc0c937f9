//! The class keys in store, and the records under them.

use async_trait::async_trait;
use cardveil_seal::WrappedKey;

use super::Result;
use crate::audit::Event;
use crate::keys::{
    ClassKey, Envelope, Move, Retired, Retirement, RootChange, Rotation, Sought, Use,
};

/// The class keys, wrapped.
///
/// A store refuses as [`Unavailable`](super::Error::Unavailable), and writes nothing, where a
/// record is to be written whose DEK is under a retired version: whoever made it has not noticed
/// the retirement, and the record could never be opened.
#[async_trait]
pub trait Keys: Send + Sync {
    /// All of them, the retired ones too, by class and version.
    async fn class_keys(&self) -> Result<Vec<ClassKey>>;

    /// Those that open, by class and version.
    async fn wrapped_keys(&self) -> Result<Vec<WrappedKey>> {
        let keys = self.class_keys().await?;
        let opening = keys.into_iter().filter(ClassKey::opens);
        Ok(opening.map(|key| key.key).collect())
    }

    /// Writes the first keys of classes, made at the event's time. `false`, and nothing written,
    /// when one of the classes has a key already.
    async fn create_keys(&self, keys: Vec<WrappedKey>, event: Event) -> Result<bool>;

    /// Applies [`Rotation::decide`]. `false`, and nothing written, when somebody else was first.
    async fn rotate_key(&self, rotation: Rotation) -> Result<bool>;

    /// Applies [`RootChange::decide`]. `false`, and nothing written, when the keys are not those
    /// that were read.
    async fn change_root(&self, change: RootChange) -> Result<bool>;

    /// Applies [`Retirement::decide`]: whether records are under the version is looked up in the
    /// commit that destroys it.
    async fn retire_key(&self, retirement: Retirement) -> Result<Retired>;

    /// How many records are under each version of the classes that wrap, by class and version; only
    /// those that have some.
    async fn key_uses(&self) -> Result<Vec<Use>>;

    /// Envelopes under a version, whichever come first. It takes no longer the more were moved
    /// away.
    async fn envelopes(&self, sought: Sought) -> Result<Vec<Envelope>>;

    /// Writes the batch with [`Move::event`], if any was moved; tells how many were. An envelope
    /// that is not what it was read as stays as it is.
    async fn move_envelopes(&self, batch: Move) -> Result<usize>;
}
