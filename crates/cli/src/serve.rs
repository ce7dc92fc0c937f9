//! Serving: the three listeners, the courier, the sweep, and an end in good order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::audit::Kind;
use cardveil_core::clock::{Ahead, Steadiness};
use cardveil_core::flow::{Fault, Purged, Signing};
use cardveil_core::keys;
use cardveil_seal::SystemEntropy;
use cardveil_server::courier::{Courier, SystemResolver};
use cardveil_server::log::AccessLog;
use cardveil_server::sinks::Sinks;
use cardveil_server::{App, Listener, ListenerKind, Sharing, listener, refused};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::config::Config;
use crate::demo;
use crate::deployment::Deployment;
use crate::log;
use crate::operate::networks;
use crate::print::{self, hinted};
use crate::process::{self, OpenFiles, Swap};

/// How often it is looked whether certificates were renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often it is signed how far the audit log has come.
const SIGN_EVERY: Duration = Duration::from_secs(600);
/// How often all cards are gone through for those that have expired.
/// For how long the clock must have gone evenly before cards are removed by it.
const STEADY: Duration = Duration::from_secs(3_600);
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);
const PURGE_EVERY: Duration = Duration::from_secs(86_400);
/// How long after a failure the purge goes on at the same place.
const PURGE_AGAIN: Duration = Duration::from_secs(5);
/// How many cards are gone through at a time.
const PURGE_CARDS: usize = 500;
/// How often tokens are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const WRITE_USES_EVERY: Duration = Duration::from_secs(300);
/// How many rows a sweep takes at a time, so that redemptions wait for milliseconds at the most.
const SWEEP_ROWS: usize = 1_000;

/// `cardveil serve`.
pub(crate) async fn run(config: &Path) -> anyhow::Result<()> {
    let log = log::start("info");
    let telling = tokio::spawn(log.clone().tell_repeated());
    let ended = serve(config).await;
    telling.abort();
    log.tell_rest();
    ended
}

async fn serve(config: &Path) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    if demo::credentials_present(&deployment.service).await? {
        return Err(hinted(
            "this database holds the demo's credentials, which everyone knows",
            "make a deployment of your own with `cardveil init`",
        ));
    }
    refuse_exposed(&deployment.config)?;
    tell_of_networks(&deployment).await?;
    refuse_clock_apart(&deployment).await?;
    let mut stop = StopSignal::listen()?;
    lock_memory();
    tell_of_open_files();
    tell_of_framing(&deployment.config);
    let running = Running::start(deployment).await?;
    process::notify("READY=1");
    running.tell_start().await;
    stop.received().await;
    process::notify("STOPPING=1");
    running.drain(&mut stop).await;
    running.stop().await
}

fn lock_memory() {
    match process::lock_memory() {
        Swap::Locked => tracing::info!("memory is locked, so nothing of it goes to swap"),
        Swap::NoneThere => tracing::info!("memory is not locked, and there is no swap"),
        Swap::Possible => tracing::warn!(
            hint = "LimitMEMLOCK=infinity in the service's unit, or switch swap off",
            "memory is not locked, so keys and card data could be written to swap"
        ),
    }
}

fn tell_of_open_files() {
    let files = process::raise_open_files();
    if files.are_few() {
        tracing::warn!(
            most = files.most,
            enough = OpenFiles::enough(),
            hint = "LimitNOFILE= in the service's unit, or ulimits of the container",
            "few files may be open, so callers are turned away before the listeners are full"
        );
    }
}

/// Says what nobody can see from here.
fn tell_of_framing(config: &Config) {
    for name in config.audit.framing_assumed() {
        tracing::warn!(
            sink.name = name.as_str(),
            hint = "look at what it kept, then say framing = \"octet_counting\" or \"newline\"",
            "a syslog receiver is taken to count lengths: one that knows lines alone may keep nothing"
        );
    }
}

/// Says once that credentials may be called from further away than was meant.
async fn tell_of_networks(house: &Deployment) -> anyhow::Result<()> {
    let (now, proxies) = (house.service.now(), &house.config.network.trusted_proxies);
    let credentials = house.store.credentials().await?;
    let in_use = credentials.iter().filter(|known| known.usable(now).is_ok());
    let networks = in_use
        .map(|known| networks::wide(known, proxies).len())
        .sum::<usize>();
    if networks > 0 {
        tracing::warn!(
            networks,
            hint = "cardveil doctor names them",
            "networks from which credentials may call are wide, or have a trusted proxy in them"
        );
    }
    Ok(())
}

/// A node whose clock is far from its peers' would refuse their tokens.
async fn refuse_clock_apart(house: &Deployment) -> anyhow::Result<()> {
    match house.service.compare_clocks().await? {
        Some(ahead) if ahead.is_too_far() => Err(hinted(
            format!("the clock is {ahead} of the database's"),
            "have both keep time by NTP (timedatectl, chronyc tracking)",
        )),
        _ => Ok(()),
    }
}

/// A live deployment shows no token and no card to the network.
fn refuse_exposed(config: &Config) -> anyhow::Result<()> {
    let exposed = config.exposed_listeners();
    if exposed.is_empty() {
        return Ok(());
    }
    Err(hinted(
        format!(
            "live, and in the clear for all to reach: {}",
            exposed.join(", ")
        ),
        "give it a certificate ([tls.merchant], [tls.client]), listen on loopback, or name the proxy \
         that ends TLS before it in network.trusted_proxies",
    ))
}

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
            let listener = Listener::new(&app, kind, Arc::new(SystemEntropy));
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
    async fn tell_start(&self) {
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

    /// Tells load balancers to send nothing new, and gives them the time to hear it. Another signal ends
    /// the wait.
    async fn drain(&self, stop: &mut StopSignal) {
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

/// Health and figures are told by a thread and a runtime of their own: also while all others are busy, which
/// is when they are wanted. What is returned ends with it.
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

/// Reads the listeners' certificates again on SIGHUP, and when their files change.
async fn renew(app: Arc<App>, hangup: Arc<Mutex<Signal>>, mut stop: watch::Receiver<bool>) {
    let mut hangup = hangup.lock().await;
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let always = tokio::select! {
            () = listener::stopped(&mut stop) => return,
            _ = hangup.recv() => true,
            _ = ticks.tick() => false,
        };
        let app = Arc::clone(&app);
        let read = move || app.settings.tls.reload(always, app.service.now());
        // It logs what it does; a panic in it has been printed.
        let _ = tokio::task::spawn_blocking(read).await;
    }
}

/// Goes through all cards, a bounded piece at a time, removes what has expired, and begins anew a day later.
/// What it removes does not come back: it does nothing before the clock has been steady for [`STEADY`].
async fn purge(app: Arc<App>, keep: Duration, mut stop: watch::Receiver<bool>) {
    let mut place = None;
    let started = Instant::now();
    let mut steadiness = Steadiness::default();
    let mut pause = Duration::ZERO;
    let mut rested = Duration::ZERO;
    loop {
        // In pieces, so that a jump is seen before it is acted upon.
        let rest = pause.saturating_sub(rested).min(LOOK_AT_CLOCK);
        tokio::select! {
            () = listener::stopped(&mut stop) => return,
            () = tokio::time::sleep(rest) => {}
        }
        rested += rest;
        let steady = steadiness.look(app.service.now(), started.elapsed());
        if steady < STEADY {
            pause = pause.max(rested + STEADY.saturating_sub(steady));
        }
        if rested < pause {
            continue;
        }
        rested = Duration::ZERO;
        let begun = Instant::now();
        let purged = app.service.purge_expired(keep, place, PURGE_CARDS).await;
        pause = purge_pause(purged.as_ref().ok(), begun.elapsed());
        match purged {
            Ok(purged) => {
                place = purged.next;
                if purged.unreadable > 0 {
                    let cards = purged.unreadable;
                    tracing::error!(cards, "cards whose expiry does not open are kept");
                }
            }
            Err(error) => {
                tracing::error!(error = chain(error), "the purge failed; it will try again");
            }
        }
    }
}

/// How long the purge rests after a piece, none if it failed. While there is more it rests for as long as
/// the piece took: at most half of one connection's time is its, however slow the store is.
fn purge_pause(purged: Option<&Purged>, took: Duration) -> Duration {
    match purged {
        None => PURGE_AGAIN,
        Some(purged) if purged.next.is_some() => took,
        Some(_) => PURGE_EVERY,
    }
}

/// Signs how far the audit log has come: at the start, for what a crash left unsigned, and then now and
/// again.
async fn sign(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SIGN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = listener::stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        match app.service.sign_log().await {
            Ok(signing) => tell_signing(signing),
            Err(error) => {
                let error = chain(error);
                tracing::error!(
                    error,
                    "the audit log could not be signed; it will be tried again"
                );
            }
        }
    }
}

fn tell_signing(signing: Signing) {
    match signing {
        Signing::Done | Signing::Nothing => {}
        Signing::Anew { place, epoch } => tracing::warn!(
            place,
            epoch = epoch.0,
            "the audit log lacks what this server signed last, as after a restore: the epoch was raised \
             since, and it is signed anew"
        ),
        Signing::Rewritten { place } => tracing::error!(
            place,
            hint = "a copy of the log tells which entry: `cardveil audit verify --against FILE`",
            "the audit log is not what this server signed, so it signs no more"
        ),
    }
}

/// An error with its sources, as one line.
fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

/// Notices a rotation, so that new records are sealed under the new key.
async fn look_at_keys(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(keys::LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = listener::stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        match app.service.look_at_keys().await {
            Ok(true) => {
                failing = false;
                tracing::info!("the class keys have changed, and are open");
            }
            Ok(false) => failing = false,
            // Those that are open stay so. Said once, or it would be said every few seconds.
            Err(fault) if !failing => {
                failing = true;
                let what = keys_unseen(&fault);
                tracing::error!(error = chain(fault), "{what}");
            }
            Err(_) => {}
        }
    }
}

/// A store that does not answer says nothing of the keys.
fn keys_unseen(fault: &Fault) -> &'static str {
    match fault {
        Fault::Store(_) => {
            "it could not be looked whether the class keys have changed: the store does not answer"
        }
        Fault::Vault(_) | Fault::Contention | Fault::SinkFull | Fault::ClockApart(_) => {
            "the class keys have changed, and do not open here"
        }
    }
}

/// Writes when credentials were last used: now and again, and at the end.
async fn write_uses(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(WRITE_USES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let ends = tokio::select! {
            () = listener::stopped(&mut stop) => true,
            _ = ticks.tick() => false,
        };
        if let Err(error) = app.write_uses().await {
            tracing::warn!(
                error = chain(error),
                "when credentials were used was not written"
            );
        }
        if ends {
            return;
        }
    }
}

/// Says once that the clock went astray, and once that it is right again.
///
/// `told` is what was said last: nothing at the start.
async fn compare_clocks(app: &App, told: &mut Option<Ahead>) {
    // A store that does not answer is told of by all others.
    let Ok(now) = app.service.compare_clocks().await else {
        return;
    };
    let is_told = |ahead: &Option<Ahead>| ahead.is_some_and(Ahead::is_told);
    let is_too_far = |ahead: &Option<Ahead>| ahead.is_some_and(Ahead::is_too_far);
    let before = std::mem::replace(told, now);
    let is_news = is_told(&before) != is_told(&now) || is_too_far(&before) != is_too_far(&now);
    let Some(ahead) = now.filter(|_| is_news) else {
        return;
    };
    let hint = "have both keep time by NTP (timedatectl, chronyc tracking)";
    if ahead.is_too_far() {
        tracing::error!(%ahead, hint, "the clock is too far from the database's: nothing is released");
    } else if ahead.is_told() {
        tracing::warn!(%ahead, hint, "the clock is not the database's");
    } else {
        tracing::info!("the clock is the database's again");
    }
}

/// Records what was never confirmed and deletes what is old, a bounded piece at a time.
async fn sweep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut told = None;
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = listener::stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        listener::tidy(&app);
        compare_clocks(&app, &mut told).await;
        loop {
            match app.service.sweep(SWEEP_ROWS).await {
                Ok(swept) => {
                    let unconfirmed = u64::try_from(swept.unconfirmed).unwrap_or(u64::MAX);
                    app.metrics.releases_unconfirmed.add(unconfirmed);
                    if !swept.more || *stop.borrow() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::error!(error = chain(error), "the sweep failed; it will try again");
                    break;
                }
            }
        }
    }
}

/// Tells the service manager that a restart would make nothing better, as often as it wants to hear that.
async fn watchdog(app: Arc<App>, every: Duration, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            () = listener::stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        if app.is_healthy() {
            process::notify("WATCHDOG=1");
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_of_the_database_is_not_told_as_a_change_of_keys() {
        let silent = cardveil_core::port::Error::Unavailable("the server does not answer".into());
        let told = keys_unseen(&Fault::Store(silent));
        assert!(told.ends_with("the store does not answer"), "{told}");
    }

    /// With 10^7 cards there are 20,000 pieces, so five seconds between them were more than a day; and a
    /// first piece that failed was tried again a day later.
    #[test]
    fn the_purge_rests_as_long_as_it_worked_and_a_day_when_all_cards_were_seen() {
        let took = Duration::from_millis(20);
        let after = |next| Purged {
            next,
            ..Purged::default()
        };
        assert_eq!(purge_pause(Some(&after(Some(500))), took), took);
        assert_eq!(purge_pause(Some(&after(None)), took), PURGE_EVERY);
        assert_eq!(purge_pause(None, took), PURGE_AGAIN);
    }
}
