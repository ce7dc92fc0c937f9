//! The class keys in store, and the records under them.

use async_trait::async_trait;
use cardveil_seal::WrappedKey;

use super::Result;
use crate::keys::{ClassKey, Envelope, Sought, Use};

/// The class keys, wrapped. What is to be written under a retired one is refused as
/// [`Unavailable`](super::Error::Unavailable), whichever verb writes it.
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

    /// How many records are under each version of the classes that wrap, by class and version; only
    /// those that have some.
    async fn key_uses(&self) -> Result<Vec<Use>>;

    /// Envelopes under a version, whichever come first. It takes no longer the more were moved
    /// away.
    async fn envelopes(&self, sought: Sought) -> Result<Vec<Envelope>>;
}
