//! Equals, "Update a digital wallet token's state".

use http::Method;
use serde_json::{Value, json};

use crate::actors::post;
use crate::v1::simulator::{native, token, world};
use crate::world::{
    ACCOUNT, Answer, CARD_ID, KEY, OTHER_KEY, OWN_KEY, PERSON, SECOND_ID, SECOND_PERSON, World,
};

async fn send(world: &World, key: &str, card: &str, query: &str, body: &Value) -> Answer {
    let path = format!("/v2/cards/{card}/digital-wallet-token-transitions?{query}");
    let mut call = post(&path, body);
    let value = format!("ApiKey {key}").parse().unwrap();
    call.headers_mut().insert("authorization", value);
    world.merchant().send(call).await
}

async fn to(world: &World, token: &Value, state: &str) -> Answer {
    let body = json!({"state": state, "digitalWalletToken": token["id"], "more": 1});
    send(world, KEY, CARD_ID, &format!("accountId={ACCOUNT}"), &body).await
}

#[tokio::test]
async fn each_state_that_can_be_asked_for() {
    let world = world().await;
    let made = token(&world, 1, "green").await;
    for state in ["SUSPENDED", "ACTIVE", "ACTIVE", "TERMINATED"] {
        let answer = to(&world, &made, state).await;
        assert_eq!(answer.status, 201);
        assert_eq!(
            answer.json(),
            json!({
                "state": state, "digitalWalletToken": made["id"],
                "fulfillmentStatus": "PROVISIONED",
            })
        );
    }
}

#[tokio::test]
async fn a_requested_token_can_be_activated_suspended_and_terminated() {
    let world = world().await;
    for (n, state, fulfilment) in [
        (1, "ACTIVE", "PROVISIONED"),
        (2, "SUSPENDED", "DECISION_YELLOW"),
        (3, "TERMINATED", "DECISION_YELLOW"),
    ] {
        let made = token(&world, n, "yellow").await;
        let answer = to(&world, &made, state).await.json();
        assert_eq!(answer["state"], state);
        assert_eq!(answer["fulfillmentStatus"], fulfilment);
    }
}

#[tokio::test]
async fn final_states_are_refused() {
    let world = world().await;
    let declined = token(&world, 1, "red").await;
    let ended = token(&world, 2, "green").await;
    to(&world, &ended, "TERMINATED").await;
    for token in [&declined, &ended] {
        for state in ["ACTIVE", "SUSPENDED", "TERMINATED"] {
            let answer = to(&world, token, state).await;
            assert_eq!(answer.code(), (409, "wallet_token_final".to_owned()));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for() {
    let world = world().await;
    let made = token(&world, 1, "green").await;
    for state in ["REQUESTED", "REQUEST_DECLINED", "active", ""] {
        let answer = to(&world, &made, state).await;
        assert_eq!(
            answer.code(),
            (400, "invalid_request".to_owned()),
            "{state}"
        );
    }
    let mut wrong = made.clone();
    wrong["id"] = json!("device-1");
    assert_eq!(to(&world, &wrong, "ACTIVE").await.code().0, 400);
    let body = json!({"state": "SUSPENDED", "digitalWalletToken": made["id"]});
    let unnamed = send(&world, KEY, CARD_ID, "", &body).await;
    assert_eq!(unnamed.code().0, 400, "accountId is required");
    let no_card = send(&world, KEY, "C1", &format!("accountId={ACCOUNT}"), &body).await;
    assert_eq!(no_card.code().0, 400);
}

#[tokio::test]
async fn a_token_is_found_on_its_own_card_by_whom_it_concerns() {
    let world = world().await;
    let made = token(&world, 1, "green").await;
    let body = json!({"state": "SUSPENDED", "digitalWalletToken": made["id"]});
    let account = format!("accountId={ACCOUNT}");
    let of = |person: &str| format!("{account}&personId={person}");
    for (key, card, query, status) in [
        (KEY, SECOND_ID, account.clone(), 404),
        (KEY, CARD_ID, "accountId=F1".to_owned(), 404),
        (KEY, CARD_ID, of(SECOND_PERSON), 404),
        (OTHER_KEY, CARD_ID, account.clone(), 403),
        (OWN_KEY, CARD_ID, of(PERSON), 201),
        (KEY, CARD_ID, of(PERSON), 201),
    ] {
        let answer = send(&world, key, card, &query, &body).await;
        assert_eq!(answer.status, status, "{key} {card} {query}");
    }
    let unknown = json!({"state": "SUSPENDED", "digitalWalletToken": CARD_ID});
    let answer = send(&world, KEY, CARD_ID, &account, &unknown).await;
    assert_eq!(answer.code(), (404, "not_found".to_owned()));
    let path = format!("/v1/wallet-tokens/{}", made["id"].as_str().unwrap());
    let shown = native(&world, KEY, Method::GET, &path, None).await.json();
    assert_eq!(shown["state"], "SUSPENDED");
}
