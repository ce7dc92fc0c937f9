//! `GET /v2/cards`: Equals, "Manage cards", step 3.

use std::time::Duration;

use cardveil_core::card::{Kind, State};
use cardveil_core::merchant::Scope;
use http::Method;
use serde_json::json;

use crate::actors::Merchant;
use crate::world::{
    Answer, CARD_ID, KEY, OTHER_KEY, OWN_KEY, PERSON, SECOND_ID, SECOND_PERSON, World,
};

async fn list(merchant: &Merchant<'_>, query: &str) -> Answer {
    let path = format!("/v2/cards?{query}");
    merchant.call("ApiKey", Method::GET, &path, None).await
}

/// The ids of the rows.
async fn ids(merchant: &Merchant<'_>, query: &str) -> Vec<String> {
    let answer = list(merchant, &format!("accountId=F50091&{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.shown());
    let rows = answer.json()["rows"].as_array().unwrap().clone();
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_page_as_a_whole() {
    let world = World::new().await;
    let export = Scope::CardsExport;
    world
        .operator()
        .set_credential(KEY, |c| c.scopes.push(export))
        .await;
    let answer = list(&world.merchant(), "accountId=F50091&limit=1").await;
    assert_eq!(
        answer.json(),
        json!({
          "count": 2,
          "limit": 1,
          "offset": 0,
          "rows": [
            {
              "accountId": "F50091",
              "budgetCardPhoneNumber": null,
              "budgetCardPhoneNumberPersonId": null,
              "cardGroupId": null,
              "cardOwnerType": "PEOPLE",
              "cardPersonalization": null,
              "cardProductId": null,
              "cardProductToken": null,
              "cardType": "PHYSICAL_COMBO",
              "careOfLine": null,
              "createdAt": "2026-01-01T00:00:00.000Z",
              "expiration": "1230",
              "forceChangePin": false,
              "fulfillmentStatus": null,
              "id": "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
              "lastFour": "1111",
              "meta": [],
              "name": "A card",
              "personId": "775596ae-2624-40af-a9dc-9756110a4a04",
              "physicalCardId": "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
              "physicalCardState": "ACTIVE",
              "pinIsSet": false,
              "recipientAddress": null,
              "state": "ACTIVE",
              "updatedAt": "2026-01-01T00:00:00.000Z",
              "userTokenId": null
            }
          ]
        })
    );
}

#[tokio::test]
async fn pages_make_the_whole_in_either_order() {
    let world = World::new().await;
    for n in 1..=5 {
        world.card_in(n, Kind::Virtual, State::Active).await;
    }
    let merchant = world.merchant();
    let whole = ids(&merchant, "").await;
    assert_eq!(whole.len(), 7);
    let mut newest = ids(&merchant, "orderBy=desc").await;
    for limit in 1..=8 {
        let mut pages = Vec::new();
        for offset in (0..8).step_by(limit) {
            pages.extend(ids(&merchant, &format!("limit={limit}&offset={offset}")).await);
        }
        assert_eq!(pages, whole, "limit {limit}");
    }
    newest.reverse();
    assert_eq!(newest, whole);
    assert_eq!(ids(&merchant, "orderBy=asc&limit=1000").await, whole);
    let far = list(&merchant, "accountId=F50091&offset=999999999").await;
    assert_eq!(
        far.json(),
        json!({"count": 7, "limit": 100, "offset": 999_999_999, "rows": []})
    );
}

#[tokio::test]
async fn every_state_is_shown_and_sought_as_one_of_theirs() {
    let world = World::new().await;
    let mut by_state = Vec::new();
    for (n, state) in (1..).zip(State::ALL) {
        by_state.push((state, world.card_in(n, Kind::Virtual, state).await.1));
    }
    let merchant = world.merchant();
    let of = |states: &[State]| -> Vec<String> {
        let found = by_state.iter().filter(|(state, _)| states.contains(state));
        found.map(|(_, id)| id.clone()).collect()
    };
    for (name, states) in [
        ("UNACTIVATED", &[State::Pending, State::Unactivated][..]),
        ("SUSPENDED", &[State::Suspended]),
        ("REPLACED", &[State::Replaced]),
        ("TERMINATED", &[State::Terminated, State::Failed]),
        ("SUSPENDED,REPLACED", &[State::Suspended, State::Replaced]),
    ] {
        let query = format!("state={name}&search=a%20CARD");
        assert_eq!(ids(&merchant, &query).await, of(states), "{name}");
    }
    let answer = list(&merchant, "accountId=F50091&state=ACTIVE&orderBy=desc").await;
    assert_eq!(answer.json()["count"], 3, "and the two of the world");
    assert_eq!(answer.json()["rows"][0]["cardType"], "VIRTUAL_PAN");
    assert_eq!(answer.json()["rows"][0]["physicalCardState"], json!(null));
}

#[tokio::test]
async fn by_person_last_four_name_and_day() {
    let world = World::new().await;
    world.clock.advance(Duration::from_secs(86_400));
    let (_, later) = world.card_in(1, Kind::Virtual, State::Active).await;
    let merchant = world.merchant();
    let second = [SECOND_ID.to_owned()];
    assert_eq!(
        ids(&merchant, &format!("personId={SECOND_PERSON}")).await,
        second
    );
    assert_eq!(ids(&merchant, "search=4444").await, second);
    assert_eq!(ids(&merchant, "search=444").await, Vec::<String>::new());
    assert_eq!(ids(&merchant, "search=a+CARD").await.len(), 3);
    let two = [CARD_ID.to_owned(), SECOND_ID.to_owned()];
    for (query, expected) in [
        ("startDate=2026-01-02", std::slice::from_ref(&later)),
        ("endDate=2026-01-01", &two),
        ("endDate=2025-12-31", &[]),
        ("startDate=2026-01-01&endDate=2026-01-01", &two),
        (
            "startDate=2026-01-02T00:00:00Z",
            std::slice::from_ref(&later),
        ),
        ("startDate=2026-01-02T00:00:00.001Z", &[]),
        ("endDate=2026-01-01T23:59:59.999Z", &two),
        (
            "startDate=2026-01-02T01:00:00%2B01:00",
            std::slice::from_ref(&later),
        ),
        ("startDate=2026-02-01&endDate=2026-01-01", &[]),
    ] {
        assert_eq!(ids(&merchant, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn each_caller_sees_its_own_cards_alone() {
    let world = World::new().await;
    let own = Merchant::new(&world, OWN_KEY);
    assert_eq!(ids(&own, "").await, [CARD_ID]);
    assert!(
        ids(&own, &format!("personId={SECOND_PERSON}"))
            .await
            .is_empty()
    );
    assert_eq!(ids(&own, &format!("personId={PERSON}")).await, [CARD_ID]);
    let other = Merchant::new(&world, OTHER_KEY);
    assert_eq!(ids(&other, "").await.len(), 1);
    let nobodys = list(&world.merchant(), "accountId=F1").await;
    assert_eq!(nobodys.json()["count"], 0);
}

#[tokio::test]
async fn an_expiry_is_only_for_merchants_that_may_have_card_data() {
    let world = World::new().await;
    let operator = world.operator();
    let expiration = async || {
        let answer = list(&world.merchant(), "accountId=F50091").await;
        answer.json()["rows"][0]["expiration"].clone()
    };
    assert_eq!(expiration().await, json!(null), "without the scope");
    operator
        .set_credential(KEY, |c| c.scopes.push(Scope::CardsExport))
        .await;
    assert_eq!(expiration().await, json!("1230"));
    operator
        .set_merchant(1, |m| m.permissions.export = false)
        .await;
    assert_eq!(expiration().await, json!(null), "without the permission");
    operator.set_merchant(1, |m| m.pci_enabled = false).await;
    assert_eq!(expiration().await, json!(null), "without card display");
}

#[tokio::test]
async fn each_wrong_parameter_is_named() {
    let world = World::new().await;
    let long = "x".repeat(65);
    for (query, place) in [
        ("", "accountId"),
        ("accountId=F50091&personId=1", "personId"),
        ("accountId=F50091&state=active", "state"),
        ("accountId=F50091&state=ACTIVE,", "state"),
        ("accountId=F50091&state=ACTIVE&state=ACTIVE", "state"),
        ("accountId=F50091&orderBy=up", "orderBy"),
        ("accountId=F50091&limit=0", "limit"),
        ("accountId=F50091&limit=1001", "limit"),
        ("accountId=F50091&limit=-1", "limit"),
        ("accountId=F50091&offset=-1", "offset"),
        ("accountId=F50091&offset=1000000000", "offset"),
        ("accountId=F50091&startDate=yesterday", "startDate"),
        ("accountId=F50091&startDate=2026-13-01", "startDate"),
        ("accountId=F50091&endDate=01/01/2026", "endDate"),
        (&format!("accountId=F50091&search={long}"), "search"),
        ("accountId=F50091&search=x%00", "search"),
    ] {
        let answer = list(&world.merchant(), query).await;
        assert_eq!(
            answer.code(),
            (400, "invalid_request".to_owned()),
            "{query}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with(&format!("{place}: ")),
            "{query}: {detail}"
        );
    }
}

#[tokio::test]
async fn what_belongs_to_an_authorisation_system_is_not_there() {
    let world = World::new().await;
    let controls = format!("/v2/cards/{CARD_ID}/auth-controls");
    for (method, path, status) in [
        (Method::GET, &*controls, 404),
        (Method::POST, &controls, 404),
        (Method::GET, &format!("/v2/cards/{CARD_ID}/limits"), 404),
        (Method::PATCH, "/v2/cards/3ds", 405),
        (Method::POST, "/v2/cards/simulations/3DSAuthRequest", 404),
        (
            Method::POST,
            "/v2/cards/simulations/transaction/authorization",
            404,
        ),
        (Method::POST, "/v2/cards", 405),
        (Method::POST, "/v2/budgets/generate-credit", 404),
    ] {
        let body = (method != Method::GET).then(|| json!({}));
        let answer = world.merchant().call("ApiKey", method, path, body).await;
        assert_eq!(answer.status, status, "{path}");
    }
}
