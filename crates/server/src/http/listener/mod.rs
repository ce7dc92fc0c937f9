//! The listeners: three, so that a firewall can tell them apart. Each bounds what a stranger can
//! hold (P8): connections, and the time for a handshake, for a head, between two requests and for
//! taking what is answered; each stops within a bound. The time for the rest of a request is the
//! gate's.

mod cleared;
mod impatient;
mod paced;
mod proxy;
mod slots;
mod sound;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use cardveil_core::audit::refused::Denied;
use cardveil_core::merchant::ClientCertificate;
use cardveil_seal::Entropy;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;

use self::cleared::Cleared;
use self::impatient::Impatient;
use self::paced::{Paced, Turns};
use self::slots::{Occupant, Slot, Slots};
use crate::http::ListenerKind;
use crate::http::address::Peer;
use crate::http::app::App;
use crate::http::call::{Call, CalledBy, Pattern};
use crate::http::log::{Line, STOPPING, ToldCode};
use crate::http::metrics::Outcome;
use crate::http::stack::Traceless;
use crate::http::{address, headers, limit, log, tls};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// How many connections a listener holds at once.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a proxy may take to say for whom it connects.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer a connection may rest than it is told: what was sent in time is not lost on its
/// way.
const REST_GRACE: Duration = Duration::from_secs(1);
/// How long a request's head may be. As long as the buffer that hyper begins with, so that a head
/// that comes in pieces does not make the buffer grow: hyper would not use the begin of a longer
/// one again while a connection is idle, and so leave there what the last request said (P3).
const HEAD_BYTES_MAX: usize = 8 * 1_024;
/// What every route answers with 400.
pub(crate) const UNSOUND: &str = "A head that two servers could read in two ways.";
/// How long running requests may go on after a stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// One listener's routes with what surrounds every request.
#[derive(Clone)]
pub struct Listener {
    app: Arc<App>,
    kind: ListenerKind,
    router: Router,
    unsound: fn(rule: &str) -> Response,
    ids: Arc<RequestIds>,
    /// How long connections may rest, as they are told.
    keep_alive: Option<HeaderValue>,
}

/// Request ids: of 64 bits of chance, so that two of a day are hardly ever the same, and none tells
/// how many there were.
struct RequestIds {
    entropy: Arc<dyn Entropy>,
    /// Some that nobody has yet: the generator is asked for many at once.
    made: Mutex<Vec<u64>>,
}

impl RequestIds {
    fn next(&self) -> Arc<str> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_empty() {
            let mut chance = [0; 1_024];
            self.entropy.fill(&mut chance);
            let (chunks, _) = chance.as_chunks();
            made.extend(chunks.iter().copied().map(u64::from_be_bytes));
        }
        let id = made.pop().unwrap_or_default();
        drop(made);
        format!("{id:016x}").into()
    }
}

/// What a listener serves.
pub(crate) struct Routes {
    /// Answers a request.
    pub(crate) router: Router,
    pub(crate) patterns: Vec<String>,
    /// The answer to a request whose head breaks this rule.
    pub(crate) unsound: fn(rule: &str) -> Response,
}

impl Listener {
    /// The listener of this kind. Request ids come of `entropy`.
    pub(crate) fn new(
        app: &Arc<App>,
        kind: ListenerKind,
        entropy: Arc<dyn Entropy>,
        routes: Routes,
    ) -> Self {
        let patterns = routes.patterns.iter().map(String::as_str);
        app.metrics.latencies.know(kind, patterns);
        Self {
            app: Arc::clone(app),
            kind,
            router: routes.router,
            unsound: routes.unsound,
            ids: Arc::new(RequestIds {
                entropy,
                made: Mutex::default(),
            }),
            keep_alive: keep_alive(app.settings.idle_secs),
        }
    }

    /// Answers one request of `peer`, whose connection began with this client certificate.
    pub async fn answer(
        &self,
        peer: Peer,
        certificate: Option<Arc<ClientCertificate>>,
        mut request: Request<Body>,
    ) -> Response {
        let at = self.app.service.now();
        let started = stopwatch();
        let ip = address::of_caller(peer, request.headers(), &self.app.settings.trusted_proxies);
        let id = self.ids.next();
        let caller_certificate = certificate.as_ref().map(|shown| shown.hash);
        request.extensions_mut().insert(Call {
            id: Arc::clone(&id),
            ip,
            certificate,
            listener: self.kind,
            app: Arc::clone(&self.app),
        });
        let method = method_name(request.method());
        let mut response = if sound::is_sound(&request) {
            let answering = self.router.clone().oneshot(request);
            let Ok(response) = log::of_request(&id, answering).await;
            response
        } else {
            self.app
                .metrics
                .requests_malformed
                .of(self.kind)
                .increment();
            let mut refused = (self.unsound)(sound::RULE);
            let close = HeaderValue::from_static("close");
            refused.headers_mut().insert(CONNECTION, close);
            refused
        };
        headers::finish(&mut response, &id);
        if self.app.is_draining() {
            // RFC 9112 9.6: a request that were sent on it once the server stops would be lost.
            // Whoever keeps connections open, through a load balancer for TCP too, opens the next
            // one to another node.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        // RFC 9110 8.6: never with a 204.
        if response.status() == StatusCode::NO_CONTENT {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        let told = response.extensions().get::<ToldCode>().map(|told| told.0);
        let stopping = told == Some(STOPPING);
        if response.status().is_server_error() && !stopping {
            self.app.metrics.faults.increment();
        }
        self.app.metrics.requests.of(self.kind).increment();
        let outcome = match response.status() {
            status if status.is_server_error() => Outcome::Fault,
            status if status.is_client_error() || told.is_some() => Outcome::Refused,
            _ => Outcome::Done,
        };
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let extensions = response.extensions();
        let pattern = extensions.get::<Pattern>();
        let route = pattern.map(|pattern| &*pattern.0);
        let latencies = &self.app.metrics.latencies;
        latencies.note(self.kind, route, outcome, took_us);
        let caller_ip = match self.kind {
            ListenerKind::Merchant | ListenerKind::Admin => ip,
            ListenerKind::Client => None,
        };
        if self.is_left_out(route, response.status()) {
            return response;
        }
        self.app.log.write(Line {
            time: at,
            level: "INFO",
            message: "request",
            request_id: id,
            listener: self.kind.as_str(),
            method: Some(method),
            route: pattern.map(|pattern| Arc::clone(&pattern.0)),
            status: response.status().as_u16(),
            code: told,
            credential: extensions.get::<CalledBy>().map(|by| Arc::clone(&by.0)),
            caller_ip,
            caller_certificate,
            peer_ip: None,
            duration_us: Some(took_us),
        });
        response
    }

    /// Whether its line is not wanted: a probe of health that found nothing.
    fn is_left_out(&self, route: Option<&str>, status: StatusCode) -> bool {
        !self.app.settings.log_probes
            && self.kind == ListenerKind::Admin
            && matches!(route, Some("/healthz" | "/readyz"))
            && status == StatusCode::OK
    }

    /// Logs a request whose head could not be read: hyper has answered it, before anybody here saw
    /// it.
    fn refused_by_http(&self, peer: Peer, status: StatusCode) {
        let metrics = &self.app.metrics;
        metrics.requests.of(self.kind).increment();
        metrics.requests_malformed.of(self.kind).increment();
        let peer_ip = match (self.kind, peer) {
            (ListenerKind::Merchant | ListenerKind::Admin, Peer::At(ip)) => Some(ip),
            (ListenerKind::Client, _) | (_, Peer::Untold) => None,
        };
        self.app.log.write(Line {
            time: self.app.service.now(),
            level: "INFO",
            message: "request",
            request_id: self.ids.next(),
            listener: self.kind.as_str(),
            method: None,
            route: None,
            status: status.as_u16(),
            code: None,
            credential: None,
            caller_ip: None,
            caller_certificate: None,
            peer_ip,
            duration_us: None,
        });
    }

    /// Serves until `stop` turns true; then refuses what is new, finishes what runs, and returns
    /// after [`DRAIN_TIMEOUT`] at the latest.
    pub async fn serve(self, tcp: TcpListener, mut stop: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        let slots = Slots::new(CONNECTIONS_MAX, self.app.settings.limits.connections);
        loop {
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
            let Some((slot, lost)) = slots.take(self.occupant(peer.ip())) else {
                self.turn_away("it holds enough of them");
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let (listener, watcher) = (self.clone(), graceful.watcher());
            let stop = stop.clone();
            tokio::spawn(Traceless::new(async move {
                let kept = listener.clone();
                let taken = listener.take(stream, (peer.ip(), slot), watcher, stop);
                tokio::select! {
                    biased;
                    _ = lost => kept.turn_away("others hold fewer of them"),
                    ended = AssertUnwindSafe(taken).catch_unwind() => if ended.is_err() {
                        kept.app.note_panicked_call();
                        tracing::error!(listener = kept.kind.as_str(), "a connection panicked");
                    },
                }
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

    /// A connection to its end. It holds its slot from here on, the handshake included.
    async fn take(
        self,
        mut stream: TcpStream,
        (peer, mut slot): (IpAddr, Slot),
        watcher: Watcher,
        mut stop: watch::Receiver<bool>,
    ) {
        let met = self.meet(&mut stream, peer, &mut slot, &mut stop).await;
        let Some(peer) = met else {
            return;
        };
        let stream = Impatient::new(stream);
        let Some(tls) = self.app.settings.tls.of(self.kind) else {
            return self.carry(stream, (peer, None), watcher).await;
        };
        let acceptor = TlsAcceptor::from(tls.config());
        let stream = Cleared::new(stream);
        if let Some(stream) = self.shake_hands(acceptor, stream, peer, stop).await {
            let shown = stream.get_ref().1.peer_certificates();
            let shown = shown.and_then(|chain| tls::shown::of(chain.first()?));
            let from = (peer, shown.map(Arc::new));
            self.carry(stream, from, watcher).await;
        }
    }

    /// Who is at the other end, unless the connection is not taken.
    async fn meet(
        &self,
        stream: &mut TcpStream,
        peer: IpAddr,
        slot: &mut Slot,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Peer> {
        let settings = &self.app.settings;
        if !address::is_trusted(peer, &settings.trusted_proxies) {
            let taken = !settings.behind_proxies.contains(&self.kind);
            if !taken {
                self.turn_away("only trusted proxies may connect");
            }
            return taken.then_some(Peer::At(peer));
        }
        if !settings.proxy_protocol.contains(&self.kind) {
            return Some(Peer::At(peer));
        }
        let told = tokio::select! {
            biased;
            told = tokio::time::timeout(PROXY_TIMEOUT, proxy::read(stream)) => told,
            () = stopped(stop) => return None,
        };
        match told {
            Ok(Ok(Peer::At(ip))) if !slot.pass_to(self.occupant(ip)) => {
                self.turn_away("it holds enough of them");
                None
            }
            Ok(Ok(peer)) => Some(peer),
            Ok(Err(error)) => {
                self.turn_away(&error.to_string());
                None
            }
            Err(late) => {
                self.turn_away(&late.to_string());
                None
            }
        }
    }

    /// Whose a connection from `ip` is.
    fn occupant(&self, ip: IpAddr) -> Occupant {
        let ip = ip.to_canonical();
        if address::is_trusted(ip, &self.app.settings.trusted_proxies) {
            Occupant::Proxy(ip)
        } else {
            Occupant::Address(limit::site(ip))
        }
    }

    /// Scanners and load balancers' checks do it all day, so it is no warning.
    fn turn_away(&self, why: &str) {
        let listener = self.kind.as_str();
        tracing::debug!(why, listener, "a connection is not taken");
        self.app
            .metrics
            .connections_refused
            .of(self.kind)
            .increment();
    }

    /// Agrees on TLS, in time, unless the server is to stop meanwhile: nothing was asked yet.
    async fn shake_hands(
        &self,
        acceptor: TlsAcceptor,
        stream: Cleared<Impatient<TcpStream>>,
        peer: Peer,
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

    /// A client certificate that is missing or not good ends the connection before there is a
    /// request.
    fn refuse_certificate(&self, peer: Peer) {
        let trusted = &self.app.settings.trusted_proxies;
        let call = Call {
            id: self.ids.next(),
            ip: address::of_caller(peer, &HeaderMap::new(), trusted),
            certificate: None,
            listener: self.kind,
            app: Arc::clone(&self.app),
        };
        let why = (Denied::Certificate, None);
        self.app.note_refused(&call, self.kind.as_str(), why);
    }

    async fn carry(
        self,
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        (peer, certificate): (Peer, Option<Arc<ClientCertificate>>),
        watcher: Watcher,
    ) {
        let log = self.clone();
        let turns = Arc::new(Turns::default());
        let rest = Duration::from_secs(self.app.settings.idle_secs.into());
        let io = Paced::new(Cleared::new(io), Arc::clone(&turns), rest + REST_GRACE);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            turns.begin();
            let (listener, certificate) = (self.clone(), certificate.clone());
            let turns = Arc::clone(&turns);
            async move {
                let keeps = keeps_connection(&request);
                let request = request.map(Body::new);
                let mut answer = listener.answer(peer, certificate, request).await;
                let is_open = keeps && !answer.headers().contains_key(CONNECTION);
                if is_open && let Some(told) = listener.keep_alive.clone() {
                    let headers = answer.headers_mut();
                    headers.insert(KEEP_ALIVE, told);
                    // RFC 9110 7.6.1: it is for the next hop alone.
                    headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
                }
                turns.end();
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // `Paced` has time limits instead.
            .header_read_timeout(None)
            // A caller that says no more may still wait for its answer. Looking for that while a
            // request runs would take another buffer for each.
            .half_close(true)
            .max_headers(64)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service);
        if let Err(error) = watcher.watch(connection).await {
            // A client that begins with HTTP/2 gets no answer.
            if error.is_parse() && !error.is_parse_version_h2() {
                let status = if error.is_parse_too_large() {
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
                } else {
                    StatusCode::BAD_REQUEST
                };
                log.refused_by_http(peer, status);
            }
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Whether what was asked leaves the connection open for the next request (RFC 9112 9.3). HTTP/1.0
/// knows no `timeout` to be told.
fn keeps_connection(request: &Request<Incoming>) -> bool {
    let mut options = request.headers().get_all(CONNECTION).iter();
    request.version() == Version::HTTP_11
        && !options.any(|listed| {
            let listed = listed.to_str().unwrap_or_default().split(',');
            listed
                .map(str::trim)
                .any(|option| option.eq_ignore_ascii_case("close"))
        })
}

fn keep_alive(secs: u32) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("timeout={secs}")).ok()
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
