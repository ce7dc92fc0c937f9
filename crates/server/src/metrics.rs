//! Figures for `/metrics`: plain atomics, because a metrics library's macro costs a third of a bare
//! request. No label holds anything of a caller or a card.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use cardveil_core::port::Counts;

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
    /// Cards whose data went to a merchant's own server.
    pub cards_exported: Counter,
    /// PINs told to a merchant's own server.
    pub pins_released: Counter,
    /// Releases that no browser confirmed.
    pub releases_unconfirmed: Counter,
    /// Requests that ended in a fault of ours.
    pub faults: Counter,
    /// Calls refused for being too many.
    pub rate_limited: Counter,
    /// Webhooks that their receivers took.
    pub webhooks_delivered: Counter,
    /// Attempts to deliver a webhook that failed.
    pub webhook_attempts_failed: Counter,
    /// Webhooks that were given up. They are kept.
    pub webhooks_given_up: Counter,
    /// Requests, by listener: merchant, client, admin.
    pub requests: [Counter; 3],
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
    /// The Prometheus text format, version 0.0.4; without the outbox where that cannot be read.
    pub(crate) fn render(&self, outbox: Option<Counts>) -> String {
        let mut text = String::new();
        let [merchant, client, admin] = &self.requests;
        let requests = [("merchant", merchant), ("client", client), ("admin", admin)];
        text.push_str("# TYPE cardveil_requests_total counter\n");
        for (listener, counter) in requests {
            let _ = writeln!(
                text,
                "cardveil_requests_total{{listener=\"{listener}\"}} {}",
                counter.value()
            );
        }
        let counters = [
            ("tokens_issued", &self.tokens_issued),
            ("redemptions_released", &self.redemptions_released),
            ("redemptions_refused", &self.redemptions_refused),
            ("redemptions_conflict", &self.redemptions_conflict),
            ("cards_exported", &self.cards_exported),
            ("pins_released", &self.pins_released),
            ("releases_unconfirmed", &self.releases_unconfirmed),
            ("faults", &self.faults),
            ("rate_limited", &self.rate_limited),
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
}
