//! The cases of the outbox.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use super::super::sample::{self, START};
use super::{after, log_len, log_of, revoke, unversioned, with_merchant};
use cardveil_core::audit::{Event, Kind, Outcome, Topic};
use cardveil_core::card::{Changed, State as CardState};
use cardveil_core::clock::Time;
use cardveil_core::hook::delivery::{PATIENCE, RETENTION};
use cardveil_core::hook::{
    Answer, Attempted, Delivery, Endpoint, Form, Patch, Patched, SUBSCRIPTIONS_MAX, State,
    Subscription,
};
use cardveil_core::id::{AccountId, CredentialId, DeliveryId};
use cardveil_core::merchant::SealedSecret;
use cardveil_core::port::{
    Change, Counts, DeliveryFilter, Due, Selection, Set, Store, Take, Taken,
};
use cardveil_core::verb::{
    Changes, Commit, DateDeliveries, DropDeliveries, ForgetDeliveries, RecordEvent,
    ReplayDeliveries,
};

const LEASE: Duration = Duration::from_secs(30);

pub(super) async fn subscribe(store: &dyn Store, subscription: Subscription) {
    let change = sample::recorded(Change::AddSubscription(Box::new(subscription)));
    store.commit(Changes(vec![change])).await.unwrap()[0].unwrap();
}

/// Merchant 1 with card 1, 2 and 3, and subscription 1.
async fn with_subscription(store: &dyn Store) {
    with_merchant(store).await;
    for n in [2, 3] {
        let change = sample::recorded(Change::AddCard(Box::new(sample::card(n))));
        store.commit(Changes(vec![change])).await.unwrap()[0].unwrap();
    }
    subscribe(store, sample::subscription(1)).await;
}

/// Card `n` changes its state.
async fn moves(store: &dyn Store, n: u8, to: CardState, at: Time) {
    let moved = store.commit(sample::transition(n, to, at)).await;
    assert!(matches!(moved, Ok(Changed::Done(_))), "{moved:?}");
}

pub(super) async fn take(store: &dyn Store, now: Time) -> Vec<Due> {
    let take = Take {
        now,
        lease_until: now.plus(LEASE),
        limit: 100,
        per_subscription: 100,
    };
    store.commit(take).await.unwrap()
}

fn answered(due: &Due, at: Time, answer: Answer) -> Attempted {
    Attempted {
        delivery: due.delivery.id,
        lease: due.delivery.leased_until.unwrap(),
        at,
        form: due.subscription.form,
        answer,
    }
}

async fn record(store: &dyn Store, due: &Due, at: Time, answer: Answer) -> Option<Delivery> {
    let attempted = answered(due, at, answer);
    store.commit(attempted).await.unwrap()
}

async fn all(store: &dyn Store) -> Vec<Delivery> {
    let filter = DeliveryFilter::default();
    store.deliveries(&filter, None, 1_000).await.unwrap()
}

/// The states to which the taken events say that cards have moved.
fn told(taken: &[Due]) -> Vec<&str> {
    taken
        .iter()
        .map(|due| due.event.detail.to.as_deref().unwrap())
        .collect()
}

/// Nothing that is on record is forgotten to be told, and nothing else is told.
pub(super) async fn an_event_is_queued_in_the_commit_that_writes_it(store: &dyn Store) {
    with_subscription(store).await;
    assert_eq!(store.next_due().await.unwrap(), None);
    let bell = store.bell();
    let rung = bell.times();
    let event = sample::moved(1, CardState::Suspended, after(5));
    let change = Change::SetEmbed(Set::boxed(sample::embed(9), sample::embed(9)));
    let refused = store
        .commit(Changes(vec![(change, event.clone())]))
        .await
        .unwrap();
    assert_eq!(refused, [Err(Taken::NoMerchant)]);
    assert_eq!(all(store).await, []);
    assert_eq!(bell.times(), rung, "and the bell is silent");

    moves(store, 1, CardState::Suspended, after(5)).await;
    assert_ne!(bell.times(), rung, "rung before it is answered");
    let queued = all(store).await;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].seq, store.last_entry().await.unwrap());
    assert_eq!(queued[0].state, State::Waiting);
    assert_eq!(queued[0].topic, Topic::CardState);
    assert_eq!(queued[0].queued_at, after(5));
    assert_eq!(store.next_due().await.unwrap(), Some(after(5)));
    assert!(take(store, after(4)).await.is_empty());
    let taken = take(store, after(5)).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(unversioned(taken[0].event.clone()), event);
    assert_eq!(taken[0].subscription, sample::subscription(1));
    assert_eq!(taken[0].delivery.id, queued[0].id);
    let delivery = store.delivery(queued[0].id).await.unwrap();
    assert_eq!(delivery.as_ref(), Some(&taken[0].delivery));

    // Every verb that writes an event is a funnel, not only the changes.
    let mut alone = sample::moved(2, CardState::Active, after(6));
    alone.kind = Kind::RevealConflict;
    alone.detail.to = None;
    // Personal values, which stand beside the chain.
    alone.origin = sample::origin();
    alone.detail.reason = Some("asked for by phone".to_owned());
    let mut conflicts = sample::subscription(2);
    conflicts.topics = vec![Topic::RevealConflict];
    subscribe(store, conflicts).await;
    store.commit(RecordEvent(alone.clone())).await.unwrap();
    let taken = take(store, after(6)).await;
    assert!(taken.iter().any(|due| due.event == alone), "{taken:?}");
    let epoch = store.epoch().await.unwrap();
    let issue = sample::issue(1, START, epoch);
    let card_token = issue.record.clone();
    store.commit(issue).await.unwrap();
    for key in [1, 2] {
        let mut claim = sample::claim(
            &card_token,
            key,
            &[cardveil_core::card::Field::Pan],
            after(7),
        );
        claim.seen = Some(CardState::Suspended);
        store.commit(claim).await.unwrap();
    }
    let hash = Selection::Hash(card_token.key.hash);
    assert_eq!(revoke(store, hash, after(8)).await, 1);
    let topics: Vec<_> = all(store).await.iter().map(|d| d.topic).collect();
    let (state, conflict) = (Topic::CardState, Topic::RevealConflict);
    assert_eq!(topics, [state, conflict, conflict]);
}

/// By merchant, by account, by topic.
pub(super) async fn an_event_goes_to_whom_it_concerns(store: &dyn Store) {
    with_subscription(store).await;
    let of_account = |n, account: &str| Subscription {
        account: Some(AccountId::parse(account).unwrap()),
        ..sample::subscription(n)
    };
    subscribe(store, of_account(2, "F50091")).await;
    subscribe(store, of_account(3, "F50092")).await;
    let other_topic = Subscription {
        topics: vec![Topic::WalletToken, Topic::MfaCode],
        ..sample::subscription(4)
    };
    subscribe(store, other_topic).await;
    let other_merchant = Subscription {
        merchant: sample::merchant(2).id,
        ..sample::subscription(5)
    };
    subscribe(store, other_merchant).await;
    moves(store, 1, CardState::Suspended, START).await;
    let taken = take(store, START).await;
    let mut told: Vec<_> = taken.iter().map(|due| due.subscription.id).collect();
    told.sort_unstable();
    let (one, two) = (sample::subscription(1).id, sample::subscription(2).id);
    assert_eq!(told, [one, two]);
    assert_ne!(taken[0].delivery.id, taken[1].delivery.id);
}

/// The order of a card's events; other cards do not wait.
pub(super) async fn only_the_first_of_a_card_is_taken(store: &dyn Store) {
    with_subscription(store).await;
    moves(store, 1, CardState::Suspended, after(1)).await;
    moves(store, 1, CardState::Active, after(2)).await;
    moves(store, 2, CardState::Terminated, after(3)).await;
    let first = take(store, after(3)).await;
    assert_eq!(told(&first), ["suspended", "terminated"]);
    assert!(take(store, after(3)).await.is_empty(), "it is under way");
    record(store, &first[0], after(4), Answer::Status(500)).await;
    assert!(take(store, after(4)).await.is_empty(), "it is to be first");
    let again = take(store, after(9)).await;
    assert_eq!(told(&again), ["suspended"]);
    assert_eq!(again[0].delivery.id, first[0].delivery.id);
    let done = record(store, &again[0], after(10), Answer::Accepted(204)).await;
    assert_eq!(done.unwrap().state, State::Delivered(after(10)));
    let next = take(store, after(10)).await;
    assert_eq!(told(&next), ["active"]);
    record(store, &next[0], after(10), Answer::Accepted(200)).await;
    record(store, &first[1], after(10), Answer::Accepted(200)).await;
    assert!(take(store, after(100_000)).await.is_empty());
    assert_eq!(store.next_due().await.unwrap(), None);
}

/// One lease at a time.
pub(super) async fn of_couriers_at_once_one_takes_it(store: &dyn Store) {
    with_subscription(store).await;
    moves(store, 1, CardState::Suspended, START).await;
    let couriers = (0..16).map(|_| take(store, START));
    let taken: usize = join_all(couriers).await.iter().map(Vec::len).sum();
    assert_eq!(taken, 1);
}

/// A crash between sending and recording leads to a repeat, never to a loss; and the courier that
/// comes back late does not speak for the next.
pub(super) async fn a_lease_that_ends_makes_it_due_again(store: &dyn Store) {
    with_subscription(store).await;
    moves(store, 1, CardState::Suspended, START).await;
    let lost = take(store, START).await;
    assert_eq!(store.next_due().await.unwrap(), Some(START.plus(LEASE)));
    let just_before = Time::from_millis(START.plus(LEASE).millis() - 1);
    assert!(take(store, just_before).await.is_empty());
    let again = take(store, START.plus(LEASE)).await;
    assert_eq!(again[0].delivery.id, lost[0].delivery.id);
    for answer in [Answer::Accepted(200), Answer::Status(500)] {
        assert_eq!(record(store, &lost[0], after(31), answer).await, None);
    }
    let delivery = store.delivery(again[0].delivery.id).await.unwrap();
    assert_eq!(delivery.as_ref(), Some(&again[0].delivery));
    let done = record(store, &again[0], after(32), Answer::Accepted(200)).await;
    assert_eq!(done.unwrap().state, State::Delivered(after(32)));
    let twice = record(store, &again[0], after(32), Answer::Accepted(200)).await;
    assert_eq!(twice, None, "an answer is recorded once");
}

/// P8: not all couriers wait for one receiver.
pub(super) async fn a_slow_receiver_does_not_hold_the_others_up(store: &dyn Store) {
    with_subscription(store).await;
    subscribe(store, sample::subscription(2)).await;
    for n in [1, 2, 3] {
        moves(store, n, CardState::Suspended, START).await;
    }
    let take = async |limit, per_subscription, now: Time| {
        let take = Take {
            now,
            lease_until: now.plus(LEASE),
            limit,
            per_subscription,
        };
        let taken = store.commit(take).await.unwrap();
        let of = |n| {
            let id = sample::subscription(n).id;
            taken.iter().filter(|d| d.subscription.id == id).count()
        };
        (of(1), of(2))
    };
    assert_eq!(take(100, 2, START).await, (2, 2));
    assert_eq!(take(100, 2, START).await, (0, 0), "both have two under way");
    assert_eq!(take(1, 3, START).await.0 + take(1, 3, START).await.0, 1);
    assert_eq!(take(100, 2, START.plus(LEASE)).await, (2, 2));
}

/// P7: given up in time, on record, and kept.
pub(super) async fn what_is_refused_is_tried_again_and_at_last_given_up(store: &dyn Store) {
    with_subscription(store).await;
    moves(store, 1, CardState::Suspended, START).await;
    moves(store, 1, CardState::Active, START).await;
    let mut now = START;
    let failed = loop {
        let taken = take(store, now).await;
        assert_eq!(told(&taken), ["suspended"]);
        let row = record(store, &taken[0], now, Answer::TimedOut)
            .await
            .unwrap();
        assert_eq!(row.last.unwrap().answer, Answer::TimedOut);
        if row.state != State::Waiting {
            break row;
        }
        assert!(log_of(store, Kind::WebhookFailed).await.is_empty());
        now = store.next_due().await.unwrap().unwrap();
        assert_eq!(now, row.due_at);
    };
    assert_eq!(failed.state, State::Failed(now));
    assert!(
        now <= START.plus(PATIENCE) && now.plus(Duration::from_secs(86_400)) > START.plus(PATIENCE)
    );
    let event = log_of(store, Kind::WebhookFailed).await;
    assert_eq!(event.len(), 1);
    assert_eq!(event[0].outcome, Outcome::Failure);
    assert_eq!(event[0].target.subscription, Some(failed.subscription));
    assert_eq!(event[0].target.card, Some(sample::card(1).id));
    let counts = Counts {
        waiting: 1,
        failed: 1,
    };
    assert_eq!(store.outbox_counts().await.unwrap(), counts);
    let next = take(store, now).await;
    assert_eq!(told(&next), ["active"], "the card goes on");
    let gone = record(store, &next[0], now, Answer::Gone).await;
    assert_eq!(gone.unwrap().state, State::Failed(now), "at once");
}

/// Nothing is queued for it meanwhile; what waited is held.
pub(super) async fn a_subscription_out_of_use_is_not_told(store: &dyn Store) {
    with_subscription(store).await;
    moves(store, 1, CardState::Suspended, START).await;
    let set = async |enabled, at: Time| {
        let patch = Patch {
            enabled: Some(enabled),
            ..sample::patch(1, at)
        };
        let done = store.commit(patch).await.unwrap();
        assert!(matches!(done, Patched::Done(_)), "{done:?}");
    };
    set(false, after(1)).await;
    moves(store, 1, CardState::Active, after(2)).await;
    assert_eq!(all(store).await.len(), 1);
    assert_eq!(store.next_due().await.unwrap(), None);
    assert!(take(store, after(3)).await.is_empty());
    set(true, after(4)).await;
    assert_eq!(told(&take(store, after(4)).await), ["suspended"]);
}

/// What goes in comes out; what is removed is gone with its deliveries.
pub(super) async fn subscriptions_are_kept_as_they_were_written(store: &dyn Store) {
    with_subscription(store).await;
    let event = |kind| sample::event(kind, START);
    let full = Subscription {
        account: Some(AccountId::parse("F50091").unwrap()),
        form: Form::KeySecure,
        topics: Topic::ALL.to_vec(),
        enabled: false,
        authorization: Some(SealedSecret {
            dek: vec![7; 61],
            sealed: vec![8; 61],
        }),
        credential: Some(CredentialId::parse("crd_1").unwrap()),
        url: Endpoint::parse("https://a.example:8443/x?y=z").unwrap(),
        ..sample::subscription(2)
    };
    subscribe(store, full.clone()).await;
    let found = store.subscription(full.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&full));
    let missing = sample::subscription(9);
    assert_eq!(store.subscription(missing.id).await.unwrap(), None);
    let orphan = Subscription {
        merchant: sample::merchant(9).id,
        ..sample::subscription(3)
    };
    let before = log_len(store).await;
    let refused = store
        .commit(Changes(vec![
            (
                Change::AddSubscription(Box::new(full.clone())),
                event(Kind::WebhookAdded),
            ),
            (
                Change::AddSubscription(Box::new(orphan)),
                event(Kind::WebhookAdded),
            ),
            (
                Change::RemoveSubscription(missing.id),
                event(Kind::WebhookRemoved),
            ),
        ]))
        .await
        .unwrap();
    let missing = Err(Taken::NoMerchant);
    assert_eq!(refused, [Err(Taken::Exists), missing, missing]);
    assert_eq!(log_len(store).await, before);

    let everyone = store.subscriptions(None).await.unwrap();
    assert_eq!(everyone, [sample::subscription(1), full.clone()]);
    let merchant = |n| sample::merchant(n).id;
    let own = store.subscriptions(Some(&merchant(1))).await.unwrap();
    assert_eq!(own.len(), 2);
    let other = store.subscriptions(Some(&merchant(2))).await.unwrap();
    assert_eq!(other, []);

    moves(store, 1, CardState::Suspended, START).await;
    let change = Change::RemoveSubscription(sample::subscription(1).id);
    let removed = store
        .commit(Changes(vec![(change, event(Kind::WebhookRemoved))]))
        .await;
    assert_eq!(removed.unwrap(), [Ok(())]);
    assert_eq!(store.subscriptions(None).await.unwrap(), [full]);
    assert_eq!(all(store).await, []);
    assert!(take(store, START).await.is_empty());
}

/// A patch changes what it names and nothing else, so of many at once none undoes another.
pub(super) async fn a_patch_changes_what_it_names_alone(store: &dyn Store) {
    with_subscription(store).await;
    let sealed = |n: u8| SealedSecret {
        dek: vec![n; 61],
        sealed: vec![n; 62],
    };
    let account = AccountId::parse("F50091").unwrap();
    let url = Endpoint::parse("https://b.example/").unwrap();
    let credential = CredentialId::parse("crd_1").unwrap();
    let patch = || sample::patch(1, after(3));
    let patches = [
        Patch {
            account: Some(Some(account.clone())),
            ..patch()
        },
        Patch {
            url: Some(url.clone()),
            ..patch()
        },
        Patch {
            topics: Some(Topic::ALL.to_vec()),
            ..patch()
        },
        Patch {
            enabled: Some(false),
            ..patch()
        },
        Patch {
            secret: Some((Some(sealed(5)), Some(credential.clone()))),
            ..patch()
        },
        Patch {
            authorization: Some(Some(sealed(6))),
            ..patch()
        },
    ];
    let count = patches.len();
    let all = patches.map(|patch| store.commit(patch));
    for done in join_all(all).await {
        assert!(matches!(done, Ok(Patched::Done(_))), "{done:?}");
    }
    let expected = Subscription {
        account: Some(account),
        url,
        topics: Topic::ALL.to_vec(),
        enabled: false,
        secret: Some(sealed(5)),
        credential: Some(credential),
        authorization: Some(sealed(6)),
        updated_at: after(3),
        ..sample::subscription(1)
    };
    let id = expected.id;
    let found = store.subscription(id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&expected));
    assert_eq!(log_of(store, Kind::WebhookChanged).await.len(), count);
    let nothing = Patch {
        account: Some(None),
        secret: Some((None, None)),
        authorization: Some(None),
        ..patch()
    };
    let cleared = Subscription {
        account: None,
        secret: None,
        credential: None,
        authorization: None,
        ..expected
    };
    let done = store.commit(nothing).await.unwrap();
    assert_eq!(done, Patched::Done(Box::new(cleared.clone())));
    assert_eq!(store.subscription(id).await.unwrap(), Some(cleared));
    // Another merchant's, and one that is not there: nothing is written.
    let before = log_len(store).await;
    let foreign = Patch {
        merchant: sample::merchant(2).id,
        ..patch()
    };
    for patch in [foreign, sample::patch(9, after(3))] {
        let unknown = store.commit(patch).await.unwrap();
        assert_eq!(unknown, Patched::Unknown);
    }
    assert_eq!(log_len(store).await, before);
}

/// Of many additions at once no more get in than there is room for, whatever the others have.
pub(super) async fn no_merchant_has_more_subscriptions_than_it_may(store: &dyn Store) {
    with_subscription(store).await;
    let add = |merchant: u8, n: u8| {
        let subscription = Subscription {
            merchant: sample::merchant(merchant).id,
            ..sample::subscription(n)
        };
        let change = Change::AddSubscription(Box::new(subscription));
        store.commit(Changes(vec![(
            change,
            sample::event(Kind::WebhookAdded, START),
        )]))
    };
    let added = join_all((2..=60).map(|n| add(1, n))).await;
    let count = |wanted: Result<(), Taken>| {
        let same =
            |made: &&cardveil_core::port::Result<Vec<_>>| made.as_ref().unwrap()[0] == wanted;
        added.iter().filter(same).count()
    };
    let room = SUBSCRIPTIONS_MAX - 1;
    assert_eq!((count(Ok(())), count(Err(Taken::Full))), (room, 59 - room));
    let own = sample::merchant(1).id;
    let all = store.subscriptions(Some(&own)).await.unwrap();
    assert_eq!(all.len(), SUBSCRIPTIONS_MAX);
    assert_eq!(
        log_of(store, Kind::WebhookAdded).await.len(),
        SUBSCRIPTIONS_MAX
    );
    assert_eq!(add(2, 61).await.unwrap(), [Ok(())]);
    let removed = sample::event(Kind::WebhookRemoved, START);
    let remove = Change::RemoveSubscription(sample::subscription(1).id);
    assert_eq!(
        store
            .commit(Changes(vec![(remove, removed)]))
            .await
            .unwrap(),
        [Ok(())]
    );
    assert_eq!(add(1, 62).await.unwrap(), [Ok(())]);
    assert_eq!(add(1, 63).await.unwrap(), [Err(Taken::Full)]);
}

/// Visible, and replayable in their order.
pub(super) async fn deliveries_are_listed_and_replayed(store: &dyn Store) {
    with_subscription(store).await;
    let second = Subscription {
        topics: vec![Topic::CardState],
        ..sample::subscription(2)
    };
    subscribe(store, second).await;
    let states = [
        CardState::Suspended,
        CardState::Active,
        CardState::Terminated,
    ];
    for (secs, state) in (1..).zip(states) {
        moves(store, 1, state, after(secs)).await;
        for due in take(store, after(secs)).await {
            record(store, &due, after(secs), Answer::Accepted(200)).await;
        }
    }
    let one = sample::subscription(1).id;
    let filter = |subscription, state| DeliveryFilter {
        subscription,
        state,
        ..DeliveryFilter::default()
    };
    let list = async |filter: &DeliveryFilter, after, limit| {
        store.deliveries(filter, after, limit).await.unwrap()
    };
    assert_eq!(list(&filter(None, Some("waiting")), None, 10).await, []);
    let everything = list(&filter(None, Some("delivered")), None, 10).await;
    assert_eq!(everything.len(), 6);
    let place = |d: &Delivery| (d.seq, d.id);
    assert!(everything.is_sorted_by_key(place));
    let rest = list(&filter(None, None), Some(place(&everything[3])), 10).await;
    assert_eq!(rest, everything[4..]);
    assert_eq!(list(&filter(None, None), None, 2).await, everything[..2]);
    let ours = list(&filter(Some(one), None), None, 10).await;
    assert_eq!(ours.len(), 3);
    let nobody = DeliveryFilter {
        merchant: Some(sample::merchant(2).id),
        ..DeliveryFilter::default()
    };
    assert_eq!(list(&nobody, None, 10).await, []);

    let replay = async |ids, at| {
        let by = sample::operator();
        store
            .commit(ReplayDeliveries {
                deliveries: ids,
                at,
                source: by,
            })
            .await
            .unwrap()
    };
    let unknown = DeliveryId::from_bytes([9; 16]);
    assert_eq!(replay(vec![unknown], after(10)).await, 0);
    assert!(log_of(store, Kind::WebhookReplayed).await.is_empty());
    let rung = store.bell().times();
    let late = DeliveryFilter {
        since: Some(after(2)),
        ..filter(Some(one), None)
    };
    assert_eq!(list(&late, None, 10).await, ours[1..]);
    let ids = [2, 1, 2].map(|n| ours[n].id);
    assert_eq!(replay(ids.into(), after(10)).await, 2, "each once");
    assert_ne!(store.bell().times(), rung);
    let by_operator = |event: &Event| event.target.subscription == Some(one);
    let replayed = log_of(store, Kind::WebhookReplayed).await;
    assert!(replayed.len() == 1 && replayed.iter().all(by_operator));
    let first = take(store, after(10)).await;
    assert_eq!(told(&first), ["active"]);
    assert_eq!(first[0].delivery.id, ours[1].id, "the same message id");
    assert_eq!(first[0].delivery.attempts, 0);
    // An older one comes back while a younger one is under way: it waits for its turn.
    assert_eq!(replay(vec![ours[0].id], after(11)).await, 1);
    assert!(take(store, after(11)).await.is_empty());
    record(store, &first[0], after(12), Answer::Accepted(200)).await;
    let next = take(store, after(12)).await;
    assert_eq!(told(&next), ["suspended"]);
    // One that is under way stays with its courier.
    assert_eq!(replay(vec![ours[0].id], after(13)).await, 1);
    assert!(take(store, after(13)).await.is_empty());
    record(store, &next[0], after(14), Answer::Accepted(200)).await;
    let third = take(store, after(14)).await;
    assert_eq!(told(&third), ["terminated"]);
}

/// P8: what arrived is remembered for a while; what failed is kept.
pub(super) async fn deliveries_that_arrived_are_forgotten(store: &dyn Store) {
    with_subscription(store).await;
    for (n, answer) in [(1, Answer::Accepted(200)), (2, Answer::Gone)] {
        moves(store, n, CardState::Suspended, START).await;
        let taken = take(store, START).await;
        record(store, &taken[0], START, answer).await;
    }
    moves(store, 3, CardState::Suspended, START).await;
    moves(store, 1, CardState::Active, START).await;
    assert_eq!(
        store
            .commit(ForgetDeliveries {
                before: START,
                limit: 10
            })
            .await
            .unwrap(),
        0
    );
    let late = START.plus(RETENTION);
    assert_eq!(
        store
            .commit(ForgetDeliveries {
                before: late,
                limit: 0
            })
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        store
            .commit(ForgetDeliveries {
                before: late,
                limit: 10
            })
            .await
            .unwrap(),
        1
    );
    assert_eq!(all(store).await.len(), 3);
    assert_eq!(take(store, late).await.len(), 2);
}

/// P8: and only once it is out of use, which is on record (P7).
pub(super) async fn a_subscription_is_emptied_in_pieces(store: &dyn Store) {
    with_subscription(store).await;
    subscribe(store, sample::subscription(2)).await;
    for (secs, state) in [(1, CardState::Suspended), (2, CardState::Active)] {
        for n in 1..=3 {
            moves(store, n, state, after(secs)).await;
        }
    }
    let (one, two) = (sample::subscription(1).id, sample::subscription(2).id);
    // One has arrived, so its line's head is the next; another is under way.
    let mut taken = take(store, after(2)).await;
    taken.retain(|due| due.delivery.subscription == one);
    assert_eq!(taken.len(), 3);
    record(store, &taken[0], after(2), Answer::Accepted(200)).await;

    let drop = async |id, limit| {
        store
            .commit(DropDeliveries {
                subscription: id,
                limit,
            })
            .await
            .unwrap()
    };
    assert_eq!(drop(one, 100).await, 0, "it is told of what waits");
    let set = async |enabled| {
        let mut patch = sample::patch(1, after(3));
        patch.enabled = Some(enabled);
        store.commit(patch).await.unwrap();
    };
    set(false).await;
    assert_eq!(drop(sample::subscription(9).id, 100).await, 0);
    assert_eq!(drop(one, 0).await, 0);
    assert_eq!(drop(one, 2).await, 2);
    let left = async |id| {
        let mut all = all(store).await;
        all.retain(|delivery| delivery.subscription == id);
        all
    };
    assert_eq!(left(one).await.len(), 4);

    // Whoever stops here can go on: what waits in a line has a head.
    set(true).await;
    let waiting = left(one).await;
    let lines = waiting.iter().filter(|it| it.state == State::Waiting);
    let lines: BTreeSet<_> = lines.map(|delivery| delivery.line).collect();
    let mut due = take(store, after(60)).await;
    due.retain(|due| due.delivery.subscription == one);
    assert_eq!(due.len(), lines.len(), "{waiting:?}");

    set(false).await;
    let dropped = [drop(one, 3).await, drop(one, 3).await, drop(one, 3).await];
    assert_eq!(dropped, [3, 1, 0]);
    assert_eq!(left(one).await, []);
    assert_eq!(left(two).await.len(), 6, "another's stay");
    assert_eq!(record(store, &due[0], after(61), Answer::Gone).await, None);
}

/// What waits for the time of a clock that was ahead, or is leased until then, is due again once it
/// is dated anew; what waits as it should is left.
pub(super) async fn a_delivery_of_a_clock_ahead_is_due_again(store: &dyn Store) {
    const DAY: Duration = Duration::from_secs(86_400);
    with_subscription(store).await;
    moves(store, 1, CardState::Suspended, START).await;
    for days in [2, 80 * 365, 600 * 365] {
        let ahead = START.plus(days * DAY);
        let due = take(store, ahead).await;
        assert_eq!(due.len(), 1, "{ahead}");
        assert_eq!(take(store, START).await, [], "leased until then");
        assert_eq!(
            store
                .commit(DateDeliveries {
                    now: START,
                    limit: 100
                })
                .await
                .unwrap(),
            1
        );
        assert_eq!(
            store
                .commit(DateDeliveries {
                    now: START,
                    limit: 100
                })
                .await
                .unwrap(),
            0,
            "once"
        );
        let again = take(store, START).await;
        assert_eq!(again.len(), 1);
        let late = record(store, &due[0], ahead, Answer::Accepted(200)).await;
        assert_eq!(late, None, "the lease of before is over");
        record(store, &again[0], START, Answer::TimedOut)
            .await
            .unwrap();
    }
    let ahead = START.plus(2 * DAY);
    let due = take(store, ahead).await;
    let tried = record(store, &due[0], ahead, Answer::TimedOut).await;
    assert!(tried.unwrap().due_at > ahead);
    assert_eq!(
        store
            .commit(DateDeliveries {
                now: START,
                limit: 100
            })
            .await
            .unwrap(),
        1
    );
    let due = take(store, START).await;
    record(store, &due[0], START, Answer::TimedOut)
        .await
        .unwrap();
    assert_eq!(
        store
            .commit(DateDeliveries {
                now: START,
                limit: 100
            })
            .await
            .unwrap(),
        0
    );
}
