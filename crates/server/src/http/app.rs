//! What all listeners, calls and workers of a process share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cardveil_core::flow::Fault;
use cardveil_core::id::CredentialId;
use cardveil_core::port::Writes;
use cardveil_core::verb::{Commit, NoteUses};
use cardveil_core::{Service, Time};
use ipnet::IpNet;
use tokio::runtime::Handle;

use super::ListenerKind;
use super::design::Design;
use super::font::Font;
use super::limit::{Limiter, Limits};
use super::lists::Lists;
use super::log::AccessLog;
use super::metrics::Metrics;
use super::panics::Panics;
use super::refused::Door;
use super::sink_health::Board;
use super::tls;

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
    /// The designs that cards' faces may wear.
    pub designs: Vec<Design>,
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
    pub(crate) runtime: Handle,
    pub(crate) log: AccessLog,
    pub(crate) started: Time,
    draining: AtomicBool,
    pub(crate) panics: Panics,
    pub(crate) sinks: Board,
    pub(crate) limiter: Limiter,
    pub(crate) door: Door,
    uses: Mutex<BTreeMap<CredentialId, Time>>,
    pub(crate) lists: Lists,
}

impl App {
    /// Puts it together, in the runtime in which calls will be served. Each request has its line in
    /// `log`.
    pub fn new(service: Service, settings: Settings, log: AccessLog) -> Arc<Self> {
        let limiter = Limiter::new(settings.limits, &service);
        Arc::new(Self {
            started: service.now(),
            service,
            settings,
            metrics: Metrics::default(),
            runtime: Handle::current(),
            log,
            draining: AtomicBool::new(false),
            panics: Panics::default(),
            sinks: Board::default(),
            limiter,
            door: Door::default(),
            uses: Mutex::default(),
            lists: Lists::default(),
        })
    }

    /// From now on `/readyz` says that nothing new is to be sent here, and each answer that it is
    /// the last on its connection. It goes on serving.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A credential was used. Written later, by [`Self::write_uses`].
    pub(crate) fn note_use(&self, credential: &CredentialId) {
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
        Ok(self.service.store().commit(NoteUses(uses)).await?)
    }

    /// Whether the process runs, and a restart would make nothing better.
    pub fn is_healthy(&self) -> bool {
        self.health().is_ok()
    }

    /// Why only a restart helps, where it does.
    pub(crate) fn health(&self) -> Result<(), Ailment> {
        if self.is_draining() {
            return Ok(());
        }
        if self.service.store().writes() == Writes::Ended {
            return Err(Ailment::WriterEnded);
        }
        if self.panics.need_restart() {
            return Err(Ailment::Panicking);
        }
        Ok(())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// Why only a restart helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ailment {
    /// The store's writer has ended after a fault of its own.
    WriterEnded,
    /// Calls end in panics, and none is carried through.
    Panicking,
}

/// How handlers get at it.
pub(crate) type Shared = axum::extract::State<Arc<App>>;
