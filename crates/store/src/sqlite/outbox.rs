//! The outbox: subscriptions, what is queued for them, and what becomes of it.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one has
//! `head = 1`: the one that [`Delivery::head`] names.

use cardveil_core::audit::Event;
use cardveil_core::hook::Delivery;
use rusqlite::params;

use super::writer::Batch;
use crate::sql::rows::{self, FIND_CARD, SUBSCRIPTION, card_account};
use crate::sql::table::Statement;
use crate::sql::value::{Name, Value};

static ENABLED: Statement = Statement::new(|| {
    let columns = SUBSCRIPTION.select();
    format!("SELECT {columns} FROM subscription WHERE merchant = ?1 AND enabled")
});

/// Queues the event at `seq` for those who are told of it; tells whether there was one. Called for
/// every event that is written.
pub(super) fn queue(batch: &Batch<'_>, seq: i64, event: &Event) -> rusqlite::Result<bool> {
    let (Some(topic), Some(merchant)) = (event.topic(), &event.merchant) else {
        return Ok(false);
    };
    let told = batch.all(&ENABLED, [merchant.as_str()], |row| {
        SUBSCRIPTION.load(batch.macs(), row, 0, || rows::subscription(row))
    })?;
    let told: Vec<_> = told.into_iter().flatten().collect();
    if told.is_empty() {
        return Ok(false);
    }
    let account = match event.target.card {
        Some(card) if told.iter().any(|s| s.account.is_some()) => batch
            .first(&FIND_CARD, [card.as_bytes()], |row| {
                card_account(batch.macs(), row)
            })?
            .flatten(),
        Some(_) | None => None,
    };
    let mut queued = false;
    for subscription in told.iter().filter(|s| s.hears(topic, account.as_ref())) {
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::open::MIGRATIONS;
    use crate::sql::{DUE_DELIVERIES, DUE_SUBSCRIPTIONS, UNMARK, for_sqlite};

    /// However many deliveries are kept, those that are due are found by the index of heads.
    #[test]
    fn heads_are_found_by_their_index() {
        let connection = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        for sql in [DUE_DELIVERIES, &DUE_SUBSCRIPTIONS, UNMARK] {
            let sql = format!("EXPLAIN QUERY PLAN {}", for_sqlite(sql));
            let mut explained = connection.prepare(&sql).unwrap();
            let mut rows = explained.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>("detail").unwrap());
            }
            let of_deliveries: Vec<_> = plan.iter().filter(|it| it.contains("delivery")).collect();
            let is_by_index = |it: &&&String| it.contains("INDEX delivery_head");
            assert!(of_deliveries.iter().all(|it| is_by_index(&it)), "{plan:?}");
            assert!(!of_deliveries.is_empty(), "{plan:?}");
        }
    }
}
