//! The verbs: each change of what is kept, written once for all stores. A verb is a request; it
//! loads the rows that it needs, decides by the pure functions of its folder, and saves what comes
//! out with its events. A store runs many in one commit, one after the other.
//!
//! To add a verb: a request with its `decide` in the folder that it is of, [`Verb`] for it here,
//! and a case in the contract suite. A row that no verb has loaded so far is one of
//! [`crate::port::rows`].

mod cards;
mod factors;
mod guard;
mod keys;
mod log;
mod outbox;
mod registry;
mod tokens;
mod wallet;

use std::sync::{Arc, Mutex, PoisonError};

use crate::port::rows::{Loaded, Rows};
use crate::port::{Commits, Error, Needs, Result, Work};

pub use factors::SweepSessions;
pub use guard::{AcceptRow, CompleteRows, GuardPage};
pub use keys::CreateKeys;
pub use log::{RaiseEpoch, RecordCheckpoint, RecordEvent};
pub use outbox::{DateDeliveries, DropDeliveries, ForgetDeliveries, ReplayDeliveries};
pub use registry::{Changes, NoteUses};
pub use tokens::{Revoke, Sweep, Swept};

/// A change that is asked for.
pub trait Verb: Send + Sync + 'static {
    /// What became of it.
    type Answer: Send + 'static;

    /// What its commit must know before it runs. A store of many nodes relies on it: who decides on
    /// more than the rows that it loads and does not say [`Needs::ALONE`] is not kept from others.
    fn needs(&self) -> Needs;

    /// Makes the change. A store may run it again where nothing of a run was committed, so it
    /// changes nothing but rows.
    fn run(&self, rows: &dyn Rows) -> Loaded<Self::Answer>;
}

/// A store's way to commit.
pub trait Commit: Commits {
    /// Makes a change, and answers once it is durable.
    fn commit<V: Verb>(&self, verb: V) -> impl Future<Output = Result<V::Answer>> + Send {
        let asked = Arc::new(Asked {
            verb,
            answer: Mutex::new(None),
        });
        async move {
            self.run(Arc::clone(&asked) as Arc<dyn Work>).await?;
            let answer = asked.answer().take();
            answer.ok_or_else(|| Error::Unavailable("the write was not run".into()))
        }
    }
}

impl<S: Commits + ?Sized> Commit for S {}

struct Asked<V: Verb> {
    verb: V,
    answer: Mutex<Option<V::Answer>>,
}

impl<V: Verb> Asked<V> {
    fn answer(&self) -> std::sync::MutexGuard<'_, Option<V::Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Verb> Work for Asked<V> {
    fn verb(&self) -> &'static str {
        std::any::type_name::<V>()
    }

    fn needs(&self) -> Needs {
        self.verb.needs()
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<()> {
        let answer = self.verb.run(rows)?;
        *self.answer() = Some(answer);
        Ok(())
    }
}
