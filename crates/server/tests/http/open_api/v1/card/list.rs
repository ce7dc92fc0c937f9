//! `POST /open-api/v1/card/list`: the cards that were added within a time.

use std::time::Duration;

use cardveil_core::card::{Attributes, Kind, State};
use cardveil_core::flow::NewCard;
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::actors::{Merchant, empty};
use crate::world::{Answer, CARD_NO, FOREIGN_NO, OWN_KEY, PAN, PERSON, SECOND_NO, World, new_card};

const PATH: &str = "/open-api/v1/card/list";

async fn asked(merchant: &Merchant<'_>, body: &Value) -> Answer {
    merchant.keysecure_post(PATH, "en_US", body).await
}

/// The world begins at 2026-01-01T00:00:00Z, which is 08:00 in the zone of who names none.
fn today() -> Value {
    json!({"start_time": "2026-01-01", "end_time": "2026-01-01"})
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn nos(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    assert_eq!(answer["code"], 0, "{answer}");
    let rows = answer["data"]["list"].as_array().unwrap();
    let no = |row: &Value| row["card_no"].as_str().unwrap().to_owned();
    rows.iter().map(no).collect()
}

fn told(answer: &Answer) -> (Value, String) {
    let answer = answer.json();
    (
        answer["code"].clone(),
        answer["msg"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn a_row_has_what_the_document_lists() {
    let world = World::new().await;
    let answer = asked(&world.merchant(), &with(today(), "card_no", json!(CARD_NO))).await;
    assert_eq!(
        answer.json(),
        json!({"code": 0, "msg": "Success", "data": {"list": [{
            "card_no": CARD_NO, "card_unique_no": "", "cardholder_no": "", "card_type": "Physical",
            "card_last_no": "1111", "organization": "VISA", "status": "Activated",
            "time": "2026-01-01 08:00:00",
        }]}})
    );
}

#[tokio::test]
async fn the_newest_come_first_and_only_ones_own() {
    let world = World::new().await;
    assert_eq!(
        nos(&asked(&world.merchant(), &today()).await),
        [SECOND_NO, CARD_NO]
    );
    let foreign = with(today(), "card_no", json!(FOREIGN_NO));
    assert!(nos(&asked(&world.merchant(), &foreign).await).is_empty());
    let own = Merchant::new(&world, OWN_KEY);
    assert_eq!(nos(&asked(&own, &today()).await), [CARD_NO]);
}

#[tokio::test]
async fn each_state_and_kind_has_its_name() {
    let world = World::new().await;
    for (n, (state, name)) in (1..).zip([
        (State::Pending, "Pending"),
        (State::Unactivated, "ToActivate"),
        (State::Active, "Activated"),
        (State::Failed, "Fail"),
        (State::Suspended, "Frozen"),
        (State::Terminated, "Delete"),
        (State::Replaced, "Delete"),
    ]) {
        let (no, _) = world.card_in(n, Kind::Virtual, state).await;
        let answer = asked(&world.merchant(), &with(today(), "card_no", json!(no))).await;
        let row = &answer.json()["data"]["list"][0];
        assert_eq!(
            (&row["status"], &row["card_type"]),
            (&json!(name), &json!("Virtual"))
        );
    }
}

#[tokio::test]
async fn each_filter_narrows_the_list() {
    let world = World::new().await;
    world
        .add(NewCard {
            attributes: Attributes {
                unique_no: Some("order 7".to_owned()),
                holder_no: Some("H7".to_owned()),
                ..Attributes::default()
            },
            ..new_card(
                1,
                ("C7", "00000007-0000-4000-8000-000000000000"),
                PERSON,
                (PAN, None),
            )
        })
        .await;
    for (field, value) in [
        ("card_unique_no", "order 7"),
        ("cardholder_no", "H7"),
        ("card_no", "C7"),
    ] {
        let merchant = world.merchant();
        let answer = asked(&merchant, &with(today(), field, json!(value))).await;
        assert_eq!(nos(&answer), ["C7"], "{field}");
        let row = answer.json()["data"]["list"][0].clone();
        assert_eq!(
            (&row["card_unique_no"], &row["cardholder_no"]),
            (&json!("order 7"), &json!("H7"))
        );
        assert!(nos(&asked(&merchant, &with(today(), field, json!("other"))).await).is_empty());
        for nothing in [json!(null), json!("")] {
            assert_eq!(
                nos(&asked(&merchant, &with(today(), field, nothing)).await).len(),
                3
            );
        }
    }
}

#[tokio::test]
async fn the_range_has_both_ends_in_and_the_zone_of_the_header() {
    let world = World::new().await;
    world.clock.advance(Duration::from_millis(3_600_999));
    let (no, _) = world.card_in(1, Kind::Virtual, State::Active).await;
    let found = async |zone: &str, start: &str, end: &str| {
        let merchant = world.merchant();
        let access = merchant.login().await;
        let body = json!({"start_time": start, "end_time": end, "card_no": no});
        let call = merchant
            .keysecure(PATH)
            .method(Method::POST)
            .header("Access-Token", access)
            .header("Timezone", zone)
            .body(axum::body::Body::from(body.to_string()));
        nos(&merchant.send(call.unwrap()).await).len()
    };
    for (zone, start, end, count) in [
        ("UTC", "2026-01-01 01:00:00", "2026-01-01 01:00:01", 1),
        ("UTC", "2026-01-01 00:59:59", "2026-01-01 01:00:00", 1),
        ("UTC", "2026-01-01 01:00:01", "2026-01-01 01:00:02", 0),
        ("UTC", "2026-01-01 00:59:58", "2026-01-01 00:59:59", 0),
        ("UTC+8", "2026-01-01 09:00:00", "2026-01-01 09:00:01", 1),
        ("UTC-05:30", "2025-12-31", "2025-12-31", 1),
        ("UTC", "2025-12-31", "2025-12-31", 0),
    ] {
        assert_eq!(found(zone, start, end).await, count, "{zone} {start} {end}");
    }
}

#[tokio::test]
async fn code_1004_names_the_field_in_both_languages() {
    let world = World::new().await;
    let merchant = world.merchant();
    let mut lines = Vec::new();
    for (field, value) in [
        ("start_time", json!(null)),
        ("end_time", json!("")),
        ("start_time", json!(20_260_101)),
        ("start_time", json!("2026-01-32")),
        ("end_time", json!("01.02.2026")),
        ("page", json!(-1)),
        ("page", json!("0")),
        ("page", json!(1_000_001)),
        ("size", json!(0)),
        ("size", json!(101)),
        ("size", json!(1.5)),
        ("card_no", json!("C 1")),
        ("cardholder_no", json!("x".repeat(65))),
        ("card_unique_no", json!({"a": 1})),
    ] {
        for language in ["en_US", "zh_CN"] {
            let body = with(today(), field, value.clone());
            let answer = merchant.keysecure_post(PATH, language, &body).await;
            let (code, msg) = told(&answer);
            assert_eq!(code, 1004, "{field} {value}");
            assert!(msg.starts_with(field), "{msg}");
            lines.push(msg);
        }
    }
    for body in [json!([]), json!("x"), json!("x".repeat(20_000))] {
        let (code, msg) = told(&asked(&merchant, &body).await);
        assert_eq!(code, 1004);
        lines.push(msg);
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn code_1004_for_a_zone_that_is_none() {
    let world = World::new().await;
    let merchant = world.merchant();
    for zone in ["Asia/Shanghai", "8", "UTC+15", "S3CRET"] {
        let access = merchant.login().await;
        let call = merchant
            .keysecure("/open-api/v1/card/C202605220001/detail")
            .header("Access-Token", access)
            .header("Timezone", zone);
        let answer = merchant.send(empty(call)).await;
        let expected = "Timezone must be a distance from UTC such as UTC+8 or UTC-05:30";
        assert_eq!(told(&answer), (json!(1004), expected.to_owned()), "{zone}");
    }
}

#[tokio::test]
async fn code_1019_an_end_that_is_not_after_the_start() {
    let world = World::new().await;
    let merchant = world.merchant();
    for (start, end) in [
        ("2026-01-02", "2026-01-01"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
    ] {
        let body = json!({"start_time": start, "end_time": end});
        let expected = "End time must be after start time".to_owned();
        assert_eq!(
            told(&asked(&merchant, &body).await),
            (json!(1019), expected)
        );
    }
    let body = json!({"start_time": "2026-01-02", "end_time": "2026-01-01"});
    let answer = merchant.keysecure_post(PATH, "zh_CN", &body).await;
    assert_eq!(told(&answer).1, "结束时间必须晚于开始时间");
}

#[tokio::test]
async fn code_1020_more_than_90_days() {
    let world = World::new().await;
    let merchant = world.merchant();
    for (end, code) in [("2026-04-01 00:00:00", 0), ("2026-04-01 00:00:01", 1020)] {
        let body = json!({"start_time": "2026-01-01 00:00:00", "end_time": end});
        assert_eq!(told(&asked(&merchant, &body).await).0, code, "{end}");
    }
    let body = json!({"start_time": "2026-01-01", "end_time": "2026-04-02"});
    let answer = merchant.keysecure_post(PATH, "zh_CN", &body).await;
    assert_eq!(
        told(&answer),
        (json!(1020), "时间范围超过 90 天的限制".to_owned())
    );
}

#[tokio::test]
async fn a_list_writes_nothing() {
    let world = World::new().await;
    let log = world.operator().log().await.len();
    asked(&world.merchant(), &today()).await;
    assert_eq!(
        world.operator().log().await.len(),
        log + 1,
        "the login alone"
    );
}

#[test]
fn pages_laid_together_are_the_whole() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let world = World::new().await;
        for n in 1..=23 {
            world.card_in(n, Kind::Virtual, State::Active).await;
        }
        world
    });
    let page = |page: usize, size: usize| {
        let body = with(with(today(), "page", json!(page)), "size", json!(size));
        runtime.block_on(async { nos(&asked(&world.merchant(), &body).await) })
    };
    let whole = page(0, 100);
    assert_eq!(whole.len(), 25);
    let first = runtime.block_on(async { nos(&asked(&world.merchant(), &today()).await) });
    assert_eq!(first, whole[..10], "10 when nothing else is asked");
    proptest!(ProptestConfig::with_cases(24), |(size in 1_usize..=100)| {
        let mut together = Vec::new();
        for number in 0..=25 / size {
            let part = page(number, size);
            prop_assert!(part.len() <= size);
            together.extend(part);
        }
        prop_assert_eq!(&together, &whole);
        prop_assert!(page(1_000_000, size).is_empty());
    });
}
