//! The outbox: subscriptions, what is queued for them, and what becomes of it.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one has
//! `head = 1`: the one that [`Delivery::head`] names.

use cardveil_core::audit::Event;
use cardveil_core::hook::Delivery;
use cardveil_core::id::AccountId;
use rusqlite::params;

use super::writer::Batch;
use crate::sql::rows::{self, SUBSCRIPTION, delivery_columns};
use crate::sql::table::Statement;
use crate::sql::value::{Name, Row, Text, Value};

static ENABLED: Statement = Statement::new(|| {
    let columns = SUBSCRIPTION.select();
    format!("SELECT {columns} FROM subscription WHERE merchant = ?1 AND enabled")
});

/// Heads that may be due, to subscriptions that are told now.
pub(super) const NEXT_DUE: &str = "SELECT min((SELECT min(due_at) FROM delivery
         WHERE delivery.subscription = subscription.id AND head = 1))
     FROM subscription WHERE enabled";

/// Queues the event at `seq` for those who are told of it; tells whether there was one. Called for
/// every event that is written.
pub(super) fn queue(batch: &Batch<'_>, seq: i64, event: &Event) -> rusqlite::Result<bool> {
    let (Some(topic), Some(merchant)) = (event.topic(), &event.merchant) else {
        return Ok(false);
    };
    let told = batch.all(&ENABLED, [merchant.as_str()], |row| rows::subscription(row))?;
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
