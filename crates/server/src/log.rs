//! The access log: one JSON line a request, written by a thread of its own so that no request waits
//! for a terminal or a disk. When the thread cannot keep up, lines are dropped and counted.
//!
//! **Invariant:** a line has the fields of [`Line`] and no others. There is no field for a query
//! string, a body, a header or a browser's address, because those hold secrets and personal data.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use cardveil_core::Time;
use serde::Serialize;

/// How many lines may wait.
const QUEUE_LINES: usize = 8_192;

/// The code that a response tells its caller; put into its extensions by whoever wrote it.
#[derive(Clone, Copy)]
pub(crate) struct Told(pub(crate) &'static str);

/// One request.
#[derive(Debug, Serialize)]
pub struct Line {
    /// When it came.
    #[serde(serialize_with = "as_text")]
    pub at: Time,
    /// Always `request`.
    pub message: &'static str,
    /// The request's id, which the caller gets as `X-Request-Id`.
    #[serde(rename = "request.id")]
    pub request_id: Arc<str>,
    /// Which listener.
    pub listener: &'static str,
    /// The method.
    #[serde(rename = "http.method")]
    pub method: &'static str,
    /// The route's pattern, such as `/v2/cards/{cardId}/access-token`; never the address itself; none when
    /// there is no such route.
    #[serde(rename = "http.route")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
    /// The status.
    #[serde(rename = "http.status")]
    pub status: u16,
    /// The code told to the caller, where it was not a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The credential that called, where one was admitted.
    #[serde(rename = "credential.id", skip_serializing_if = "Option::is_none")]
    pub credential: Option<Arc<str>>,
    /// The merchant's server's address. A browser's is personal data and stays out.
    #[serde(rename = "caller.ip", skip_serializing_if = "Option::is_none")]
    pub caller_ip: Option<std::net::IpAddr>,
    /// How long it took.
    pub duration_us: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn as_text<S: serde::Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

/// The way to the thread.
#[derive(Clone)]
pub struct AccessLog {
    to: Option<SyncSender<Line>>,
    dropped: Arc<AtomicU64>,
}

/// The thread. Dropping it waits until all lines are written, once every [`AccessLog`] is gone.
pub struct Writer(Mutex<Option<JoinHandle<()>>>);

impl AccessLog {
    /// Starts a thread that writes lines to `out`. The writer comes first, so that in a `let` it is
    /// dropped last: it waits for the logs to be gone.
    pub fn start(out: Box<dyn Write + Send>) -> std::io::Result<(Writer, Self)> {
        let (to, from) = sync_channel(QUEUE_LINES);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&from, out))?;
        let log = Self {
            to: Some(to),
            dropped: Arc::default(),
        };
        Ok((Writer(Mutex::new(Some(thread))), log))
    }

    /// Writes nothing.
    pub fn none() -> Self {
        Self {
            to: None,
            dropped: Arc::default(),
        }
    }

    /// How many lines were dropped because the thread could not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn write(&self, line: Line) {
        if let Some(to) = &self.to {
            match to.try_send(line) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic in the log's thread has been printed; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// Writes all that waits with one call, then waits for more.
fn write_lines(from: &Receiver<Line>, mut out: Box<dyn Write + Send>) {
    let mut buffer = Vec::with_capacity(64 * 1_024);
    while let Ok(first) = from.recv() {
        buffer.clear();
        for line in std::iter::once(first).chain(from.try_iter().take(255)) {
            if serde_json::to_writer(&mut buffer, &line).is_ok() {
                buffer.push(b'\n');
            }
        }
        // A log that cannot be written must not stop the server.
        let _ = out.write_all(&buffer).and_then(|()| out.flush());
    }
}
