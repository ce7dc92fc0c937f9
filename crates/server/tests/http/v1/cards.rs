//! `/v1/cards`: the merchant's cards in the native API.

use cardveil_core::audit::Kind;
use cardveil_core::card::{self, State};
use cardveil_core::merchant::Scope;
use http::Method;
use serde_json::{Value, json};

use crate::actors::Merchant;
use crate::world::{
    Answer, CARD_ID, FOREIGN_ID, KEY, OTHER_KEY, OWN_KEY, SECOND_ID, SECOND_PERSON, World,
};

async fn ask(merchant: &Merchant<'_>, method: Method, path: &str, body: Option<Value>) -> Answer {
    let path = format!("/v1/cards{path}");
    merchant.call("Bearer", method, &path, body).await
}

async fn get(merchant: &Merchant<'_>, path: &str) -> Answer {
    ask(merchant, Method::GET, path, None).await
}

async fn writing() -> World {
    let world = World::new().await;
    let scopes = vec![Scope::CardsReadAny, Scope::CardsWriteAny];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    world
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.shown());
    let cards = answer.json()["cards"].as_array().unwrap().clone();
    cards
        .iter()
        .map(|card| card["card_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_card_as_a_whole() {
    let world = World::new().await;
    let answer = get(&world.merchant(), &format!("/{CARD_ID}")).await;
    assert_eq!(
        answer.json(),
        json!({
          "account_id": "F50091",
          "card_id": "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
          "card_no": "C202605220001",
          "card_unique_no": null,
          "cardholder_no": null,
          "created_at": "2026-01-01T00:00:00.000Z",
          "label": "A card",
          "last_four": "1111",
          "network": "visa",
          "person_id": "775596ae-2624-40af-a9dc-9756110a4a04",
          "product": null,
          "state": "active",
          "type": "physical",
          "updated_at": "2026-01-01T00:00:00.000Z"
        })
    );
    for id in [FOREIGN_ID, "00000000-0000-4000-8000-000000000000"] {
        is(
            &get(&world.merchant(), &format!("/{id}")).await,
            404,
            "not_found",
        );
    }
    let own = Merchant::new(&world, OWN_KEY);
    is(&get(&own, &format!("/{SECOND_ID}")).await, 404, "not_found");
    is(&get(&own, "/1").await, 400, "invalid_request");
}

/// The cursor stays right when cards are added while someone turns the pages.
#[tokio::test]
async fn pages_by_cursor_make_the_whole() {
    let world = World::new().await;
    for n in 1..=4 {
        world.card_in(n, card::Kind::Virtual, State::Active).await;
    }
    let merchant = world.merchant();
    let whole = ids(&get(&merchant, "").await);
    assert_eq!(whole.len(), 6);
    for (order, limit) in [("asc", 1), ("asc", 4), ("asc", 6), ("desc", 1), ("desc", 5)] {
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("?order={order}&limit={limit}&after={after}");
            let answer = get(&merchant, &path).await;
            pages.extend(ids(&answer));
            match answer.json()["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => break,
            }
        }
        if order == "desc" {
            pages.reverse();
        }
        assert_eq!(pages, whole, "{order} {limit}");
    }
    let first = get(&merchant, "?order=desc&limit=2").await;
    world.card_in(5, card::Kind::Virtual, State::Active).await;
    let next = first.json()["next"].as_str().unwrap().to_owned();
    let second = get(&merchant, &format!("?order=desc&limit=2&after={next}")).await;
    assert_eq!(ids(&second), [whole[3].clone(), whole[2].clone()]);
}

#[tokio::test]
async fn filters_and_what_each_caller_sees() {
    let world = World::new().await;
    let (_, frozen) = world
        .card_in(1, card::Kind::Virtual, State::Suspended)
        .await;
    let merchant = world.merchant();
    assert_eq!(
        ids(&get(&merchant, "?state=suspended,failed").await),
        [frozen]
    );
    let second = format!("?person_id={SECOND_PERSON}");
    assert_eq!(ids(&get(&merchant, &second).await), [SECOND_ID]);
    assert_eq!(ids(&get(&merchant, "?search=4444").await), [SECOND_ID]);
    assert!(ids(&get(&merchant, "?account_id=F1").await).is_empty());
    let own = Merchant::new(&world, OWN_KEY);
    assert!(ids(&get(&own, &second).await).is_empty());
    assert_eq!(ids(&get(&own, "?state=active").await), [CARD_ID]);
    let other = Merchant::new(&world, OTHER_KEY);
    assert_eq!(ids(&get(&other, "").await), [FOREIGN_ID]);
    for wrong in [
        "?state=ACTIVE",
        "?order=up",
        "?limit=0",
        "?limit=1001",
        "?after=1",
        "?after=cur_",
        "?after=cur_9999999999999999999",
        "?person_id=1",
        "?account_id=%20a",
        &format!("?search={}", "x".repeat(65)),
        "?search=x%00",
    ] {
        is(&get(&merchant, wrong).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_card_is_renamed_and_moved() {
    let world = writing().await;
    let merchant = world.merchant();
    let card = format!("/{CARD_ID}");
    let body = Some(json!({"label": "x".repeat(64)}));
    let renamed = ask(&merchant, Method::PATCH, &card, body).await;
    assert_eq!(renamed.json()["label"], "x".repeat(64));
    let steps = format!("/{CARD_ID}/transitions");
    let body = Some(json!({"state": "suspended", "reason": "Lost"}));
    let moved = ask(&merchant, Method::POST, &steps, body.clone()).await;
    assert_eq!(
        (moved.status, &moved.json()["state"]),
        (200, &json!("suspended"))
    );
    let again = ask(&merchant, Method::POST, &steps, body).await;
    assert_eq!(again.json(), moved.json());
    let back = Some(json!({"state": "unactivated"}));
    let refused = ask(&merchant, Method::POST, &steps, back).await;
    is(&refused, 409, "transition_refused");
    let changed = world.operator().logged(Kind::CardChanged).await;
    assert_eq!(changed.len(), 2);
    assert_eq!(changed[1].event.detail.reason.as_deref(), Some("Lost"));
}

#[tokio::test]
async fn what_is_wrong_or_not_allowed_changes_nothing() {
    let world = writing().await;
    let merchant = world.merchant();
    let card = format!("/{CARD_ID}");
    let steps = format!("/{CARD_ID}/transitions");
    for (method, path, body) in [
        (Method::PATCH, &card, json!({"label": "x".repeat(65)})),
        (Method::PATCH, &card, json!({"label": "4111111111111111"})),
        (Method::PATCH, &card, json!({"label": " "})),
        (Method::PATCH, &card, json!({"label": "a\u{2067}b"})),
        (
            Method::PATCH,
            &card,
            json!({"label": "a", "state": "active"}),
        ),
        (Method::PATCH, &card, json!({})),
        (Method::POST, &steps, json!({"state": "SUSPENDED"})),
        (
            Method::POST,
            &steps,
            json!({"state": "suspended", "why": "a"}),
        ),
        (
            Method::POST,
            &steps,
            json!({"state": "suspended", "reason": "4111111111111111"}),
        ),
    ] {
        let answer = ask(&merchant, method, path, Some(body.clone())).await;
        is(&answer, 400, "invalid_request");
        assert!(!answer.shown().contains("4111"), "{body}");
    }
    let reader = Merchant::new(&world, OTHER_KEY);
    let body = || Some(json!({"state": "suspended"}));
    let refused = ask(&reader, Method::POST, &steps, body()).await;
    is(&refused, 403, "scope_missing");
    let foreign = format!("/{FOREIGN_ID}/transitions");
    is(
        &ask(&merchant, Method::POST, &foreign, body()).await,
        404,
        "not_found",
    );
    assert!(world.operator().logged(Kind::CardChanged).await.is_empty());
}
