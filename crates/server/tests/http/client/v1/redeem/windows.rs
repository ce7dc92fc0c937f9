//! Again: what the same key may still have, and until when.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::{Field, Fields, State};
use serde_json::json;

use crate::actors::Cardholder;
use crate::world::{CARD_ID, World};

async fn status(cardholder: &Cardholder<'_>, fields: &[&str]) -> u16 {
    cardholder.redeem(fields).await.status
}

#[tokio::test]
async fn a_field_again_within_30_seconds() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let first = cardholder.redeem(&["pan"]).await;
    world.clock.advance(Duration::from_secs(30));
    let again = cardholder.redeem(&["pan"]).await;
    assert_eq!(cardholder.open(&again), cardholder.open(&first));
    assert_eq!(again.json()["redemption"], first.json()["redemption"]);
    assert_eq!(again.json()["window"], first.json()["window"]);
    assert_ne!(
        again.json()["sealed"],
        first.json()["sealed"],
        "sealed anew"
    );
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(status(&cardholder, &["pan"]).await, 403);
    assert_eq!(world.operator().logged(Kind::RevealRepeated).await.len(), 1);
}

#[tokio::test]
async fn a_field_again_three_times_at_most() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(status(&cardholder, &["pan"]).await);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 403, 403]);
}

#[tokio::test]
async fn another_field_within_60_seconds_of_the_claim() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    assert_eq!(status(&cardholder, &["pan"]).await, 200);
    world.clock.advance(Duration::from_secs(60));
    let answer = cardholder.redeem(&["expiry"]).await;
    assert_eq!(
        answer.json()["window"]["fields_left"],
        json!(["cvv", "name"])
    );
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(status(&cardholder, &["name"]).await, 403);
}

#[tokio::test]
async fn the_cvv_later_has_a_record_of_its_own() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let first = cardholder.redeem(&["pan", "expiry", "name"]).await;
    world.clock.advance(Duration::from_secs(20));
    let later = cardholder.redeem(&["cvv"]).await;
    assert_eq!(cardholder.open(&later), json!({"cvv": "739"}));
    assert_eq!(later.json()["redemption"], first.json()["redemption"]);
    assert_eq!(later.json()["window"]["fields_left"], json!([]));
    let released = world.operator().logged(Kind::RevealReleased).await;
    let fields: Vec<_> = released
        .iter()
        .map(|entry| entry.event.detail.fields.unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            Fields::from_iter([Field::Pan, Field::Expiry, Field::Name]),
            Fields::from_iter([Field::Cvv])
        ]
    );
}

#[tokio::test]
async fn a_held_token_outlives_its_300_seconds_by_its_window_only() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    world.clock.advance(Duration::from_millis(299_999));
    assert_eq!(status(&cardholder, &["pan"]).await, 200);
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(status(&cardholder, &["cvv"]).await, 200);
}

#[tokio::test]
async fn a_card_that_is_frozen_meanwhile_gives_no_further_field() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    assert_eq!(status(&cardholder, &["pan"]).await, 200);
    world.operator().set_card(CARD_ID, State::Suspended).await;
    assert_eq!(status(&cardholder, &["cvv"]).await, 403);
    assert_eq!(status(&cardholder, &["pan"]).await, 403);
}

#[tokio::test]
async fn a_token_that_is_revoked_meanwhile_gives_no_further_field() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    assert_eq!(status(&cardholder, &["pan"]).await, 200);
    world.operator().revoke(&cardholder.token).await;
    assert_eq!(status(&cardholder, &["cvv"]).await, 403);
}
