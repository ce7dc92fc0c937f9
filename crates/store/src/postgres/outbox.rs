//! The outbox: subscriptions, what is queued for them, and what becomes of it.
//!
//! All of it runs under the head of the audit log, one after the other in the whole cluster, so two
//! couriers never take the same delivery.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one is its
//! `head`: the one that [`Delivery::head`] names.

use std::collections::BTreeSet;

use cardveil_core::audit::Event;
use cardveil_core::clock::Time;
use cardveil_core::hook::{Delivery, Line, State, Subscription, Tried};
use cardveil_core::id::{AccountId, DeliveryId, MerchantId, SubscriptionId};
use cardveil_core::merchant::SealedSecret;
use cardveil_core::port::Error;
use cardveil_core::port::rows::{Loaded, OutboxRows};

use super::batch::Batch;
use super::fault::Fault;
use super::rows;
use super::value::{Json, Name, Row, Text, Value, values};
use super::{keep, sql_count};

type Outcome<T> = Result<T, Fault>;

/// The columns that [`subscription`] reads, first in a row.
macro_rules! subscription_columns {
    () => {
        "subscription.id, subscription.merchant, subscription.account, subscription.form, \
         subscription.url, subscription.topics, subscription.enabled, subscription.secret_dek, \
         subscription.secret, subscription.authorization_dek, subscription.\"authorization\", \
         subscription.credential, subscription.created_at, subscription.updated_at"
    };
}
pub(super) use subscription_columns;

/// The columns that [`delivery`] reads, first in a row.
macro_rules! delivery_columns {
    () => {
        "delivery.id, delivery.subscription, delivery.merchant, delivery.line, delivery.seq, \
         delivery.topic, delivery.queued_at, delivery.since, delivery.attempts, delivery.due_at, \
         delivery.leased_until, delivery.state, delivery.ended_at, delivery.last"
    };
}
pub(super) use delivery_columns;

const ENABLED: &str = concat!(
    "SELECT ",
    subscription_columns!(),
    " FROM subscription WHERE merchant = ANY ($1) AND enabled ORDER BY seq"
);

pub(super) const FIND_SUBSCRIPTION: &str = concat!(
    "SELECT ",
    subscription_columns!(),
    " FROM subscription WHERE id = $1"
);

/// Heads that may be due, to subscriptions that are told now.
pub(super) const NEXT_DUE: &str = "SELECT min((SELECT min(due_at) FROM delivery
         WHERE delivery.subscription = subscription.id AND head))
     FROM subscription WHERE enabled";

pub(super) fn subscription(row: &Row) -> Outcome<Subscription> {
    let sealed = |dek: usize| -> Outcome<Option<SealedSecret>> {
        let (wrapped, sealed): (Option<Vec<u8>>, Option<Vec<u8>>) =
            (row.get(dek)?, row.get(dek + 1)?);
        Ok(wrapped
            .zip(sealed)
            .map(|(dek, sealed)| SealedSecret { dek, sealed }))
    };
    let account: Option<Text<_>> = row.get(2)?;
    let credential: Option<Text<_>> = row.get(11)?;
    Ok(Subscription {
        id: SubscriptionId::from_bytes(row.get(0)?),
        merchant: rows::id(row, 1)?,
        account: account.map(|Text(id)| id),
        form: rows::name(row, 3)?,
        url: rows::id(row, 4)?,
        topics: rows::json(row, 5)?,
        enabled: row.get(6)?,
        secret: sealed(7)?,
        authorization: sealed(9)?,
        credential: credential.map(|Text(id)| id),
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
    })
}

pub(super) fn delivery(row: &Row) -> Outcome<Delivery> {
    let ended_at: Option<Time> = row.get(12)?;
    let name: String = row.get(11)?;
    let state = match (name.as_str(), ended_at) {
        ("waiting", None) => State::Waiting,
        ("delivered", Some(at)) => State::Delivered(at),
        ("failed", Some(at)) => State::Failed(at),
        _ => {
            let wrong = "a delivery in no known state";
            return Err(Fault::Own(Error::Corrupt(wrong.into())));
        }
    };
    let last: Option<Json<Tried>> = row.get(13)?;
    Ok(Delivery {
        id: DeliveryId::from_bytes(row.get(0)?),
        subscription: SubscriptionId::from_bytes(row.get(1)?),
        merchant: rows::id(row, 2)?,
        line: rows::id(row, 3)?,
        seq: row.get(4)?,
        topic: rows::name(row, 5)?,
        queued_at: row.get(6)?,
        since: row.get(7)?,
        attempts: row.get(8)?,
        due_at: row.get(9)?,
        leased_until: row.get(10)?,
        state,
        last: last.map(|Json(tried)| tried),
    })
}

macro_rules! subscription_params {
    ($new:ident) => {
        values![
            $new.id.as_bytes(),
            $new.merchant.as_str(),
            $new.account.as_ref().map(AccountId::as_str),
            Name($new.form),
            $new.url.as_str(),
            Json(&$new.topics),
            $new.enabled,
            $new.secret.as_ref().map(|secret| &secret.dek),
            $new.secret.as_ref().map(|secret| &secret.sealed),
            $new.authorization.as_ref().map(|secret| &secret.dek),
            $new.authorization.as_ref().map(|secret| &secret.sealed),
            $new.credential.as_ref().map(|id| id.as_str()),
            $new.created_at.millis(),
            $new.updated_at.millis(),
        ]
    };
}

/// The merchant who may be told of an event.
pub(super) fn listener(event: &Event) -> Option<&MerchantId> {
    event.topic().and(event.merchant.as_ref())
}

/// Looks up at once whom [`told`] is going to ask for.
pub(super) fn look_up_told(batch: &Batch<'_>, merchants: BTreeSet<MerchantId>) -> Outcome<()> {
    if merchants.is_empty() {
        return Ok(());
    }
    let ids: Value = merchants.iter().map(MerchantId::as_str).collect();
    let found = batch.all(ENABLED, [ids], subscription)?;
    let mut told = batch.told().borrow_mut();
    told.extend(merchants.into_iter().map(|id| (id, Vec::new())));
    for subscription in found {
        if let Some(of_merchant) = told.get_mut(&subscription.merchant) {
            of_merchant.push(subscription);
        }
    }
    Ok(())
}

/// Who is told of an event. Called under the head for every event that is logged; [`queue`] follows
/// when it has its place.
pub(super) fn told(batch: &Batch<'_>, event: &Event) -> Outcome<Vec<Subscription>> {
    let (Some(topic), Some(merchant)) = (event.topic(), listener(event)) else {
        return Ok(Vec::new());
    };
    if !batch.told().borrow().contains_key(merchant) {
        look_up_told(batch, BTreeSet::from([merchant.clone()]))?;
    }
    let known = batch.told().borrow().get(merchant).cloned();
    let subscriptions = known.unwrap_or_default();
    let account: Option<Text<AccountId>> = match event.target.card {
        Some(card) if subscriptions.iter().any(|s| s.account.is_some()) => batch.first(
            "SELECT account FROM card WHERE id = $1",
            values![card.as_bytes()],
            |row| row.get(0),
        )?,
        Some(_) | None => None,
    };
    let account = account.as_ref().map(|Text(account)| account);
    let hears = |subscription: &Subscription| subscription.hears(topic, account);
    Ok(subscriptions.into_iter().filter(hears).collect())
}

/// Queues the event at `seq` for one who is told of it. Under the head, as all that touches a line
/// is.
pub(super) fn queue(
    batch: &Batch<'_>,
    subscription: &Subscription,
    seq: i64,
    event: &Event,
) -> Outcome<()> {
    match event.topic() {
        Some(topic) => insert(batch, &subscription.queue(seq, event, topic)),
        None => Ok(()),
    }
}

/// The newest of its line: its head if nothing else waits there. Nothing is queued for a
/// subscription that was removed meanwhile.
fn insert(batch: &Batch<'_>, new: &Delivery) -> Result<(), Fault> {
    batch.send(
        "INSERT INTO delivery (id, subscription, merchant, line, seq, topic, queued_at, since,
             attempts, due_at, state, head)
         SELECT $1, $2, $3, $4, $5::bigint, $6, $7::bigint, $8::bigint, $9::bigint, $10::bigint, $11,
             NOT EXISTS (
                 SELECT 1 FROM delivery
                 WHERE subscription = $2 AND line = $4 AND state = 'waiting')
         WHERE EXISTS (SELECT 1 FROM subscription WHERE id = $2)",
        values![
            new.id.as_bytes(),
            new.subscription.as_bytes(),
            new.merchant.as_str(),
            new.line.to_string(),
            new.seq,
            Name(new.topic),
            new.queued_at.millis(),
            new.since.millis(),
            new.attempts,
            new.due_at.millis(),
            new.state.as_str(),
        ],
    )?;
    Ok(())
}

pub(super) const FIND: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM delivery WHERE delivery.id = $1"
);

impl OutboxRows for Batch<'_> {
    fn subscription(&self, id: SubscriptionId) -> Loaded<Option<Subscription>> {
        Ok(self.first(FIND_SUBSCRIPTION, values![id.as_bytes()], subscription)?)
    }

    fn subscriptions_of(&self, merchant: &MerchantId) -> Loaded<usize> {
        const SQL: &str = "SELECT count(*) FROM subscription WHERE merchant = $1";
        count(self, SQL, values![merchant.as_str()])
    }

    fn add_subscription(&self, new: &Subscription) -> Loaded<bool> {
        self.told().borrow_mut().clear();
        let added = self.execute(
            "INSERT INTO subscription (id, merchant, account, form, url, topics, enabled,
                 secret_dek, secret, authorization_dek, \"authorization\", credential, created_at,
                 updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT DO NOTHING",
            subscription_params!(new),
        )?;
        Ok(added > 0)
    }

    fn save_subscription(&self, next: &Subscription) -> Loaded<()> {
        self.told().borrow_mut().clear();
        self.execute(
            "UPDATE subscription SET merchant = $2, account = $3, form = $4, url = $5, topics = $6,
                 enabled = $7, secret_dek = $8, secret = $9, authorization_dek = $10,
                 \"authorization\" = $11, credential = $12, created_at = $13, updated_at = $14
             WHERE id = $1",
            subscription_params!(next),
        )?;
        Ok(())
    }

    fn delete_subscription(&self, id: SubscriptionId) -> Loaded<bool> {
        const SQL: &str = "DELETE FROM subscription WHERE id = $1";
        self.told().borrow_mut().clear();
        let deleted = self.execute(SQL, values![id.as_bytes()])?;
        Ok(deleted > 0)
    }

    fn due_subscriptions(&self, now: Time) -> Loaded<Vec<Subscription>> {
        const SQL: &str = concat!(
            "SELECT ",
            subscription_columns!(),
            " FROM subscription CROSS JOIN LATERAL (SELECT min(due_at) AS due FROM delivery
                WHERE delivery.subscription = subscription.id AND head) AS first
             WHERE enabled AND due <= $1 ORDER BY due"
        );
        let due = self.all(SQL, values![now.millis()], |row| {
            keep(self.left_out(), "subscription", row, subscription(row))
        })?;
        Ok(due.into_iter().flatten().collect())
    }

    fn deliveries_under_way(&self, id: SubscriptionId, now: Time) -> Loaded<usize> {
        const SQL: &str =
            "SELECT count(*) FROM delivery WHERE subscription = $1 AND leased_until > $2";
        count(self, SQL, values![id.as_bytes(), now.millis()])
    }

    fn due_deliveries(
        &self,
        id: SubscriptionId,
        now: Time,
        limit: usize,
    ) -> Loaded<Vec<(Delivery, Event)>> {
        const SQL: &str = concat!(
            "SELECT ",
            delivery_columns!(),
            ", audit.event FROM delivery JOIN audit ON audit.seq = delivery.seq
             WHERE delivery.subscription = $1 AND delivery.head AND delivery.due_at <= $2
             ORDER BY delivery.due_at, delivery.seq LIMIT $3"
        );
        let values = values![id.as_bytes(), now.millis(), sql_count(limit)];
        Ok(self.all(SQL, values, |row| {
            let Json(event) = row.get(14)?;
            Ok((delivery(row)?, event))
        })?)
    }

    fn deliveries_due_after(&self, after: Time, limit: usize) -> Loaded<Vec<Delivery>> {
        const SQL: &str = concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM delivery WHERE state = 'waiting' AND due_at > $1 LIMIT $2"
        );
        let values = values![after.millis(), sql_count(limit)];
        Ok(self.all(SQL, values, delivery)?)
    }

    fn delivery(&self, id: DeliveryId) -> Loaded<Option<Delivery>> {
        Ok(self.first(FIND, values![id.as_bytes()], delivery)?)
    }

    fn deliveries(&self, ids: &[DeliveryId]) -> Loaded<Vec<Delivery>> {
        const SQL: &str = concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM delivery WHERE delivery.id = ANY ($1)"
        );
        let ids = [ids.iter().map(DeliveryId::as_bytes).collect()];
        Ok(self.all(SQL, ids, delivery)?)
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
        self.send(
            "UPDATE delivery SET head = false
             WHERE subscription = $1 AND line = $2 AND head",
            values![subscription.as_bytes(), &line],
        )?;
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
                 SELECT id FROM delivery WHERE subscription = $1 AND NOT head LIMIT $2)",
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE subscription = $1 AND head LIMIT $2)",
        ] {
            let most = sql_count(limit - dropped);
            dropped += self.execute(sql, values![subscription.as_bytes(), most])?;
        }
        Ok(dropped)
    }

    fn forget_deliveries(&self, before: Time, limit: usize) -> Loaded<usize> {
        Ok(self.execute(
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE state = 'delivered' AND ended_at < $1 LIMIT $2)",
            values![before.millis(), sql_count(limit)],
        )?)
    }

    fn ring(&self) {
        Batch::ring(self);
    }
}

fn count(batch: &Batch<'_>, sql: &str, values: impl AsRef<[Value]>) -> Loaded<usize> {
    let counted: Option<i64> = batch.first(sql, values, |row| row.get(0))?;
    Ok(counted.unwrap_or_default().try_into().unwrap_or(usize::MAX))
}
