//! What a server does besides answering calls, again and again until it stops.
//!
//! To add one: a function here that ends when `stop` tells so, and its line in [`Running::start`].
//!
//! [`Running::start`]: super::Running::start

use std::sync::Arc;
use std::time::Duration;

use cardveil_core::audit::Source;
use cardveil_core::clock::{Ahead, Steadiness};
use cardveil_core::flow::{Fault, Purged, Signing};
use cardveil_core::keys;
use cardveil_core::port::RowPlace;
use cardveil_server::{App, listener};
use tokio::signal::unix::Signal;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::deployment::process;

/// How often it is looked whether certificates were renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often it is signed how far the audit log has come.
const SIGN_EVERY: Duration = Duration::from_secs(600);
/// For how long the clock must have gone evenly before cards are removed by it.
const STEADY: Duration = Duration::from_secs(3_600);
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);
/// How often all cards are gone through for those that have expired.
const PURGE_EVERY: Duration = Duration::from_secs(86_400);
/// How long after a failure the purge goes on at the same place.
const PURGE_AGAIN: Duration = Duration::from_secs(5);
/// How many cards are gone through at a time.
const PURGE_CARDS: usize = 500;
/// How often tokens are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const WRITE_USES_EVERY: Duration = Duration::from_secs(300);
/// How often a page of the rows that decide is compared with what is on record of them, and of how
/// many rows it is: 2,500 a second.
const CHECK_EVERY: Duration = Duration::from_millis(80);
const CHECK_ROWS: usize = 200;
/// How long it rests when it has gone through all rows.
const CHECK_AGAIN: Duration = Duration::from_secs(20);
/// How many rows are given MACs at a time.
const GUARD_ROWS: usize = 200;
/// How long after a failure it goes on at the same place.
const CHECK_LATER: Duration = Duration::from_secs(5);
/// How many rows a sweep takes at a time, so that redemptions wait for milliseconds at the most.
const SWEEP_ROWS: usize = 1_000;

/// Reads the listeners' certificates again on SIGHUP, and when their files change.
pub(super) async fn renew(
    app: Arc<App>,
    hangup: Arc<Mutex<Signal>>,
    mut stop: watch::Receiver<bool>,
) {
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

/// Goes through all cards, a bounded piece at a time, removes what has expired, and begins anew a
/// day later. What it removes does not come back: it does nothing before the clock has been steady
/// for [`STEADY`].
pub(super) async fn purge(app: Arc<App>, keep: Duration, mut stop: watch::Receiver<bool>) {
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

/// How long the purge rests after a piece, none if it failed. While there is more it rests for as
/// long as the piece took: at most half of one connection's time is its, however slow the store is.
fn purge_pause(purged: Option<&Purged>, took: Duration) -> Duration {
    match purged {
        None => PURGE_AGAIN,
        Some(purged) if purged.next.is_some() => took,
        Some(_) => PURGE_EVERY,
    }
}

/// Signs how far the audit log has come: at the start, for what a crash left unsigned, and then now
/// and again.
pub(super) async fn sign(app: Arc<App>, mut stop: watch::Receiver<bool>) {
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

pub(super) fn tell_signing(signing: Signing) {
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
pub(super) async fn look_at_keys(app: Arc<App>, mut stop: watch::Receiver<bool>) {
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
pub(super) async fn write_uses(app: Arc<App>, mut stop: watch::Receiver<bool>) {
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
pub(super) async fn sweep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut told = None;
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = listener::stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        listener::tidy(&app);
        if let Err(error) = app.service.tell_altered().await {
            tracing::error!(error = chain(error), "an altered row is not yet on record");
        }
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

/// Goes through all rows that decide again and again: gives them MACs until each has one, and from
/// then on compares them with what is on record of them.
pub(super) async fn guard_rows(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut place = RowPlace::default();
    let (mut began, mut pause) = (Instant::now(), Duration::ZERO);
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = listener::stopped(&mut stop) => return,
            () = tokio::time::sleep_until(began + pause) => {}
        }
        began = Instant::now();
        let done = match app.service.row_macs() {
            (_, true) => check_page(&app, &place).await,
            // Programs of the version before may serve, or have not noticed the key.
            (None, false) => {
                pause = keys::NOTICE;
                continue;
            }
            (Some(_), false) => guard_page(&app, &place).await,
        };
        match done {
            Ok(Some(next)) => (place, pause) = (next, CHECK_EVERY),
            Ok(None) => (place, pause) = (RowPlace::default(), CHECK_AGAIN),
            Err(error) => {
                pause = CHECK_LATER;
                // What cannot be compared keeps nobody from the rest. While rows get their MACs none
                // is passed over: at the end every row counts as having one.
                if app.service.row_macs().1 {
                    place = RowPlace {
                        kind: if has_failed { 0 } else { place.kind + 1 },
                        after: None,
                    };
                    has_failed = !has_failed;
                }
                let error = chain(error);
                tracing::error!(
                    error,
                    "rows could not be gone through; it will be tried again"
                );
            }
        }
    }
}

async fn check_page(app: &App, place: &RowPlace) -> Result<Option<RowPlace>, Fault> {
    let page = app.service.check_rows(place, CHECK_ROWS).await?;
    let compared = u64::try_from(page.checked).unwrap_or(u64::MAX);
    app.metrics.rows_compared.add(compared);
    Ok(page.next)
}

/// Where it is the last page, every row has a MAC.
async fn guard_page(app: &App, place: &RowPlace) -> Result<Option<RowPlace>, Fault> {
    let (place, source) = (place.clone(), Source::server());
    let page = app.service.guard_page(place, GUARD_ROWS, &source).await?;
    if page.next.is_none() && app.service.complete_rows(&source).await? {
        tracing::info!("every row that decides has a MAC: from now on one without is refused");
    }
    Ok(page.next)
}

/// Tells the service manager that a restart would make nothing better, as often as it wants to hear
/// that.
pub(super) async fn watchdog(app: Arc<App>, every: Duration, mut stop: watch::Receiver<bool>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_of_the_database_is_not_told_as_a_change_of_keys() {
        let silent = cardveil_core::port::Error::Unavailable("the server does not answer".into());
        let told = keys_unseen(&Fault::Store(silent));
        assert!(told.ends_with("the store does not answer"), "{told}");
    }

    /// With 10^7 cards there are 20,000 pieces, so five seconds between them were more than a day;
    /// and a first piece that failed was tried again a day later.
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
