//! `POST /client/v1/redeem`: the heart.

mod design;
mod fields;
mod first_view;
mod form;
mod races;
mod refusal;
mod store;
mod windows;

use cardveil_core::Time;
use cardveil_core::audit::{Actor, Kind, Outcome};
use cardveil_core::card::{Field, Fields};
use serde_json::json;

use crate::actors::{Cardholder, decode, hash};
use crate::world::World;

#[tokio::test]
async fn the_whole_answer_opened_by_its_holder() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let answer = cardholder.redeem(&["pan", "expiry", "name"]).await;
    let body = answer.json();
    let redemption = body["redemption"].as_str().unwrap();
    assert!(
        redemption.starts_with("rdm_") && redemption.len() == 26,
        "{redemption}"
    );
    assert_eq!(decode(&body["sealed"]["enc"]).len(), 65);
    let mut shown = answer.shown();
    for (value, name) in [
        (&body["redemption"], "[redemption]"),
        (&body["header"], "[header]"),
        (&body["sealed"]["enc"], "[enc]"),
        (&body["sealed"]["ciphertext"], "[ciphertext]"),
    ] {
        shown = shown.replace(value.as_str().unwrap(), name);
    }
    insta::assert_snapshot!(shown, @r#"
    200
    cache-control: no-store
    content-length: 871
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    content-type: application/json
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    {
      "card": {
        "last_four": "1111",
        "network": "visa"
      },
      "header": "[header]",
      "redemption": "[redemption]",
      "sealed": {
        "ciphertext": "[ciphertext]",
        "enc": "[enc]"
      },
      "window": {
        "ends_at": "2026-01-01T00:01:00.000Z",
        "fields_left": [
          "cvv"
        ]
      }
    }
    "#);
    assert_eq!(
        cardholder.open(&answer),
        json!({
            "pan": "4111111111111111",
            "expiry": {"month": "12", "year": "2030"},
            "name": "A \"CARDHOLDER\"",
        })
    );
}

#[tokio::test]
async fn the_header_says_what_was_asked() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let answer = cardholder.redeem(&["cvv", "pan"]).await;
    assert_eq!(
        Cardholder::header(&answer),
        json!({
            "redemption": answer.json()["redemption"],
            "token": hash(&cardholder.token).to_string(),
            "merchant": "mer_1",
            "embed": "emb_1",
            "operation": "VIEW_CARD",
            "fields": ["pan", "cvv"],
            "thumbprint": cardholder.thumbprint(),
            "issued_at": "2026-01-01T00:00:00.000Z",
            "expires_at": "2026-01-01T00:05:00.000Z",
        })
    );
}

#[tokio::test]
async fn each_field_alone_is_that_field_alone() {
    let world = World::new().await;
    for (field, expected) in [
        ("pan", json!({"pan": "4111111111111111"})),
        ("expiry", json!({"expiry": {"month": "12", "year": "2030"}})),
        ("cvv", json!({"cvv": "739"})),
        ("name", json!({"name": "A \"CARDHOLDER\""})),
    ] {
        let cardholder = world.cardholder().await;
        assert_eq!(
            cardholder.open(&cardholder.redeem(&[field]).await),
            expected
        );
    }
}

#[tokio::test]
async fn the_answer_opens_with_its_key_and_its_header_only() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let other = world.cardholder().await;
    let answer = cardholder.redeem(&["pan"]).await.json();
    let sealed = cardveil_seal::Sealed {
        enc: decode(&answer["sealed"]["enc"]),
        ciphertext: decode(&answer["sealed"]["ciphertext"]),
    };
    let aad = decode(&answer["header"]);
    let info = b"cardveil/redeem/v1";
    assert!(cardholder.holder.open(&sealed, info, &aad).is_ok());
    assert!(other.holder.open(&sealed, info, &aad).is_err());
    assert!(
        cardholder
            .holder
            .open(&sealed, b"cardveil/redeem/v2", &aad)
            .is_err()
    );
    for byte in 0..aad.len() {
        let mut altered = aad.clone();
        altered[byte] ^= 1;
        assert!(
            cardholder.holder.open(&sealed, info, &altered).is_err(),
            "{byte}"
        );
    }
}

#[tokio::test]
async fn a_release_is_on_record_by_its_key() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let answer = cardholder.redeem(&["pan", "expiry"]).await;
    let released = world.operator().logged(Kind::RevealReleased).await;
    assert_eq!(released.len(), 1);
    let event = &released[0].event;
    assert_eq!(event.at, Time::from_millis(world.now_ms()));
    assert_eq!(event.outcome, Outcome::Success);
    assert!(
        matches!(&event.actor, Actor::Holder(key) if key.to_string() == cardholder.thumbprint())
    );
    assert_eq!(
        event.detail.fields,
        Some(Fields::from_iter([Field::Pan, Field::Expiry]))
    );
    assert_eq!(event.target.token, Some(hash(&cardholder.token)));
    let redemption = event.target.redemption.as_ref().unwrap().as_str();
    assert_eq!(redemption, answer.json()["redemption"]);
}

/// Its record says so.
#[tokio::test]
async fn an_app_sends_no_browsers_headers() {
    let world = World::new().await;
    let mut cardholder = world.cardholder().await;
    cardholder.embed = crate::world::app(&world).await;
    let call = crate::actors::post("/client/v1/redeem", &cardholder.ask_for(&["pan"]));
    let answer = world
        .stranger()
        .send(cardveil_server::ListenerKind::Client, call)
        .await;
    assert_eq!(cardholder.open(&answer), json!({"pan": "4111111111111111"}));
    let log = world.operator().logged(Kind::RevealReleased).await;
    let note = log[0].event.detail.note.as_deref();
    assert_eq!(note, Some("without an Origin"));
}

/// A program of a thief's own once redeemed what a page's script had stolen, as if it were an app.
#[tokio::test]
async fn what_pages_frame_is_redeemed_with_our_origin_alone() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let before = world.operator().log().await.len();
    let call = crate::actors::post("/client/v1/redeem", &cardholder.ask_for(&["pan"]));
    let answer = world
        .stranger()
        .send(cardveil_server::ListenerKind::Client, call)
        .await;
    assert_eq!(answer.code(), (403, "origin_refused".to_owned()));
    assert_eq!(world.operator().log().await.len(), before);
    let shown = cardholder.redeem(&["pan"]).await;
    assert_eq!(cardholder.open(&shown), json!({"pan": "4111111111111111"}));
    let log = world.operator().logged(Kind::RevealReleased).await;
    assert_eq!(log[0].event.detail.note, None);
}
