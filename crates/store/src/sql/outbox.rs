//! Subscriptions, and what is queued for them.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::audit::{Event, personal};
use cardveil_core::clock::Time;
use cardveil_core::hook::{Bell, Delivery, Line, Subscription};
use cardveil_core::id::{DeliveryId, MerchantId, SubscriptionId};
use cardveil_core::port::rows::{Loaded, OutboxRows};
use cardveil_core::port::{Counts, DeliveryFilter, Outbox, Result};

use super::lookups::Lookups;
use super::question::{self, Question};
use super::rows::{self, SUBSCRIPTION, delivery_columns};
use super::table::Statement;
use super::value::{Json, Row as _, values};
use super::{Loads, Sql, sql_count};
use crate::Store;

pub(crate) const FIND_DELIVERY: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM delivery WHERE delivery.id = $1"
);

/// Enabled subscriptions with a line whose head is due.
pub(crate) static DUE_SUBSCRIPTIONS: Statement = Statement::new(|| {
    let columns = SUBSCRIPTION.select();
    format!(
        "SELECT {columns}
         FROM (SELECT subscription.*, (SELECT min(due_at) FROM delivery
                 WHERE delivery.subscription = subscription.id AND head = true) AS due
             FROM subscription WHERE enabled) AS subscription
         WHERE due <= $1 ORDER BY due"
    )
});

/// Heads that are due to a subscription.
pub(crate) const DUE_DELIVERIES: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    ", audit.event, audit.personal FROM delivery JOIN audit ON audit.seq = delivery.seq
     WHERE delivery.subscription = $1 AND delivery.head = true AND delivery.due_at <= $2
     ORDER BY delivery.due_at, delivery.seq LIMIT $3"
);

/// Takes the mark from the head of a line. The time is one that all are after: with it the index of
/// heads is used.
pub(crate) const UNMARK: &str = "UPDATE delivery SET head = false
     WHERE subscription = $1 AND line = $2 AND head = true AND due_at > $3";

impl<B: Sql> OutboxRows for Loads<'_, B> {
    fn subscription(&self, id: SubscriptionId) -> Loaded<Option<Subscription>> {
        // A rewrap changes it too.
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", SUBSCRIPTION.find()));
        self.row(&SUBSCRIPTION, &FIND, values![id.as_bytes()], |row| {
            rows::subscription(row)
        })
    }

    fn subscriptions_of(&self, merchant: &MerchantId) -> Loaded<usize> {
        const SQL: &str = "SELECT count(*) FROM subscription WHERE merchant = $1";
        self.count(SQL, values![merchant.as_str()])
    }

    fn add_subscription(&self, new: &Subscription) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| SUBSCRIPTION.add());
        self.subscriptions_change();
        self.add_row(&SUBSCRIPTION, &ADD, new)
    }

    fn save_subscription(&self, next: &Subscription) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| SUBSCRIPTION.save());
        self.subscriptions_change();
        self.save_row(&SUBSCRIPTION, &SAVE, next)
    }

    fn delete_subscription(&self, id: SubscriptionId) -> Loaded<bool> {
        const SQL: &str = "DELETE FROM subscription WHERE id = $1";
        self.subscriptions_change();
        // Its version is known from here on. One that was altered goes too.
        self.subscription(id)?;
        self.versions()
            .goes(SUBSCRIPTION.key_of(&values![id.as_bytes()]));
        Ok(self.execute(SQL, values![id.as_bytes()])? > 0)
    }

    fn due_subscriptions(&self, now: Time) -> Loaded<Vec<Subscription>> {
        let due = self.all(&DUE_SUBSCRIPTIONS, values![now.millis()], |row| {
            let due = self.load(&SUBSCRIPTION, row, || rows::subscription(row));
            row.keep(self.left_out(), "subscription", due)
        })?;
        Ok(due.into_iter().flatten().flatten().collect())
    }

    fn deliveries_under_way(&self, id: SubscriptionId, now: Time) -> Loaded<usize> {
        const SQL: &str =
            "SELECT count(*) FROM delivery WHERE subscription = $1 AND leased_until > $2";
        self.count(SQL, values![id.as_bytes(), now.millis()])
    }

    fn due_deliveries(
        &self,
        id: SubscriptionId,
        now: Time,
        limit: usize,
    ) -> Loaded<Vec<(Delivery, Event)>> {
        let values = values![id.as_bytes(), now.millis(), sql_count(limit)];
        self.all(DUE_DELIVERIES, values, |row| {
            let (stored, personal): (String, Option<String>) = (row.get(14)?, row.get(15)?);
            let event = personal::event(&stored, personal.as_deref());
            // What is no event the adapter says in its own words.
            let event = event.map_or_else(|| row.json(14), Ok)?;
            Ok((rows::delivery(row)?, event))
        })
    }

    fn deliveries_due_after(&self, after: Time, limit: usize) -> Loaded<Vec<Delivery>> {
        const SQL: &str = concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM delivery WHERE state = 'waiting' AND due_at > $1 LIMIT $2"
        );
        let values = values![after.millis(), sql_count(limit)];
        self.all(SQL, values, |row| rows::delivery(row))
    }

    fn delivery(&self, id: DeliveryId) -> Loaded<Option<Delivery>> {
        self.first(FIND_DELIVERY, values![id.as_bytes()], |row| {
            rows::delivery(row)
        })
    }

    fn deliveries(&self, ids: &[DeliveryId]) -> Loaded<Vec<Delivery>> {
        self.0.deliveries(ids).map_err(Into::into)
    }

    fn save_delivery(&self, next: &Delivery) -> Loaded<()> {
        self.send(
            "UPDATE delivery SET since = $2, attempts = $3, due_at = $4, leased_until = $5,
                 state = $6, ended_at = $7, last = $8
             WHERE id = $1",
            values![
                next.id.as_bytes(),
                next.since.millis(),
                next.attempts,
                next.due_at.millis(),
                next.leased_until.map(Time::millis),
                next.state.as_str(),
                next.state.ended_at().map(Time::millis),
                next.last.map(Json),
            ],
        )?;
        Ok(())
    }

    /// The order is [`Delivery::head`]'s.
    fn mend_line(&self, subscription: SubscriptionId, line: Line) -> Loaded<()> {
        let line = line.to_string();
        self.send(UNMARK, values![subscription.as_bytes(), &line, i64::MIN])?;
        self.send(
            "UPDATE delivery SET head = true WHERE id = (
                 SELECT id FROM delivery WHERE subscription = $1 AND line = $2 AND state = 'waiting'
                 ORDER BY leased_until IS NULL, seq LIMIT 1)",
            values![subscription.as_bytes(), &line],
        )?;
        Ok(())
    }

    fn drop_deliveries(&self, subscription: SubscriptionId, limit: usize) -> Loaded<usize> {
        let mut dropped = 0;
        for sql in [
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE subscription = $1 AND head = false LIMIT $2)",
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE subscription = $1 AND head = true LIMIT $2)",
        ] {
            let most = sql_count(limit - dropped);
            dropped += self.execute(sql, values![subscription.as_bytes(), most])?;
        }
        Ok(dropped)
    }

    fn forget_deliveries(&self, before: Time, limit: usize) -> Loaded<usize> {
        self.execute(
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE state = 'delivered' AND ended_at < $1 LIMIT $2)",
            values![before.millis(), sql_count(limit)],
        )
    }

    fn ring(&self) {
        self.0.ring();
    }
}

#[async_trait]
impl<D: Lookups> Outbox for Store<D> {
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        static FIND: Statement = Statement::new(|| SUBSCRIPTION.find());
        let id = values![id.as_bytes()];
        self.row(&SUBSCRIPTION, &FIND, id, |row| rows::subscription(row))
            .await
    }

    async fn subscriptions(&self, merchant: Option<&MerchantId>) -> Result<Vec<Subscription>> {
        let (left_out, macs) = (Arc::clone(self.0.left_out()), Arc::clone(self.macs()));
        let found = self.ask(question::subscriptions(merchant), move |row| {
            let read = || rows::subscription(row);
            row.keep(
                &left_out,
                "subscription",
                SUBSCRIPTION.load(&macs, row, 0, read),
            )
        });
        Ok(found.await?.into_iter().flatten().flatten().collect())
    }

    async fn next_due(&self) -> Result<Option<Time>> {
        // Heads that may be due, to subscriptions that are told now.
        const SQL: &str = "SELECT min((SELECT min(due_at) FROM delivery
                 WHERE delivery.subscription = subscription.id AND head = true))
             FROM subscription WHERE enabled";
        let due = self.first(SQL, [], |row| row.get(0)).await?;
        Ok(due.flatten())
    }

    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<(i64, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        let question = question::deliveries(filter, after, limit);
        self.ask(question, |row| rows::delivery(row)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        let id = values![id.as_bytes()];
        self.first(FIND_DELIVERY, id, |row| rows::delivery(row))
            .await
    }

    async fn outbox_counts(&self) -> Result<Counts> {
        const SQL: &str = "SELECT (SELECT count(*) FROM delivery WHERE state = 'waiting'),
                (SELECT count(*) FROM delivery WHERE state = 'failed')";
        let counted = self.ask(Question::new(SQL), |row| {
            Ok(Counts {
                waiting: row.get(0)?,
                failed: row.get(1)?,
            })
        });
        Ok(counted.await?.pop().unwrap_or_default())
    }

    fn bell(&self) -> Bell {
        self.0.bell()
    }
}
