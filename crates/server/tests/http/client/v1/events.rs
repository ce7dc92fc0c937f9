//! `POST /client/v1/events`: what a frame says of a redemption.

use std::time::Duration;

use cardveil_core::audit::{Kind, Outcome, Visibility};
use cardveil_core::card::{Field, Fields};
use cardveil_testkit::Fault;
use serde_json::{Value, json};

use crate::actors::{Cardholder, post};
use crate::world::{Answer, World};

/// A cardholder who has redeemed these fields, and its redemption.
async fn shown<'w>(world: &'w World, fields: &[&str]) -> (Cardholder<'w>, String) {
    let cardholder = world.cardholder().await;
    let answer = cardholder.redeem(fields).await.json();
    let redemption = answer["redemption"].as_str().unwrap().to_owned();
    (cardholder, redemption)
}

fn event(cardholder: &Cardholder<'_>, redemption: &str, event: &str) -> Value {
    json!({"redemption": redemption, "token": cardholder.token, "event": event})
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

#[tokio::test]
async fn what_a_browser_says_is_recorded_as_its_claim() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan", "cvv"]).await;
    for (name, kind) in [
        ("displayed", Kind::RevealDisplayed),
        ("copied", Kind::RevealCopied),
        ("hidden", Kind::RevealHidden),
        ("expired", Kind::RevealExpired),
    ] {
        let mut body = event(&cardholder, &redemption, name);
        body["field"] = json!("pan");
        let answer = cardholder.report(&body).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        let logged = world.operator().logged(kind).await;
        assert_eq!(logged.len(), 1);
        assert!(logged[0].event.detail.claim);
        assert_eq!(
            logged[0].event.detail.fields,
            Some(Fields::from_iter([Field::Pan]))
        );
    }
}

#[tokio::test]
async fn whether_it_was_seen_is_on_record_of_what_is_shown_and_copied() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    for (name, kind, expected) in [
        ("displayed", Kind::RevealDisplayed, true),
        ("copied", Kind::RevealCopied, true),
        ("hidden", Kind::RevealHidden, false),
    ] {
        let mut body = event(&cardholder, &redemption, name);
        assert_eq!(cardholder.report(&body).await.status, 204);
        for seen in [false, true] {
            body["visible"] = json!(seen);
            assert_eq!(cardholder.report(&body).await.status, 204);
        }
        let logged = world.operator().logged(kind).await;
        let visibility: Vec<_> = logged
            .iter()
            .map(|entry| entry.event.detail.visibility)
            .collect();
        let not = Visibility::NotLookedAt;
        let each = [not, not, Visibility::Seen].map(|one| expected.then_some(one));
        assert_eq!(visibility, each, "{name}");
    }
}

#[tokio::test]
async fn the_whole_answer() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    let answer = cardholder
        .report(&event(&cardholder, &redemption, "displayed"))
        .await;
    insta::assert_snapshot!(answer.shown(), @r"
    204
    cache-control: no-store
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]
    ");
}

#[tokio::test]
async fn without_a_field_it_is_of_all_that_were_released() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan", "cvv"]).await;
    cardholder
        .report(&event(&cardholder, &redemption, "displayed"))
        .await;
    let logged = world.operator().logged(Kind::RevealDisplayed).await;
    let fields = Fields::from_iter([Field::Pan, Field::Cvv]);
    assert_eq!(logged[0].event.detail.fields, Some(fields));
}

#[tokio::test]
async fn a_release_that_nobody_confirmed_is_recorded_after_its_window() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan", "cvv"]).await;
    let mut body = event(&cardholder, &redemption, "displayed");
    body["field"] = json!("pan");
    cardholder.report(&body).await;
    world.clock.advance(Duration::from_millis(59_999));
    assert_eq!(world.app.service.sweep(100).await.unwrap().unconfirmed, 0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.app.service.sweep(100).await.unwrap().unconfirmed, 1);
    assert_eq!(world.app.service.sweep(100).await.unwrap().unconfirmed, 0);
    let logged = world.operator().logged(Kind::RevealUnconfirmed).await;
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].event.outcome, Outcome::Failure);
    assert_eq!(
        logged[0].event.detail.fields,
        Some(Fields::from_iter([Field::Cvv]))
    );
}

#[tokio::test]
async fn a_release_that_was_confirmed_is_not() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    cardholder
        .report(&event(&cardholder, &redemption, "displayed"))
        .await;
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.app.service.sweep(100).await.unwrap().unconfirmed, 0);
    assert!(
        world
            .operator()
            .logged(Kind::RevealUnconfirmed)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_not_of_this_redemption_is_one_refusal() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    let (other, other_redemption) = shown(&world, &["pan"]).await;
    let unspent = world.cardholder().await;
    let mut cvv = event(&cardholder, &redemption, "copied");
    cvv["field"] = json!("cvv");
    let garbage = Cardholder::with(&world, "garbage".to_owned());
    let mut refusals = Vec::new();
    for body in [
        event(&cardholder, &other_redemption, "displayed"),
        event(&other, &redemption, "displayed"),
        event(&cardholder, "rdm_unknown", "displayed"),
        event(&unspent, &redemption, "displayed"),
        event(&garbage, &redemption, "displayed"),
        cvv,
    ] {
        let answer = cardholder.report(&body).await;
        is(&answer, 403, "token_refused");
        refusals.push(answer.without_id());
    }
    world.operator().raise_epoch().await;
    let old = cardholder
        .report(&event(&cardholder, &redemption, "displayed"))
        .await;
    refusals.push(old.without_id());
    // It is the same refusal as that of a redemption.
    refusals.push(garbage.redeem(&["pan"]).await.without_id());
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]));
    assert!(
        world
            .operator()
            .logged(Kind::RevealDisplayed)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_wrong_member_is_named() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    let good = event(&cardholder, &redemption, "displayed");
    for (member, value) in [
        ("redemption", json!("emb_1")),
        ("redemption", json!(1)),
        ("event", json!("shown")),
        ("event", json!("reveal.displayed")),
        ("field", json!("pin")),
        ("other", json!(1)),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let answer = cardholder.report(&body).await;
        is(&answer, 400, "invalid_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("{member}: ")), "{detail}");
    }
}

#[tokio::test]
async fn a_redemption_records_64_events_at_most() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    let body = event(&cardholder, &redemption, "copied");
    for _ in 0..64 {
        assert_eq!(cardholder.report(&body).await.status, 204);
    }
    is(&cardholder.report(&body).await, 403, "token_refused");
    assert_eq!(world.operator().logged(Kind::RevealCopied).await.len(), 64);
}

#[tokio::test]
async fn an_event_that_cannot_be_written_is_not_said_to_be() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    world.store.fail_next(Fault::NotPersisted);
    let body = event(&cardholder, &redemption, "displayed");
    is(&cardholder.report(&body).await, 503, "unavailable");
    assert_eq!(cardholder.report(&body).await.status, 204);
}

#[tokio::test]
async fn only_from_a_page_of_the_client_origin() {
    let world = World::new().await;
    let (cardholder, redemption) = shown(&world, &["pan"]).await;
    let mut call = post(
        "/client/v1/events",
        &event(&cardholder, &redemption, "displayed"),
    );
    call.headers_mut()
        .insert("origin", "https://shop.example".parse().unwrap());
    let answer = world
        .stranger()
        .send(cardveil_server::ListenerKind::Client, call)
        .await;
    is(&answer, 403, "origin_refused");
}
