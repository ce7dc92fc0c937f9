//! `POST /v2/mfa/sessions`.

use std::time::Duration;

use cardveil_core::audit::{Kind, Topic};
use cardveil_core::card::State;
use cardveil_testkit::Fault;
use serde_json::{Value, json};

use crate::actors::{Merchant, Phone, post, session_for};
use crate::world::{
    Answer, FOREIGN_ID, OTHER_KEY, OWN_KEY, PERSON, SECOND_ID, SECOND_PERSON, World,
};

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

fn with(member: &str, value: impl Into<Value>) -> Value {
    let mut body = session_for("OTP");
    body[member] = value.into();
    body
}

#[tokio::test]
async fn the_whole_answer() {
    let world = World::new().await;
    let answer = world.merchant().mfa_session(&session_for("OTP")).await;
    let id = answer.json()["sessionId"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(answer.shown().replace(&id, "[session id]"), @r#"
    201
    cache-control: no-store
    content-length: 106
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    content-type: application/json
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    {
      "expiresAt": "2026-01-01T00:05:00.000Z",
      "factor": "OTP",
      "sessionId": "[session id]"
    }
    "#);
    let told = world.operator().logged(Kind::MfaCode).await.remove(0).event;
    assert_eq!(told.topic(), Some(Topic::MfaCode));
    assert_eq!(told.target.session.unwrap().to_string(), id);
    assert_eq!(told.target.person.unwrap().to_string(), PERSON);
}

#[tokio::test]
async fn an_app_must_be_enrolled_and_confirmed() {
    let world = World::new().await;
    let merchant = world.merchant();
    is(
        &merchant.mfa_session(&session_for("TOTP")).await,
        409,
        "factor_unavailable",
    );
    let _phone = Phone::of(&world, PERSON).await;
    let answer = merchant.mfa_session(&session_for("TOTP")).await;
    assert_eq!(
        (answer.status, &answer.json()["factor"]),
        (201, &json!("TOTP"))
    );
    assert_eq!(world.operator().logged(Kind::MfaOpened).await.len(), 1);
    assert!(
        world.operator().logged(Kind::MfaCode).await.is_empty(),
        "there is none to deliver"
    );
}

#[tokio::test]
async fn what_the_caller_may_not_know_of_is_404() {
    let world = World::new().await;
    let merchant = world.merchant();
    for body in [
        with("cardId", "00000000-0000-4000-8000-000000000000"),
        with("cardId", FOREIGN_ID),
        with("cardId", SECOND_ID),
        with("personId", SECOND_PERSON),
        with("accountId", "F50092"),
    ] {
        is(&merchant.mfa_session(&body).await, 404, "not_found");
    }
    let mut second = with("cardId", SECOND_ID);
    second["personId"] = SECOND_PERSON.into();
    assert_eq!(merchant.mfa_session(&second).await.status, 201);
    is(
        &Merchant::new(&world, OWN_KEY).mfa_session(&second).await,
        404,
        "not_found",
    );
    is(
        &Merchant::new(&world, OTHER_KEY)
            .mfa_session(&session_for("OTP"))
            .await,
        404,
        "not_found",
    );
}

#[tokio::test]
async fn a_wrong_member_is_named_and_never_repeated() {
    let world = World::new().await;
    let merchant = world.merchant();
    for (member, value) in [
        ("accountId", json!("F 50091")),
        ("personId", json!("S3CRET")),
        ("cardId", json!("S3CRET")),
        ("operationName", json!("VIEW_PINS")),
        ("factor", json!("SMS")),
    ] {
        let answer = merchant.mfa_session(&with(member, value)).await;
        is(&answer, 400, "invalid_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(member), "{detail}");
        assert!(!answer.text().contains("S3CRET"));
    }
    for member in ["accountId", "personId", "cardId"] {
        let answer = merchant.mfa_session(&with(member, Value::Null)).await;
        is(&answer, 400, "invalid_request");
        assert_eq!(answer.json()["detail"], format!("{member}: required"));
    }
    let wrong_type = merchant.mfa_session(&with("factor", 1)).await;
    is(&wrong_type, 400, "invalid_request");
    let mut body = with("more", "members");
    body.as_object_mut().unwrap().remove("operationName");
    assert_eq!(
        merchant.mfa_session(&body).await.status,
        201,
        "VIEW_CARD; unknown members pass"
    );
}

#[tokio::test]
async fn a_person_gets_twenty_an_hour() {
    let world = World::new().await;
    let merchant = world.merchant();
    for _ in 0..20 {
        merchant.session("OTP").await;
        world.clock.advance(Duration::from_secs(10));
    }
    let refused = merchant.mfa_session(&session_for("OTP")).await;
    is(&refused, 429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("3400"));
    world.clock.advance(Duration::from_secs(3_400));
    merchant.session("OTP").await;
    is(
        &merchant.mfa_session(&session_for("OTP")).await,
        429,
        "rate_limited",
    );
}

/// A card that is not in use now may be when the code has come.
#[tokio::test]
async fn the_cards_state_does_not_matter_yet() {
    let world = World::new().await;
    world
        .operator()
        .set_card(crate::world::CARD_ID, State::Suspended)
        .await;
    world.merchant().session("OTP").await;
}

#[tokio::test]
async fn without_a_credential_it_is_401() {
    let world = World::new().await;
    let answer = world
        .merchant()
        .send(post("/v2/mfa/sessions", &session_for("OTP")))
        .await;
    is(&answer, 401, "credential_required");
}

#[tokio::test]
async fn a_store_that_fails_opens_nothing_that_is_told() {
    let world = World::new().await;
    let merchant = world.merchant();
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        world.store.fail_next(fault);
        is(
            &merchant.mfa_session(&session_for("OTP")).await,
            503,
            "unavailable",
        );
    }
    merchant.session("OTP").await;
}
