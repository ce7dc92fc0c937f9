//! The outbox in memory.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::clock::Time;
use cardveil_core::hook::{Bell, Delivery, Subscription};
use cardveil_core::id::{DeliveryId, MerchantId, SubscriptionId};
use cardveil_core::port::{Counts, DeliveryFilter, Outbox, Result};

impl Inner {
    /// Queues the last event of the log for those who are told of it.
    pub(super) fn queue_last(&mut self) {
        let Some(event) = self.written.last() else {
            return;
        };
        let Some(topic) = event.topic() else {
            return;
        };
        let card = self.cards.iter().find(|c| Some(c.id) == event.target.card);
        let account = card.map(|card| &card.account);
        let seq = i64::try_from(self.written.len()).unwrap_or(i64::MAX);
        let before = self.deliveries.len();
        let told = self.subscriptions.iter().filter(|subscription| {
            Some(&subscription.merchant) == event.merchant.as_ref()
                && subscription.hears(topic, account)
        });
        let queued = told.map(|subscription| subscription.queue(seq, event, topic));
        self.deliveries.extend(queued);
        if self.deliveries.len() > before {
            self.bell.ring();
        }
    }

    pub(super) fn subscription(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.iter().find(|known| known.id == id)
    }

    /// The delivery of each line that may be taken next, to enabled subscriptions, longest due
    /// first.
    pub(super) fn heads(&self) -> Vec<&Delivery> {
        let enabled = |d: &&Delivery| self.subscription(d.subscription).is_some_and(|s| s.enabled);
        let is_head = |d: &&Delivery| {
            let same =
                |other: &&Delivery| other.subscription == d.subscription && other.line == d.line;
            Delivery::head(self.deliveries.iter().filter(same)).is_some_and(|h| h.id == d.id)
        };
        let mut heads: Vec<_> = self
            .deliveries
            .iter()
            .filter(enabled)
            .filter(is_head)
            .collect();
        heads.sort_by_key(|d| (d.due_at, d.seq));
        heads
    }
}

#[async_trait]
impl Outbox for Memory {
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        Ok(self.inner().subscription(id).cloned())
    }

    async fn subscriptions(&self, merchant: Option<&MerchantId>) -> Result<Vec<Subscription>> {
        let inner = self.inner();
        let of = |s: &&Subscription| merchant.is_none_or(|merchant| s.merchant == *merchant);
        Ok(inner.subscriptions.iter().filter(of).cloned().collect())
    }

    async fn next_due(&self) -> Result<Option<Time>> {
        Ok(self.inner().heads().first().map(|head| head.due_at))
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<(i64, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let inner = self.inner();
        let matches = |d: &&Delivery| {
            filter.merchant.as_ref().is_none_or(|m| *m == d.merchant)
                && filter.subscription.is_none_or(|s| s == d.subscription)
                && filter.state.is_none_or(|state| state == d.state.as_str())
                && filter.since.is_none_or(|since| d.queued_at >= since)
                && after.is_none_or(|after| (d.seq, d.id) > after)
        };
        let mut found: Vec<_> = inner.deliveries.iter().filter(matches).cloned().collect();
        found.sort_by_key(|d| (d.seq, d.id));
        found.truncate(limit);
        Ok(found)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        Ok(self.inner().deliveries.iter().find(|d| d.id == id).cloned())
    }

    async fn outbox_counts(&self) -> Result<Counts> {
        let inner = self.inner();
        let count = |name| {
            inner
                .deliveries
                .iter()
                .filter(|d| d.state.as_str() == name)
                .count()
        };
        Ok(Counts {
            waiting: count("waiting"),
            failed: count("failed"),
        })
    }

    fn bell(&self) -> Bell {
        self.inner().bell.clone()
    }
}
