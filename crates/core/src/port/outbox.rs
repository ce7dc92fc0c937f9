//! The outbox: subscriptions, and what is on its way to them.

use async_trait::async_trait;

use super::Result;
use crate::audit::Event;
use crate::clock::Time;
use crate::hook::{Bell, Delivery, Subscription};
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
    pub event: Event,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub merchant: Option<MerchantId>,
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
/// Subscriptions are added and removed by [`crate::verb::Changes`]; a removed one takes its
/// deliveries with it, all in one commit: [`crate::verb::DropDeliveries`] first, where there may be
/// many.
///
/// Attempts write no audit event: each is in the delivery's row, whose cause is in the log, and
/// giving up is in both. After an unknown outcome a lease or an attempt may be there or not; either
/// way the delivery is due again when the lease ends.
#[async_trait]
pub trait Outbox: Send + Sync {
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>>;

    /// All subscriptions, or a merchant's, in the order in which they came.
    async fn subscriptions(&self, merchant: Option<&MerchantId>) -> Result<Vec<Subscription>>;

    /// When a [`Take`] next has something to give, if nothing else happens.
    async fn next_due(&self) -> Result<Option<Time>>;

    /// Up to `limit` deliveries that come after the place `after`, by their events' places in the
    /// log and then by their ids.
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<(i64, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>>;

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>>;

    /// How much is in it.
    async fn outbox_counts(&self) -> Result<Counts>;

    /// Rung after a commit of this process that queued something or recorded an attempt.
    fn bell(&self) -> Bell;
}
