//! `POST /v1/client-tokens`: the native API.

use std::time::Duration;

use axum::body::Body;
use cardveil_core::audit::Kind;
use cardveil_core::card::State;
use cardveil_testkit::Fault;
use http::Method;
use serde_json::{Value, json};

use crate::actors::{Cardholder, Merchant, Thief, post, request};
use crate::world::{Answer, CARD_ID, CARD_NO, FOREIGN_NO, KEY, OWN_KEY, SECOND_NO, World};

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.shown());
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_whole_answer() {
    let world = World::new().await;
    let answer = world.merchant().native(&json!({"card_no": CARD_NO})).await;
    let token = token(&answer);
    insta::assert_snapshot!(answer.shown().replace(&token, "[client token]"), @r#"
    201
    cache-control: no-store
    content-length: 161
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    content-type: application/json
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    {
      "expires_at": "2026-01-01T00:05:00.000Z",
      "expires_in": 300,
      "token": "[client token]"
    }
    "#);
    let cardholder = Cardholder::with(&world, token);
    assert_eq!(
        cardholder.open(&cardholder.redeem(&["pan"]).await)["pan"],
        "4111111111111111"
    );
}

#[tokio::test]
async fn a_card_is_named_in_one_of_two_ways() {
    let world = World::new().await;
    let merchant = world.merchant();
    token(&merchant.native(&json!({"card_no": CARD_NO})).await);
    token(&merchant.native(&json!({"card_id": CARD_ID})).await);
    for body in [json!({}), json!({"card_no": CARD_NO, "card_id": CARD_ID})] {
        let answer = merchant.native(&body).await;
        is(&answer, 400, "invalid_request");
        assert_eq!(
            answer.json()["detail"],
            "card_no: give either card_no or card_id"
        );
    }
}

#[tokio::test]
async fn a_wrong_member_is_named() {
    let world = World::new().await;
    for (body, place) in [
        (json!({"card_no": "a b"}), "card_no"),
        (json!({"card_no": 1}), "card_no"),
        (json!({"card_id": "1"}), "card_id"),
        (
            json!({"card_no": CARD_NO, "operation": "VIEW_PIN"}),
            "operation",
        ),
        (json!({"card_no": CARD_NO, "fields": []}), "fields"),
        (
            json!({"card_no": CARD_NO, "fields": ["pan", "pan"]}),
            "fields",
        ),
        (json!({"card_no": CARD_NO, "fields": ["pin"]}), "fields"),
        (json!({"card_no": CARD_NO, "fields": [1]}), "fields[0]"),
        (
            json!({"card_no": CARD_NO, "operation": "ADD_CARD_TO_WALLET", "fields": ["pan"]}),
            "fields",
        ),
        (
            json!({"card_no": CARD_NO, "thumbprint": "AAAA"}),
            "thumbprint",
        ),
        (json!({"card_no": CARD_NO, "card": 1}), "card"),
        (json!([]), "body"),
        (json!("text"), "body"),
    ] {
        let answer = world.merchant().native(&body).await;
        is(&answer, 400, "invalid_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with(&format!("{place}: ")),
            "{body}: {detail}"
        );
    }
    assert!(world.operator().logged(Kind::TokenIssued).await.is_empty());
}

#[tokio::test]
async fn the_credential_is_a_bearer() {
    let world = World::new().await;
    let body = json!({"card_no": CARD_NO});
    let answer = world
        .merchant()
        .send(post("/v1/client-tokens", &body))
        .await;
    is(&answer, 401, "credential_required");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    for value in [KEY, "Bearer", "Bearer wrong", &format!("ApiKey {KEY}")] {
        let mut call = post("/v1/client-tokens", &body);
        call.headers_mut()
            .insert("authorization", value.parse().unwrap());
        is(
            &world.merchant().send(call).await,
            403,
            "credential_refused",
        );
    }
}

#[tokio::test]
async fn a_card_that_the_caller_may_not_know_of() {
    let world = World::new().await;
    let own = Merchant::new(&world, OWN_KEY);
    let unknown = own.native(&json!({"card_no": "C404"})).await;
    is(&unknown, 404, "not_found");
    for card_no in [FOREIGN_NO, SECOND_NO] {
        let answer = own.native(&json!({"card_no": card_no})).await;
        assert_eq!(answer.without_id(), unknown.without_id());
    }
}

#[tokio::test]
async fn a_card_that_is_not_shown_now() {
    let world = World::new().await;
    world.operator().set_card(CARD_ID, State::Suspended).await;
    let answer = world.merchant().native(&json!({"card_no": CARD_NO})).await;
    is(&answer, 403, "card_not_viewable");
}

#[tokio::test]
async fn only_the_fields_that_it_names_are_released() {
    let world = World::new().await;
    let body = json!({"card_no": CARD_NO, "fields": ["pan", "expiry"]});
    let cardholder = Cardholder::with(&world, token(&world.merchant().native(&body).await));
    let refused = cardholder.redeem(&["pan", "cvv"]).await;
    is(&refused, 403, "field_unavailable");
    let answer = cardholder.redeem(&["pan"]).await;
    assert_eq!(answer.json()["window"]["fields_left"], json!(["expiry"]));
    is(
        &cardholder.redeem(&["name"]).await,
        403,
        "field_unavailable",
    );
}

#[tokio::test]
async fn fields_that_the_card_lacks_are_left_out_and_refused_alone_braintree_web_drop_in_149() {
    let world = World::new().await;
    let body = json!({"card_no": SECOND_NO, "fields": ["pan", "cvv"]});
    let cardholder = Cardholder::with(&world, token(&world.merchant().native(&body).await));
    let issued = world.operator().logged(Kind::TokenIssued).await;
    assert_eq!(issued[0].event.detail.fields.unwrap().names(), ["pan"]);
    let answer = cardholder.redeem(&["pan", "cvv"]).await;
    assert_eq!(answer.json()["missing"], json!(["cvv"]));

    let body = json!({"card_no": SECOND_NO, "fields": ["cvv"]});
    let refused = world.merchant().native(&body).await;
    is(&refused, 403, "field_unavailable");
}

#[tokio::test]
async fn only_the_key_of_its_thumbprint_redeems_it() {
    let world = World::new().await;
    let mut cardholder = Cardholder::with(&world, String::new());
    let body = json!({"card_no": CARD_NO, "thumbprint": cardholder.thumbprint()});
    cardholder.token = token(&world.merchant().native(&body).await);
    let thief = Thief::with(&world, &cardholder.token);
    is(&thief.redeem(&["pan"]).await, 403, "token_refused");
    assert_eq!(world.operator().logged(Kind::RevealConflict).await.len(), 1);
    let answer = cardholder.redeem(&["pan"]).await;
    assert_eq!(cardholder.open(&answer), json!({"pan": "4111111111111111"}));
}

#[tokio::test]
async fn the_same_name_and_body_is_the_same_token() {
    let world = World::new().await;
    let merchant = world.merchant();
    let body = json!({"card_no": CARD_NO});
    let first = merchant.native_named("order-1", &body).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    world.clock.advance(Duration::from_millis(100_500));
    // The same body with its members written otherwise.
    let again = merchant
        .native_named("order-1", &json!({"fields": null, "card_no": CARD_NO}))
        .await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(token(&first), token(&again));
    assert_eq!(first.json()["expires_at"], again.json()["expires_at"]);
    assert_eq!(first.json()["expires_in"], 300);
    assert_eq!(again.json()["expires_in"], 199);
    assert_eq!(world.operator().logged(Kind::TokenIssued).await.len(), 1);
    assert_eq!(world.counted("cardveil_tokens_issued_total").await, 1);
}

#[tokio::test]
async fn the_same_name_with_another_body() {
    let world = World::new().await;
    let merchant = world.merchant();
    token(
        &merchant
            .native_named("order-1", &json!({"card_no": CARD_NO}))
            .await,
    );
    for body in [
        json!({"card_no": SECOND_NO}),
        json!({"card_id": CARD_ID}),
        json!({"card_no": CARD_NO, "fields": ["pan"]}),
        json!({"card_no": CARD_NO, "operation": "ADD_CARD_TO_WALLET"}),
    ] {
        let answer = merchant.native_named("order-1", &body).await;
        is(&answer, 422, "idempotency_mismatch");
    }
}

#[tokio::test]
async fn a_name_is_forgotten_with_its_token() {
    let world = World::new().await;
    let merchant = world.merchant();
    let body = json!({"card_no": CARD_NO});
    let first = token(&merchant.native_named("order-1", &body).await);
    world.clock.advance(Duration::from_millis(299_999));
    assert_eq!(token(&merchant.native_named("order-1", &body).await), first);
    world.clock.advance(Duration::from_millis(1));
    let next = merchant
        .native_named("order-1", &json!({"card_no": SECOND_NO}))
        .await;
    assert_eq!(next.header("idempotency-replayed"), None);
    assert_ne!(token(&next), first);
}

#[tokio::test]
async fn two_credentials_with_the_same_name_do_not_meet() {
    let world = World::new().await;
    let body = json!({"card_no": CARD_NO});
    let one = world.merchant().native_named("order-1", &body).await;
    let two = Merchant::new(&world, OWN_KEY)
        .native_named("order-1", &body)
        .await;
    assert_eq!(two.header("idempotency-replayed"), None);
    assert_ne!(token(&one), token(&two));
}

#[tokio::test]
async fn a_name_has_255_characters_at_most_and_stands_alone() {
    let world = World::new().await;
    let merchant = world.merchant();
    let body = json!({"card_no": CARD_NO});
    token(&merchant.native_named(&"k".repeat(255), &body).await);
    let long = merchant.native_named(&"k".repeat(256), &body).await;
    is(&long, 400, "invalid_request");
    assert!(
        long.json()["detail"]
            .as_str()
            .unwrap()
            .starts_with("Idempotency-Key: ")
    );
    let mut twice = post("/v1/client-tokens", &body);
    let headers = twice.headers_mut();
    headers.insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    headers.append("idempotency-key", "a".parse().unwrap());
    headers.append("idempotency-key", "b".parse().unwrap());
    is(&merchant.send(twice).await, 400, "invalid_request");
}

#[tokio::test]
async fn a_lost_answer_is_found_again_by_its_name() {
    let world = World::new().await;
    let merchant = world.merchant();
    let body = json!({"card_no": CARD_NO});
    world.store.fail_next(Fault::UnknownPersisted);
    is(
        &merchant.native_named("order-1", &body).await,
        503,
        "unavailable",
    );
    let again = merchant.native_named("order-1", &body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let cardholder = Cardholder::with(&world, token(&again));
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    assert_eq!(world.operator().logged(Kind::TokenIssued).await.len(), 1);
}

#[tokio::test]
async fn a_store_that_wrote_nothing_leaves_the_name_free() {
    let world = World::new().await;
    let merchant = world.merchant();
    let body = json!({"card_no": CARD_NO});
    for fault in [Fault::NotPersisted, Fault::UnknownNotPersisted] {
        world.store.fail_next(fault);
        is(
            &merchant.native_named("order-1", &body).await,
            503,
            "unavailable",
        );
    }
    let answer = merchant.native_named("order-1", &body).await;
    assert_eq!(answer.header("idempotency-replayed"), None);
    token(&answer);
}

#[tokio::test]
async fn a_body_that_is_not_json() {
    let world = World::new().await;
    let body = json!({"card_no": CARD_NO}).to_string();
    let send = async |content_type: &str, body: String| {
        let call = request(Method::POST, "/v1/client-tokens")
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", content_type)
            .body(Body::from(body));
        world.merchant().send(call.unwrap()).await
    };
    is(
        &send("text/plain", body.clone()).await,
        415,
        "unsupported_media_type",
    );
    is(
        &send("application/json", "{".to_owned()).await,
        400,
        "invalid_request",
    );
    is(
        &send("application/json", " ".repeat(16_385)).await,
        413,
        "too_large",
    );
    token(&send("application/json; charset=utf-8", body).await);
    let deep = format!("{{\"card_no\":{}", "[".repeat(16_000));
    let answer = send("application/json", deep).await;
    is(&answer, 400, "invalid_request");
    assert_ne!(answer.json()["detail"], Value::Null);
}

/// serde takes an array for a struct, by the order of its members.
#[tokio::test]
async fn an_array_is_no_object() {
    let world = World::new().await;
    let merchant = world.merchant();
    for body in [
        json!([CARD_NO, null, "VIEW_CARD", null, null]),
        json!({"card_no": CARD_NO, "mfa": ["c92e2960-b745-4b38-8e77-898b2f9ad9bb", "123456"]}),
        json!([]),
    ] {
        let answer = merchant.native(&body).await;
        assert_eq!(answer.code(), (400, "invalid_request".to_owned()), "{body}");
    }
}

/// An embed of the merchant's own and in use, or none at all.
#[tokio::test]
async fn a_token_is_bound_to_an_embed_of_ones_own() {
    let world = World::new().await;
    let ask = async |embed: &str| {
        let body = json!({"card_no": CARD_NO, "embed": embed});
        world.merchant().native(&body).await
    };
    for embed in ["emb_2", "emb_404", "no embed", ""] {
        let answer = ask(embed).await;
        assert_eq!(
            answer.code(),
            (400, "invalid_request".to_owned()),
            "{embed}"
        );
        assert!(answer.shown().contains("embed"), "{}", answer.shown());
    }
    let operator = world.operator();
    assert!(operator.logged(Kind::TokenIssued).await.is_empty());
    let bound = ask("emb_1").await.json();
    let cardholder = Cardholder::with(&world, bound["token"].as_str().unwrap().to_owned());
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    let log = operator.logged(Kind::TokenIssued).await;
    let embed = log[0].event.target.embed.as_ref();
    assert_eq!(embed.map(cardveil_core::id::EmbedId::as_str), Some("emb_1"));
    let disable = |embed: &mut cardveil_core::merchant::Embed| embed.enabled = false;
    operator.set_embed(1, disable).await;
    assert_eq!(ask("emb_1").await.code().0, 400);
}
