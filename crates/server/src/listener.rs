//! The listeners: three, so that a firewall can tell them apart. Each bounds what a stranger can
//! hold (P8): connections, and the time for a handshake, for a head and for taking what is answered; each
//! stops within a bound. The time for the rest of a request is the gate's.

mod cleared;
mod impatient;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use cardveil_core::audit::refused::Denied;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use self::cleared::Cleared;
use self::impatient::Impatient;
use crate::guard::{Call, CalledBy, Pattern};
use crate::log::{Line, Told};
use crate::problem::Code;
use crate::stack::Traceless;
use crate::surface::Surface;
use crate::{App, address, headers, tls};

/// How many connections a listener holds at once.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a caller may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may be. As long as the buffer that hyper begins with, so that a head that
/// comes in pieces does not make the buffer grow: hyper would not use the begin of a longer one again
/// while a connection is idle, and so leave there what the last request said (P3).
const HEAD_BYTES_MAX: usize = 8 * 1_024;
/// How long running requests may go on after a stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// For partners' servers.
    Merchant,
    /// For the public: browsers and phones.
    Client,
    /// For operators.
    Admin,
}

impl ListenerKind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Merchant, Self::Client, Self::Admin];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }
}

/// One listener's routes with what surrounds every request.
#[derive(Clone)]
pub struct Listener {
    app: Arc<App>,
    kind: ListenerKind,
    router: Router,
    ids: Arc<RequestIds>,
}

/// Request ids: cheap, unique in this process, and different after a restart.
struct RequestIds {
    boot: u32,
    next: AtomicU32,
}

impl RequestIds {
    fn next(&self) -> Arc<str> {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:08x}{count:08x}", self.boot).into()
    }
}

impl Listener {
    /// The listener of this kind. `boot` is a random number of this start.
    pub fn new(app: &Arc<App>, kind: ListenerKind, boot: u32) -> Self {
        Self {
            app: Arc::clone(app),
            kind,
            router: Surface::of(kind).into_router(Arc::clone(app)),
            ids: Arc::new(RequestIds {
                boot: boot ^ kind as u32,
                next: AtomicU32::new(0),
            }),
        }
    }

    /// Answers one request of `peer`.
    pub async fn answer(&self, peer: SocketAddr, mut request: Request<Body>) -> Response {
        let at = self.app.service.now();
        let started = stopwatch();
        let ip = address::of_caller(
            peer.ip(),
            request.headers(),
            &self.app.settings.trusted_proxies,
        );
        let id = self.ids.next();
        request.extensions_mut().insert(Call {
            id: Arc::clone(&id),
            ip,
            app: Arc::clone(&self.app),
        });
        let method = method_name(request.method());
        let Ok(mut response) = self.router.clone().oneshot(request).await;
        headers::finish(response.headers_mut(), &id);
        if self.app.is_draining() {
            // RFC 9112 9.6: a request that were sent on it once the server stops would be lost. Whoever keeps
            // connections open, through a load balancer for TCP too, opens the next one to another node.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        // RFC 9110 8.6: never with a 204.
        if response.status() == StatusCode::NO_CONTENT {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        let told = response.extensions().get::<Told>().map(|told| told.0);
        let stopping = told == Some(Code::Stopping.name());
        if response.status().is_server_error() && !stopping {
            self.app.metrics.faults.increment();
        }
        self.app.metrics.requests.of(self.kind).increment();
        let extensions = response.extensions();
        let caller_ip = match self.kind {
            ListenerKind::Merchant | ListenerKind::Admin => ip,
            ListenerKind::Client => None,
        };
        self.app.log.write(Line {
            at,
            message: "request",
            request_id: id,
            listener: self.kind.as_str(),
            method,
            route: extensions
                .get::<Pattern>()
                .map(|pattern| Arc::clone(&pattern.0)),
            status: response.status().as_u16(),
            code: told,
            credential: extensions.get::<CalledBy>().map(|by| Arc::clone(&by.0)),
            caller_ip,
            duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        });
        response
    }

    /// Serves until `stop` turns true; then refuses what is new, finishes what runs, and returns
    /// after [`DRAIN_TIMEOUT`] at the latest.
    pub async fn serve(self, tcp: TcpListener, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let (stream, peer) = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                accepted = tcp.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file handles, most likely: what is open must end first.
                        tracing::error!(%error, listener = self.kind.as_str(), "cannot accept");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let (listener, watcher) = (self.clone(), graceful.watcher());
            let stop = stop.clone();
            tokio::spawn(Traceless::new(async move {
                let _place = place;
                listener.take(stream, peer, watcher, stop).await;
            }));
        }
        drop(tcp);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                listener = self.kind.as_str(),
                "requests were still running at the end"
            );
        }
    }

    /// A connection to its end. It holds its place from here on, the handshake included.
    async fn take(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        watcher: Watcher,
        stop: watch::Receiver<bool>,
    ) {
        let stream = Impatient::new(stream);
        let Some(tls) = self.app.settings.tls.of(self.kind) else {
            return self.carry(stream, peer, watcher).await;
        };
        let acceptor = TlsAcceptor::from(tls.config());
        let stream = Cleared::new(stream);
        if let Some(stream) = self.shake_hands(acceptor, stream, peer, stop).await {
            self.carry(stream, peer, watcher).await;
        }
    }

    /// Agrees on TLS, in time, unless the server is to stop meanwhile: nothing was asked yet.
    async fn shake_hands(
        &self,
        acceptor: TlsAcceptor,
        stream: Cleared<Impatient<TcpStream>>,
        peer: SocketAddr,
        mut stop: watch::Receiver<bool>,
    ) -> Option<TlsStream<Cleared<Impatient<TcpStream>>>> {
        let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        let shaken = tokio::select! {
            biased;
            shaken = shaken => shaken,
            () = stopped(&mut stop) => return None,
        };
        let failed = match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                if tls::is_about_certificate(&error) {
                    self.refuse_certificate(peer);
                }
                error.to_string()
            }
            Err(late) => late.to_string(),
        };
        // Scanners do it all day, so it is no warning.
        tracing::debug!(error = failed, listener = self.kind.as_str(), "no TLS");
        self.app
            .metrics
            .tls_handshakes_failed
            .of(self.kind)
            .increment();
        None
    }

    /// A client certificate that is missing or not good ends the connection before there is a request.
    fn refuse_certificate(&self, peer: SocketAddr) {
        let call = Call {
            id: self.ids.next(),
            ip: Some(peer.ip()),
            app: Arc::clone(&self.app),
        };
        let why = (Denied::Certificate, None);
        self.app.note_refused(&call, self.kind.as_str(), why);
    }

    async fn carry(
        self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        watcher: Watcher,
    ) {
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let listener = self.clone();
            async move {
                let answer = listener.answer(peer, request.map(Body::new)).await;
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // A caller that says no more may still wait for its answer. Looking for that while a request
            // runs would take another buffer for each.
            .half_close(true)
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(64)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Cleared::new(io)), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Waits until the server is to stop.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so has gone, which says so.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Forgets, from time to time, what the rate limiter no longer needs.
pub fn tidy(app: &App) {
    app.limiter.tidy();
}

fn stopwatch() -> std::time::Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "it measures for the log and decides nothing"
    )]
    std::time::Instant::now()
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
