//! Cardveil's HTTP: the two dialects, the native API, the client API, the frames, and the listeners
//! that carry them.
//!
//! A dialect is a thin translation: headers, names, codes and status on the outside, the flows of
//! `cardveil-core` inside. A handler reads top-down: admitted by its [`surface::Permission`], it
//! parses, calls one flow and translates the answer.
//!
//! **Invariant:** no route exists without a permission (P5): [`surface::Surface`] takes routes with
//! one only, and the permission *is* the check that runs before the handler.
//!
//! **Invariant:** nothing here logs a query string, a body, a header's value or a browser's address
//! (P3, P4): the access log writes the fields of [`log::Line`] and no others.
//!
//! To add a code to a dialect: its enum of codes, then follow the compiler to its one `match`.
//! To add a route: a handler with its `utoipa::path`, and a line in that module's `surface`.

mod admin;
mod api;
mod client;
mod equals;
mod http;
mod keysecure;
mod native;
mod workers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cardveil_core::flow::Fault;
use cardveil_core::id::CredentialId;
use cardveil_core::port::Writes;
use cardveil_core::{Service, Time};
use ipnet::IpNet;
use tokio::runtime::Handle;

pub use self::http::address::Peer;
pub use self::http::limit::{Limits, Sharing};
pub use self::http::listener::{self, Connections, Listener, ListenerKind};
pub use self::http::metrics::Metrics;
pub use self::http::stack::before_rest;
pub use self::http::{log, tls};
pub use api::openapi::document;
pub use api::surface;
pub use client::font::{FONT_BYTES_MAX, Font, FontStyle, InvalidFont};
pub use client::manifest;
pub use workers::{courier, fetch, refused, sinks};

use self::api::gate::Admitted;
use self::api::problem::Code;
use self::http::{limit, lists, panics};

/// What the HTTP side of a deployment is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The origin of the client listener as browsers see it, such as `https://cards.example`.
    pub client_origin: String,
    /// Peers whose `X-Forwarded-For` is believed. A caller is none of them.
    pub trusted_proxies: Vec<IpNet>,
    /// Listeners to which trusted proxies speak the PROXY protocol.
    pub proxy_protocol: Vec<ListenerKind>,
    /// Listeners that take connections from trusted proxies only.
    pub behind_proxies: Vec<ListenerKind>,
    /// How long a connection may rest between two requests, in seconds.
    pub idle_secs: u32,
    /// Whether the access log has probes of health that found nothing.
    pub log_probes: bool,
    /// How far in the future KeySecure's `Timestamp` may be, in milliseconds. The contract says 0.
    pub timestamp_future_tolerance_ms: u32,
    /// How often callers may call.
    pub limits: Limits,
    /// Whether webhooks may go to private addresses, and over plain HTTP.
    pub private_webhooks: bool,
    /// The fonts that frames may show.
    pub fonts: Vec<Font>,
    /// Which listeners speak TLS.
    pub tls: tls::Listeners,
}

/// What every handler shares.
pub struct App {
    /// The domain at work.
    pub service: Service,
    /// What it is told.
    pub settings: Settings,
    /// What it counts.
    pub metrics: Metrics,
    /// Where calls are served. The admin listener may be served elsewhere.
    runtime: Handle,
    log: log::AccessLog,
    started: Time,
    draining: AtomicBool,
    panics: panics::Panics,
    sinks: sinks::Board,
    limiter: limit::Limiter,
    door: refused::Door,
    uses: Mutex<BTreeMap<CredentialId, Time>>,
    lists: lists::Lists,
    frame: client::frame::Assets,
    manifest: manifest::Once,
}

impl App {
    /// Puts it together, in the runtime in which calls will be served. Each request has its line in `log`.
    pub fn new(service: Service, settings: Settings, log: log::AccessLog) -> Arc<Self> {
        let limiter = limit::Limiter::new(settings.limits, &service);
        let frame = client::frame::Assets::new(&settings.client_origin, &settings.fonts);
        Arc::new(Self {
            started: service.now(),
            service,
            settings,
            metrics: Metrics::default(),
            runtime: Handle::current(),
            log,
            draining: AtomicBool::new(false),
            panics: panics::Panics::default(),
            sinks: sinks::Board::default(),
            limiter,
            door: refused::Door::default(),
            uses: Mutex::default(),
            lists: lists::Lists::default(),
            frame,
            manifest: manifest::Once::default(),
        })
    }

    /// From now on `/readyz` says that nothing new is to be sent here, and each answer that it is the last
    /// on its connection. It goes on serving.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A credential was used. Written later, by [`Self::write_uses`].
    fn note_use(&self, credential: &CredentialId) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.service.now();
        match uses.get_mut(credential) {
            Some(at) => *at = now,
            None => {
                uses.insert(credential.clone(), now);
            }
        }
    }

    /// Writes which credentials were used since it was done last: one commit, in nobody's way.
    pub async fn write_uses(&self) -> Result<(), Fault> {
        let uses = {
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *uses)
        };
        if uses.is_empty() {
            return Ok(());
        }
        Ok(self.service.store().note_uses(uses).await?)
    }

    /// Has a list worked on for who was admitted.
    async fn list<T>(
        &self,
        admitted: &Admitted,
        list: impl Future<Output = T>,
    ) -> Result<T, lists::Busy> {
        let listed = self
            .lists
            .run(admitted.caller.credential.id.as_str(), list)
            .await;
        if listed.is_err() {
            self.metrics.rate_limited.increment();
        }
        listed
    }

    /// Whether the process runs, and a restart would make nothing better.
    pub fn is_healthy(&self) -> bool {
        self.health().is_ok()
    }

    fn health(&self) -> Result<(), Code> {
        if self.is_draining() {
            return Ok(());
        }
        if self.service.store().writes() == Writes::Ended {
            return Err(Code::Unavailable);
        }
        if self.panics.need_restart() {
            return Err(Code::Panicking);
        }
        Ok(())
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

type Shared = axum::extract::State<Arc<App>>;
