//! `POST /v1/mfa/sessions`, and the `mfa` of `POST /v1/client-tokens`.

use cardveil_core::audit::Kind;
use cardveil_core::merchant::Merchant;
use cardveil_core::mfa::{Factor, Policy};
use http::Method;
use serde_json::{Value, json};

use crate::actors::Phone;
use crate::world::{Answer, CARD_ID, CARD_NO, FOREIGN_NO, PERSON, World};

const PATH: &str = "/v1/mfa/sessions";

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

async fn open(world: &World, body: &Value) -> Answer {
    world
        .merchant()
        .native_at(Method::POST, PATH, Some(body))
        .await
}

async fn required() -> World {
    let world = World::new().await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.mfa.view_card = Policy::Required)
        .await;
    world
}

#[tokio::test]
async fn the_whole_answer() {
    let world = World::new().await;
    let answer = open(&world, &json!({"card_no": CARD_NO, "factor": "OTP"})).await;
    assert_eq!(answer.status, 201, "{}", answer.shown());
    let mut body = answer.json();
    assert_eq!(body["session_id"].as_str().unwrap().len(), 36);
    body["session_id"] = "[session id]".into();
    assert_eq!(
        body,
        json!({"session_id": "[session id]", "factor": "OTP", "expires_at": "2026-01-01T00:05:00.000Z"})
    );
}

#[tokio::test]
async fn a_wrong_member_is_named() {
    let world = World::new().await;
    for (body, place) in [
        (json!({"factor": "OTP"}), "card_no"),
        (
            json!({"card_no": CARD_NO, "card_id": CARD_ID, "factor": "OTP"}),
            "card_no",
        ),
        (json!({"card_no": CARD_NO, "factor": "otp"}), "factor"),
        (
            json!({"card_no": CARD_NO, "factor": "OTP", "operation": "PIN"}),
            "operation",
        ),
        (
            json!({"card_no": CARD_NO, "factor": "OTP", "more": 1}),
            "more",
        ),
    ] {
        let answer = open(&world, &body).await;
        is(&answer, 400, "invalid_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(place), "{detail}");
    }
    let foreign = open(&world, &json!({"card_no": FOREIGN_NO, "factor": "OTP"})).await;
    is(&foreign, 404, "not_found");
    let none = open(&world, &json!({"card_no": CARD_NO, "factor": "TOTP"})).await;
    is(&none, 409, "factor_unavailable");
}

#[tokio::test]
async fn a_factor_that_is_left_out_is_the_strongest_that_counts() {
    let world = World::new().await;
    let asked = json!({"card_no": CARD_NO});
    assert_eq!(open(&world, &asked).await.json()["factor"], "OTP");
    let _phone = Phone::of(&world, PERSON).await;
    assert_eq!(open(&world, &asked).await.json()["factor"], "TOTP");
    let weaker = json!({"card_no": CARD_NO, "factor": "OTP"});
    is(&open(&world, &weaker).await, 409, "factor_unavailable");
    let fallback = |merchant: &mut Merchant| {
        merchant.mfa.factors.fallback = [Factor::Otp].into_iter().collect();
    };
    world.operator().set_merchant(1, fallback).await;
    assert_eq!(open(&world, &weaker).await.json()["factor"], "OTP");
    assert_eq!(open(&world, &asked).await.json()["factor"], "TOTP");
}

#[tokio::test]
async fn a_client_token_takes_the_session_and_the_code() {
    let world = required().await;
    let phone = Phone::of(&world, PERSON).await;
    let merchant = world.merchant();
    let answer = open(&world, &json!({"card_id": CARD_ID, "factor": "TOTP"})).await;
    let session = answer.json()["session_id"].clone();
    is(
        &merchant.native(&json!({"card_no": CARD_NO})).await,
        403,
        "mfa_required",
    );
    let partly = json!({"card_no": CARD_NO, "mfa": {"session_id": session}});
    is(&merchant.native(&partly).await, 403, "mfa_required");
    let with =
        |code: String| json!({"card_no": CARD_NO, "mfa": {"session_id": session, "code": code}});
    is(
        &merchant.native(&with(phone.wrong())).await,
        403,
        "mfa_refused",
    );
    let right = with(phone.code(0));
    assert_eq!(merchant.native(&right).await.status, 201);
    is(&merchant.native(&right).await, 403, "mfa_refused");
    let more = json!({"card_no": CARD_NO, "mfa": {"session_id": session, "token": "1"}});
    is(&merchant.native(&more).await, 400, "invalid_request");
}

/// With a name, a lost answer can be asked for again: one session, one token.
#[tokio::test]
async fn a_named_request_may_be_sent_twice() {
    let world = required().await;
    let phone = Phone::of(&world, PERSON).await;
    let merchant = world.merchant();
    let answer = open(&world, &json!({"card_no": CARD_NO, "factor": "TOTP"})).await;
    let session = answer.json()["session_id"].clone();
    let body = json!({"card_no": CARD_NO, "mfa": {"session_id": session, "code": phone.code(0)}});
    let first = merchant.native_named("order-1", &body).await;
    let again = merchant.native_named("order-1", &body).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json()["token"], again.json()["token"]);
    assert_eq!(world.operator().logged(Kind::TokenIssued).await.len(), 1);
    let guess = json!({"card_no": CARD_NO, "mfa": {"session_id": session, "code": phone.wrong()}});
    let guessed = merchant.native_named("order-1", &guess).await;
    is(&guessed, 422, "idempotency_mismatch");
}

#[tokio::test]
async fn a_delegated_factor_takes_the_merchants_reference() {
    let world = World::new().await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.mfa.view_card = Policy::Delegated)
        .await;
    let merchant = world.merchant();
    let with = |reference: &str| json!({"card_no": CARD_NO, "mfa": {"session_id": reference}});
    let wrong = merchant.native(&with("a b")).await;
    is(&wrong, 400, "invalid_request");
    assert!(
        wrong.json()["detail"]
            .as_str()
            .unwrap()
            .starts_with("mfa.session_id")
    );
    assert_eq!(merchant.native(&with("sca-42")).await.status, 201);
    let issued = world.operator().logged(Kind::TokenIssued).await;
    assert_eq!(issued[0].event.detail.attested.as_deref(), Some("sca-42"));
}
