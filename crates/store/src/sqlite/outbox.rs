//! The outbox: subscriptions, what is queued for them, and what becomes of it.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one has
//! `head = 1`: the one that [`Delivery::head`] names.

use cardveil_core::audit::Event;
use cardveil_core::clock::Time;
use cardveil_core::hook::Delivery;
use cardveil_core::id::{AccountId, DeliveryId, MerchantId};
use cardveil_core::port::DeliveryFilter;
use rusqlite::types::ToSql;
use rusqlite::{Connection, params};

use super::all;
use super::writer::Batch;
use crate::sql::rows::{self, delivery_columns, subscription_columns};
use crate::sql::sql_count;
use crate::sql::value::{Name, Row, Text, Value};

pub(super) const FIND_SUBSCRIPTION: &str = concat!(
    "SELECT ",
    subscription_columns!(),
    " FROM subscription WHERE id = ?1"
);

/// Heads that may be due, to subscriptions that are told now.
pub(super) const NEXT_DUE: &str = "SELECT min((SELECT min(due_at) FROM delivery
         WHERE delivery.subscription = subscription.id AND head = 1))
     FROM subscription WHERE enabled";

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
    all(connection, &sql, params.as_slice(), |row| {
        rows::delivery(row)
    })
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
        |row| rows::subscription(row),
    )?;
    if told.is_empty() {
        return Ok(false);
    }
    let account: Option<Text<AccountId>> = match event.target.card {
        Some(card) => batch.first(
            "SELECT account FROM card WHERE id = ?1",
            [card.as_bytes()],
            |row| Row::get(row, 0),
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
            Value::from(Name(new.topic)),
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
