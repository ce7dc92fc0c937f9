//! The native API's webhooks.

use cardveil_core::hook::message::decode_secret;
use cardveil_core::merchant::Scope;
use http::Method;
use serde_json::{Value, json};

use crate::actors::request;
use crate::world::{Answer, KEY, OTHER_KEY, World};

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
        .header("authorization", format!("Bearer {key}"))
        .header("content-type", "application/json");
    let body = body.map(Value::to_string).unwrap_or_default();
    world.merchant().send(call.body(body.into()).unwrap()).await
}

async fn add(world: &World, body: &Value) -> Answer {
    call(world, KEY, Method::POST, "/v1/webhooks", Some(body)).await
}

#[tokio::test]
async fn a_webhook_is_added_read_changed_and_removed() {
    let world = world().await;
    let asked = json!({"url": "https://a.example/", "topics": ["card.state", "card.state"]});
    let added = add(&world, &asked).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let mut view = added.json();
    let secret = view["secret"].take();
    assert!(
        decode_secret(secret.as_str().unwrap()).is_ok(),
        "shown this once"
    );
    view.as_object_mut().unwrap().remove("secret");
    insta::assert_json_snapshot!(view);
    let path = format!("/v1/webhooks/{}", view["id"].as_str().unwrap());
    let read = call(&world, KEY, Method::GET, &path, None).await;
    assert_eq!(read.json(), view);
    let change = json!({"enabled": false, "topics": ["mfa.code", "reveal.conflict"]});
    let changed = call(&world, KEY, Method::PATCH, &path, Some(&change)).await;
    assert_eq!(changed.json()["enabled"], false);
    assert_eq!(
        changed.json()["topics"],
        json!(["reveal.conflict", "mfa.code"])
    );
    let foreign = call(&world, OTHER_KEY, Method::DELETE, &path, None).await;
    assert_eq!(foreign.code(), (404, "not_found".into()));
    let gone = call(&world, KEY, Method::DELETE, &path, None).await;
    assert_eq!(gone.status, 204);
    let read = call(&world, KEY, Method::GET, &path, None).await;
    assert_eq!(read.code(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_secret_of_ones_own_is_never_shown() {
    let world = world().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let asked = json!({"url": "https://a.example/", "topics": ["card.state"], "secret": secret});
    let added = add(&world, &asked).await;
    assert_eq!(added.status, 201);
    assert!(!added.text().contains("whsec_"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let world = world().await;
    for (member, value, place) in [
        ("url", json!("http://a.example/"), "url"),
        ("topics", json!([]), "topics"),
        ("topics", json!(["card.states"]), "topics"),
        (
            "secret",
            json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"),
            "secret",
        ),
        ("secret", json!("whsec_c2hvcnQ="), "secret"),
        ("account_id", json!(""), "account_id"),
        ("form", json!("equals"), "form"),
    ] {
        let mut body = json!({"url": "https://a.example/", "topics": ["card.state"]});
        body[member] = value;
        let answer = add(&world, &body).await;
        assert_eq!(answer.code(), (400, "invalid_request".into()), "{member}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(place), "{member}: {detail}");
    }
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let world = world().await;
    for _ in 0..5 {
        let asked = json!({"url": "https://a.example/", "topics": ["card.state"]});
        assert_eq!(add(&world, &asked).await.status, 201);
    }
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    for expected in [2, 2, 1] {
        let from = cursor
            .as_str()
            .map(|c| format!("&after={c}"))
            .unwrap_or_default();
        let path = format!("/v1/webhooks?limit=2{from}");
        let page = call(&world, KEY, Method::GET, &path, None).await.json();
        let data = page["webhooks"].as_array().unwrap().clone();
        assert_eq!(data.len(), expected);
        seen.extend(
            data.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        cursor = page["next"].clone();
    }
    assert_eq!(cursor, Value::Null);
    seen.dedup();
    assert_eq!(seen.len(), 5);
    for query in ["limit=0", "limit=101", "after=x"] {
        let path = format!("/v1/webhooks?{query}");
        let answer = call(&world, KEY, Method::GET, &path, None).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}
