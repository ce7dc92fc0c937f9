//! What is our fault: told in the words of the route's API, counted, and nothing more.

use std::time::Duration;

use axum::body::Body;
use cardveil_server::ListenerKind;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, advance};

use crate::actors::{Thief, post, request};
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

/// What `/healthz` says, and of what `/readyz` warns.
async fn health(world: &World) -> ((u16, Value), (u16, Value)) {
    let stranger = world.stranger();
    let health = stranger.get(ListenerKind::Admin, "/healthz").await;
    let code = health.json()["code"].clone();
    let ready = stranger.get(ListenerKind::Admin, "/readyz").await;
    let warnings = ready.json()["warnings"].clone();
    ((health.status, code), (ready.status, warnings))
}

fn well() -> (u16, Value) {
    (200, Value::Null)
}

fn warned() -> (u16, Value) {
    (200, json!(["panicked"]))
}

async fn panic_each(world: &World, secs: u64, times: u32) {
    let cardholder = world.cardholder().await;
    world.chance.break_it();
    for n in 0..times {
        if n > 0 {
            advance(Duration::from_secs(secs)).await;
        }
        assert_eq!(cardholder.redeem(&["pan"]).await.status, 503);
    }
    world.chance.mend_it();
}

/// A clock's step made each call panic: it answered 503 until it was restarted, and its health said
/// 200.
#[tokio::test(start_paused = true)]
async fn a_process_that_carries_nothing_through_is_to_be_restarted() {
    let world = World::new().await;
    assert_eq!(health(&world).await, (well(), well()));
    panic_each(&world, 15, 4).await;
    assert_eq!(health(&world).await, (well(), warned()));
    panic_each(&world, 15, 1).await;
    // The fifth, yet within a minute. What issued its token was carried through, too.
    assert_eq!(health(&world).await, (well(), warned()));
    panic_each(&world, 15, 5).await;
    let panicking = (503, json!("panicking"));
    // Readiness is all nodes': a request that panics here panics there.
    assert_eq!(health(&world).await, (panicking.clone(), warned()));
    // Strangers get their answers, and that says nothing.
    world
        .stranger()
        .get(ListenerKind::Client, "/sdk/v1/cardveil.js")
        .await;
    let thief = Thief::with(&world, "cvt_test_x");
    assert_eq!(thief.redeem(&["pan"]).await.status, 403);
    assert_eq!(health(&world).await, (panicking, warned()));
    assert_eq!(world.counted("cardveil_panics_total").await, 10);
    world.merchant().login().await;
    assert_eq!(health(&world).await, (well(), warned()));
    advance(Duration::from_secs(600)).await;
    assert_eq!(health(&world).await, (well(), well()));
}

#[tokio::test(start_paused = true)]
async fn it_is_over_once_nothing_panics_any_more() {
    let world = World::new().await;
    panic_each(&world, 15, 5).await;
    advance(Duration::from_millis(299_999)).await;
    assert_eq!(health(&world).await.0.0, 503);
    advance(Duration::from_millis(1)).await;
    assert_eq!(health(&world).await, (well(), warned()));
}

/// Whoever has found a request that panics sends it as often as they like.
#[tokio::test(start_paused = true)]
async fn a_request_that_panics_restarts_no_node_that_serves_others() {
    let world = World::new().await;
    for _ in 0..10 {
        panic_each(&world, 1, 59).await;
        assert_eq!(health(&world).await, (well(), warned()));
        // Somebody's token is issued.
        world.cardholder().await;
    }
    assert_eq!(world.counted("cardveil_panics_total").await, 590);
}

/// The sweep, the courier and the like ended without a word.
#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_begins_anew() {
    let world = World::new().await;
    let (stop, stopped) = watch::channel(false);
    let mut times = 0;
    let (told, mut begun) = mpsc::unbounded_channel();
    let work = move |_, mut stop: watch::Receiver<bool>| {
        times += 1;
        told.send(times).unwrap();
        async move {
            assert!(times >= 3, "planted: 4111111111111111");
            cardveil_server::listener::stopped(&mut stop).await;
        }
    };
    let (before, worker) = (Instant::now(), world.app.keep_up("test", &stopped, work));
    let worker = tokio::spawn(worker);
    while begun.recv().await != Some(3) {}
    assert_eq!(before.elapsed().as_secs(), 10);
    assert_eq!(health(&world).await, (well(), warned()));
    assert_eq!(world.counted("cardveil_panics_total").await, 2);
    stop.send(true).unwrap();
    worker.await.unwrap();
}

/// Its socket has gone with it.
#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_needs_a_restart() {
    let world = World::new().await;
    let panics = async { panic!("planted") };
    world.app.clone().watch_over("listener", panics).await;
    let told = (503, json!("panicking"));
    assert_eq!(health(&world).await, (told.clone(), warned()));
    advance(Duration::from_secs(86_400)).await;
    assert_eq!(health(&world).await, (told, warned()));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_ends_the_request() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let never = Body::from_stream(futures_util::stream::pending::<std::io::Result<bytes::Bytes>>());
    let call = request(Method::POST, "/client/v1/redeem")
        .header("content-type", "application/json")
        .body(never);
    let before = Instant::now();
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
