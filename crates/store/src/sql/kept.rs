//! What callers and tokens live by, kept in memory from one lookup to the next.
//!
//! A database counts the changes of merchants, credentials and embeds, whoever makes them. A lookup
//! reads the count: what was read before under the same is what it would find. So it still sees what
//! anyone has committed, and a row is read and its MAC checked once for a change, not for a call.
//!
//! **Invariant:** what is kept was read in one moment with its count, and none of it was changed by
//! the transaction that read it: one that is rolled back takes its count back.
//!
//! **Invariant:** only what is there and is what was written is kept, so nobody is refused from
//! memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardveil_core::card::State;
use cardveil_core::clock::{Clock, Time};
use cardveil_core::id::{EmbedId, MerchantId};
use cardveil_core::merchant::{Admission, Embed};
use cardveil_core::token::{Epoch, Lives, LivesOf, Record};

use super::deciding::RowKey;
use super::value::Row;

/// How many of a kind are kept: some 15 MB of credentials with their merchants.
const KEPT_MAX: usize = 10_000;

/// For how long: whoever can write to the database can stop it from counting, or count back.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// How often rows were changed, in the state of the database that an epoch is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) epoch: Epoch,
    pub(crate) changes: i64,
}

/// The two of them alone.
pub(crate) const COUNT: &str = "SELECT epoch, registry FROM meta";

/// The same beside a row, read in one moment with it.
pub(crate) const COUNTED: &str = "(SELECT epoch FROM meta), (SELECT registry FROM meta)";

/// What [`COUNT`] and [`COUNTED`] find, from this column on.
pub(crate) fn count<R: Row>(row: &R, first: usize) -> Result<Count, R::Fault> {
    Ok(Count {
        epoch: Epoch(row.get(first)?),
        changes: row.get(first + 1)?,
    })
}

/// What was found under one count, by its key.
pub(crate) struct Kept<K, V> {
    clock: Arc<dyn Clock>,
    under: Mutex<Under<K, V>>,
}

struct Under<K, V> {
    count: Option<Count>,
    since: Time,
    found: HashMap<K, Arc<V>>,
}

impl<K: Eq + Hash, V> Kept<K, V> {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            clock: Arc::clone(clock),
            under: Mutex::new(Under {
                count: None,
                since: clock.now(),
                found: HashMap::new(),
            }),
        }
    }

    pub(crate) fn find(&self, count: Count, key: &K) -> Option<Arc<V>> {
        self.turned_to(count).found.get(key).cloned()
    }

    pub(crate) fn keep(&self, count: Count, key: K, found: &Arc<V>) {
        let mut under = self.turned_to(count);
        if under.found.len() >= KEPT_MAX {
            under.found.clear();
        }
        under.found.insert(key, Arc::clone(found));
    }

    pub(crate) fn clear(&self) {
        self.under().count = None;
    }

    /// What is kept under this count: nothing, where another came between or it is too old.
    fn turned_to(&self, count: Count) -> MutexGuard<'_, Under<K, V>> {
        let now = self.clock.now();
        let mut under = self.under();
        let is_fresh = under.since <= now && now < under.since.plus(KEPT_FOR);
        if under.count != Some(count) || !is_fresh {
            under.found.clear();
            under.count = Some(count);
            under.since = now;
        }
        under
    }

    fn under(&self) -> MutexGuard<'_, Under<K, V>> {
        self.under.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that were looked up and whose MACs were right: a claim has just looked up its token and its
/// card, and loads them again in its commit. There a row needs no second check where what is read of
/// it, its version and its MAC are those of before.
pub(crate) struct Checked {
    pub(crate) tokens: Known<Record>,
    pub(crate) cards: Known<CardSeen>,
}

/// What decides of a card that is claimed.
pub(crate) type CardSeen = (MerchantId, State);

/// Rows of one kind, by their keys.
pub(crate) type Known<V> = Kept<RowKey, Guarded<V>>;

/// What was read of a row, with what guards it.
#[derive(PartialEq, Eq)]
pub(crate) struct Guarded<V> {
    pub(crate) read: V,
    pub(crate) version: i64,
    pub(crate) mac: Vec<u8>,
}

impl Checked {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            tokens: Kept::new(clock),
            cards: Kept::new(clock),
        }
    }
}

/// These are compared themselves, and not by a count.
const UNCOUNTED: Count = Count {
    epoch: Epoch(0),
    changes: 0,
};

impl<V: PartialEq> Known<V> {
    pub(crate) fn has(&self, key: &RowKey, row: &Guarded<V>) -> bool {
        let known = self.find(UNCOUNTED, key);
        known.is_some_and(|known| *known == *row)
    }

    pub(crate) fn note(&self, key: RowKey, row: Guarded<V>) {
        self.keep(UNCOUNTED, key, &Arc::new(row));
    }
}

/// What lookups of the registry keep.
pub(crate) struct Registered {
    pub(crate) admissions: Kept<[u8; 32], Admission>,
    pub(crate) lives: Kept<LivesOf, Lives>,
    pub(crate) embeds: Kept<EmbedId, Embed>,
}

impl Registered {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            admissions: Kept::new(clock),
            lives: Kept::new(clock),
            embeds: Kept::new(clock),
        }
    }
}

/// Whether all of it is there: a part that is not may come without a change of what is.
pub(crate) const fn are_whole(lives: &Lives) -> bool {
    let Lives {
        credential,
        merchant,
        embed,
    } = lives;
    credential.is_some() && merchant.is_some() && embed.is_some()
}
