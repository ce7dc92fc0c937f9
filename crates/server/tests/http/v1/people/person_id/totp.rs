//! `PUT`, `DELETE /v1/people/{person_id}/totp` and `POST .../confirm`.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::merchant::Scope;
use http::Method;
use serde_json::json;

use crate::actors::{Merchant, Phone, session_for};
use crate::world::{Answer, KEY, PERSON, SECOND_PERSON, World};

const MANAGER: &str = "cvk_test_merchant_1_mfa";
const OWN_MANAGER: &str = "cvk_test_merchant_1_mfa_own";
const OTHER_MANAGER: &str = "cvk_test_merchant_2_mfa";

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

async fn world() -> World {
    let world = World::new().await;
    let scope = Scope::MfaManage;
    world.add_credential(1, MANAGER, scope, None).await;
    world
        .add_credential(1, OWN_MANAGER, scope, Some(SECOND_PERSON))
        .await;
    world.add_credential(2, OTHER_MANAGER, scope, None).await;
    world
}

fn path(person: &str) -> String {
    format!("/v1/people/{person}/totp")
}

async fn enrol(world: &World, key: &str, person: &str) -> Answer {
    let merchant = Merchant::new(world, key);
    merchant.native_at(Method::PUT, &path(person), None).await
}

async fn remove(world: &World, person: &str) -> Answer {
    let merchant = Merchant::new(world, MANAGER);
    merchant
        .native_at(Method::DELETE, &path(person), None)
        .await
}

async fn confirm(world: &World, code: &str) -> Answer {
    let merchant = Merchant::new(world, MANAGER);
    let path = format!("{}/confirm", path(PERSON));
    merchant
        .native_at(Method::POST, &path, Some(&json!({"code": code})))
        .await
}

/// RFC 4648 section 6, the other way round.
fn decoded(base32: &str) -> Vec<u8> {
    let mut bits = 0_u64;
    let mut count = 0;
    let mut bytes = Vec::new();
    for letter in base32.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => panic!("not Base32: {letter}"),
        };
        bits = (bits << 5) | u64::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    bytes
}

#[tokio::test]
async fn an_app_is_enrolled_and_confirmed_and_proves() {
    let world = world().await;
    let answer = enrol(&world, MANAGER, PERSON).await;
    assert_eq!(answer.status, 201, "{}", answer.shown());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let secret = answer.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 32);
    let uri = format!(
        "otpauth://totp/Merchant%201:{PERSON}?secret={secret}&issuer=Merchant%201&algorithm=SHA1&digits=6&period=30"
    );
    assert_eq!(answer.json(), json!({"secret": secret, "uri": uri}));
    let phone = Phone::with(&world, &decoded(&secret));

    let session = world.merchant().mfa_session(&session_for("TOTP")).await;
    is(&session, 409, "factor_unavailable");
    is(&confirm(&world, &phone.wrong()).await, 403, "mfa_refused");
    assert_eq!(confirm(&world, &phone.code(0)).await.status, 204);
    is(
        &confirm(&world, &phone.code(1)).await,
        409,
        "factor_unavailable",
    );
    let session = world.merchant().session("TOTP").await;
    world
        .operator()
        .set_merchant(1, |m| {
            m.mfa.view_card = cardveil_core::mfa::Policy::Required;
        })
        .await;
    let used = world.merchant().asserted(&session, &phone.code(0)).await;
    is(&used, 403, "mfa_refused");
    world.clock.advance(Duration::from_secs(30));
    let good = world.merchant().asserted(&session, &phone.code(0)).await;
    assert_eq!(good.status, 200, "{}", good.shown());
    for kind in [Kind::MfaEnrolled, Kind::MfaConfirmed, Kind::MfaPassed] {
        assert_eq!(world.operator().logged(kind).await.len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn enrolling_again_replaces_and_makes_another_secret() {
    let world = world().await;
    let first = enrol(&world, MANAGER, PERSON).await.json()["secret"].clone();
    let phone = Phone::with(&world, &decoded(first.as_str().unwrap()));
    let second = enrol(&world, MANAGER, PERSON).await.json()["secret"].clone();
    assert_ne!(first, second);
    is(&confirm(&world, &phone.code(0)).await, 403, "mfa_refused");
    let phone = Phone::with(&world, &decoded(second.as_str().unwrap()));
    assert_eq!(confirm(&world, &phone.code(0)).await.status, 204);
}

#[tokio::test]
async fn a_removed_app_proves_nothing() {
    let world = world().await;
    is(&remove(&world, PERSON).await, 409, "factor_unavailable");
    let _phone = Phone::of(&world, PERSON).await;
    assert_eq!(remove(&world, PERSON).await.status, 204);
    let session = world.merchant().mfa_session(&session_for("TOTP")).await;
    is(&session, 409, "factor_unavailable");
    assert_eq!(world.operator().logged(Kind::MfaRemoved).await.len(), 1);
}

#[tokio::test]
async fn who_may_not_know_of_the_person_is_told_404() {
    let world = world().await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    is(&enrol(&world, MANAGER, nobody).await, 404, "not_found");
    is(&enrol(&world, OWN_MANAGER, PERSON).await, 404, "not_found");
    assert_eq!(enrol(&world, OWN_MANAGER, SECOND_PERSON).await.status, 201);
    is(
        &enrol(&world, OTHER_MANAGER, SECOND_PERSON).await,
        404,
        "not_found",
    );
    is(&enrol(&world, MANAGER, "x").await, 400, "invalid_request");
    is(&enrol(&world, KEY, PERSON).await, 403, "scope_missing");
}

/// The same person at another merchant is another matter: neither's app proves anything there.
#[tokio::test]
async fn an_app_is_of_one_merchant() {
    let world = world().await;
    let _phone = Phone::of(&world, PERSON).await;
    let other = Merchant::new(&world, crate::world::OTHER_KEY);
    let mut body = session_for("TOTP");
    body["cardId"] = crate::world::FOREIGN_ID.into();
    is(&other.mfa_session(&body).await, 409, "factor_unavailable");
}
