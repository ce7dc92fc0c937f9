//! What tokens live by, kept in memory from batch to batch.
//!
//! A database counts the changes of these rows, whoever makes them (`meta.lives`). A batch reads
//! the count when it begins and again under the head of the audit log: where both are the same,
//! what was read in between, or before under the same count, is what the commit finds. So a claim
//! that is judged by these rows costs no lookup, and no change that was answered is overlooked.
//!
//! **Invariant:** what is kept was read before the batch held the head, so nothing of it was
//! changed by the batch itself.

use std::collections::HashMap;
use std::sync::Arc;

use cardveil_core::token::{Lives, LivesOf};

/// How many are kept.
const KEPT_MAX: usize = 10_000;

/// What was read under one count of changes.
#[derive(Default)]
pub(super) struct Kept {
    count: i64,
    lives: HashMap<LivesOf, Arc<Lives>>,
}

impl Kept {
    /// Keeps what is as it was under this count.
    pub(super) fn turn_to(&mut self, count: i64) {
        if self.count != count {
            self.lives.clear();
            self.count = count;
        }
    }

    pub(super) fn find(&self, of: &LivesOf) -> Option<Arc<Lives>> {
        self.lives.get(of).cloned()
    }

    /// A part that is not there may come without a change of what is.
    pub(super) fn keep(&mut self, of: LivesOf, lives: &Arc<Lives>) {
        let Lives {
            credential: Some(_),
            merchant: Some(_),
            embed: Some(_),
        } = **lives
        else {
            return;
        };
        if self.lives.len() >= KEPT_MAX {
            self.lives.clear();
        }
        self.lives.insert(of, Arc::clone(lives));
    }
}
