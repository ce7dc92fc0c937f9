//! P2 and the unknown outcome: what a store that fails may and may not cause.

use cardveil_core::audit::Kind;
use cardveil_testkit::Fault;
use serde_json::json;

use crate::actors::Thief;
use crate::world::{Answer, World};

fn unavailable(answer: &Answer) {
    assert_eq!(
        answer.code(),
        (503, "unavailable".to_owned()),
        "{}",
        answer.shown()
    );
    assert!(answer.json().get("sealed").is_none());
}

/// How many releases are on record.
async fn releases(world: &World) -> usize {
    let operator = world.operator();
    operator.logged(Kind::RevealReleased).await.len()
        + operator.logged(Kind::RevealRepeated).await.len()
}

#[tokio::test]
async fn nothing_written_nothing_released_and_the_token_is_still_good() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    world.store.fail_next(Fault::NotPersisted);
    unavailable(&cardholder.redeem(&["pan"]).await);
    assert_eq!(releases(&world).await, 0);
    let answer = cardholder.redeem(&["pan"]).await;
    assert_eq!(cardholder.open(&answer), json!({"pan": "4111111111111111"}));
    assert_eq!(releases(&world).await, 1);
    assert_eq!(world.counted("cardveil_faults_total").await, 1);
}

#[tokio::test]
async fn written_but_not_told_is_looked_up_and_answered_with_one_release() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    world.store.fail_next(Fault::UnknownPersisted);
    let answer = cardholder.redeem(&["pan"]).await;
    assert_eq!(cardholder.open(&answer), json!({"pan": "4111111111111111"}));
    assert_eq!(releases(&world).await, 1);
    assert_eq!(world.operator().logged(Kind::RevealSettled).await.len(), 1);
    let thief = Thief::with(&world, &cardholder.token);
    assert_eq!(thief.redeem(&["pan"]).await.status, 403);
}

#[tokio::test]
async fn not_written_and_not_told_is_looked_up_and_the_token_is_still_good() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    world.store.fail_next(Fault::UnknownNotPersisted);
    unavailable(&cardholder.redeem(&["pan"]).await);
    assert_eq!(releases(&world).await, 0);
    assert_eq!(world.operator().logged(Kind::RevealSettled).await.len(), 1);
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    assert_eq!(releases(&world).await, 1);
}

/// In whatever way the store fails, at whichever request: a card that went out is on record.
#[tokio::test]
async fn every_release_is_on_record_whatever_fails() {
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        for failing in 0..4 {
            let world = World::new().await;
            let cardholder = world.cardholder().await;
            let thief = Thief::with(&world, &cardholder.token);
            let mut answered = 0;
            for (step, fields) in [&["pan"][..], &["pan"], &["cvv", "name"], &["cvv"]]
                .into_iter()
                .enumerate()
            {
                if step == failing {
                    world.store.fail_next(fault);
                }
                answered += usize::from(cardholder.redeem(fields).await.status == 200);
                assert_eq!(releases(&world).await, answered, "{fault:?} at {failing}");
            }
            assert!(answered >= 3, "{fault:?} at {failing}");
            assert_ne!(thief.redeem(&["pan"]).await.status, 200);
        }
    }
}

/// A refusal is written too; when it cannot be, the caller learns nothing more than that.
#[tokio::test]
async fn a_refusal_that_cannot_be_written_is_no_refusal() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let thief = Thief::with(&world, &cardholder.token);
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    world.store.fail_next(Fault::NotPersisted);
    unavailable(&thief.redeem(&["pan"]).await);
    assert_eq!(thief.redeem(&["pan"]).await.status, 403);
    assert_eq!(world.operator().logged(Kind::RevealConflict).await.len(), 1);
}

/// A frame names its retries alike, and may name anything alike. It once got a CVV with no record
/// of its release: the lookup found the earlier request of the same name.
#[tokio::test]
async fn a_lost_commit_is_not_taken_for_an_earlier_one_of_the_same_attempt() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let first = cardholder.ask_for(&["pan"]);
    assert_eq!(cardholder.send(&first).await.status, 200);
    let mut second = cardholder.ask_for(&["cvv"]);
    second["attempt"] = first["attempt"].clone();
    world.store.fail_next(Fault::UnknownNotPersisted);
    unavailable(&cardholder.send(&second).await);
    assert_eq!(releases(&world).await, 1);
    let again = cardholder.send(&second).await;
    assert_eq!(cardholder.open(&again), json!({"cvv": "739"}));
    assert_eq!(releases(&world).await, 2);
}
