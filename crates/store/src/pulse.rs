//! How a store's writes go, for those who ask whether it can serve.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardveil_core::clock::Clock;
use cardveil_core::port::Writes;

/// What a writer tells of its work. A clone tells of the same.
#[derive(Clone)]
pub(crate) struct Pulse {
    clock: Arc<dyn Clock>,
    writes: Arc<Mutex<Writes>>,
}

impl Pulse {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            writes: Arc::new(Mutex::new(Writes::Fine)),
        }
    }

    /// A write is tried.
    pub(crate) fn begin(&self) {
        let mut writes = self.lock();
        if *writes == Writes::Fine {
            let since = self.clock.now();
            *writes = Writes::Pending {
                since,
                failed: false,
            };
        }
    }

    /// It was committed, or all is in order but itself.
    pub(crate) fn committed(&self) {
        self.go_on(|_| Writes::Fine);
    }

    /// It was not.
    pub(crate) fn failed(&self) {
        self.go_on(|since| Writes::Pending {
            since,
            failed: true,
        });
    }

    /// Another program holds the lock that it needs. Tells whether that is news.
    pub(crate) fn locked_out(&self) -> bool {
        let news = !self.is_locked_out();
        self.go_on(|since| Writes::LockedOut { since });
        news && self.is_locked_out()
    }

    /// It has the lock. Tells whether that is news: then only a commit shows that all is in order.
    pub(crate) fn let_in(&self) -> bool {
        let news = self.is_locked_out();
        if news {
            self.failed();
        }
        news
    }

    pub(crate) fn is_locked_out(&self) -> bool {
        matches!(self.writes(), Writes::LockedOut { .. })
    }

    /// There will be no more.
    pub(crate) fn end(&self) {
        *self.lock() = Writes::Ended;
    }

    pub(crate) fn writes(&self) -> Writes {
        *self.lock()
    }

    /// Whether what was tried last has failed.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.writes(), Writes::Pending { failed: true, .. })
    }

    fn go_on(&self, next: impl FnOnce(cardveil_core::Time) -> Writes) {
        let mut writes = self.lock();
        if let Writes::Pending { since, .. } | Writes::LockedOut { since } = *writes {
            *writes = next(since);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
