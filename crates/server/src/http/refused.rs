//! Calls that were refused at the door: counted here, gathered by `cardveil_core::audit::refused`,
//! and written into the audit log by a worker. A crash loses what was gathered since it did.

use std::sync::{Mutex, MutexGuard, PoisonError};

use cardveil_core::audit::refused::{Denied, Keyholder, Refusals, RefusedCall};

use super::app::App;
use super::call::Call;
use super::chain::Chain;

/// What is gathered.
#[derive(Default)]
pub(crate) struct Door(Mutex<Refusals>);

impl Door {
    fn lock(&self) -> MutexGuard<'_, Refusals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Counts and gathers a call that was refused.
    pub(crate) fn note_refused(
        &self,
        call: &Call,
        resource: &'static str,
        (denied, holder): (Denied, Option<Box<Keyholder>>),
    ) {
        self.metrics.access_refused.of(denied).increment();
        self.door.lock().note(RefusedCall {
            at: self.service.now(),
            denied,
            holder: holder.map(|holder| *holder),
            origin: call.origin_of_refused(),
            certificate: call.certificate.as_ref().map(|shown| shown.hash),
            resource,
        });
    }

    /// Writes what was gathered into the audit log. What cannot be written is kept for the next
    /// time.
    pub async fn record_refused(&self) {
        let taken = self.door.lock().take();
        let Err((fault, left)) = self.service.record_refused(taken).await else {
            return;
        };
        let records = left.len();
        tracing::error!(
            error = %Chain(&fault), records,
            "refused calls could not be put on record; it will be tried again"
        );
        let mut door = self.door.lock();
        for row in left {
            door.give_back(row);
        }
    }
}
