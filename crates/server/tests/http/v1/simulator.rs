//! The simulator: a whole life of a token in the sandbox, as a merchant's developer tries it.

use cardveil_core::audit::{Kind, Topic};
use cardveil_core::card::State;
use cardveil_core::merchant::Scope;
use cardveil_core::wallet::WalletRules;
use http::Method;
use serde_json::{Value, json};

use crate::actors::{Cardholder, empty, get, post, request};
use crate::world::{
    ACCOUNT, Answer, CARD_ID, FOREIGN_ID, KEY, OTHER_KEY, OWN_KEY, SECOND_ID, World,
};

pub(crate) const ROUTE: &str = "/v1/simulator/wallet-tokens";

/// A merchant that may change cards and puts them into every wallet.
pub(crate) async fn world() -> World {
    let world = World::new().await;
    let operator = world.operator();
    operator
        .set_credential(KEY, |c| {
            c.scopes
                .extend([Scope::CardsWriteAny, Scope::WalletsProvision]);
        })
        .await;
    operator
        .set_credential(OWN_KEY, |c| c.scopes.push(Scope::CardsWriteOwn))
        .await;
    operator
        .set_merchant(1, |merchant| merchant.wallets = WalletRules::all())
        .await;
    world
}

pub(crate) async fn native(
    world: &World,
    key: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let mut call = match body {
        Some(body) => post(path, body),
        None => empty(request(method.clone(), path)),
    };
    *call.method_mut() = method;
    let bearer = format!("Bearer {key}").parse().unwrap();
    call.headers_mut().insert("authorization", bearer);
    crate::actors::Merchant::new(world, key).send(call).await
}

pub(crate) async fn ask(world: &World, path: &str, body: &Value) -> Answer {
    native(world, KEY, Method::POST, path, Some(body)).await
}

pub(crate) fn device(n: u8, decision: &str) -> Value {
    json!({
        "card_id": CARD_ID, "wallet": "APPLE_PAY", "device_type": "MOBILE_PHONE",
        "device_id": format!("device-{n}"), "decision": decision,
    })
}

/// Asks for a token on device `n`; what came of it.
pub(crate) async fn token(world: &World, n: u8, decision: &str) -> Value {
    let answer = ask(world, ROUTE, &device(n, decision)).await;
    assert_eq!(answer.status, 201, "{}", answer.shown());
    answer.json()
}

fn came_of(token: &Value) -> (&str, &str) {
    let text = |name: &str| token[name].as_str().unwrap();
    (text("state"), text("fulfilment"))
}

async fn verify(world: &World, token: &Value, passed: bool) -> Answer {
    let id = token["id"].as_str().unwrap();
    let path = format!("{ROUTE}/{id}/verify");
    ask(world, &path, &json!({"passed": passed})).await
}

#[tokio::test]
async fn the_three_decisions() {
    let world = world().await;
    let green = ask(&world, ROUTE, &device(1, "green")).await;
    insta::assert_snapshot!(green.shown());
    let yellow = token(&world, 2, "yellow").await;
    assert_eq!(came_of(&yellow), ("REQUESTED", "DECISION_YELLOW"));
    let red = token(&world, 3, "red").await;
    assert_eq!(came_of(&red), ("REQUEST_DECLINED", "DECISION_RED"));
}

#[tokio::test]
async fn a_yellow_token_waits_for_the_cardholder_to_be_verified() {
    let world = world().await;
    for (n, passed, state, fulfilment) in [
        (1, true, "ACTIVE", "PROVISIONED"),
        (2, false, "REQUEST_DECLINED", "REJECTED"),
    ] {
        let yellow = token(&world, n, "yellow").await;
        let verified = verify(&world, &yellow, passed).await;
        assert_eq!(verified.status, 200, "{}", verified.shown());
        assert_eq!(came_of(&verified.json()), (state, fulfilment));
        let again = verify(&world, &yellow, true).await;
        assert_eq!(again.code(), (409, "wallet_token_final".to_owned()));
    }
}

/// "The 26th fails on the device, not the API": the answer is good, the token is declined.
#[tokio::test]
async fn the_26th_token_is_declined_by_the_network() {
    let world = world().await;
    let waiting = token(&world, 100, "yellow").await;
    for n in 1..=25 {
        assert_eq!(came_of(&token(&world, n, "green").await).0, "ACTIVE");
    }
    let over = token(&world, 26, "green").await;
    assert_eq!(came_of(&over), ("REQUEST_DECLINED", "REJECTED"));
    let path = format!(
        "/v1/wallet-tokens/{}/transitions",
        waiting["id"].as_str().unwrap()
    );
    let forced = ask(&world, &path, &json!({"state": "ACTIVE"})).await;
    assert_eq!(forced.code(), (409, "wallet_token_limit".to_owned()));
    let verified = verify(&world, &waiting, true).await.json();
    assert_eq!(came_of(&verified), ("REQUEST_DECLINED", "REJECTED"));
}

#[tokio::test]
async fn what_the_issuer_or_the_network_declines() {
    let world = world().await;
    token(&world, 1, "green").await;
    let twice = token(&world, 1, "green").await;
    assert_eq!(came_of(&twice), ("REQUEST_DECLINED", "REJECTED"));
    world.operator().set_card(CARD_ID, State::Suspended).await;
    let stopped = token(&world, 2, "green").await;
    assert_eq!(came_of(&stopped), ("REQUEST_DECLINED", "DECISION_RED"));
}

#[tokio::test]
async fn only_whoever_may_change_a_card_plays_with_it() {
    let world = world().await;
    world
        .operator()
        .set_credential(OTHER_KEY, |c| c.scopes.push(Scope::CardsWriteAny))
        .await;
    let as_of = |id: &str| {
        let mut body = device(1, "green");
        body["card_id"] = json!(id);
        body
    };
    for (key, id, status) in [
        (OTHER_KEY, CARD_ID, 404),
        (KEY, FOREIGN_ID, 404),
        (OWN_KEY, SECOND_ID, 404),
        (OWN_KEY, CARD_ID, 201),
    ] {
        let answer = native(&world, key, Method::POST, ROUTE, Some(&as_of(id))).await;
        assert_eq!(answer.status, status, "{key} {id}");
    }
    let yellow = token(&world, 2, "yellow").await;
    let path = format!("{ROUTE}/{}/verify", yellow["id"].as_str().unwrap());
    let passed = json!({"passed": true});
    let answer = native(&world, OTHER_KEY, Method::POST, &path, Some(&passed)).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn a_wrong_request_is_told_where() {
    let world = world().await;
    for (member, value) in [
        ("card_id", json!("C202605220001")),
        ("wallet", json!("GARMIN_PAY")),
        ("device_type", json!("FRIDGE")),
        ("device_id", json!("a b")),
        ("decision", json!("GREEN")),
    ] {
        let mut body = device(1, "green");
        body[member] = value;
        let answer = ask(&world, ROUTE, &body).await;
        assert_eq!(
            answer.code(),
            (400, "invalid_request".to_owned()),
            "{member}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("{member}: ")), "{detail}");
    }
    let mut more = device(1, "green");
    more["pan"] = json!("4111111111111111");
    let answer = ask(&world, ROUTE, &more).await;
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("4111"));
    let answer = ask(
        &world,
        &format!("{ROUTE}/nothing/verify"),
        &json!({"passed": true}),
    )
    .await;
    assert_eq!(answer.code().0, 400);
}

/// From the question whether a card can go in to the end of the card, with what is on record.
#[tokio::test]
async fn a_whole_life_in_the_sandbox() {
    let world = world().await;
    let body = json!({"card_id": CARD_ID, "operation": "ADD_CARD_TO_WALLET"});
    let issued = native(&world, KEY, Method::POST, "/v1/client-tokens", Some(&body)).await;
    let phone = Cardholder::with(&world, issued.json()["token"].as_str().unwrap().to_owned());
    let check = json!({
        "token": phone.token, "app": phone.embed, "key": phone.jwk(), "wallet": "APPLE_PAY",
        "device_type": "MOBILE_PHONE", "device_id": "device-1",
    });
    let eligibility = async || {
        let call = post("/client/v1/wallet/eligibility", &check);
        phone.send_as_frame(call).await.json()["reasons"].clone()
    };
    assert_eq!(eligibility().await, json!([]));

    let requested = token(&world, 1, "yellow").await;
    let id = requested["id"].as_str().unwrap().to_owned();
    assert_eq!(eligibility().await, json!(["already_on_device"]));
    verify(&world, &requested, true).await;
    let equals =
        format!("/v2/cards/{CARD_ID}/digital-wallet-token-transitions?accountId={ACCOUNT}");
    for state in ["SUSPENDED", "ACTIVE"] {
        let body = json!({"state": state, "digitalWalletToken": id});
        let mut call = post(&equals, &body);
        let value = format!("ApiKey {KEY}").parse().unwrap();
        call.headers_mut().insert("authorization", value);
        let answer = world.merchant().send(call).await;
        assert_eq!(
            (answer.status, &answer.json()["state"]),
            (201, &json!(state))
        );
    }
    world.operator().set_card(CARD_ID, State::Terminated).await;
    let shown = native(
        &world,
        KEY,
        Method::GET,
        &format!("/v1/wallet-tokens/{id}"),
        None,
    )
    .await;
    assert_eq!(came_of(&shown.json()), ("TERMINATED", "PROVISIONED"));
    assert_eq!(eligibility().await, json!(["card_not_active"]));

    let log = world.operator().log().await;
    let moves: Vec<_> = log
        .iter()
        .map(|entry| &entry.event)
        .filter(|event| event.topic() == Some(Topic::WalletToken))
        .map(|event| {
            (
                event.detail.from.as_deref(),
                event.detail.to.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        moves,
        [
            (None, "REQUESTED"),
            (Some("REQUESTED"), "ACTIVE"),
            (Some("ACTIVE"), "SUSPENDED"),
            (Some("SUSPENDED"), "ACTIVE"),
            (Some("ACTIVE"), "TERMINATED"),
        ]
    );
    assert_eq!(world.operator().logged(Kind::WalletChecked).await.len(), 3);
    let page = empty(get("/v1/wallet-tokens"));
    let nobody = world.merchant().send(page).await;
    assert_eq!(nobody.code(), (401, "credential_required".to_owned()));
}
