//! The outbox in memory.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::audit::Source;
use cardveil_core::clock::Time;
use cardveil_core::hook::{
    Attempted, Bell, Delivery, Patch, Patched, Settled, State, Subscription, delivery,
};
use cardveil_core::id::{DeliveryId, MerchantId, SubscriptionId};
use cardveil_core::port::{Counts, DeliveryFilter, Due, Outbox, Result, Take};

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

    fn subscription(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.subscriptions.iter().find(|known| known.id == id)
    }

    /// The delivery of each line that may be taken next, to enabled subscriptions, longest due
    /// first.
    fn heads(&self) -> Vec<&Delivery> {
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

    fn put(&mut self, next: Delivery) {
        if let Some(row) = self.deliveries.iter_mut().find(|d| d.id == next.id) {
            *row = next;
        }
    }

    fn due(&self, delivery: &Delivery) -> Option<Due> {
        let place = usize::try_from(delivery.seq).ok()?.checked_sub(1)?;
        Some(Due {
            delivery: delivery.clone(),
            subscription: self.subscription(delivery.subscription)?.clone(),
            event: self.written.get(place)?.clone(),
        })
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

    async fn patch_subscription(&self, patch: Patch) -> Result<Patched> {
        let mut inner = self.inner();
        let decided = patch.decide(inner.subscription(patch.id));
        if let Some((next, event)) = decided.write {
            inner.refuse_retired(next.deks())?;
            if let Some(row) = inner.subscriptions.iter_mut().find(|s| s.id == patch.id) {
                *row = *next;
            }
            inner.log(event);
        }
        Ok(decided.verdict)
    }

    async fn take_due(&self, take: Take) -> Result<Vec<Due>> {
        let mut inner = self.inner();
        let mut taken: Vec<Delivery> = Vec::new();
        for head in inner.heads() {
            let leased = |d: &&Delivery| {
                d.subscription == head.subscription && d.leased_until.is_some_and(|l| l > take.now)
            };
            let under_way = inner.deliveries.iter().filter(leased).count()
                + taken.iter().filter(leased).count();
            if taken.len() < take.limit && under_way < take.per_subscription {
                taken.extend(head.lease(take.now, take.lease_until));
            }
        }
        for delivery in &taken {
            inner.put(delivery.clone());
        }
        Ok(taken.iter().filter_map(|d| inner.due(d)).collect())
    }

    async fn next_due(&self) -> Result<Option<Time>> {
        Ok(self.inner().heads().first().map(|head| head.due_at))
    }

    async fn record_attempt(&self, attempted: Attempted) -> Result<Option<Delivery>> {
        let mut inner = self.inner();
        let row = inner.deliveries.iter().find(|d| d.id == attempted.delivery);
        match attempted.decide(row) {
            Settled::Nothing => Ok(None),
            Settled::Change(next, event) => {
                inner.put((*next).clone());
                if let Some(event) = event {
                    inner.log(*event);
                }
                inner.bell.ring();
                Ok(Some(*next))
            }
        }
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

    async fn replay(&self, deliveries: Vec<DeliveryId>, at: Time, source: Source) -> Result<usize> {
        let mut inner = self.inner();
        let chosen: Vec<_> = inner
            .deliveries
            .iter()
            .filter(|d| deliveries.contains(&d.id))
            .map(|d| d.replay(at))
            .collect();
        for next in &chosen {
            inner.put(next.clone());
        }
        if let Some(event) = delivery::replayed(&chosen, at, &source) {
            inner.log(event);
            inner.bell.ring();
        }
        Ok(chosen.len())
    }

    async fn drop_deliveries(&self, subscription: SubscriptionId, limit: usize) -> Result<usize> {
        let mut inner = self.inner();
        let before = inner.deliveries.len();
        if inner.subscription(subscription).is_some_and(|s| !s.enabled) {
            let mut left = limit;
            inner.deliveries.retain(|delivery| {
                let dropped = delivery.subscription == subscription && left > 0;
                left -= usize::from(dropped);
                !dropped
            });
        }
        Ok(before - inner.deliveries.len())
    }

    async fn date_anew(&self, now: Time, limit: usize) -> Result<usize> {
        let mut inner = self.inner();
        let dated = inner.deliveries.iter().filter_map(|d| d.dated(now));
        let dated: Vec<_> = dated.take(limit).collect();
        for next in &dated {
            inner.put(next.clone());
        }
        Ok(dated.len())
    }

    async fn forget(&self, before: Time, limit: usize) -> Result<usize> {
        let mut inner = self.inner();
        let old = |d: &&Delivery| matches!(d.state, State::Delivered(at) if at < before);
        let old: Vec<_> = inner.deliveries.iter().filter(old).map(|d| d.id).collect();
        let old = old.get(..limit.min(old.len())).unwrap_or_default().to_vec();
        inner.deliveries.retain(|d| !old.contains(&d.id));
        Ok(old.len())
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
