//! The access log: one JSON line a request, written by a thread of its own so that no request waits
//! for a terminal or a disk. When the thread cannot keep up, or cannot write, lines are dropped and
//! counted.
//!
//! **Invariant:** a line has the fields of [`Line`] and no others. There is no field for a query
//! string, a body, a header or a browser's address, because those hold secrets and personal data.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cardveil_core::Time;
use cardveil_core::merchant::CertificateHash;
use serde::Serialize;

/// How many lines may wait.
const QUEUE_LINES: usize = 65_536;
/// How long lines gather before they are written. What waits is lost when the process is killed;
/// what must not be lost is in the audit log.
const GATHER: Duration = Duration::from_millis(50);

tokio::task_local! {
    /// The id of the request that is being answered.
    static REQUEST: Arc<str>;
}

/// Answers a request: what is logged meanwhile is of it.
pub(crate) async fn of_request<T>(id: &Arc<str>, answer: impl Future<Output = T>) -> T {
    REQUEST.scope(Arc::clone(id), answer).await
}

/// The id of the request that is being answered where this is asked, for the program's own log.
pub fn request_id() -> Option<Arc<str>> {
    REQUEST.try_with(Arc::clone).ok()
}

/// The code that a response tells its caller; put into its extensions by whoever wrote it.
#[derive(Clone, Copy)]
pub(crate) struct ToldCode(pub(crate) &'static str);

/// The code of a server that was told to stop, which is no fault.
pub(crate) const STOPPING: &str = "stopping";

/// One request.
#[derive(Debug, Serialize)]
pub struct Line {
    /// When it came.
    #[serde(serialize_with = "as_text")]
    pub time: Time,
    /// Always `INFO`: what is wrong on our side has a line of its own.
    pub level: &'static str,
    /// Always `request`.
    pub message: &'static str,
    /// The request's id, which the caller gets as `X-Request-Id`.
    #[serde(rename = "request.id")]
    pub request_id: Arc<str>,
    pub listener: &'static str,
    /// The method; none when the head could not be read.
    #[serde(rename = "http.method", skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// The route's pattern, such as `/v2/cards/{cardId}/access-token`; never the address itself;
    /// none when there is no such route.
    #[serde(rename = "http.route")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Arc<str>>,
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
    /// The client certificate of the connection, where there is one: `x5t#S256` (RFC 8705 3.1).
    #[serde(rename = "caller.certificate", skip_serializing_if = "Option::is_none")]
    pub caller_certificate: Option<CertificateHash>,
    /// The other end of the merchant's server's connection, where the head could not be read, so
    /// that nobody knows who called through it.
    #[serde(rename = "peer.ip", skip_serializing_if = "Option::is_none")]
    pub peer_ip: Option<std::net::IpAddr>,
    /// How long it took; none when the head could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
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
pub struct AccessLog(Option<Arc<Shared>>);

/// The thread. Dropping it writes what waits and ends it; later lines are dropped.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What requests and the thread share.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<Line>,
    closed: bool,
}

impl AccessLog {
    /// Starts a thread that writes lines to `out`.
    pub fn start(out: Box<dyn Write + Send>) -> std::io::Result<(Writer, Self)> {
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.write_lines(out)
            })?;
        let log = Self(Some(Arc::clone(&shared)));
        Ok((
            Writer {
                shared,
                thread: Some(thread),
            },
            log,
        ))
    }

    /// Writes nothing.
    pub const fn none() -> Self {
        Self(None)
    }

    /// How many lines were dropped: the thread could not keep up, or could not write them.
    pub(crate) fn dropped(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }

    pub(crate) fn write(&self, line: Line) {
        let Some(shared) = &self.0 else { return };
        let mut waiting = shared.waiting();
        if waiting.closed || waiting.lines.len() >= QUEUE_LINES {
            shared.dropped(1);
            return;
        }
        waiting.lines.push(line);
        // The thread sleeps for a while after each write; only the first line wakes it.
        if waiting.lines.len() == 1 {
            drop(waiting);
            shared.wake.notify_one();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.waiting().closed = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in the log's thread has been printed; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dropped(&self, lines: usize) {
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }

    /// Waits for a line, lets others gather behind it, and writes them all with one call: waking
    /// the thread for each line would cost a busy server a tenth of its time.
    fn write_lines(&self, mut out: Box<dyn Write + Send>) {
        let mut buffer = Vec::with_capacity(64 * 1_024);
        loop {
            let mut waiting = self.waiting();
            while waiting.lines.is_empty() && !waiting.closed {
                waiting = self
                    .wake
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.closed {
                let gathered = self
                    .wake
                    .wait_timeout_while(waiting, GATHER, |waiting| !waiting.closed);
                (waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            }
            let closed = waiting.closed;
            let lines = std::mem::take(&mut waiting.lines);
            drop(waiting);
            buffer.clear();
            for line in &lines {
                if serde_json::to_writer(&mut buffer, line).is_ok() {
                    buffer.push(b'\n');
                }
            }
            // A log that cannot be written must not stop the server.
            if out.write_all(&buffer).and_then(|()| out.flush()).is_err() {
                self.dropped(lines.len());
            }
            if closed {
                return;
            }
        }
    }
}
