//! The outbox: subscriptions, what is queued for them, and what becomes of it.
//!
//! All of it runs under the head of the audit log, one after the other in the whole cluster, so two
//! couriers never take the same delivery.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one is its
//! `head`: the one that [`Delivery::head`] names.

use std::collections::BTreeSet;

use cardveil_core::audit::Event;
use cardveil_core::hook::{Delivery, Subscription};
use cardveil_core::id::MerchantId;

use super::batch::Batch;
use super::fault::Fault;
use crate::sql::rows::{self, FIND_CARD, SUBSCRIPTION, card_account};
use crate::sql::table::Statement;
use crate::sql::value::{Name, Value, values};

type Outcome<T> = Result<T, Fault>;

static ENABLED: Statement = Statement::new(|| {
    let columns = SUBSCRIPTION.select();
    format!("SELECT {columns} FROM subscription WHERE merchant = ANY ($1) AND enabled ORDER BY seq")
});

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
    let found = batch.all(&ENABLED, [ids], |row| {
        SUBSCRIPTION.load(batch.macs(), row, 0, || rows::subscription(row))
    })?;
    let mut told = batch.told().borrow_mut();
    told.extend(merchants.into_iter().map(|id| (id, Vec::new())));
    for subscription in found.into_iter().flatten() {
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
    let account = match event.target.card {
        Some(card) if subscriptions.iter().any(|s| s.account.is_some()) => batch
            .first(&FIND_CARD, values![card.as_bytes()], |row| {
                card_account(batch.macs(), row)
            })?
            .flatten(),
        Some(_) | None => None,
    };
    let hears = |subscription: &Subscription| subscription.hears(topic, account.as_ref());
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
