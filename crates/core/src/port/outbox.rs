//! The outbox: subscriptions, and what is on its way to them.

use async_trait::async_trait;

use super::Result;
use crate::audit::{Event, Source};
use crate::clock::Time;
use crate::hook::{Attempted, Bell, Delivery, Patch, Patched, Subscription};
use crate::id::{DeliveryId, MerchantId, SubscriptionId};

/// What a courier asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// What is due by now.
    pub now: Time,
    /// Until when it is the courier's. Each of one store's leases of a delivery ends at another
    /// moment, since the next begins when the last has ended.
    pub lease_until: Time,
    /// At most so many.
    pub limit: usize,
    /// At most so many of one subscription under way at once, in all couriers together, so that one
    /// slow receiver does not hold the others up.
    pub per_subscription: usize,
}

/// A delivery that a courier has taken, with all that its message is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The delivery, under its lease.
    pub delivery: Delivery,
    /// To whom.
    pub subscription: Subscription,
    /// The event.
    pub event: Event,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Of this merchant.
    pub merchant: Option<MerchantId>,
    /// To this subscription.
    pub subscription: Option<SubscriptionId>,
    /// In the state of this name.
    pub state: Option<&'static str>,
    /// Of events that happened at or after this moment.
    pub since: Option<Time>,
}

/// How much is in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries that wait.
    pub waiting: usize,
    /// Deliveries that were given up and are kept.
    pub failed: usize,
}

/// The outbox. **Whatever writes an event with a [topic](Event::topic) queues it in the same
/// commit**, by [`Subscription::queue`] for each of its merchant's subscriptions that
/// [hears](Subscription::hears) it: that is no verb of its own, but part of all the others.
///
/// Subscriptions are added, set and removed by [`super::Admin::change`]; a removed one takes its
/// deliveries with it, all in one commit: [`Outbox::drop_deliveries`] first, where there may be
/// many.
///
/// Attempts write no audit event: each is in the delivery's row, whose cause is in the log, and
/// giving up is in both. After an unknown outcome a lease or an attempt may be there or not; either
/// way the delivery is due again when the lease ends.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// The subscription of this id.
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>>;

    /// All subscriptions, or a merchant's, in the order in which they came.
    async fn subscriptions(&self, merchant: Option<&MerchantId>) -> Result<Vec<Subscription>>;

    /// Applies [`Patch::decide`], inside the write, over the row as it then is.
    async fn patch_subscription(&self, patch: Patch) -> Result<Patched>;

    /// Applies [`Delivery::lease`] to what is due to enabled subscriptions: of each line only its
    /// [head](Delivery::head), the longest due first within a subscription. To one courier at a
    /// time, in all processes together.
    async fn take_due(&self, take: Take) -> Result<Vec<Due>>;

    /// When [`Outbox::take_due`] next has something to give, if nothing else happens.
    async fn next_due(&self) -> Result<Option<Time>>;

    /// Applies [`Attempted::decide`]. Returns the row as it then is, or `None` when the lease was
    /// over.
    async fn record_attempt(&self, attempted: Attempted) -> Result<Option<Delivery>>;

    /// Up to `limit` deliveries that come after the place `after`, by their events' places in the
    /// log and then by their ids.
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<(i64, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>>;

    /// The delivery of this id.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>>;

    /// Applies [`Delivery::replay`] to those of these that there are, all of one subscription, and
    /// records who did that, in one commit; tells how many they were. Without one it writes
    /// nothing.
    async fn replay(&self, deliveries: Vec<DeliveryId>, at: Time, source: Source) -> Result<usize>;

    /// Deletes up to `limit` deliveries, in whatever state, to a subscription that is not enabled;
    /// tells how many. What is dropped is on record by whoever disabled it, so that nothing is
    /// dropped here without a record. What is left is as it was: each of its lines still has its
    /// head.
    async fn drop_deliveries(&self, subscription: SubscriptionId, limit: usize) -> Result<usize>;

    /// Applies [`Delivery::dated`] to up to `limit` deliveries, so that none waits for the time of
    /// a clock that was ahead; tells how many.
    async fn date_anew(&self, now: Time, limit: usize) -> Result<usize>;

    /// Deletes up to `limit` deliveries that arrived before `before`; tells how many.
    async fn forget(&self, before: Time, limit: usize) -> Result<usize>;

    /// How much is in it.
    async fn outbox_counts(&self) -> Result<Counts>;

    /// Rung after a commit of this process that queued something or recorded an attempt.
    fn bell(&self) -> Bell;
}
