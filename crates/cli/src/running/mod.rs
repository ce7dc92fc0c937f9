//! Serving: the three listeners, the courier, the sweep, and an end in good order.

pub(crate) mod log;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::audit::Kind;
use cardveil_seal::SystemEntropy;
use cardveil_server::courier::{Courier, SystemResolver};
use cardveil_server::log::AccessLog;
use cardveil_server::sinks::Sinks;
use cardveil_server::{App, Listener, ListenerKind, Sharing, mount, refused};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use self::work::{
    guard_rows, look_at_keys, purge, renew, sign, sweep, tell_signing, watchdog, write_uses,
};
use crate::deployment::{Deployment, process};
use crate::print::{self, hinted};

/// A deployment that serves.
pub(crate) struct Running {
    deployment: Deployment,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// The sinks' workers, which end last: they hand over what the end itself writes.
    sinks: (watch::Sender<bool>, JoinHandle<()>),
    log: cardveil_server::log::Writer,
}

impl Running {
    /// Binds the listeners and starts the courier and the sweep.
    pub(crate) async fn start(deployment: Deployment) -> anyhow::Result<Self> {
        let settings = deployment.config.settings(deployment.service.now())?;
        let (writer, log) = AccessLog::start(print::access_log())?;
        let app = App::new(deployment.service.clone(), settings, log);
        let (stop, stopped) = watch::channel(false);
        let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        let hangup = Arc::new(Mutex::new(hangup));
        let webhooks = deployment.config.webhooks()?;
        let audit = deployment.config.audit.settings()?;
        let listen = &deployment.config.listen;
        let mut tasks = JoinSet::new();
        let mut bound = Vec::new();
        for (kind, address) in [
            (ListenerKind::Merchant, listen.merchant),
            (ListenerKind::Client, listen.client),
            (ListenerKind::Admin, listen.admin),
        ] {
            bound.push((kind, bind(kind, address).await?));
        }
        deployment
            .service
            .record_server(Kind::ServerStarted)
            .await?;
        Sinks::new(&app, audit.clone()).look().await;
        let (stop_sinks, sinks_stopped) = watch::channel(false);
        let sinks = app.keep_up("audit sinks", &sinks_stopped, move |app, stop| {
            Sinks::new(&app, audit.clone()).run(stop)
        });
        let sinks = tokio::spawn(sinks);
        for (kind, tcp) in bound {
            let listener = mount::listener(&app, kind, Arc::new(SystemEntropy));
            match kind {
                ListenerKind::Merchant | ListenerKind::Client => {
                    let serving = listener.serve(tcp, stopped.clone());
                    tasks.spawn(Arc::clone(&app).watch_over("listener", serving));
                }
                ListenerKind::Admin => {
                    tasks.spawn(serve_apart(&app, listener, tcp, stopped.clone())?);
                }
            }
        }
        let courier = Courier::new(&app, webhooks, Arc::new(SystemResolver))?;
        tasks.spawn(app.keep_up("courier", &stopped, move |_, stop| {
            courier.clone().run(stop)
        }));
        tasks.spawn(app.keep_up("certificates", &stopped, move |app, stop| {
            renew(app, Arc::clone(&hangup), stop)
        }));
        tasks.spawn(app.keep_up("signing", &stopped, sign));
        tasks.spawn(app.keep_up("refusals", &stopped, refused::record_refused));
        tasks.spawn(app.keep_up("keys", &stopped, look_at_keys));
        if let Some(keep) = deployment.config.retention.expired_cards() {
            let purge = move |app, stop| purge(app, keep, stop);
            tasks.spawn(app.keep_up("retention", &stopped, purge));
        }
        let sharing = |app, stop| Sharing::new(app).run(stop);
        tasks.spawn(app.keep_up("limits", &stopped, sharing));
        tasks.spawn(app.keep_up("last use", &stopped, write_uses));
        tasks.spawn(app.keep_up("sweep", &stopped, sweep));
        tasks.spawn(app.keep_up("rows", &stopped, guard_rows));
        if let Some(every) = process::watchdog() {
            let watchdog = move |app, stop| watchdog(app, every, stop);
            tasks.spawn(app.keep_up("watchdog", &stopped, watchdog));
        }
        Ok(Self {
            deployment,
            app,
            stop,
            tasks,
            sinks: (stop_sinks, sinks),
            log: writer,
        })
    }

    /// The first line that an incident's log is looked through for: what runs, where, and on what.
    pub(crate) async fn tell_start(&self) {
        let (config, store) = (&self.deployment.config, &self.deployment.store);
        let listen = &config.listen;
        let (kind, database) = config.store.kind_and_place();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            environment = config.environment.as_str(),
            merchant = %listen.merchant,
            client = %listen.client,
            admin = %listen.admin,
            origin = config.client.origin,
            store = kind,
            database,
            // It serves already: a store that stalls now ends nothing.
            epoch = store.epoch().await.ok().map(|epoch| epoch.0),
            "cardveil serves"
        );
    }

    /// Tells load balancers to send nothing new, and gives them the time to hear it. Another signal
    /// ends the wait.
    pub(crate) async fn drain(&self, stop: &mut StopSignal) {
        self.app.drain();
        let delay = Duration::from_secs(self.deployment.config.shutdown.delay_secs.into());
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.received() => {}
        }
    }

    /// Refuses what is new, finishes what runs, and closes the store.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        self.app.record_refused().await;
        self.deployment
            .service
            .record_server(Kind::ServerStopped)
            .await?;
        tell_signing(self.deployment.service.sign_log().await?);
        let (stop, sinks) = self.sinks;
        stop.send_replace(true);
        // It logs what it does; a panic in it has been printed.
        let _ = sinks.await;
        let Deployment {
            service, backend, ..
        } = self.deployment;
        drop((service, self.app));
        backend.close();
        drop(self.log);
        Ok(())
    }
}

async fn bind(kind: ListenerKind, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        hinted(
            format!("cannot listen on {address} ({}): {error}", kind.as_str()),
            "another program may use the port: choose another one",
        )
    })
}

/// Health and figures are told by a thread and a runtime of their own: also while all others are
/// busy, which is when they are wanted. What is returned ends with it.
fn serve_apart(
    app: &Arc<App>,
    listener: Listener,
    tcp: TcpListener,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(cardveil_server::before_rest)
        .build()?;
    let tcp = tcp.into_std()?;
    let app = Arc::clone(app);
    let (ending, ended) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("cardveil-admin".into());
    thread.spawn(move || {
        let _ending = ending;
        let serving = async {
            match TcpListener::from_std(tcp) {
                Ok(tcp) => listener.serve(tcp, stopped).await,
                Err(error) => tracing::error!(%error, "the admin listener cannot be served"),
            }
        };
        runtime.block_on(app.watch_over("listener", serving));
        runtime.shutdown_background();
    })?;
    // Nothing is sent: it is over when the sender is gone.
    Ok(async { drop(ended.await) })
}

/// SIGINT or SIGTERM. Made before anyone is told that the server runs, so that none is missed.
pub(crate) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
