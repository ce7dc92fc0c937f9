//! The form of the request: what is wrong is named, before the token is looked at.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::actors::{Cardholder, post, request};
use crate::world::{Answer, CLIENT_ORIGIN, World};

const PATH: &str = "/client/v1/redeem";

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

/// The request with one member changed is refused by naming `place`; the token stays good.
async fn named(pointer: &str, value: Value, place: &str) {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let mut body = cardholder.ask_for(&["pan"]);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    let answer = cardholder.send(&body).await;
    is(&answer, 400, "invalid_request");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.starts_with(&format!("{place}: ")),
        "{pointer}: {detail}"
    );
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
}

fn base64(bytes: &[u8]) -> Value {
    json!(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[tokio::test]
async fn a_key_that_is_not_on_the_curve() {
    named("/key/x", base64(&[1; 32]), "key").await;
    named("/key/y", base64(&[1; 32]), "key").await;
    named("/key/x", base64(&[0xff; 32]), "key").await;
}

#[tokio::test]
async fn a_key_of_zeros() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let mut body = cardholder.ask_for(&["pan"]);
    body["key"]["x"] = base64(&[0; 32]);
    body["key"]["y"] = base64(&[0; 32]);
    is(&cardholder.send(&body).await, 400, "invalid_request");
    // The point at infinity has no coordinates: SEC 1 writes it as one zero byte.
    named("/key/x", base64(&[0]), "key.x").await;
    named("/key/x", base64(&[]), "key.x").await;
}

#[tokio::test]
async fn a_key_of_another_kind() {
    for kty in [json!("RSA"), json!("ec"), json!("OKP"), json!("")] {
        named("/key/kty", kty, "key").await;
    }
    for crv in [json!("P-384"), json!("secp256k1"), json!("p-256")] {
        named("/key/crv", crv, "key").await;
    }
    named("/key/kty", json!(1), "key.kty").await;
    named("/key", json!("key"), "key").await;
    named("/key", Value::Null, "key").await;
}

#[tokio::test]
async fn a_private_key_is_refused_and_other_members_are_passed_over() {
    named("/key/d", base64(&[7; 32]), "key.d").await;
    named("/key/d", json!({"any": "thing"}), "key.d").await;
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let mut body = cardholder.ask_for(&["pan"]);
    body["key"]["ext"] = json!(true);
    body["key"]["key_ops"] = json!([]);
    assert_eq!(cardholder.send(&body).await.status, 200);
}

#[tokio::test]
async fn a_coordinate_that_is_not_32_bytes_in_base64url() {
    for wrong in ["", "!", "AA==", "AAAA", "\u{e9}"] {
        named("/key/x", json!(wrong), "key.x").await;
        named("/key/y", json!(wrong), "key.y").await;
    }
    named("/key/x", base64(&[1; 31]), "key.x").await;
    named("/key/x", base64(&[1; 33]), "key.x").await;
    named("/key/x", json!(format!("{}=", "A".repeat(43))), "key.x").await;
    named("/key/x", json!("+".repeat(43)), "key.x").await;
}

#[tokio::test]
async fn fields_are_at_least_one_each_once_and_known() {
    for wrong in [
        json!([]),
        json!(["pan", "pan"]),
        json!(["pin"]),
        json!(["PAN"]),
        json!([""]),
    ] {
        named("/fields", wrong, "fields").await;
    }
    named("/fields", json!("pan"), "fields").await;
    named("/fields", json!([1]), "fields[0]").await;
    named("/fields", json!(vec!["pan"; 1_000]), "fields").await;
}

#[tokio::test]
async fn an_attempt_is_a_uuid() {
    for wrong in [
        "",
        "1",
        "0000000000004000800000000000000f",
        "{00000000-0000-4000-8000-000000000001}",
    ] {
        named("/attempt", json!(wrong), "attempt").await;
    }
    named("/attempt", json!(1), "attempt").await;
}

#[tokio::test]
async fn an_embed_is_an_embed_id() {
    for wrong in ["", "emb_", "mer_1", "emb_../1", "emb_\u{e9}"] {
        named("/embed", json!(wrong), "embed").await;
    }
}

#[tokio::test]
async fn no_member_is_missing_unknown_or_of_another_type() {
    named("/token", json!(1), "token").await;
    named("/token", Value::Null, "token").await;
    named("/unknown", json!(1), "unknown").await;
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    for member in ["token", "embed", "key", "fields", "attempt"] {
        let mut body = cardholder.ask_for(&["pan"]);
        body.as_object_mut().unwrap().remove(member);
        is(&cardholder.send(&body).await, 400, "invalid_request");
    }
}

/// What is wrong with the form is told alike for a good and for a bad token.
#[tokio::test]
async fn the_form_tells_nothing_of_the_token() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let bad = Cardholder::with(&world, "cvt_test_bad".to_owned());
    let good = cardholder.redeem(&["pin"]).await;
    assert_eq!(good.without_id(), bad.redeem(&["pin"]).await.without_id());
}

async fn raw(
    cardholder: &Cardholder<'_>,
    content_type: Option<&str>,
    body: impl Into<Body>,
) -> Answer {
    let mut call = request(Method::POST, PATH);
    if let Some(content_type) = content_type {
        call = call.header("content-type", content_type);
    }
    cardholder
        .send_as_frame(call.body(body.into()).unwrap())
        .await
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn a_content_type_that_is_not_json() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let body = cardholder.ask_for(&["pan"]).to_string();
    for content_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
        Some("application/json, text/plain"),
        Some("text/plain; application/json"),
    ] {
        let answer = raw(&cardholder, content_type, body.clone()).await;
        is(&answer, 415, "unsupported_media_type");
    }
    let answer = raw(&cardholder, Some("Application/JSON ; charset=UTF-8"), body).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_body_that_is_not_one_json_value() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let good = cardholder.ask_for(&["pan"]).to_string();
    let twice = good.replacen('{', "{\"token\":\"cvt_test_x\",", 1);
    for body in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        format!("{good}{good}"),
        format!("{good}x"),
        format!("{good}\0"),
        format!("\u{feff}{good}"),
        twice,
        good.replace("cvt_test_", "cvt_test_\n"),
    ] {
        is(&raw(&cardholder, JSON, body).await, 400, "invalid_request");
    }
    let mut not_utf8 = good.clone().into_bytes();
    not_utf8[12] = 0xff;
    is(
        &raw(&cardholder, JSON, not_utf8).await,
        400,
        "invalid_request",
    );
    assert_eq!(
        raw(&cardholder, JSON, format!(" {good}\r\n")).await.status,
        200
    );
}

#[tokio::test]
async fn a_body_that_is_nested_deeply() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 15_000 / (open.len() + close.len());
        let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        is(
            &raw(&cardholder, JSON, nested.clone()).await,
            400,
            "invalid_request",
        );
        // In a member of the key that is passed over.
        let good = cardholder.ask_for(&["pan"]).to_string();
        let nested = good.replacen("\"kty\"", &format!("\"ext\":{nested},\"kty\""), 1);
        let answer = raw(&cardholder, JSON, nested).await;
        assert!([200, 400].contains(&answer.status), "{}", answer.shown());
    }
}

#[tokio::test]
async fn a_body_of_16_kib_at_most() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let good = cardholder.ask_for(&["pan"]).to_string();
    let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
    let answer = raw(&cardholder, JSON, padded(16_385)).await;
    is(&answer, 413, "too_large");
    assert_eq!(raw(&cardholder, JSON, padded(16_384)).await.status, 200);
}

#[tokio::test]
async fn a_body_that_ends_early() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let broken = futures_util::stream::iter([
        Ok(bytes::Bytes::from_static(b"{")),
        Err(std::io::Error::other("the caller hung up")),
    ]);
    let answer = raw(&cardholder, JSON, Body::from_stream(broken)).await;
    is(&answer, 400, "invalid_request");
}

async fn from_page(world: &World, headers: &[(&'static str, &str)]) -> Answer {
    let cardholder = world.cardholder().await;
    let mut call: Request<Body> = post(PATH, &cardholder.ask_for(&["pan"]));
    for (name, value) in headers {
        call.headers_mut().append(*name, value.parse().unwrap());
    }
    world
        .stranger()
        .send(cardveil_server::ListenerKind::Client, call)
        .await
}

#[tokio::test]
async fn only_from_a_page_of_the_client_origin() {
    let world = World::new().await;
    for origin in [
        "https://shop.example",
        "null",
        "https://cards.example.evil.example",
        "http://cards.example",
        "https://cards.example:8443",
        "https://cards.example/",
        "HTTPS://CARDS.EXAMPLE",
        "*",
    ] {
        is(
            &from_page(&world, &[("origin", origin)]).await,
            403,
            "origin_refused",
        );
    }
    let twice = [("origin", CLIENT_ORIGIN), ("origin", CLIENT_ORIGIN)];
    is(&from_page(&world, &twice).await, 403, "origin_refused");
    for site in ["cross-site", "same-site", "none", "same-origin, cross-site"] {
        let headers = [("origin", CLIENT_ORIGIN), ("sec-fetch-site", site)];
        is(&from_page(&world, &headers).await, 403, "origin_refused");
    }
    for missing in [&[][..], &[("sec-fetch-site", "same-origin")]] {
        is(&from_page(&world, missing).await, 403, "origin_refused");
    }
    for good in [
        &[("origin", CLIENT_ORIGIN)][..],
        &[("origin", CLIENT_ORIGIN), ("sec-fetch-site", "same-origin")],
    ] {
        assert_eq!(from_page(&world, good).await.status, 200);
    }
}

#[tokio::test]
async fn no_answer_invites_another_origin() {
    let world = World::new().await;
    let preflight = request(Method::OPTIONS, PATH)
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "POST");
    let answer = world
        .stranger()
        .send(
            cardveil_server::ListenerKind::Client,
            crate::actors::empty(preflight),
        )
        .await;
    is(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

/// serde takes an array for a struct, by the order of its members.
#[tokio::test]
async fn an_array_is_no_object() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let body = cardholder.ask_for(&["pan"]);
    let members = |of: &Value| json!(of.as_object().unwrap().values().collect::<Vec<_>>());
    is(
        &cardholder.send(&members(&body)).await,
        400,
        "invalid_request",
    );
    named("/key", members(&body["key"]), "key").await;
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
}
