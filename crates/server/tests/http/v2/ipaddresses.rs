//! `/v2/ipaddresses`: from where a credential may call.

use cardveil_core::audit::Kind;
use cardveil_core::merchant::Scope;
use cardveil_server::ListenerKind;
use cardveil_testkit::Fault;
use http::Method;
use serde_json::{Value, json};

use crate::actors::{Merchant, empty, post, request};
use crate::world::{Answer, KEY, OTHER_KEY, World};

const PATH: &str = "/v2/ipaddresses";

async fn world() -> World {
    let world = World::new().await;
    for key in [KEY, OTHER_KEY] {
        let scopes = vec![Scope::IpAddressesManage];
        world
            .operator()
            .set_credential(key, |c| c.scopes = scopes)
            .await;
    }
    world
}

async fn list(merchant: &Merchant<'_>, query: &str) -> Answer {
    let call = request(Method::GET, &format!("{PATH}{query}"));
    merchant
        .send(empty(call.header("Authorization", &merchant.key)))
        .await
}

async fn add(merchant: &Merchant<'_>, body: &Value) -> Answer {
    let mut call = post(PATH, body);
    let key = merchant.key.parse().unwrap();
    call.headers_mut().insert("authorization", key);
    merchant.send(call).await
}

async fn remove(merchant: &Merchant<'_>, id: &str) -> Answer {
    let call = request(Method::DELETE, &format!("{PATH}/{id}"));
    merchant
        .send(empty(call.header("Authorization", &merchant.key)))
        .await
}

fn ips(answer: &Answer) -> Vec<String> {
    let rows = answer.json()["rows"].as_array().unwrap().clone();
    let ip = |row: &Value| row["ip"].as_str().unwrap().to_owned();
    rows.iter().map(ip).collect()
}

fn id_of(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_row_has_what_the_document_lists() {
    let world = world().await;
    let answer = add(
        &world.merchant(),
        &json!({"ip": "198.51.100.0/24", "description": "Office", "unknown": 1}),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.shown());
    let row = answer.json();
    let mut keys: Vec<_> = row.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "createdAt",
            "description",
            "id",
            "ip",
            "ipaddressableId",
            "ipaddressableType",
            "updatedAt"
        ]
    );
    assert_eq!(row["ip"], "198.51.100.0/24");
    assert_eq!(row["description"], "Office");
    assert_eq!(row["ipaddressableType"], "API_KEY");
    assert!(row["ipaddressableId"].as_str().unwrap().starts_with("crd_"));
    assert_eq!(row["createdAt"], "2026-01-01T00:00:00.000Z");
    let page = list(&world.merchant(), "").await.json();
    assert_eq!(
        (&page["limit"], &page["offset"], &page["count"]),
        (&json!(100), &json!(0), &json!(2))
    );
    assert_eq!(page["rows"][1], row);
}

#[tokio::test]
async fn an_address_that_was_added_lets_calls_in_and_one_that_was_removed_does_not() {
    let world = world().await;
    let merchant = world.merchant();
    let from = async |ip: &str| {
        let call = request(Method::GET, PATH).header("Authorization", KEY);
        let answer = world.ask(ListenerKind::Merchant, ip, empty(call)).await;
        answer.status
    };
    assert_eq!(from("198.51.100.9").await, 403);
    let added = add(&merchant, &json!({"ip": "198.51.100.9"})).await;
    assert_eq!(from("198.51.100.9").await, 200);
    assert_eq!(from("198.51.100.10").await, 403);
    assert_eq!(remove(&merchant, &id_of(&added)).await.status, 204);
    assert_eq!(from("198.51.100.9").await, 403);
    assert_eq!(
        remove(&merchant, &id_of(&added)).await.code(),
        (404, "not_found".to_owned())
    );
}

#[tokio::test]
async fn each_change_is_on_record_and_names_the_network() {
    let world = world().await;
    let before = world.operator().logged(Kind::CredentialChanged).await.len();
    let added = add(&world.merchant(), &json!({"ip": "198.51.100.9"})).await;
    remove(&world.merchant(), &id_of(&added)).await;
    let log = world.operator().logged(Kind::CredentialChanged).await;
    let notes: Vec<_> = log[before..]
        .iter()
        .map(|entry| entry.event.detail.note.clone().unwrap())
        .collect();
    assert_eq!(
        notes,
        ["allows 198.51.100.9/32", "no longer allows 198.51.100.9/32"]
    );
}

#[tokio::test]
async fn pages() {
    let world = world().await;
    let merchant = world.merchant();
    for n in 1..=4 {
        add(&merchant, &json!({"ip": format!("198.51.100.{n}")})).await;
    }
    assert_eq!(
        ips(&list(&merchant, "?limit=2&offset=1").await),
        ["198.51.100.1", "198.51.100.2"]
    );
    assert_eq!(
        ips(&list(&merchant, "?limit=1000&offset=4").await),
        ["198.51.100.4"]
    );
    assert!(ips(&list(&merchant, "?offset=5").await).is_empty());
    for wrong in [
        "?limit=0",
        "?limit=1001",
        "?limit=a",
        "?offset=-1",
        "?limit=1&limit=2",
    ] {
        assert_eq!(
            list(&merchant, wrong).await.code(),
            (400, "invalid_request".to_owned()),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn absurd_networks_are_refused() {
    let world = world().await;
    for ip in [
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/8",
        "0.0.0.0",
        "224.0.0.1",
        "",
        "office",
    ] {
        let answer = add(&world.merchant(), &json!({"ip": ip})).await;
        assert_eq!(answer.code(), (400, "invalid_request".to_owned()), "{ip}");
    }
    for body in [
        json!({}),
        json!({"ip": 7}),
        json!({"ip": "198.51.100.9", "description": "a\nb"}),
        json!({"ip": "198.51.100.9", "description": "x".repeat(256)}),
    ] {
        assert_eq!(add(&world.merchant(), &body).await.status, 400, "{body}");
    }
    assert_eq!(ips(&list(&world.merchant(), "").await), ["203.0.113.7"]);
}

#[tokio::test]
async fn nobody_shuts_itself_out() {
    let world = world().await;
    let merchant = world.merchant();
    let refused = (409, "ip_address_refused".to_owned());
    let own = list(&merchant, "").await.json()["rows"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        remove(&merchant, &own).await.code(),
        refused,
        "the last one"
    );
    add(&merchant, &json!({"ip": "198.51.100.9"})).await;
    assert_eq!(
        remove(&merchant, &own).await.code(),
        refused,
        "the caller's own"
    );
    add(&merchant, &json!({"ip": "203.0.113.0/24"})).await;
    assert_eq!(remove(&merchant, &own).await.status, 204);
}

#[tokio::test]
async fn a_list_has_an_address_once_and_at_most_100() {
    let world = world().await;
    let merchant = world.merchant();
    let refused = (409, "ip_address_refused".to_owned());
    assert_eq!(
        add(&merchant, &json!({"ip": "203.0.113.7/32"}))
            .await
            .code(),
        refused
    );
    for n in 1..100 {
        assert_eq!(
            add(&merchant, &json!({"ip": format!("198.51.100.{n}")}))
                .await
                .status,
            201
        );
    }
    assert_eq!(
        add(&merchant, &json!({"ip": "198.51.100.200"}))
            .await
            .code(),
        refused
    );
}

/// Another credential's address is not there to be seen or taken away, in either merchant.
#[tokio::test]
async fn a_list_is_of_the_credential_that_asks() {
    let world = world().await;
    let added = add(&world.merchant(), &json!({"ip": "198.51.100.9"})).await;
    let other = Merchant::new(&world, OTHER_KEY);
    assert_eq!(ips(&list(&other, "").await), ["203.0.113.7"]);
    assert_eq!(
        remove(&other, &id_of(&added)).await.code(),
        (404, "not_found".to_owned())
    );
    assert_eq!(ips(&list(&world.merchant(), "").await).len(), 2);
}

#[tokio::test]
async fn the_scope_is_needed_and_the_store() {
    let world = world().await;
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = vec![Scope::CardsReadAny])
        .await;
    let missing = (403, "scope_missing".to_owned());
    let merchant = world.merchant();
    assert_eq!(list(&merchant, "").await.code(), missing);
    assert_eq!(
        add(&merchant, &json!({"ip": "198.51.100.9"})).await.code(),
        missing
    );
    assert_eq!(
        remove(&merchant, "0b8f3a52-6f0e-8a53-9d1c-7d3e5c1f2a90")
            .await
            .code(),
        missing
    );
    assert_eq!(
        remove(&Merchant::new(&world, OTHER_KEY), "x").await.status,
        400
    );
    world.store.fail_next(Fault::NotPersisted);
    let answer = add(
        &Merchant::new(&world, OTHER_KEY),
        &json!({"ip": "198.51.100.9"}),
    )
    .await;
    assert_eq!(answer.code(), (503, "unavailable".to_owned()));
}
