//! The outbox: subscriptions, what is queued for them, and what becomes of it.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one has
//! `head = 1`: the one that [`Delivery::head`] names.

use cardveil_core::audit::Event;
use cardveil_core::clock::Time;
use cardveil_core::hook::{Delivery, Line, State, Subscription, Tried};
use cardveil_core::id::{AccountId, DeliveryId, MerchantId, SubscriptionId};
use cardveil_core::merchant::SealedSecret;
use cardveil_core::port::DeliveryFilter;
use cardveil_core::port::rows::{Loaded, OutboxRows};
use rusqlite::types::{FromSqlError, ToSql, Type};
use rusqlite::{Connection, Params, Row, params};

use super::rows::{Json, Name, Text};
use super::writer::Batch;
use super::{all, keep, sql_count};

/// The columns that [`subscription`] reads, first in a row.
macro_rules! subscription_columns {
    () => {
        "subscription.id, subscription.merchant, subscription.account, subscription.form, \
         subscription.url, subscription.topics, subscription.enabled, subscription.secret_dek, \
         subscription.secret, subscription.authorization_dek, subscription.authorization, \
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

pub(super) const FIND_SUBSCRIPTION: &str = concat!(
    "SELECT ",
    subscription_columns!(),
    " FROM subscription WHERE id = ?1"
);

/// Heads that may be due, to subscriptions that are told now.
pub(super) const NEXT_DUE: &str = "SELECT min((SELECT min(due_at) FROM delivery
         WHERE delivery.subscription = subscription.id AND head = 1))
     FROM subscription WHERE enabled";

pub(super) fn subscription(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    let sealed = |dek: usize| -> rusqlite::Result<Option<SealedSecret>> {
        let (wrapped, sealed): (Option<Vec<u8>>, Option<Vec<u8>>) =
            (row.get(dek)?, row.get(dek + 1)?);
        Ok(wrapped
            .zip(sealed)
            .map(|(dek, sealed)| SealedSecret { dek, sealed }))
    };
    Ok(Subscription {
        id: SubscriptionId::from_bytes(row.get(0)?),
        merchant: row.get(1).map(|Text(id)| id)?,
        account: row.get::<_, Option<_>>(2)?.map(|Text(id)| id),
        form: row.get(3).map(|Name(form)| form)?,
        url: row.get(4).map(|Text(url)| url)?,
        topics: row.get(5).map(|Json(topics)| topics)?,
        enabled: row.get(6)?,
        secret: sealed(7)?,
        authorization: sealed(9)?,
        credential: row.get::<_, Option<_>>(11)?.map(|Text(id)| id),
        created_at: row.get(12).map(Time::from_millis)?,
        updated_at: row.get(13).map(Time::from_millis)?,
    })
}

pub(super) fn deliveries(
    connection: &Connection,
    filter: &DeliveryFilter,
    after: Option<(i64, DeliveryId)>,
    limit: usize,
) -> rusqlite::Result<Vec<Delivery>> {
    let (seq, id) = after.map_or((i64::MIN, [0; 16]), |(seq, id)| (seq, *id.as_bytes()));
    let merchant = filter.merchant.as_ref().map(MerchantId::as_str);
    let subscription = filter.subscription.map(|id| *id.as_bytes());
    let since = filter.since.map(Time::millis);
    let mut sql = concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM delivery WHERE (delivery.seq, delivery.id) > (?, ?)"
    )
    .to_owned();
    let mut params: Vec<&dyn ToSql> = vec![&seq, &id];
    let given: [(_, Option<&dyn ToSql>); 4] = [
        (
            " AND merchant = ?",
            merchant.as_ref().map(|value| value as _),
        ),
        (
            " AND subscription = ?",
            subscription.as_ref().map(|value| value as _),
        ),
        (
            " AND state = ?",
            filter.state.as_ref().map(|value| value as _),
        ),
        (
            " AND queued_at >= ?",
            since.as_ref().map(|value| value as _),
        ),
    ];
    for (condition, value) in given {
        if let Some(value) = value {
            sql.push_str(condition);
            params.push(value);
        }
    }
    let limit = sql_count(limit);
    params.push(&limit);
    sql.push_str(" ORDER BY delivery.seq, delivery.id LIMIT ?");
    all(connection, &sql, params.as_slice(), delivery)
}

pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let ended_at = row.get::<_, Option<_>>(12)?.map(Time::from_millis);
    let name: String = row.get(11)?;
    let state = match (name.as_str(), ended_at) {
        ("waiting", None) => State::Waiting,
        ("delivered", Some(at)) => State::Delivered(at),
        ("failed", Some(at)) => State::Failed(at),
        _ => {
            let wrong = FromSqlError::InvalidType.into();
            return Err(rusqlite::Error::FromSqlConversionFailure(
                11,
                Type::Text,
                wrong,
            ));
        }
    };
    Ok(Delivery {
        id: DeliveryId::from_bytes(row.get(0)?),
        subscription: SubscriptionId::from_bytes(row.get(1)?),
        merchant: row.get(2).map(|Text(id)| id)?,
        line: row.get(3).map(|Text(line)| line)?,
        seq: row.get(4)?,
        topic: row.get(5).map(|Name(topic)| topic)?,
        queued_at: row.get(6).map(Time::from_millis)?,
        since: row.get(7).map(Time::from_millis)?,
        attempts: row.get(8)?,
        due_at: row.get(9).map(Time::from_millis)?,
        leased_until: row.get::<_, Option<_>>(10)?.map(Time::from_millis),
        state,
        last: row
            .get::<_, Option<Json<Tried>>>(13)?
            .map(|Json(tried)| tried),
    })
}

macro_rules! subscription_params {
    ($new:ident) => {
        params![
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

/// Queues the event at `seq` for those who are told of it; tells whether there was one. Called for
/// every event that is written.
pub(super) fn queue(batch: &Batch<'_>, seq: i64, event: &Event) -> rusqlite::Result<bool> {
    let (Some(topic), Some(merchant)) = (event.topic(), &event.merchant) else {
        return Ok(false);
    };
    let told = batch.all(
        concat!(
            "SELECT ",
            subscription_columns!(),
            " FROM subscription WHERE merchant = ?1 AND enabled"
        ),
        [merchant.as_str()],
        subscription,
    )?;
    if told.is_empty() {
        return Ok(false);
    }
    let account: Option<Text<AccountId>> = match event.target.card {
        Some(card) => batch.first(
            "SELECT account FROM card WHERE id = ?1",
            [card.as_bytes()],
            |row| row.get(0),
        )?,
        None => None,
    };
    let account = account.as_ref().map(|Text(account)| account);
    let mut queued = false;
    for subscription in told.iter().filter(|s| s.hears(topic, account)) {
        insert(batch, &subscription.queue(seq, event, topic))?;
        queued = true;
    }
    Ok(queued)
}

/// The newest of its line: its head if nothing else waits there.
fn insert(batch: &Batch<'_>, new: &Delivery) -> rusqlite::Result<()> {
    batch.execute(
        "INSERT INTO delivery (id, subscription, merchant, line, seq, topic, queued_at, since,
             attempts, due_at, state, head)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NOT EXISTS (
             SELECT 1 FROM delivery
             WHERE subscription = ?2 AND line = ?4 AND state = 'waiting')",
        params![
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
    " FROM delivery WHERE delivery.id = ?1"
);

impl OutboxRows for Batch<'_> {
    fn subscription(&self, id: SubscriptionId) -> Loaded<Option<Subscription>> {
        Ok(self.first(FIND_SUBSCRIPTION, [id.as_bytes()], subscription)?)
    }

    fn subscriptions_of(&self, merchant: &MerchantId) -> Loaded<usize> {
        const SQL: &str = "SELECT count(*) FROM subscription WHERE merchant = ?1";
        count(self, SQL, [merchant.as_str()])
    }

    fn add_subscription(&self, new: &Subscription) -> Loaded<bool> {
        let added = self.execute(
            "INSERT INTO subscription (id, merchant, account, form, url, topics, enabled,
                 secret_dek, secret, authorization_dek, authorization, credential, created_at,
                 updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT DO NOTHING",
            subscription_params!(new),
        )?;
        Ok(added > 0)
    }

    fn save_subscription(&self, next: &Subscription) -> Loaded<()> {
        self.execute(
            "UPDATE subscription SET merchant = ?2, account = ?3, form = ?4, url = ?5, topics = ?6,
                 enabled = ?7, secret_dek = ?8, secret = ?9, authorization_dek = ?10,
                 authorization = ?11, credential = ?12, created_at = ?13, updated_at = ?14
             WHERE id = ?1",
            subscription_params!(next),
        )?;
        Ok(())
    }

    fn delete_subscription(&self, id: SubscriptionId) -> Loaded<bool> {
        let deleted = self.execute("DELETE FROM subscription WHERE id = ?1", [id.as_bytes()])?;
        Ok(deleted > 0)
    }

    fn due_subscriptions(&self, now: Time) -> Loaded<Vec<Subscription>> {
        const SQL: &str = concat!(
            "SELECT ",
            subscription_columns!(),
            ", (SELECT min(due_at) FROM delivery
                WHERE delivery.subscription = subscription.id AND head = 1) AS due
             FROM subscription WHERE enabled AND due <= ?1 ORDER BY due"
        );
        let due = self.all(SQL, [now.millis()], |row| {
            keep(self.left_out(), "subscription", row, subscription(row))
        })?;
        Ok(due.into_iter().flatten().collect())
    }

    fn deliveries_under_way(&self, id: SubscriptionId, now: Time) -> Loaded<usize> {
        const SQL: &str =
            "SELECT count(*) FROM delivery WHERE subscription = ?1 AND leased_until > ?2";
        count(self, SQL, params![id.as_bytes(), now.millis()])
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
             WHERE delivery.subscription = ?1 AND delivery.head = 1 AND delivery.due_at <= ?2
             ORDER BY delivery.due_at, delivery.seq LIMIT ?3"
        );
        let params = params![id.as_bytes(), now.millis(), sql_count(limit)];
        Ok(self.all(SQL, params, |row| {
            let Json(event) = row.get(14)?;
            Ok((delivery(row)?, event))
        })?)
    }

    fn deliveries_due_after(&self, after: Time, limit: usize) -> Loaded<Vec<Delivery>> {
        const SQL: &str = concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM delivery WHERE state = 'waiting' AND due_at > ?1 LIMIT ?2"
        );
        let params = params![after.millis(), sql_count(limit)];
        Ok(self.all(SQL, params, delivery)?)
    }

    fn delivery(&self, id: DeliveryId) -> Loaded<Option<Delivery>> {
        Ok(self.first(FIND, [id.as_bytes()], delivery)?)
    }

    fn deliveries(&self, ids: &[DeliveryId]) -> Loaded<Vec<Delivery>> {
        let found = ids.iter().map(|id| OutboxRows::delivery(self, *id));
        found.filter_map(Result::transpose).collect()
    }

    fn save_delivery(&self, next: &Delivery) -> Loaded<()> {
        self.execute(
            "UPDATE delivery SET since = ?2, attempts = ?3, due_at = ?4, leased_until = ?5,
                 state = ?6, ended_at = ?7, last = ?8
             WHERE id = ?1",
            params![
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
        self.execute(
            "UPDATE delivery SET head = 0
             WHERE subscription = ?1 AND line = ?2 AND head = 1",
            params![subscription.as_bytes(), line],
        )?;
        self.execute(
            "UPDATE delivery SET head = 1 WHERE id = (
                 SELECT id FROM delivery WHERE subscription = ?1 AND line = ?2 AND state = 'waiting'
                 ORDER BY leased_until IS NULL, seq LIMIT 1)",
            params![subscription.as_bytes(), line],
        )?;
        Ok(())
    }

    fn drop_deliveries(&self, subscription: SubscriptionId, limit: usize) -> Loaded<usize> {
        let mut dropped = 0;
        for sql in [
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE subscription = ?1 AND head = 0 LIMIT ?2)",
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE subscription = ?1 AND head = 1 LIMIT ?2)",
        ] {
            let most = sql_count(limit - dropped);
            dropped += self.execute(sql, params![subscription.as_bytes(), most])?;
        }
        Ok(dropped)
    }

    fn forget_deliveries(&self, before: Time, limit: usize) -> Loaded<usize> {
        Ok(self.execute(
            "DELETE FROM delivery WHERE id IN (
                 SELECT id FROM delivery WHERE state = 'delivered' AND ended_at < ?1 LIMIT ?2)",
            params![before.millis(), sql_count(limit)],
        )?)
    }

    fn ring(&self) {
        Batch::ring(self);
    }
}

fn count(batch: &Batch<'_>, sql: &str, params: impl Params) -> Loaded<usize> {
    let counted: Option<i64> = batch.first(sql, params, |row| row.get(0))?;
    Ok(counted.unwrap_or_default().try_into().unwrap_or(usize::MAX))
}
