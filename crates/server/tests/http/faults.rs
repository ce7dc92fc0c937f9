//! What is our fault: told in the words of the route's API, counted, and nothing more.

use axum::body::Body;
use cardveil_server::ListenerKind;
use http::Method;
use serde_json::json;

use crate::actors::{post, request};
use crate::world::{CARD_ID, CARD_NO, World};

#[tokio::test]
async fn a_request_that_panics_is_told_in_the_words_of_its_api() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    let cardholder = world.cardholder().await;
    world.chance.break_it();
    let answer = merchant.client_token(CARD_NO, &access).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json(), json!({"code": 1001, "msg": "System error"}));
    for answer in [
        merchant.access_token(CARD_ID, "accountId=F50091").await,
        merchant.native(&json!({"card_no": CARD_NO})).await,
        cardholder.redeem(&["pan"]).await,
    ] {
        assert_eq!(answer.code(), (503, "unavailable".to_owned()));
        assert!(!answer.text().contains("planted"));
    }
    assert_eq!(world.counted("cardveil_faults_total").await, 4);
    world.chance.mend_it();
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_ends_the_request() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let never = Body::from_stream(futures_util::stream::pending::<std::io::Result<bytes::Bytes>>());
    let call = request(Method::POST, "/client/v1/redeem")
        .header("content-type", "application/json")
        .body(never);
    let before = tokio::time::Instant::now();
    let answer = world
        .stranger()
        .send(ListenerKind::Client, call.unwrap())
        .await;
    // The caller's fault: nobody is to be woken by it.
    assert_eq!(answer.code(), (408, "request_timeout".to_owned()));
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(world.counted("cardveil_faults_total").await, 0);
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
}

#[tokio::test]
async fn a_refusal_is_no_fault() {
    let world = World::new().await;
    let call = post("/client/v1/redeem", &json!({}));
    assert_eq!(
        world
            .stranger()
            .send(ListenerKind::Client, call)
            .await
            .status,
        400
    );
    assert_eq!(world.counted("cardveil_faults_total").await, 0);
}
