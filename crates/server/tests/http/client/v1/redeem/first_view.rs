//! A virtual card becomes active once its details have been viewed (Equals, "About card states").

use cardveil_core::audit::{Actor, Kind};
use cardveil_core::card::{self, State};
use cardveil_testkit::Fault;
use http::Method;

use crate::actors::Cardholder;
use crate::world::World;

/// A cardholder with a token for a new virtual card, and the card's id.
async fn with_new_card(world: &World) -> (Cardholder<'_>, String) {
    let (no, id) = world
        .card_in(1, card::Kind::Virtual, State::Unactivated)
        .await;
    let token = world.merchant().token(&no).await;
    (Cardholder::with(world, token), id)
}

async fn state(world: &World, id: &str) -> String {
    let path = format!("/v1/cards/{id}");
    let answer = world
        .merchant()
        .call("Bearer", Method::GET, &path, None)
        .await;
    answer.json()["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_number_shown_brings_the_card_into_use_once() {
    let world = World::new().await;
    let (cardholder, id) = with_new_card(&world).await;
    assert_eq!(cardholder.redeem(&["name"]).await.status, 200);
    assert_eq!(state(&world, &id).await, "unactivated", "not by the name");
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    assert_eq!(state(&world, &id).await, "active");
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    let log = world.operator().log().await;
    let changed: Vec<_> = log
        .iter()
        .filter(|entry| entry.event.kind == Kind::CardChanged)
        .collect();
    assert_eq!(changed.len(), 1, "once");
    let event = &changed[0].event;
    assert_eq!(event.detail.from.as_deref(), Some("unactivated"));
    assert_eq!(event.detail.to.as_deref(), Some("active"));
    assert_eq!(event.detail.reason.as_deref(), Some("details shown"));
    assert!(matches!(event.actor, Actor::Holder(_)), "{event:?}");
    let released = log
        .iter()
        .rfind(|entry| entry.event.kind == Kind::RevealReleased)
        .unwrap();
    assert_eq!(released.seq + 1, changed[0].seq, "after its release");
}

#[tokio::test]
async fn a_refused_view_moves_nothing() {
    let world = World::new().await;
    let (cardholder, id) = with_new_card(&world).await;
    world.clock.advance(std::time::Duration::from_secs(300));
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 403);
    assert_eq!(state(&world, &id).await, "unactivated");
    assert!(world.operator().logged(Kind::CardChanged).await.is_empty());
}

/// The release and the step are one commit: both are there, or neither.
#[tokio::test]
async fn whatever_fails_the_step_goes_with_the_release() {
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        let world = World::new().await;
        let (cardholder, id) = with_new_card(&world).await;
        world.store.fail_next(fault);
        let answer = cardholder.redeem(&["pan"]).await;
        let written = fault == Fault::UnknownPersisted;
        assert_eq!(answer.status, if written { 200 } else { 503 }, "{fault:?}");
        let (expected, events) = if written {
            ("active", 1)
        } else {
            ("unactivated", 0)
        };
        assert_eq!(state(&world, &id).await, expected, "{fault:?}");
        let changed = async || world.operator().logged(Kind::CardChanged).await.len();
        assert_eq!(changed().await, events, "{fault:?}");
        assert_eq!(cardholder.redeem(&["pan"]).await.status, 200, "{fault:?}");
        assert_eq!(state(&world, &id).await, "active", "{fault:?}");
        assert_eq!(changed().await, 1, "{fault:?}");
    }
}
