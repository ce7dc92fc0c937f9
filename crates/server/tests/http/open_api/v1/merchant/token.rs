//! `GET /open-api/v1/merchant/token`: Get Token.

use cardveil_core::audit::{Actor, Kind};
use cardveil_testkit::Fault;
use serde_json::json;

use crate::actors::{empty, get};
use crate::world::World;

const PATH: &str = "/open-api/v1/merchant/token";

#[tokio::test]
async fn it_gives_an_access_token_of_two_hours() {
    let world = World::new().await;
    let merchant = world.merchant();
    let answer = merchant.send(empty(merchant.keysecure(PATH))).await;
    let mut body = answer.json();
    let token = body["data"]["access_token"].take();
    assert!(token.as_str().unwrap().starts_with("cva_"), "{token}");
    let expired_time = world.now_ms() + 2 * 3_600 * 1_000;
    assert_eq!(
        body,
        json!({"code": 0, "msg": "Success", "data": {"access_token": null, "expired_time": expired_time}})
    );
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_grant_is_on_record_by_its_credential() {
    let world = World::new().await;
    world.merchant().login().await;
    let granted = world.operator().logged(Kind::AccessGranted).await;
    assert_eq!(granted.len(), 1);
    let admission = world
        .app
        .service
        .admission(crate::world::KEY)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        granted[0].event.actor,
        Actor::Credential(admission.credential.id)
    );
}

#[tokio::test]
async fn without_its_record_no_access_token_is_given() {
    let world = World::new().await;
    let merchant = world.merchant();
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        world.store.fail_next(fault);
        let answer = merchant.send(empty(merchant.keysecure(PATH))).await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.json(), json!({"code": 1001, "msg": "System error"}));
    }
    assert_eq!(world.counted("cardveil_faults_total").await, 3);
}

#[tokio::test]
async fn an_access_token_is_not_asked_for_and_not_looked_at() {
    let world = World::new().await;
    let merchant = world.merchant();
    let call = merchant
        .keysecure(PATH)
        .header("Access-Token", "cva_nonsense");
    assert_eq!(
        merchant.send(empty(call)).await.code(),
        (200, "0".to_owned())
    );
}

#[tokio::test]
async fn the_timestamp_is_required() {
    let world = World::new().await;
    let merchant = world.merchant();
    let call = get(PATH).header("Api-Key", &merchant.key);
    assert_eq!(
        merchant.send(empty(call)).await.code(),
        (200, "1005".to_owned())
    );
}
