//! The verbs of subscriptions and of what is queued for them. All run alone, so two couriers never
//! take the same delivery.
//!
//! **Invariant:** of the deliveries that wait in one line of one subscription exactly one is the
//! line's head. Whatever changes a line mends it ([`OutboxRows::mend_line`]).
//!
//! [`OutboxRows::mend_line`]: crate::port::rows::OutboxRows::mend_line

use std::collections::BTreeSet;

use super::Verb;
use super::keys::refuse_retired;
use crate::audit::{Kind, Outcome, Source, Target};
use crate::clock::Time;
use crate::hook::{Attempted, Delivery, Patch, Patched, Settled, State, delivery as rules};
use crate::id::{DeliveryId, SubscriptionId};
use crate::port::rows::{Loaded, Rows};
use crate::port::{Due, Needs, Take};

/// Applies [`Patch::decide`].
impl Verb for Patch {
    type Answer = Patched;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Patched> {
        let decided = self.decide(rows.subscription(self.id)?.as_ref());
        if let Some((next, event)) = &decided.write {
            refuse_retired(rows, next.deks())?;
            rows.save_subscription(next)?;
            rows.log(event)?;
        }
        Ok(decided.verdict)
    }
}

/// Applies [`Delivery::lease`] to what is due to enabled subscriptions: of each line only its
/// [head](Delivery::head), the longest due first within a subscription. To one courier at a time,
/// in all processes together.
impl Verb for Take {
    type Answer = Vec<Due>;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Vec<Due>> {
        let mut taken = Vec::new();
        for subscription in rows.due_subscriptions(self.now)? {
            let left = self.limit.saturating_sub(taken.len());
            if left == 0 {
                break;
            }
            let under_way = rows.deliveries_under_way(subscription.id, self.now)?;
            let most = left.min(self.per_subscription.saturating_sub(under_way));
            if most == 0 {
                continue;
            }
            for (head, event) in rows.due_deliveries(subscription.id, self.now, most)? {
                if !subscription.is_told(&head, &event) {
                    refuse(rows, &head, self.now)?;
                    continue;
                }
                if let Some(delivery) = head.lease(self.now, self.lease_until) {
                    rows.save_delivery(&delivery)?;
                    taken.push(Due {
                        delivery,
                        subscription: subscription.clone(),
                        event,
                    });
                }
            }
        }
        Ok(taken)
    }
}

/// Somebody who can write to the database has queued an event of one for another: it is sent to
/// nobody.
fn refuse(rows: &dyn Rows, head: &Delivery, now: Time) -> Loaded<()> {
    let target = Target {
        subscription: Some(head.subscription),
        resource: Some(format!("row: delivery {}", head.id).into()),
        ..Target::default()
    };
    let mut event = Source::server().event(now, Kind::VaultTampered, None, target);
    event.outcome = Outcome::Failure;
    event.detail.note = Some("a delivery of an event that is another merchant's".into());
    let refused = Delivery {
        state: State::Failed(now),
        ..head.clone()
    };
    save(rows, &refused)?;
    rows.log(&event)
}

/// Applies [`Attempted::decide`]. Returns the row as it then is, or `None` when the lease was over.
impl Verb for Attempted {
    type Answer = Option<Delivery>;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Option<Delivery>> {
        match self.decide(rows.delivery(self.delivery)?.as_ref()) {
            Settled::Nothing => Ok(None),
            Settled::Change(next, event) => {
                save(rows, &next)?;
                if let Some(event) = event {
                    rows.log(&event)?;
                }
                rows.ring();
                Ok(Some(*next))
            }
        }
    }
}

fn save(rows: &dyn Rows, next: &Delivery) -> Loaded<()> {
    rows.save_delivery(next)?;
    rows.mend_line(next.subscription, next.line)
}

/// Applies [`Delivery::replay`] to those of these that there are, all of one subscription, and
/// records who did that; tells how many they were. Without one it writes nothing.
#[derive(Clone, Debug)]
pub struct ReplayDeliveries {
    pub deliveries: Vec<DeliveryId>,
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

impl Verb for ReplayDeliveries {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        let chosen: BTreeSet<_> = self.deliveries.iter().copied().collect();
        let known = rows.deliveries(&chosen.into_iter().collect::<Vec<_>>())?;
        let next: Vec<_> = known.iter().map(|it| it.replay(self.at)).collect();
        for delivery in &next {
            rows.save_delivery(delivery)?;
        }
        let lines: BTreeSet<_> = next.iter().map(|it| (it.subscription, it.line)).collect();
        for (subscription, line) in lines {
            rows.mend_line(subscription, line)?;
        }
        if let Some(event) = rules::replayed(&next, self.at, &self.source) {
            rows.log(&event)?;
            rows.ring();
        }
        Ok(next.len())
    }
}

/// Deletes up to `limit` deliveries, in whatever state, to a subscription that is not enabled;
/// tells how many. What is dropped is on record by whoever disabled it, so that nothing is dropped
/// here without a record. What is left is as it was: each of its lines still has its head.
#[derive(Clone, Copy, Debug)]
pub struct DropDeliveries {
    pub subscription: SubscriptionId,
    /// At most so many.
    pub limit: usize,
}

impl Verb for DropDeliveries {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        match rows.subscription(self.subscription)? {
            Some(known) if !known.enabled => rows.drop_deliveries(self.subscription, self.limit),
            Some(_) | None => Ok(0),
        }
    }
}

/// Applies [`Delivery::dated`] to up to `limit` deliveries, so that none waits for the time of a
/// clock that was ahead; tells how many.
#[derive(Clone, Copy, Debug)]
pub struct DateDeliveries {
    /// When.
    pub now: Time,
    /// At most so many.
    pub limit: usize,
}

impl Verb for DateDeliveries {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        let late = rows.deliveries_due_after(self.now.plus(rules::WAIT_MAX), self.limit)?;
        let dated: Vec<_> = late.iter().filter_map(|it| it.dated(self.now)).collect();
        for next in &dated {
            save(rows, next)?;
        }
        Ok(dated.len())
    }
}

/// Deletes up to `limit` deliveries that arrived before `before`; tells how many.
#[derive(Clone, Copy, Debug)]
pub struct ForgetDeliveries {
    /// Before when.
    pub before: Time,
    /// At most so many.
    pub limit: usize,
}

impl Verb for ForgetDeliveries {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        rows.forget_deliveries(self.before, self.limit)
    }
}
