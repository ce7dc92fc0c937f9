//! Figures for `/metrics`: plain atomics, because a metrics library's macro costs a third of a bare
//! request. No label holds anything of a caller or a card.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use cardveil_core::Time;
use cardveil_core::audit::refused::Denied;
use cardveil_core::flow::NotTaken;
use cardveil_core::port::Counts;

use crate::sinks::Standing;
use crate::{ListenerKind, tls};

/// Counters of this process.
#[derive(Default)]
pub struct Metrics {
    /// Tokens issued.
    pub tokens_issued: Counter,
    /// Redemptions that released fields.
    pub redemptions_released: Counter,
    /// Redemptions that were refused.
    pub redemptions_refused: Counter,
    /// Redemptions refused because another key held the token.
    pub redemptions_conflict: Counter,
    /// Texts that were presented as tokens and were refused before any lookup: not in the form of one.
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
    /// Requests.
    pub requests: ByListener,
    /// Those among them that HTTP itself refuses, by their head.
    pub requests_malformed: ByListener,
    /// Connections that were closed before anything was asked: from others than trusted proxies where only
    /// those may connect, or without the header of the PROXY protocol.
    pub connections_refused: ByListener,
    /// Connections that did not come to an agreement on TLS.
    pub tls_handshakes_failed: ByListener,
}

/// A count for each listener.
#[derive(Default)]
pub struct ByListener([Counter; 3]);

impl ByListener {
    /// That of one listener.
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
    /// That of one cause.
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

    /// The Prometheus text format, version 0.0.4; without the outbox where that cannot be read.
    /// `tampered` counts the records that did not open because they were altered or moved.
    pub(crate) fn render(
        &self,
        outbox: Option<Counts>,
        tampered: u64,
        tls: &tls::Listeners,
    ) -> String {
        let mut text = String::new();
        let figures = [
            ("requests_total counter", &self.requests),
            ("requests_malformed_total counter", &self.requests_malformed),
            (
                "connections_refused_total counter",
                &self.connections_refused,
            ),
        ];
        for (name, figure) in figures {
            let values = ListenerKind::ALL.map(|kind| (kind, figure.of(kind).value()));
            by_listener(&mut text, name, &values);
        }
        self.render_tls(&mut text, tls);
        let counters = [
            ("tokens_issued", &self.tokens_issued),
            ("redemptions_released", &self.redemptions_released),
            ("redemptions_refused", &self.redemptions_refused),
            ("redemptions_conflict", &self.redemptions_conflict),
            ("tokens_malformed", &self.tokens_malformed),
            ("tokens_forged", &self.tokens_forged),
            ("tokens_past_life", &self.tokens_past_life),
            ("cards_exported", &self.cards_exported),
            ("pins_released", &self.pins_released),
            ("releases_unconfirmed", &self.releases_unconfirmed),
            ("faults", &self.faults),
            ("panics", &self.panics),
            ("rate_limited", &self.rate_limited),
            ("limit_exchanges_failed", &self.limit_exchanges_failed),
            ("webhooks_delivered", &self.webhooks_delivered),
            ("webhook_attempts_failed", &self.webhook_attempts_failed),
            ("webhooks_given_up", &self.webhooks_given_up),
        ];
        for (name, counter) in counters {
            let _ = writeln!(
                text,
                "# TYPE cardveil_{name}_total counter\ncardveil_{name}_total {}",
                counter.value()
            );
        }
        let name = "cardveil_access_refused_total";
        let _ = writeln!(text, "# TYPE {name} counter");
        for denied in Denied::ALL {
            let (cause, count) = (denied.as_str(), self.access_refused.of(denied).value());
            let _ = writeln!(text, "{name}{{cause=\"{cause}\"}} {count}");
        }
        let name = "cardveil_vault_tampered_total";
        let _ = writeln!(text, "# TYPE {name} counter\n{name} {tampered}");
        if let Some(Counts { waiting, failed }) = outbox {
            for (name, value) in [("waiting", waiting), ("failed", failed)] {
                let _ = writeln!(
                    text,
                    "# TYPE cardveil_webhooks_{name} gauge\ncardveil_webhooks_{name} {value}"
                );
            }
        }
        text
    }

    /// Of the listeners that speak TLS.
    fn render_tls(&self, text: &mut String, tls: &tls::Listeners) {
        type Figure = fn(&Metrics, ListenerKind, &tls::Tls) -> u64;
        let figures: [(&str, Figure); 3] = [
            ("tls_handshakes_failed_total counter", |metrics, kind, _| {
                metrics.tls_handshakes_failed.of(kind).value()
            }),
            ("tls_certificate_expires_seconds gauge", |_, _, tls| {
                u64::from(tls.expires().secs_u32())
            }),
            ("tls_certificate_stale gauge", |_, _, tls| {
                u64::from(tls.is_stale())
            }),
        ];
        for (name, figure) in figures {
            let of = |(kind, tls): (ListenerKind, &_)| (kind, figure(self, kind, tls));
            let values: Vec<_> = tls
                .present()
                .map(|(kind, tls)| of((kind, &**tls)))
                .collect();
            if !values.is_empty() {
                by_listener(text, name, &values);
            }
        }
    }
}

/// Rows that lists leave out because they cannot be read.
pub(crate) fn render_left_out(text: &mut String, rows: usize) {
    let name = "cardveil_rows_unreadable";
    let _ = writeln!(text, "# TYPE {name} gauge\n{name} {rows}");
}

/// Lines that the access log lacks.
pub(crate) fn render_dropped(text: &mut String, lines: u64) {
    let name = "cardveil_access_log_dropped_total";
    let _ = writeln!(text, "# TYPE {name} counter\n{name} {lines}");
}

/// How far the audit log's sinks are behind.
pub(crate) fn render_sinks(text: &mut String, sinks: &[Standing], now: Time) {
    type Figure = fn(&Standing, Time) -> u64;
    let figures: [(&str, Figure); 3] = [
        ("lag_entries", |sink, _| sink.lag.entries),
        ("lag_seconds", |sink, now| sink.lag.age(now).as_secs()),
        ("full", |sink, _| u64::from(sink.is_full)),
    ];
    for (name, figure) in figures.iter().filter(|_| !sinks.is_empty()) {
        let _ = writeln!(text, "# TYPE cardveil_audit_sink_{name} gauge");
        for sink in sinks {
            let (label, value) = (&sink.name, figure(sink, now));
            let _ = writeln!(
                text,
                "cardveil_audit_sink_{name}{{sink=\"{label}\"}} {value}"
            );
        }
    }
}

/// One figure for several listeners; `typed` is its name and its type.
fn by_listener(text: &mut String, typed: &str, values: &[(ListenerKind, u64)]) {
    let _ = writeln!(text, "# TYPE cardveil_{typed}");
    let name = typed.split(' ').next().unwrap_or_default();
    for (kind, value) in values {
        let listener = kind.as_str();
        let _ = writeln!(text, "cardveil_{name}{{listener=\"{listener}\"}} {value}");
    }
}
