//! Equals, "Find digital wallet tokens".

use cardveil_core::card::State;
use serde_json::{Value, json};

use crate::actors::{empty, get};
use crate::v1::simulator::{self, ask, token, world};
use crate::world::{
    ACCOUNT, Answer, CARD_ID, KEY, OTHER_KEY, OWN_KEY, PERSON, SECOND_ID, SECOND_PERSON, World,
};

async fn find(world: &World, key: &str, query: &str) -> Answer {
    let call = get(&format!("/v2/cards/tokens?accountId={ACCOUNT}{query}"))
        .header("Authorization", format!("ApiKey {key}"));
    world.merchant().send(empty(call)).await
}

fn devices(found: &Answer) -> Vec<String> {
    let json = found.json();
    let rows = json["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| row["deviceId"].as_str().unwrap().to_owned())
        .collect()
}

/// Three tokens of the published examples' card and one of the second card's, on a watch.
async fn furnished() -> World {
    let world = world().await;
    token(&world, 1, "green").await;
    token(&world, 2, "yellow").await;
    token(&world, 3, "red").await;
    let mut watch = simulator::device(4, "green");
    watch["device_type"] = json!("WATCH");
    watch["wallet"] = json!("ANDROID_PAY");
    watch["card_id"] = json!(SECOND_ID);
    ask(&world, simulator::ROUTE, &watch).await;
    world
}

#[tokio::test]
async fn a_row_has_what_is_documented_and_no_more() {
    let world = world().await;
    let made = token(&world, 1, "green").await;
    let found = find(&world, KEY, "").await;
    assert_eq!(
        found.json(),
        json!({"count": 1, "rows": [{
            "token": made["id"], "deviceId": "device-1", "cardId": CARD_ID,
            "cardName": "A card", "lastFour": "1111",
        }]})
    );
}

#[tokio::test]
async fn every_filter_by_both_of_its_names() {
    let world = furnished().await;
    for (query, expected) in [
        ("", &["device-1", "device-2", "device-3", "device-4"][..]),
        ("&tokenState=ACTIVE", &["device-1", "device-4"]),
        ("&state=ACTIVE", &["device-1", "device-4"]),
        (
            "&tokenState=REQUESTED,REQUEST_DECLINED",
            &["device-2", "device-3"],
        ),
        ("&tokenState=TERMINATED", &[]),
        ("&tokenType=ANDROID_PAY", &["device-4"]),
        ("&type=APPLE_PAY&state=REQUESTED", &["device-2"]),
        ("&deviceType=WATCH", &["device-4"]),
        ("&deviceId=device-3", &["device-3"]),
        ("&search=4444", &["device-4"]),
        ("&search=1111,4444&state=ACTIVE", &["device-1", "device-4"]),
        ("&search=9999", &[]),
        (&format!("&personId={SECOND_PERSON}"), &["device-4"]),
        (
            "&unknown=1",
            &["device-1", "device-2", "device-3", "device-4"],
        ),
    ] {
        let found = find(&world, KEY, query).await;
        assert_eq!(found.status, 200, "{query}: {}", found.shown());
        assert_eq!(devices(&found), expected, "{query}");
        assert_eq!(found.json()["count"], json!(expected.len()), "{query}");
    }
}

#[tokio::test]
async fn limit_and_offset_cut_and_count_does_not_change() {
    let world = furnished().await;
    for (query, expected) in [
        ("&limit=1", &["device-1"][..]),
        ("&limit=2&offset=1", &["device-2", "device-3"]),
        ("&offset=3", &["device-4"]),
        ("&offset=4", &[]),
        (
            "&limit=1000&offset=0",
            &["device-1", "device-2", "device-3", "device-4"],
        ),
    ] {
        let found = find(&world, KEY, query).await;
        assert_eq!(devices(&found), expected, "{query}");
        assert_eq!(found.json()["count"], json!(4), "{query}");
    }
}

#[tokio::test]
async fn a_wrong_filter_is_told() {
    let world = world().await;
    for query in [
        "&tokenState=active",
        "&state=BLOCKED",
        "&tokenState=ACTIVE&state=ACTIVE",
        "&tokenType=APPLE",
        "&tokenType=APPLE_PAY&type=APPLE_PAY",
        "&deviceType=PHONE",
        "&deviceId=a%20b",
        "&search=111",
        "&search=4111111111111111",
        "&limit=0",
        "&limit=1001",
        "&limit=x",
        "&offset=-1",
        "&personId=7",
        "&accountId=F50091",
    ] {
        let answer = find(&world, KEY, query).await;
        assert_eq!(
            answer.code(),
            (400, "invalid_request".to_owned()),
            "{query}"
        );
        assert!(!answer.text().contains("4111"), "{query}");
    }
    let call = get("/v2/cards/tokens").header("Authorization", KEY);
    let answer = world.merchant().send(empty(call)).await;
    assert_eq!(answer.code().0, 400, "accountId is required");
}

#[tokio::test]
async fn nobody_sees_more_than_their_own() {
    let world = furnished().await;
    assert_eq!(
        devices(&find(&world, OWN_KEY, "").await),
        ["device-1", "device-2", "device-3"]
    );
    let other = format!("&personId={SECOND_PERSON}");
    assert_eq!(devices(&find(&world, OWN_KEY, &other).await), [""; 0]);
    let own = format!("&personId={PERSON}&state=ACTIVE");
    assert_eq!(devices(&find(&world, OWN_KEY, &own).await), ["device-1"]);
    let foreign = find(&world, OTHER_KEY, "").await;
    assert_eq!(foreign.json(), json!({"count": 0, "rows": []}));
    let call = get("/v2/cards/tokens?accountId=F1").header("Authorization", KEY);
    let answer = world.merchant().send(empty(call)).await.json();
    assert_eq!(answer["count"], json!(0), "of another account");
}

/// `tokens` is no card's id: the list is found although cards are looked up beside it.
#[tokio::test]
async fn the_list_is_not_taken_for_a_card() {
    let world = furnished().await;
    world.operator().set_card(CARD_ID, State::Terminated).await;
    let found = find(&world, KEY, "&tokenState=TERMINATED").await;
    assert_eq!(devices(&found), ["device-1", "device-2"]);
    let rows: Value = found.json()["rows"].clone();
    assert_eq!(rows[0]["cardId"], json!(CARD_ID));
}
