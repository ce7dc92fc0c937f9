//! `POST /v2/cards/{cardId}/transition`: Equals, "About card states" and "Order cards", step 2.

use cardveil_core::audit::{Actor, Kind};
use cardveil_core::card::{self, State};
use cardveil_core::merchant::Scope;
use cardveil_testkit::Fault;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Answer, CARD_ID, FOREIGN_ID, KEY, World};

async fn writing() -> World {
    let world = World::new().await;
    let scopes = vec![Scope::CardsReadAny, Scope::CardsWriteAny];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    world
}

async fn go(world: &World, id: &str, body: Value) -> Answer {
    let path = format!("/v2/cards/{id}/transition?accountId=F50091");
    let merchant = world.merchant();
    merchant
        .call("ApiKey", Method::POST, &path, Some(body))
        .await
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

const NAMES: [(&str, State); 5] = [
    ("UNACTIVATED", State::Unactivated),
    ("ACTIVE", State::Active),
    ("REPLACED", State::Replaced),
    ("SUSPENDED", State::Suspended),
    ("TERMINATED", State::Terminated),
];

/// Every state to every other: 200 where the machine leads and the card is not being made, 200
/// without an event where it is so already, 409 and nothing else.
#[tokio::test]
async fn every_step_that_there_is_and_no_other() {
    let world = writing().await;
    let mut n = 0;
    for from in State::ALL {
        for (name, to) in NAMES {
            n += 1;
            let (_, id) = world.card_in(n, card::Kind::Physical, from).await;
            let before = world.operator().logged(Kind::CardChanged).await.len();
            let answer = go(&world, &id, json!({"state": name})).await;
            let moved = world.operator().logged(Kind::CardChanged).await.len() - before;
            if from == to {
                assert_eq!((answer.status, moved), (200, 0), "{from:?} {name}");
            } else if from != State::Pending && from.leads_to(to) {
                assert_eq!((answer.status, moved), (200, 1), "{from:?} {name}");
                assert_eq!(answer.json()["state"], name);
            } else {
                is(&answer, 409, "transition_refused");
                assert_eq!(moved, 0, "{from:?} {name}");
            }
        }
    }
}

#[tokio::test]
async fn the_reason_is_on_record() {
    let world = writing().await;
    let answer = go(
        &world,
        CARD_ID,
        json!({"state": "SUSPENDED", "reason": "Lost"}),
    )
    .await;
    assert_eq!(answer.status, 200);
    let changed = world.operator().logged(Kind::CardChanged).await;
    let event = &changed[0].event;
    assert_eq!(event.detail.from.as_deref(), Some("active"));
    assert_eq!(event.detail.to.as_deref(), Some("suspended"));
    assert_eq!(event.detail.reason.as_deref(), Some("Lost"));
    assert!(matches!(event.actor, Actor::Credential(_)), "{event:?}");
    let empty = go(&world, CARD_ID, json!({"state": "ACTIVE", "reason": ""})).await;
    assert_eq!(empty.status, 200, "as left out");
}

#[tokio::test]
async fn what_is_no_state_or_no_reason_is_400_and_not_repeated() {
    let world = writing().await;
    for body in [
        json!({"state": "active"}),
        json!({"state": "LOST"}),
        json!({"reason": "Lost"}),
        json!({"state": "SUSPENDED", "reason": "4111 1111 1111 1111"}),
        json!({"state": "SUSPENDED", "reason": "x".repeat(256)}),
        json!({"state": "SUSPENDED", "reason": "a\u{0}b"}),
    ] {
        let answer = go(&world, CARD_ID, body).await;
        is(&answer, 400, "invalid_request");
        assert!(!answer.shown().contains("4111"));
    }
    assert!(world.operator().logged(Kind::CardChanged).await.is_empty());
}

#[tokio::test]
async fn who_may_not_change_it_does_not() {
    let world = writing().await;
    let body = || json!({"state": "SUSPENDED"});
    is(&go(&world, FOREIGN_ID, body()).await, 404, "not_found");
    let scopes = vec![Scope::CardsReadAny];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    is(&go(&world, CARD_ID, body()).await, 403, "scope_missing");
    assert!(world.operator().logged(Kind::CardChanged).await.is_empty());
}

#[tokio::test]
async fn a_write_that_fails_may_be_sent_again() {
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        let world = writing().await;
        world.store.fail_next(fault);
        let body = || json!({"state": "TERMINATED", "reason": "Stolen"});
        is(&go(&world, CARD_ID, body()).await, 503, "unavailable");
        assert_eq!(go(&world, CARD_ID, body()).await.status, 200);
        assert_eq!(world.operator().logged(Kind::CardChanged).await.len(), 1);
    }
}
