//! The class keys in store, and the records under them.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use cardveil_seal::WrappedKey;

use super::Result;
use crate::audit::Entry;
use crate::keys::{ClassKey, Envelope, IndexPage, IndexedCards, Sought, Use};
use crate::vault::{AlteredRow, RowMacs};

/// Where a page of all rows that decide begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPlace {
    /// The store's own number of their kind.
    pub kind: usize,
    /// The key of the row before.
    pub after: Option<Vec<u8>>,
}

/// What was found on a page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPage {
    /// How many were looked at.
    pub checked: usize,
    /// Those that are not what was written last.
    pub altered: Vec<AlteredRow>,
    /// Where the next page begins; nothing after the last.
    pub next: Option<RowPlace>,
}

/// A row that decides, for people who look at one that was altered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownRow {
    /// What stands in its columns, and in none where it is gone. Of bytes that are no id their
    /// length is told.
    pub columns: Vec<(&'static str, Option<String>)>,
    /// Whether its MAC is right. `None`: it is gone, or the key of its MAC is not open here.
    pub is_right: Option<bool>,
    pub version: Option<i64>,
    /// The version that its last event on record gave it, and whether it went with that.
    pub last: Option<(i64, bool)>,
}

/// Comparing all rows that decide with what is on record of them.
#[async_trait]
pub trait RowChecks: Send + Sync {
    /// Compares a page: each row has a right MAC, and the version that its last event gave it; each
    /// row that the log knows, and does not say was removed, is there.
    async fn check_rows(&self, at: &RowPlace, limit: usize) -> Result<CheckedPage>;

    /// A row as it stands, whoever wrote it, by its table and its key as
    /// [`RowMacs`](crate::vault::RowMacs) tells it. `None`: there is no such table, or no such key
    /// could be.
    async fn show_row(&self, table: &str, key: &str) -> Result<Option<ShownRow>>;

    /// Whether the store still knows that an entry of the log gave a row its version, where it did and
    /// names the row.
    async fn keeps_version_of(&self, entry: &Entry) -> Result<bool>;

    /// The places of the entries that gave the rows of persons their versions, with these: an entry
    /// does not name the person.
    async fn person_versions(&self) -> Result<HashSet<(i64, u64)>>;

    /// How many rows have no MAC.
    async fn unguarded_rows(&self) -> Result<u64>;
}

/// The class keys, wrapped. What is to be written under a retired one is refused as
/// [`Unavailable`](super::Error::Unavailable), whichever verb writes it.
#[async_trait]
pub trait Keys: Send + Sync {
    /// All of them, the retired ones too, by class and version.
    async fn class_keys(&self) -> Result<Vec<ClassKey>>;

    /// What makes and checks the MACs of this store's rows. It knows the keys that
    /// [`class_keys`](Self::class_keys) told last.
    fn row_macs(&self) -> Arc<RowMacs>;

    /// Whether no program serves any more that is older than this one: it would know nothing of
    /// MACs of rows, of a second index key, or of keys that say something.
    async fn is_finished(&self) -> Result<bool>;

    /// Those that open, by class and version.
    async fn wrapped_keys(&self) -> Result<Vec<WrappedKey>> {
        let keys = self.class_keys().await?;
        let opening = keys.into_iter().filter(ClassKey::opens);
        Ok(opening.map(|key| key.key).collect())
    }

    /// How many records are under each version of the classes that wrap, and how many cards and
    /// digital wallet tokens under each of the index, by class and version; only those that have
    /// some.
    async fn key_uses(&self) -> Result<Vec<Use>>;

    /// Envelopes under a version, whichever come first. It takes no longer the more were moved
    /// away.
    async fn envelopes(&self, sought: Sought) -> Result<Vec<Envelope>>;

    /// The cards of a page, in the order of their ids, whose index is under a version.
    async fn indexed_cards(&self, version: u32, page: IndexPage) -> Result<IndexedCards>;
}
