//! What lets nodes count together: calls that the others are yet to be told of, and limits that
//! count what the others tell.

use std::collections::HashMap;
use std::hash::{Hash, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardveil_core::port::Count;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};

/// How many callers a node tells of at a time (P8). Those beyond are counted by each node for
/// itself.
const CALLERS_MAX: usize = 4_096;
/// What a node has admitted and not told yet.
#[derive(Default)]
pub(crate) struct Pending {
    /// Whether there is anybody to tell.
    wanted: AtomicBool,
    calls: Mutex<HashMap<(&'static str, String), u32>>,
}

impl Pending {
    pub(super) fn add(&self, limit: &'static str, caller: impl FnOnce() -> String) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let key = (limit, caller());
        let mut calls = self.calls();
        if calls.len() < CALLERS_MAX || calls.contains_key(&key) {
            let count = calls.entry(key).or_default();
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn take(&self) -> Vec<Count> {
        let calls = std::mem::take(&mut *self.calls());
        let counts = calls.into_iter().map(|((limit, caller), calls)| Count {
            limit: limit.into(),
            caller: caller.into(),
            calls,
        });
        counts.collect()
    }

    pub(crate) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<(&'static str, String), u32>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the limit of each caller is whole again: the limiter's state, shared with whoever counts
/// calls that it did not admit itself.
pub(super) struct Debts<K: Hash + Eq + Clone>(Arc<DashMapStateStore<K, RandomState>>);

impl<K: Hash + Eq + Clone> Default for Debts<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> Clone for Debts<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Hash + Eq + Clone> StateStore for Debts<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Debts<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        ShrinkableKeyedStateStore::shrink_to_fit(&*self.0);
    }

    fn len(&self) -> usize {
        ShrinkableKeyedStateStore::len(&*self.0)
    }

    fn is_empty(&self) -> bool {
        ShrinkableKeyedStateStore::is_empty(&*self.0)
    }
}
