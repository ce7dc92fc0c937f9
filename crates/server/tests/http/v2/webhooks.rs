//! Equals' webhooks.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::State;
use cardveil_core::flow::Replay;
use cardveil_core::id::SubscriptionId;
use cardveil_core::merchant::Scope;
use cardveil_core::port::Outbox as _;
use cardveil_core::verb::{Commit, DropDeliveries, RecordEvent};
use cardveil_testkit::Fault;
use cardveil_testkit::sample::{self, START};
use http::Method;
use serde_json::{Value, json};

use crate::actors::request;
use crate::world::{Answer, KEY, OTHER_KEY, World};

const SECRET: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const HEADER: &str = "Bearer partner-authorization";

async fn world() -> World {
    let world = World::new().await;
    for key in [KEY, OTHER_KEY] {
        let operator = world.operator();
        let give = |c: &mut cardveil_core::merchant::Credential| c.scopes = Scope::ALL.to_vec();
        operator.set_credential(key, give).await;
    }
    world
}

async fn call(
    world: &World,
    key: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let call = request(method, path)
        .header("authorization", format!("ApiKey {key}"))
        .header("content-type", "application/json");
    let body = body.map(Value::to_string).unwrap_or_default();
    world.merchant().send(call.body(body.into()).unwrap()).await
}

fn asked() -> Value {
    json!({
        "enabled": true,
        "url": "https://partner.example/hooks?x=y",
        "webhookEventTypeName": "CardStateUpdated",
        "sharedSecret": SECRET,
        "authorizationHeader": HEADER,
        "accountId": "F50091",
        "somethingNew": 1,
    })
}

async fn created(world: &World) -> (String, Answer) {
    let answer = call(world, KEY, Method::POST, "/v2/webhooks", Some(&asked())).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    (format!("/v2/webhooks/{id}"), answer)
}

#[tokio::test]
async fn a_webhook_is_created_read_changed_and_deleted() {
    let world = world().await;
    let (path, answer) = created(&world).await;
    insta::assert_json_snapshot!(answer.json());
    let read = call(&world, KEY, Method::GET, &path, None).await;
    assert_eq!(read.json(), answer.json());
    let list = call(&world, KEY, Method::GET, "/v2/webhooks", None).await;
    assert_eq!(
        list.json(),
        json!({"count": 1, "limit": 100, "offset": 0, "rows": [answer.json()]})
    );
    let change = json!({"enabled": false, "accountId": null, "sharedSecret": null,
        "webhookEventTypeId": "c1a5f01c-67e4-48e5-8cd3-5866b6aa8c85"});
    let changed = call(&world, KEY, Method::PATCH, &path, Some(&change)).await;
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["enabled"], false);
    assert_eq!(changed.json()["accountId"], Value::Null);
    assert_eq!(
        changed.json()["webhookEventTypeName"],
        "DigitalWalletTokenTransition"
    );
    assert_eq!(
        changed.json()["url"],
        answer.json()["url"],
        "left as it was"
    );
    let gone = call(&world, KEY, Method::DELETE, &path, None).await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    let again = call(&world, KEY, Method::DELETE, &path, None).await;
    assert_eq!(again.code(), (404, "not_found".into()));
    let operator = world.operator();
    for (kind, count) in [
        (Kind::WebhookAdded, 1),
        (Kind::WebhookChanged, 2),
        (Kind::WebhookRemoved, 1),
    ] {
        assert_eq!(operator.logged(kind).await.len(), count, "{kind:?}");
    }
}

/// Version 0.1 had ids of its own: who kept them goes on, and is told the published ones.
#[tokio::test]
async fn an_event_type_is_known_by_its_published_id_and_by_the_one_before() {
    let world = world().await;
    for (id, before, name) in [
        (
            "66854098-aac7-4084-938e-bc2e62fb6a44",
            "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b01",
            "CardStateUpdated",
        ),
        (
            "c1a5f01c-67e4-48e5-8cd3-5866b6aa8c85",
            "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b02",
            "DigitalWalletTokenTransition",
        ),
    ] {
        for given in [id, before, &id.to_uppercase()] {
            let mut body = asked();
            body["webhookEventTypeName"] = Value::Null;
            body["webhookEventTypeId"] = json!(given);
            let answer = call(&world, KEY, Method::POST, "/v2/webhooks", Some(&body)).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert_eq!(answer.json()["webhookEventTypeId"], id);
            assert_eq!(answer.json()["webhookEventTypeName"], name);
            let path = format!("/v2/webhooks/event-types/{given}");
            let read = call(&world, KEY, Method::GET, &path, None).await;
            assert_eq!(read.json()["id"], id, "{given}");
        }
    }
    for (member, elsewhere) in [
        ("webhookEventTypeName", "CardTransaction"),
        ("webhookEventTypeName", "3DSAuthRequest"),
        ("webhookEventTypeId", "da153b21-9c8d-46d2-8911-83c6da10655a"),
        ("webhookEventTypeId", "2704f4e3-7790-43a0-905c-e0a6aaf89cdd"),
    ] {
        let mut body = asked();
        body["webhookEventTypeName"] = Value::Null;
        body[member] = json!(elsewhere);
        let answer = call(&world, KEY, Method::POST, "/v2/webhooks", Some(&body)).await;
        assert_eq!(answer.code(), (400, "invalid_request".into()));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with(member) && detail.contains("authorises"),
            "{detail}"
        );
    }
}

/// A subscription to which `count` events wait, and its path.
async fn with_deliveries(world: &World, count: usize) -> (SubscriptionId, String) {
    let mut asked = asked();
    asked["accountId"] = Value::Null;
    let answer = call(world, KEY, Method::POST, "/v2/webhooks", Some(&asked)).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    for n in (0..=u8::MAX).cycle().take(count) {
        let event = sample::moved(n, State::Suspended, START);
        world.store.commit(RecordEvent(event)).await.unwrap();
    }
    let waiting = world.store.outbox_counts().await.unwrap().waiting;
    assert_eq!(waiting, count);
    (
        SubscriptionId::parse(&id).unwrap(),
        format!("/v2/webhooks/{id}"),
    )
}

/// P8: no commit holds more of them, and each says how many it has queued.
#[tokio::test]
async fn events_are_replayed_200_in_a_commit() {
    let world = world().await;
    let (id, _) = with_deliveries(&world, 250).await;
    let (service, by) = (&world.app.service, sample::operator());
    let replayed = service.replay(Replay::Since(id, START), &by).await;
    assert_eq!(replayed.unwrap(), 250);
    let log = world.operator().logged(Kind::WebhookReplayed).await;
    let notes: Vec<_> = log
        .iter()
        .map(|it| it.event.detail.note.as_deref())
        .collect();
    assert_eq!(notes, [Some("200 deliveries"), Some("50 deliveries")]);
    let tomorrow = START.plus(Duration::from_secs(86_400));
    let replayed = service.replay(Replay::Since(id, tomorrow), &by).await;
    assert_eq!(replayed.unwrap(), 0);
}

/// P7, P8: what waits goes a piece at a time, after a record that says so; whoever was stopped
/// between two pieces asks again.
#[tokio::test]
async fn a_webhook_with_many_deliveries_is_deleted_even_if_stopped_half_way() {
    let world = world().await;
    let (id, path) = with_deliveries(&world, 1_001).await;
    let delete = async || call(&world, KEY, Method::DELETE, &path, None).await;
    world.store.fail_next(Fault::NotPersisted);
    assert_eq!(delete().await.status, 503);
    assert_eq!(world.store.outbox_counts().await.unwrap().waiting, 1_001);
    // Stopped after its first two commits.
    let mut disable = sample::patch(1, START);
    (disable.id, disable.enabled) = (id, Some(false));
    world.store.commit(disable).await.unwrap();
    assert_eq!(
        world
            .store
            .commit(DropDeliveries {
                subscription: id,
                limit: 500
            })
            .await
            .unwrap(),
        500
    );
    let read = call(&world, KEY, Method::GET, &path, None).await;
    assert_eq!(read.json()["enabled"], false);

    assert_eq!(delete().await.status, 204);
    assert_eq!(delete().await.status, 404);
    assert_eq!(world.store.outbox_counts().await.unwrap().waiting, 0);
    let operator = world.operator();
    let intended = operator.logged(Kind::WebhookChanged).await.pop().unwrap();
    let removed = operator.logged(Kind::WebhookRemoved).await.pop().unwrap();
    assert!(intended.seq < removed.seq);
    assert_eq!(intended.event.target.subscription, Some(id));
    assert!(intended.event.detail.note.is_some());
}

#[tokio::test]
async fn its_secrets_are_never_returned() {
    let world = world().await;
    let (path, answer) = created(&world).await;
    let change = json!({"sharedSecret": SECRET, "authorizationHeader": HEADER});
    let answers = [
        answer,
        call(&world, KEY, Method::GET, &path, None).await,
        call(&world, KEY, Method::GET, "/v2/webhooks", None).await,
        call(&world, KEY, Method::PATCH, &path, Some(&change)).await,
    ];
    for answer in answers {
        assert!(!answer.text().contains(SECRET) && !answer.text().contains(HEADER));
    }
    let log = serde_json::to_string(&world.operator().log().await).unwrap();
    assert!(!log.contains(SECRET) && !log.contains(HEADER));
    // Where it goes is on record by its host; the rest of the address may be what its owner thinks
    // secret.
    assert!(log.contains("partner.example") && !log.contains("partner.example/"));
}

#[tokio::test]
async fn another_merchants_webhook_is_not_there() {
    let world = world().await;
    let (path, _) = created(&world).await;
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let body = json!({});
        let answer = call(&world, OTHER_KEY, method, &path, Some(&body)).await;
        assert_eq!(answer.code(), (404, "not_found".into()));
    }
    let list = call(&world, OTHER_KEY, Method::GET, "/v2/webhooks", None).await;
    assert_eq!(list.json()["count"], 0);
    let id = path.rsplit('/').next().unwrap();
    let native = request(Method::GET, &format!("/v1/webhooks/{id}"))
        .header("authorization", format!("Bearer {KEY}"));
    let merchant = world.merchant();
    let native = merchant.send(native.body(String::new().into()).unwrap());
    assert_eq!(
        native.await.code(),
        (404, "not_found".into()),
        "nor the other API's"
    );
    let scope = |c: &mut cardveil_core::merchant::Credential| c.scopes = vec![Scope::CardsReadAny];
    world.operator().set_credential(KEY, scope).await;
    let barred = call(&world, KEY, Method::GET, "/v2/webhooks", None).await;
    assert_eq!(barred.code(), (403, "scope_missing".into()));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let world = world().await;
    let long = format!("https://a.example/{}", "x".repeat(495));
    let header = "x".repeat(513);
    for (member, value, place) in [
        ("url", json!("http://partner.example/"), "url"),
        ("url", json!("hooks"), "url"),
        ("url", json!(long), "url"),
        ("url", json!("https://u:p@a.example/"), "url"),
        (
            "sharedSecret",
            json!("3f2504e04f8941d39a0c0305e82c3301"),
            "sharedSecret",
        ),
        ("sharedSecret", json!("secret"), "sharedSecret"),
        ("authorizationHeader", json!(header), "authorizationHeader"),
        (
            "authorizationHeader",
            json!("a\r\nb: c"),
            "authorizationHeader",
        ),
        ("accountId", json!("a b"), "accountId"),
        (
            "webhookEventTypeName",
            json!("CardTransaction"),
            "webhookEventTypeName",
        ),
        ("webhookEventTypeName", Value::Null, "webhookEventTypeName"),
        (
            "webhookEventTypeId",
            json!("6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b01"),
            "webhookEventTypeName",
        ),
        ("enabled", json!("yes"), "enabled"),
    ] {
        let mut body = asked();
        body[member] = value;
        let answer = call(&world, KEY, Method::POST, "/v2/webhooks", Some(&body)).await;
        assert_eq!(answer.code(), (400, "invalid_request".into()), "{member}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(place), "{member}: {detail}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "offset=-1"] {
        let path = format!("/v2/webhooks?{query}");
        let answer = call(&world, KEY, Method::GET, &path, None).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_merchant_has_a_bounded_number_of_webhooks() {
    let world = world().await;
    for _ in 0..cardveil_core::hook::SUBSCRIPTIONS_MAX {
        created(&world).await;
    }
    let more = call(&world, KEY, Method::POST, "/v2/webhooks", Some(&asked())).await;
    assert_eq!(more.code(), (400, "invalid_request".into()));
    let page = "/v2/webhooks?limit=2&offset=49";
    let page = call(&world, KEY, Method::GET, page, None).await;
    assert_eq!(page.json()["count"], 50);
    assert_eq!(page.json()["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_event_types_are_listed_and_read() {
    let world = world().await;
    let path = "/v2/webhooks/event-types";
    let list = call(&world, KEY, Method::GET, path, None).await;
    insta::assert_json_snapshot!(list.json());
    for row in list.json()["rows"].as_array().unwrap() {
        let path = format!("{path}/{}", row["id"].as_str().unwrap());
        let one = call(&world, KEY, Method::GET, &path, None).await;
        assert_eq!(&one.json(), row);
    }
    let unknown = format!("{path}/{SECRET}");
    let unknown = call(&world, KEY, Method::GET, &unknown, None).await;
    assert_eq!(unknown.code(), (404, "not_found".into()));
}
