//! Calls that were refused at the door: counted here, gathered by `cardveil_core::audit::refused`, and
//! written into the audit log each minute and at the end. A crash loses what the last minute gathered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use cardveil_core::audit::refused::{Denied, Keyholder, Refusals, RefusedCall};
use cardveil_core::flow::Fault;
use tokio::sync::watch;

use crate::App;
use crate::api::gate::Call;
use crate::api::problem::Chain;
use crate::http::listener::stopped;

/// How long calls are gathered.
const EVERY: Duration = Duration::from_secs(60);

/// A call that is not admitted: how it is answered, and why.
pub(crate) struct Refused<A> {
    pub(crate) answer: A,
    /// `None` where the fault is ours: then nothing was judged.
    pub(crate) why: Option<(Denied, Option<Box<Keyholder>>)>,
}

impl<A> Refused<A> {
    /// Refused, whoever it is.
    pub(crate) const fn stranger(answer: A, denied: Denied) -> Self {
        Self {
            answer,
            why: Some((denied, None)),
        }
    }

    /// Refused, though the Api-Key is somebody's.
    pub(crate) fn holder(answer: A, denied: Denied, holder: impl Into<Keyholder>) -> Self {
        Self {
            answer,
            why: Some((denied, Some(Box::new(holder.into())))),
        }
    }

    /// Not judged, because something of ours failed.
    pub(crate) const fn fault(answer: A) -> Self {
        Self { answer, why: None }
    }

    /// The same, with the answer as it goes out.
    pub(crate) fn into_response(self) -> Refused<Response>
    where
        A: IntoResponse,
    {
        Refused {
            answer: self.answer.into_response(),
            why: self.why,
        }
    }
}

impl<A: From<Fault>> From<Fault> for Refused<A> {
    fn from(fault: Fault) -> Self {
        Self::fault(fault.into())
    }
}

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

    /// Writes what was gathered into the audit log. What cannot be written is kept for the next time.
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

/// Writes what was gathered, each minute until it is told to stop. What comes after that is written by
/// whoever stops the server: [`App::record_refused`].
pub async fn record_refused(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(EVERY) => app.record_refused().await,
        }
    }
}
