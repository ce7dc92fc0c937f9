//! How the sinks of the audit log stand, as a worker last saw: for figures and readiness.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cardveil_core::audit::sink::Lag;
use cardveil_core::id::SinkName;

/// How the sinks stand, as it was last looked: for figures and readiness.
#[derive(Default)]
pub(crate) struct Board(Mutex<Vec<SinkHealth>>);

#[derive(Clone)]
pub(crate) struct SinkHealth {
    pub(crate) name: SinkName,
    pub(crate) lag: Lag,
    /// It is required, and too far behind.
    pub(crate) is_full: bool,
}

impl Board {
    pub(crate) fn standings(&self) -> Vec<SinkHealth> {
        self.lock().clone()
    }

    /// For `/readyz`.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let standings = self.lock();
        let full = standings.iter().filter(|standing| standing.is_full);
        full.map(|standing| format!("audit_sink_full: {}", standing.name))
            .collect()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<SinkHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
