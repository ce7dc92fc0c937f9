//! Figures for `/metrics`: plain atomics, because a metrics library's macro costs a third of a bare
//! request. No label holds anything of a caller or a card.

mod latency;
mod process;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

use cardveil_core::Time;
use cardveil_core::audit::refused::Denied;
use cardveil_core::flow::NotTaken;
use cardveil_core::keys::{self, ClassKey};
use cardveil_core::port::{Class, Counts, Load, Store};
use cardveil_core::token::Epoch;

use self::latency::Latencies;
pub(crate) use self::latency::Outcome;
use self::text::{Kind, Text};
use crate::http::ListenerKind;
use crate::http::app::App;
use crate::http::sink_health::SinkHealth;
use crate::http::tls;

/// Counters of this process.
#[derive(Default)]
pub struct Metrics {
    pub tokens_issued: Counter,
    /// Redemptions that released fields.
    pub redemptions_released: Counter,
    pub redemptions_refused: Counter,
    /// Redemptions refused because another key held the token.
    pub redemptions_conflict: Counter,
    /// Texts that were presented as tokens and were refused before any lookup: not in the form of
    /// one.
    pub tokens_malformed: Counter,
    /// The same: in the form of one that we did not make.
    pub tokens_forged: Counter,
    /// The same: ours, and past their life.
    pub tokens_past_life: Counter,
    /// Cards whose data went to a merchant's own server.
    pub cards_exported: Counter,
    /// PINs told to a merchant's own server.
    pub pins_released: Counter,
    /// Releases that no browser confirmed.
    pub releases_unconfirmed: Counter,
    /// Rows that decide which were compared with what is on record of them.
    pub rows_compared: Counter,
    /// Calls that were refused at the door, by cause.
    pub access_refused: ByCause,
    /// Requests that ended in a fault of ours.
    pub faults: Counter,
    /// Calls, connections and workers that panicked.
    pub panics: Counter,
    /// Calls refused for being too many.
    pub rate_limited: Counter,
    /// Exchanges with the other nodes that failed, so that this one's rate limits are its own.
    pub limit_exchanges_failed: Counter,
    /// Webhooks that their receivers took.
    pub webhooks_delivered: Counter,
    /// Attempts to deliver a webhook that failed.
    pub webhook_attempts_failed: Counter,
    /// Webhooks that were given up. They are kept.
    pub webhooks_given_up: Counter,
    pub requests: ByListener,
    /// Those among them that HTTP itself refuses, by their head.
    pub requests_malformed: ByListener,
    /// Connections that were closed before anything was asked: from others than trusted proxies
    /// where only those may connect, or without the header of the PROXY protocol.
    pub connections_refused: ByListener,
    /// Connections that did not come to an agreement on TLS.
    pub tls_handshakes_failed: ByListener,
    /// How long requests take.
    pub(crate) latencies: Latencies,
}

/// A count for each listener.
#[derive(Default)]
pub struct ByListener([Counter; 3]);

impl ByListener {
    pub const fn of(&self, kind: ListenerKind) -> &Counter {
        let [merchant, client, admin] = &self.0;
        match kind {
            ListenerKind::Merchant => merchant,
            ListenerKind::Client => client,
            ListenerKind::Admin => admin,
        }
    }
}

/// A count for each cause of a refusal at the door.
#[derive(Default)]
pub struct ByCause([Counter; Denied::ALL.len()]);

impl ByCause {
    pub fn of(&self, denied: Denied) -> &Counter {
        let place = Denied::ALL.iter().position(|known| *known == denied);
        let [first, ..] = &self.0;
        place.and_then(|place| self.0.get(place)).unwrap_or(first)
    }
}

/// A count that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    /// The count of texts that are no tokens, for one reason.
    pub(crate) const fn token_not_taken(&self, why: NotTaken) -> &Counter {
        match why {
            NotTaken::Form => &self.tokens_malformed,
            NotTaken::Check => &self.tokens_forged,
            NotTaken::PastLife => &self.tokens_past_life,
        }
    }

    /// All of it, with what the store told in time.
    pub(crate) fn render(&self, app: &App, told: &StoreFigures) -> String {
        let mut text = Text::default();
        text.family(
            "cardveil_build_info",
            Kind::Gauge,
            "1, with the program's version.",
        );
        let version = env!("CARGO_PKG_VERSION");
        text.sample("cardveil_build_info", &[("version", version)], 1);
        self.render_by_listener(&mut text);
        self.latencies.render(&mut text);
        self.render_tls(&mut text, &app.settings.tls);
        self.render_counters(&mut text);
        text.one(
            "cardveil_vault_tampered_total",
            Kind::Counter,
            "Records that did not open because they were altered or moved.",
            app.service.vault().alarms(),
        );
        text.one(
            "cardveil_rows_unreadable",
            Kind::Gauge,
            "Rows that lists leave out because they cannot be read.",
            app.service.store().left_out().len(),
        );
        text.one(
            "cardveil_access_log_dropped_total",
            Kind::Counter,
            "Lines that the access log lacks.",
            app.log.dropped(),
        );
        let now = app.service.now();
        render_load(&mut text, app.service.store().load());
        if let Some(ahead) = app.service.clock_ahead() {
            let help = "How far the clock is ahead of the database's; negative when behind.";
            let secs = ahead.secs();
            text.one("cardveil_clock_ahead_seconds", Kind::Gauge, help, secs);
        }
        told.render(&mut text, now);
        render_sinks(&mut text, &app.sinks.standings(), now);
        process::render(&mut text, app.started);
        text.into_string()
    }

    fn render_by_listener(&self, text: &mut Text) {
        let figures = [
            ("requests", "Requests.", &self.requests),
            (
                "requests_malformed",
                "Those among them that HTTP itself refuses, by their head.",
                &self.requests_malformed,
            ),
            (
                "connections_refused",
                "Connections that were closed before anything was asked.",
                &self.connections_refused,
            ),
        ];
        for (name, help, figure) in figures {
            let name = format!("cardveil_{name}_total");
            let values = ListenerKind::ALL.map(|kind| (kind, figure.of(kind).value()));
            by_listener(text, &name, (Kind::Counter, help), &values);
        }
    }

    fn render_counters(&self, text: &mut Text) {
        let counters = [
            (
                "tokens_issued",
                "Client tokens issued.",
                &self.tokens_issued,
            ),
            (
                "redemptions_released",
                "Redemptions that released fields.",
                &self.redemptions_released,
            ),
            (
                "redemptions_refused",
                "Redemptions that were refused.",
                &self.redemptions_refused,
            ),
            (
                "redemptions_conflict",
                "Redemptions refused because another key held the token.",
                &self.redemptions_conflict,
            ),
            (
                "tokens_malformed",
                "Texts that came as tokens and have not the form of one.",
                &self.tokens_malformed,
            ),
            (
                "tokens_forged",
                "Texts that came as tokens and were not made here.",
                &self.tokens_forged,
            ),
            (
                "tokens_past_life",
                "Tokens that came after their life, refused before any lookup.",
                &self.tokens_past_life,
            ),
            (
                "cards_exported",
                "Cards whose data went to a merchant's own server.",
                &self.cards_exported,
            ),
            (
                "pins_released",
                "PINs told to a merchant's own server.",
                &self.pins_released,
            ),
            (
                "releases_unconfirmed",
                "Releases that no browser confirmed.",
                &self.releases_unconfirmed,
            ),
            (
                "rows_compared",
                "Rows that decide, compared with what is on record of them.",
                &self.rows_compared,
            ),
            (
                "faults",
                "Answers with a status of 500 or more.",
                &self.faults,
            ),
            (
                "panics",
                "Calls, connections and workers that panicked.",
                &self.panics,
            ),
            (
                "rate_limited",
                "Calls refused for being too many.",
                &self.rate_limited,
            ),
            (
                "limit_exchanges_failed",
                "Exchanges of rates with the other nodes that failed.",
                &self.limit_exchanges_failed,
            ),
            (
                "webhooks_delivered",
                "Webhooks that their receivers took.",
                &self.webhooks_delivered,
            ),
            (
                "webhook_attempts_failed",
                "Attempts to deliver a webhook that failed.",
                &self.webhook_attempts_failed,
            ),
            (
                "webhooks_given_up",
                "Webhooks that were given up, and are kept.",
                &self.webhooks_given_up,
            ),
        ];
        for (name, help, counter) in counters {
            let name = format!("cardveil_{name}_total");
            text.one(&name, Kind::Counter, help, counter.value());
        }
        self.render_refused(text);
    }

    fn render_refused(&self, text: &mut Text) {
        let name = "cardveil_access_refused_total";
        let help = "Calls refused at the door, by cause.";
        text.family(name, Kind::Counter, help);
        for denied in Denied::ALL {
            let count = self.access_refused.of(denied).value();
            text.sample(name, &[("cause", denied.as_str())], count);
        }
    }

    /// Of the listeners that speak TLS.
    fn render_tls(&self, text: &mut Text, tls: &tls::Listeners) {
        type Figure = fn(&Metrics, ListenerKind, &tls::Tls) -> u64;
        let figures: [(&str, Kind, &str, Figure); 3] = [
            (
                "cardveil_tls_handshakes_failed_total",
                Kind::Counter,
                "Connections that did not come to an agreement on TLS.",
                |metrics, kind, _| metrics.tls_handshakes_failed.of(kind).value(),
            ),
            (
                "cardveil_tls_certificate_expires_seconds",
                Kind::Gauge,
                "When the certificate is over, in Unix time.",
                |_, _, tls| u64::from(tls.expires().secs_u32()),
            ),
            (
                "cardveil_tls_certificate_stale",
                Kind::Gauge,
                "1 where new files are there and cannot be used.",
                |_, _, tls| u64::from(tls.is_stale()),
            ),
        ];
        for (name, kind, help, figure) in figures {
            let of = |(kind, tls): (ListenerKind, &_)| (kind, figure(self, kind, tls));
            let values: Vec<_> = tls
                .present()
                .map(|(kind, tls)| of((kind, &**tls)))
                .collect();
            if !values.is_empty() {
                by_listener(text, name, (kind, help), &values);
            }
        }
    }
}

/// What the store is asked for. What it does not tell in time is left out: figures are wanted most
/// when it stalls.
#[derive(Default)]
pub(crate) struct StoreFigures {
    outbox: Option<Counts>,
    epoch: Option<Epoch>,
    keys: Option<Vec<ClassKey>>,
}

impl StoreFigures {
    /// Asks it.
    pub(crate) async fn of(store: &dyn Store) -> Self {
        let (outbox, epoch, keys) =
            tokio::join!(store.outbox_counts(), store.epoch(), store.class_keys());
        Self {
            outbox: outbox.ok(),
            epoch: epoch.ok(),
            keys: keys.ok(),
        }
    }

    fn render(&self, text: &mut Text, now: Time) {
        if let Some(Counts { waiting, failed }) = self.outbox {
            let help = "Webhooks that wait to be delivered.";
            text.one("cardveil_webhooks_waiting", Kind::Gauge, help, waiting);
            let help = "Webhooks that were given up and are kept.";
            text.one("cardveil_webhooks_failed", Kind::Gauge, help, failed);
        }
        if let Some(Epoch(epoch)) = self.epoch {
            let help = "The epoch: no token of an older one is good.";
            text.one("cardveil_epoch", Kind::Gauge, help, epoch);
        }
        let Some(keys) = &self.keys else {
            return;
        };
        let name = "cardveil_key_age_seconds";
        let help = "Since when the active key of a class is in use.";
        text.family(name, Kind::Gauge, help);
        for class in Class::ALL {
            let made = keys::active(keys, class).and_then(|key| key.created_at);
            if let Some(made) = made {
                let age = now.millis().saturating_sub(made.millis()).max(0) / 1_000;
                text.sample(name, &[("class", class.name())], age);
            }
        }
    }
}

fn render_load(text: &mut Text, load: Load) {
    let name = "cardveil_store_writes_waiting";
    let help = "Writes that wait for the writer.";
    text.one(name, Kind::Gauge, help, load.writes_waiting);
    let name = "cardveil_store_writes_waiting_max";
    let help = "How many may wait: more are refused.";
    text.one(name, Kind::Gauge, help, load.writes_most);
    let name = "cardveil_store_connections_busy";
    let help = "Connections that look something up.";
    text.one(name, Kind::Gauge, help, load.lookups_busy);
    let name = "cardveil_store_connections_max";
    let help = "How many there may be: when all are busy, lookups wait.";
    text.one(name, Kind::Gauge, help, load.lookups_most);
}

/// How far the audit log's sinks are behind.
fn render_sinks(text: &mut Text, sinks: &[SinkHealth], now: Time) {
    type Figure = fn(&SinkHealth, Time) -> u64;
    let figures: [(&str, &str, Figure); 3] = [
        (
            "cardveil_audit_sink_lag_entries",
            "Entries that the sink does not have yet.",
            |sink, _| sink.lag.entries,
        ),
        (
            "cardveil_audit_sink_lag_seconds",
            "The age of the first of them.",
            |sink, now| sink.lag.age(now).as_secs(),
        ),
        (
            "cardveil_audit_sink_full",
            "1 where the sink is required and too far behind, so that nothing is released.",
            |sink, _| u64::from(sink.is_full),
        ),
    ];
    for (name, help, figure) in figures.iter().filter(|_| !sinks.is_empty()) {
        text.family(name, Kind::Gauge, help);
        for sink in sinks {
            text.sample(name, &[("sink", sink.name.as_str())], figure(sink, now));
        }
    }
}

/// One figure for several listeners.
fn by_listener(
    text: &mut Text,
    name: &str,
    (kind, help): (Kind, &str),
    values: &[(ListenerKind, u64)],
) {
    text.family(name, kind, help);
    for (listener, value) in values {
        text.sample(name, &[("listener", listener.as_str())], value);
    }
}
