//! The register of digital wallet tokens in the native API.

use http::Method;
use serde_json::{Value, json};

use crate::v1::simulator::{self, ask, native, token, world};
use crate::world::{Answer, CARD_ID, KEY, OTHER_KEY, OWN_KEY, SECOND_ID, World};

const ROUTE: &str = "/v1/wallet-tokens";

async fn read(world: &World, key: &str, path: &str) -> Answer {
    native(world, key, Method::GET, path, None).await
}

fn ids(page: &Value) -> Vec<String> {
    let rows = page["wallet_tokens"].as_array().unwrap();
    rows.iter()
        .map(|row| row["device_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_and_its_list() {
    let world = world().await;
    let made = token(&world, 1, "green").await;
    let path = format!("{ROUTE}/{}", made["id"].as_str().unwrap());
    assert_eq!(read(&world, KEY, &path).await.json(), made);
    let page = read(&world, KEY, ROUTE).await.json();
    assert_eq!(page, json!({"wallet_tokens": [made], "next": null}));
}

#[tokio::test]
async fn pages_follow_each_other_until_there_is_none() {
    let world = world().await;
    for n in 1..=5 {
        token(&world, n, "green").await;
    }
    let mut seen = Vec::new();
    let mut path = format!("{ROUTE}?limit=2");
    let mut lengths = Vec::new();
    loop {
        let page = read(&world, KEY, &path).await.json();
        lengths.push(ids(&page).len());
        seen.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => path = format!("{ROUTE}?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(lengths, [2, 2, 1]);
    assert_eq!(seen, [1, 2, 3, 4, 5].map(|n| format!("device-{n}")));
    let whole = read(&world, KEY, &format!("{ROUTE}?limit=5")).await.json();
    assert_eq!(whole["next"], json!(null), "a full last page has no next");
}

#[tokio::test]
async fn filters_narrow() {
    let world = world().await;
    token(&world, 1, "green").await;
    token(&world, 2, "yellow").await;
    token(&world, 3, "red").await;
    let mut watch = simulator::device(4, "green");
    watch["device_type"] = json!("WATCH");
    watch["wallet"] = json!("SAMSUNG_PAY");
    watch["card_id"] = json!(SECOND_ID);
    ask(&world, simulator::ROUTE, &watch).await;
    for (query, expected) in [
        ("state=ACTIVE", &["device-1", "device-4"][..]),
        (
            "state=REQUESTED,REQUEST_DECLINED",
            &["device-2", "device-3"],
        ),
        ("state=SUSPENDED", &[]),
        ("wallet=SAMSUNG_PAY", &["device-4"]),
        (
            "device_type=MOBILE_PHONE,TABLET&state=ACTIVE",
            &["device-1"],
        ),
        ("device_id=device-3", &["device-3"]),
        (&format!("card_id={SECOND_ID}"), &["device-4"]),
        (&format!("card_id={CARD_ID}&limit=1"), &["device-1"]),
    ] {
        let page = read(&world, KEY, &format!("{ROUTE}?{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        assert_eq!(ids(&page.json()), expected, "{query}");
    }
    for wrong in [
        "state=active",
        "state=ACTIVE,",
        "wallet=PAY",
        "device_type=PHONE",
        "device_id=a%20b",
        "card_id=C1",
        "limit=0",
        "limit=101",
        "limit=%2B1",
        "after=nothing",
    ] {
        let answer = read(&world, KEY, &format!("{ROUTE}?{wrong}")).await;
        assert_eq!(
            answer.code(),
            (400, "invalid_request".to_owned()),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn nobody_sees_more_than_their_own() {
    let world = world().await;
    let first = token(&world, 1, "green").await;
    let mut second = simulator::device(2, "green");
    second["card_id"] = json!(SECOND_ID);
    let second = ask(&world, simulator::ROUTE, &second).await.json();
    let list = async |key: &str| ids(&read(&world, key, ROUTE).await.json());
    assert_eq!(list(KEY).await, ["device-1", "device-2"]);
    assert_eq!(list(OWN_KEY).await, ["device-1"]);
    assert_eq!(list(OTHER_KEY).await, [""; 0]);
    let path = |token: &Value| format!("{ROUTE}/{}", token["id"].as_str().unwrap());
    let move_it = json!({"state": "SUSPENDED"});
    for (key, token, status) in [
        (OWN_KEY, &first, 200),
        (OWN_KEY, &second, 404),
        (OTHER_KEY, &first, 404),
    ] {
        let answer = read(&world, key, &path(token)).await;
        assert_eq!(answer.status, status, "{key}");
    }
    let transitions = format!("{}/transitions", path(&second));
    let moved = native(&world, OWN_KEY, Method::POST, &transitions, Some(&move_it)).await;
    assert_eq!(moved.status, 404);
    let moved = native(
        &world,
        OTHER_KEY,
        Method::POST,
        &transitions,
        Some(&move_it),
    )
    .await;
    assert_eq!(moved.code(), (403, "scope_missing".to_owned()));
    let kept = read(&world, KEY, &path(&second)).await.json();
    assert_eq!(kept["state"], "ACTIVE");
}

#[tokio::test]
async fn states_change_until_they_are_final() {
    let world = world().await;
    let made = token(&world, 1, "green").await;
    let path = format!("{ROUTE}/{}/transitions", made["id"].as_str().unwrap());
    let step = async |state: &str| ask(&world, &path, &json!({"state": state})).await;
    for state in ["SUSPENDED", "SUSPENDED", "ACTIVE", "TERMINATED"] {
        let answer = step(state).await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (200, &json!(state))
        );
    }
    for state in ["ACTIVE", "SUSPENDED", "TERMINATED"] {
        let answer = step(state).await;
        assert_eq!(
            answer.code(),
            (409, "wallet_token_final".to_owned()),
            "{state}"
        );
    }
    for state in ["REQUESTED", "REQUEST_DECLINED", "active", ""] {
        assert_eq!(step(state).await.code().0, 400, "{state}");
    }
    let unknown = format!("{ROUTE}/{CARD_ID}/transitions");
    let answer = ask(&world, &unknown, &json!({"state": "ACTIVE"})).await;
    assert_eq!(answer.code(), (404, "not_found".to_owned()));
}
