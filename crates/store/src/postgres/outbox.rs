//! The outbox: subscriptions, what is queued for them, and what becomes of it.
//!
//! All of it runs under the head of the audit log, one after the other in the whole cluster, so two
//! couriers never take the same delivery.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one has
//! `head = 1`: the one that [`Delivery::head`] names. Whatever changes a line calls `mend`.

use std::collections::BTreeSet;

use cardveil_core::audit::{Event, Source};
use cardveil_core::clock::Time;
use cardveil_core::hook::{
    Attempted, Delivery, Line, Patch, Patched, SUBSCRIPTIONS_MAX, Settled, State, Subscription,
    Tried, delivery as rules,
};
use cardveil_core::id::{AccountId, DeliveryId, MerchantId, SubscriptionId};
use cardveil_core::merchant::SealedSecret;
use cardveil_core::port::{Due, Error, Take, Taken};

use super::batch::Batch;
use super::fault::Fault;
use super::rows;
use super::value::{Json, Name, Row, Text, Value, values};
use super::{keep, keys};
use crate::left_out::LeftOut;

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

/// The bound is looked at in the batch that adds: of many at once, no more get in than there is
/// room for.
pub(super) fn add(batch: &Batch<'_>, new: &Subscription) -> Outcome<Result<(), Taken>> {
    batch.told().borrow_mut().clear();
    let known = batch.first(FIND_SUBSCRIPTION, values![new.id.as_bytes()], subscription)?;
    if known.is_some() {
        return Ok(Err(Taken::Exists));
    }
    let count = batch.first(
        "SELECT count(*) FROM subscription WHERE merchant = $1",
        values![new.merchant.as_str()],
        |row| row.get::<i64>(0),
    )?;
    if count >= i64::try_from(SUBSCRIPTIONS_MAX).ok() {
        return Ok(Err(Taken::Full));
    }
    let added = batch.execute(
        "INSERT INTO subscription (id, merchant, account, form, url, topics, enabled, secret_dek,
             secret, authorization_dek, \"authorization\", credential, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT DO NOTHING",
        subscription_params!(new),
    )?;
    Ok(if added == 0 {
        Err(Taken::Exists)
    } else {
        Ok(())
    })
}

pub(super) fn patch(batch: &Batch<'_>, patch: &Patch) -> Outcome<Patched> {
    batch.told().borrow_mut().clear();
    let known = batch.first(
        FIND_SUBSCRIPTION,
        values![patch.id.as_bytes()],
        subscription,
    )?;
    let decided = patch.decide(known.as_ref());
    if let Some((next, event)) = &decided.write {
        keys::refuse_retired(batch, next.deks())?;
        batch.execute(
            "UPDATE subscription SET merchant = $2, account = $3, form = $4, url = $5, topics = $6,
                 enabled = $7, secret_dek = $8, secret = $9, authorization_dek = $10,
                 \"authorization\" = $11, credential = $12, created_at = $13, updated_at = $14
             WHERE id = $1",
            subscription_params!(next),
        )?;
        batch.log(event)?;
    }
    Ok(decided.verdict)
}

pub(super) fn remove(batch: &Batch<'_>, id: SubscriptionId) -> Outcome<Result<(), Taken>> {
    batch.told().borrow_mut().clear();
    let removed = batch.execute(
        "DELETE FROM subscription WHERE id = $1",
        values![id.as_bytes()],
    )?;
    Ok(if removed == 0 {
        Err(Taken::NoMerchant)
    } else {
        Ok(())
    })
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

fn update(batch: &Batch<'_>, next: &Delivery) -> Result<(), Fault> {
    batch.send(
        "UPDATE delivery SET since = $2, attempts = $3, due_at = $4, leased_until = $5, state = $6,
             ended_at = $7, last = $8
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

/// Marks the head of a line anew; the order is [`Delivery::head`]'s.
fn mend(batch: &Batch<'_>, subscription: SubscriptionId, line: Line) -> Result<(), Fault> {
    let line = line.to_string();
    batch.send(
        "UPDATE delivery SET head = false
         WHERE subscription = $1 AND line = $2 AND head",
        values![subscription.as_bytes(), &line],
    )?;
    batch.send(
        "UPDATE delivery SET head = true WHERE id = (
             SELECT id FROM delivery WHERE subscription = $1 AND line = $2 AND state = 'waiting'
             ORDER BY leased_until IS NULL, seq LIMIT 1)",
        values![subscription.as_bytes(), &line],
    )?;
    Ok(())
}

pub(super) const FIND: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM delivery WHERE delivery.id = $1"
);

fn find(batch: &Batch<'_>, id: DeliveryId) -> Outcome<Option<Delivery>> {
    batch.first(FIND, values![id.as_bytes()], delivery)
}

pub(super) fn take_due(batch: &Batch<'_>, take: Take, left_out: &LeftOut) -> Outcome<Vec<Due>> {
    let now = take.now.millis();
    let waiting = batch.all(
        concat!(
            "SELECT ",
            subscription_columns!(),
            " FROM subscription CROSS JOIN LATERAL (SELECT min(due_at) AS due FROM delivery
                WHERE delivery.subscription = subscription.id AND head) AS first
             WHERE enabled AND due <= $1 ORDER BY due"
        ),
        values![now],
        |row| keep(left_out, "subscription", row, subscription(row)),
    )?;
    let mut taken = Vec::new();
    for subscription in waiting.into_iter().flatten() {
        let left = take.limit.saturating_sub(taken.len());
        if left == 0 {
            break;
        }
        let under_way: i64 = batch
            .first(
                "SELECT count(*) FROM delivery WHERE subscription = $1 AND leased_until > $2",
                values![subscription.id.as_bytes(), now],
                |row| row.get(0),
            )?
            .unwrap_or_default();
        let under_way = usize::try_from(under_way).unwrap_or(usize::MAX);
        let free = left.min(take.per_subscription.saturating_sub(under_way));
        take_of(batch, take, &subscription, free, &mut taken)?;
    }
    Ok(taken)
}

fn take_of(
    batch: &Batch<'_>,
    take: Take,
    subscription: &Subscription,
    most: usize,
    taken: &mut Vec<Due>,
) -> Outcome<()> {
    if most == 0 {
        return Ok(());
    }
    let due = batch.all(
        concat!(
            "SELECT ",
            delivery_columns!(),
            ", audit.event FROM delivery JOIN audit ON audit.seq = delivery.seq
             WHERE delivery.subscription = $1 AND delivery.head AND delivery.due_at <= $2
             ORDER BY delivery.due_at, delivery.seq LIMIT $3"
        ),
        values![
            subscription.id.as_bytes(),
            take.now.millis(),
            super::sql_count(most)
        ],
        |row| {
            let Json(event) = row.get(14)?;
            Ok((delivery(row)?, event))
        },
    )?;
    for (head, event) in due {
        if let Some(delivery) = head.lease(take.now, take.lease_until) {
            update(batch, &delivery)?;
            taken.push(Due {
                delivery,
                subscription: subscription.clone(),
                event,
            });
        }
    }
    Ok(())
}

pub(super) fn record_attempt(
    batch: &Batch<'_>,
    attempted: &Attempted,
) -> Outcome<Option<Delivery>> {
    match attempted.decide(find(batch, attempted.delivery)?.as_ref()) {
        Settled::Nothing => Ok(None),
        Settled::Change(next, event) => {
            update(batch, &next)?;
            mend(batch, next.subscription, next.line)?;
            if let Some(event) = event {
                batch.log(&event)?;
            }
            batch.ring();
            Ok(Some(*next))
        }
    }
}

pub(super) fn replay(
    batch: &Batch<'_>,
    ids: &[DeliveryId],
    at: Time,
    source: &Source,
) -> Outcome<usize> {
    let chosen = batch.all(
        concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM delivery WHERE delivery.id = ANY ($1)"
        ),
        [ids.iter().map(DeliveryId::as_bytes).collect()],
        delivery,
    )?;
    let next: Vec<_> = chosen.iter().map(|delivery| delivery.replay(at)).collect();
    for delivery in &next {
        update(batch, delivery)?;
    }
    let lines: BTreeSet<_> = next.iter().map(|it| (it.subscription, it.line)).collect();
    for (subscription, line) in lines {
        mend(batch, subscription, line)?;
    }
    if let Some(event) = rules::replayed(&next, at, source) {
        batch.log(&event)?;
        batch.ring();
    }
    Ok(next.len())
}

/// The heads go last, so that each line has one for as long as anything waits in it.
pub(super) fn drop_deliveries(
    batch: &Batch<'_>,
    id: SubscriptionId,
    limit: usize,
) -> Outcome<usize> {
    let known = batch.first(FIND_SUBSCRIPTION, values![id.as_bytes()], subscription)?;
    if known.is_none_or(|known| known.enabled) {
        return Ok(0);
    }
    let mut dropped = 0;
    for sql in [
        "DELETE FROM delivery WHERE id IN (
             SELECT id FROM delivery WHERE subscription = $1 AND NOT head LIMIT $2)",
        "DELETE FROM delivery WHERE id IN (
             SELECT id FROM delivery WHERE subscription = $1 AND head LIMIT $2)",
    ] {
        let most = super::sql_count(limit - dropped);
        dropped += batch.execute(sql, values![id.as_bytes(), most])?;
    }
    Ok(dropped)
}

pub(super) fn date_anew(batch: &Batch<'_>, now: Time, limit: usize) -> Outcome<usize> {
    let most = super::sql_count(limit);
    let late = batch.all(
        concat!(
            "SELECT ",
            delivery_columns!(),
            " FROM delivery WHERE state = 'waiting' AND due_at > $1 LIMIT $2"
        ),
        values![now.plus(rules::WAIT_MAX).millis(), most],
        delivery,
    )?;
    let dated: Vec<_> = late.iter().filter_map(|it| it.dated(now)).collect();
    for next in &dated {
        update(batch, next)?;
        mend(batch, next.subscription, next.line)?;
    }
    Ok(dated.len())
}

pub(super) fn forget(batch: &Batch<'_>, before: Time, limit: usize) -> Outcome<usize> {
    let forgotten = batch.execute(
        "DELETE FROM delivery WHERE id IN (
             SELECT id FROM delivery WHERE state = 'delivered' AND ended_at < $1 LIMIT $2)",
        values![before.millis(), super::sql_count(limit)],
    )?;
    Ok(forgotten)
}
