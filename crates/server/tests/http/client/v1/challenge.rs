//! `POST /client/v1/challenge`, and the redemptions of tokens that wait for a second factor.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::State;
use cardveil_core::mfa::{PAUSE, Policy};
use cardveil_core::token::Cause;
use serde_json::{Value, json};

use crate::actors::{Cardholder, Phone, Thief, post};
use crate::world::{Answer, CARD_ID, CARD_NO, PERSON, World, app};

const FIRST: &str = "c0000000-0000-4000-8000-000000000001";
const SECOND: &str = "c0000000-0000-4000-8000-000000000002";

/// Its cardholders are asked in the frame.
async fn world() -> World {
    let world = World::new().await;
    world
        .operator()
        .set_merchant(1, |merchant| {
            merchant.mfa.view_card = Policy::InFrame;
            merchant.mfa.add_card_to_wallet = Policy::InFrame;
        })
        .await;
    world
}

fn asks(cardholder: &Cardholder<'_>, challenge: &str) -> Value {
    json!({
        "token": cardholder.token, "embed": cardholder.embed, "key": cardholder.jwk(),
        "challenge": challenge,
    })
}

async fn challenge(cardholder: &Cardholder<'_>, challenge: &str) -> Answer {
    let call = post("/client/v1/challenge", &asks(cardholder, challenge));
    cardholder.send_as_frame(call).await
}

async fn redeem(cardholder: &Cardholder<'_>, challenge: &str, code: &str) -> Answer {
    let mut body = cardholder.ask_for(&["pan", "cvv"]);
    body["factor"] = json!({"challenge": challenge, "code": code});
    cardholder.send(&body).await
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

async fn count(world: &World, kind: Kind) -> usize {
    world.operator().logged(kind).await.len()
}

/// KeySecure's call has no place for a code, and needs none; nor do the others.
#[tokio::test]
async fn a_token_of_any_dialect_waits_for_the_code_of_its_cardholder() {
    let world = world().await;
    let merchant = world.merchant();
    let phone = Phone::of(&world, PERSON).await;
    let equals = merchant.access_token(CARD_ID, "accountId=F50091").await;
    let native = merchant.native(&json!({"card_no": CARD_NO})).await;
    let tokens = [
        merchant.token(CARD_NO).await,
        equals.json()["token"].as_str().unwrap().to_owned(),
        native.json()["token"].as_str().unwrap().to_owned(),
    ];
    for token in tokens {
        let cardholder = Cardholder::with(&world, token);
        let opened = count(&world, Kind::MfaOpened).await;
        let before = world.operator().log().await.len();
        is(&cardholder.redeem(&["pan"]).await, 403, "mfa_required");
        assert_eq!(world.operator().log().await.len(), before, "no record");
        let asked = challenge(&cardholder, FIRST).await;
        assert_eq!(asked.status, 200, "{}", asked.shown());
        assert_eq!(asked.json()["factor"], "TOTP");
        let again = challenge(&cardholder, FIRST).await;
        assert_eq!(again.json(), asked.json());
        assert_eq!(count(&world, Kind::MfaOpened).await, opened + 1, "once");
        is(
            &redeem(&cardholder, FIRST, &phone.wrong()).await,
            403,
            "mfa_refused",
        );
        let shown = redeem(&cardholder, FIRST, &phone.code(0)).await;
        assert_eq!(cardholder.open(&shown)["cvv"], "739");
        // Its key goes on, and gives no code again.
        assert_eq!(cardholder.redeem(&["expiry"]).await.status, 200);
        assert_eq!(challenge(&cardholder, SECOND).await.json(), json!({}));
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(count(&world, Kind::RevealRefused).await, 0);
}

#[tokio::test]
async fn a_delivered_code_is_asked_for_anew_by_another_challenge() {
    let world = world().await;
    let cardholder = world.cardholder().await;
    assert_eq!(
        challenge(&cardholder, FIRST).await.json()["factor"],
        "OTP",
        "whoever has no app"
    );
    challenge(&cardholder, SECOND).await;
    let delivered = world.operator().logged(Kind::MfaCode).await;
    let codes: Vec<_> = delivered
        .iter()
        .map(|entry| {
            let session = entry.event.target.session.unwrap();
            let code = world.app.service.otp_code(&session).unwrap();
            String::from_utf8(code.expose().to_vec()).unwrap()
        })
        .collect();
    let [first, second] = codes.as_slice() else {
        panic!("two codes: {}", codes.len());
    };
    assert_ne!(first, second);
    is(
        &redeem(&cardholder, FIRST, second).await,
        403,
        "mfa_refused",
    );
    let shown = redeem(&cardholder, SECOND, second).await;
    assert_eq!(cardholder.open(&shown)["cvv"], "739");
}

/// What a thief of a token has: any key but the cardholder's.
#[tokio::test]
async fn a_code_opens_nothing_for_another_key() {
    let world = world().await;
    let phone = Phone::of(&world, PERSON).await;
    let cardholder = world.cardholder().await;
    challenge(&cardholder, FIRST).await;
    let thief = Cardholder::with(&world, cardholder.token.clone());
    is(
        &redeem(&thief, FIRST, &phone.code(0)).await,
        403,
        "mfa_refused",
    );
    let other = world.cardholder().await;
    is(
        &redeem(&other, FIRST, &phone.code(0)).await,
        403,
        "mfa_refused",
    );
    let shown = redeem(&cardholder, FIRST, &phone.code(0)).await;
    assert_eq!(shown.status, 200, "{}", shown.shown());
    let late = Thief::with(&world, &cardholder.token);
    is(&late.redeem(&["pan"]).await, 403, "token_refused");
}

/// A session of a frame is none of the merchant's servers, nor the other way round.
#[tokio::test]
async fn a_session_passes_where_it_was_opened_alone() {
    let world = world().await;
    let phone = Phone::of(&world, PERSON).await;
    let cardholder = world.cardholder().await;
    challenge(&cardholder, FIRST).await;
    let opened = world.operator().logged(Kind::MfaOpened).await;
    let session = opened[0].event.target.session.unwrap().to_string();
    let merchant = world.merchant();
    world
        .operator()
        .set_merchant(1, |merchant| merchant.mfa.view_card = Policy::Required)
        .await;
    let refused = merchant.asserted(&session, &phone.code(0)).await;
    is(&refused, 403, "mfa_refused");
    // The token waits still: it was issued so.
    is(&cardholder.redeem(&["pan"]).await, 403, "mfa_required");
    let own = merchant.session("TOTP").await;
    is(
        &redeem(&cardholder, &own, &phone.code(0)).await,
        403,
        "mfa_refused",
    );
    let shown = redeem(&cardholder, FIRST, &phone.code(0)).await;
    assert_eq!(shown.status, 200, "{}", shown.shown());
}

#[tokio::test]
async fn wrong_codes_end_it_and_the_cardholder_waits() {
    let world = world().await;
    let phone = Phone::of(&world, PERSON).await;
    let cardholder = world.cardholder().await;
    challenge(&cardholder, FIRST).await;
    for code in [&phone.wrong(), "", "1", "12345678", "no code"] {
        is(&redeem(&cardholder, FIRST, code).await, 403, "mfa_refused");
    }
    // The card is never opened for a code that cannot pass.
    let right = redeem(&cardholder, FIRST, &phone.code(0)).await;
    is(&right, 403, "mfa_refused");
    let waits = challenge(&cardholder, SECOND).await;
    is(&waits, 429, "rate_limited");
    assert_eq!(waits.header("retry-after"), Some("900"));
    world.clock.advance(PAUSE);
    let fresh = world.cardholder().await;
    challenge(&fresh, SECOND).await;
    let shown = redeem(&fresh, SECOND, &phone.code(0)).await;
    assert_eq!(shown.status, 200, "{}", shown.shown());
}

#[tokio::test]
async fn a_factor_that_nobody_has_is_told() {
    let world = world().await;
    let cardholder = world.cardholder().await;
    let mut body = asks(&cardholder, FIRST);
    body["factor"] = json!("TOTP");
    let call = post("/client/v1/challenge", &body);
    is(
        &cardholder.send_as_frame(call).await,
        409,
        "factor_unavailable",
    );
}

/// P6: whatever is wrong with a token, a challenge is refused in the bytes of a redemption, and
/// nobody is asked for a code.
#[tokio::test]
async fn a_challenge_is_refused_in_the_words_of_a_redemption() {
    let world = world().await;
    let never_was = Cardholder::with(&world, "cvt_test_guessed".to_owned());
    let refused = never_was.redeem(&["pan"]).await.without_id();
    is(&refused, 403, "token_refused");
    let mut foreign = world.cardholder().await;
    foreign.embed = "emb_2".to_owned();
    let revoked = world.cardholder().await;
    world.operator().revoke(&revoked.token).await;
    let spent = world.cardholder().await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.mfa.view_card = Policy::Off)
        .await;
    let spender = world.cardholder().await;
    spender.redeem(&["pan"]).await;
    let stolen = Cardholder::with(&world, spender.token.clone());
    for cardholder in [&never_was, &foreign, &revoked, &stolen] {
        let answer = challenge(cardholder, FIRST).await.without_id();
        assert_eq!(answer, refused);
    }
    world.operator().set_card(CARD_ID, State::Suspended).await;
    let answer = challenge(&spent, FIRST).await.without_id();
    assert_eq!(answer, refused, "a frozen card");
    assert_eq!(spent.redeem(&["pan"]).await.without_id(), refused);
    world.operator().set_card(CARD_ID, State::Active).await;
    world.clock.advance(Duration::from_secs(300));
    let answer = challenge(&spent, FIRST).await.without_id();
    assert_eq!(answer, refused, "an expired token");
    let causes: Vec<_> = world
        .operator()
        .logged(Kind::RevealRefused)
        .await
        .iter()
        .map(|entry| entry.event.detail.cause.unwrap())
        .collect();
    let expected = [
        Cause::Foreign,
        Cause::Revoked,
        Cause::CardState,
        Cause::CardState,
        Cause::Expired,
    ];
    assert_eq!(causes, expected);
    assert_eq!(count(&world, Kind::MfaCode).await, 0);
}

/// What a code is worth nobody learns where it would open nothing: of a card that is not shown now,
/// by fields that the token is not for, in an epoch that is over.
#[tokio::test]
async fn a_code_is_judged_only_where_it_would_open_the_card() {
    let world = world().await;
    let phone = Phone::of(&world, PERSON).await;
    let body = json!({"card_no": CARD_NO, "fields": ["pan"]});
    let issued = world.merchant().native(&body).await;
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    let cardholder = Cardholder::with(&world, token);
    challenge(&cardholder, FIRST).await;
    for code in [phone.code(0), phone.wrong()] {
        // It is for `pan` alone.
        let answer = redeem(&cardholder, FIRST, &code).await;
        is(&answer, 403, "field_unavailable");
    }
    let never_was = Cardholder::with(&world, "cvt_test_guessed".to_owned());
    let refused = never_was.redeem(&["pan"]).await.without_id();
    let tries = async |at: &str| {
        assert_eq!(
            cardholder.redeem(&["pan"]).await.without_id(),
            refused,
            "{at}"
        );
        for (name, code) in [
            (FIRST, phone.code(0)),
            (FIRST, phone.wrong()),
            (SECOND, phone.code(0)),
        ] {
            let mut body = cardholder.ask_for(&["pan"]);
            body["factor"] = json!({"challenge": name, "code": code});
            let answer = cardholder.send(&body).await.without_id();
            assert_eq!(answer, refused, "{at}");
        }
        assert_eq!(challenge(&cardholder, SECOND).await.without_id(), refused);
    };
    world.operator().set_card(CARD_ID, State::Suspended).await;
    tries("a suspended card").await;
    world.operator().set_card(CARD_ID, State::Active).await;
    world.operator().raise_epoch().await;
    tries("another epoch").await;
    assert_eq!(count(&world, Kind::MfaRefused).await, 0);
    assert_eq!(count(&world, Kind::MfaPassed).await, 0);
}

/// A code is asked for no longer than it can open anything.
#[tokio::test]
async fn a_challenge_ends_with_its_token() {
    let world = world().await;
    let cardholder = world.cardholder().await;
    world.clock.advance(Duration::from_secs(290));
    let asked = challenge(&cardholder, FIRST).await;
    assert_eq!(asked.json()["expires_at"], "2026-01-01T00:05:00.000Z");
}

#[tokio::test]
async fn what_is_malformed_is_named() {
    let world = world().await;
    let cardholder = world.cardholder().await;
    for (member, wrong) in [
        ("embed", json!("shop")),
        ("key", json!({})),
        ("challenge", json!("1")),
        ("factor", json!("SMS")),
        ("more", json!(1)),
    ] {
        let mut body = asks(&cardholder, FIRST);
        body[member] = wrong;
        let call = post("/client/v1/challenge", &body);
        let answer = cardholder.send_as_frame(call).await;
        is(&answer, 400, "invalid_request");
        assert!(answer.text().contains(member), "{}", answer.text());
    }
    let mut body = cardholder.ask_for(&["pan"]);
    body["factor"] = json!({"challenge": "1", "code": "123456"});
    is(&cardholder.send(&body).await, 400, "invalid_request");
    // From a page that is not ours nobody asks.
    let mut call = post("/client/v1/challenge", &asks(&cardholder, FIRST));
    let origin = "https://evil.example".parse().unwrap();
    call.headers_mut().insert("origin", origin);
    let answer = world
        .stranger()
        .send(cardveil_server::ListenerKind::Client, call)
        .await;
    is(&answer, 403, "origin_refused");
    assert_eq!(count(&world, Kind::MfaCode).await, 0);
}

/// The wallet's question waits too.
#[tokio::test]
async fn a_wallet_is_told_nothing_without_the_factor() {
    let world = world().await;
    let phone = Phone::of(&world, PERSON).await;
    let app = app(&world).await;
    let body = json!({"card_no": CARD_NO, "operation": "ADD_CARD_TO_WALLET"});
    let issued = world.merchant().native(&body).await;
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    let mut cardholder = Cardholder::with(&world, token);
    cardholder.embed = app;
    let mut check = json!({
        "token": cardholder.token, "app": cardholder.embed, "key": cardholder.jwk(),
        "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "device-1",
    });
    let send = async |body: &Value| {
        let call = post("/client/v1/wallet/eligibility", body);
        cardholder.send_as_frame(call).await
    };
    is(&send(&check).await, 403, "mfa_required");
    assert_eq!(challenge(&cardholder, FIRST).await.status, 200);
    check["factor"] = json!({"challenge": FIRST, "code": phone.wrong()});
    is(&send(&check).await, 403, "mfa_refused");
    check["factor"] = json!({"challenge": FIRST, "code": phone.code(0)});
    let answer = send(&check).await;
    assert_eq!(answer.status, 200, "{}", answer.shown());
}
