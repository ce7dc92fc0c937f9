//! A card that lacks a field: what is there is released, what is not is named. Only where nothing
//! is left is it refused, with a code that tells nobody more of the token (`refusal.rs`).

use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::token::Cause;
use serde_json::{Value, json};

use crate::actors::Cardholder;
use crate::world::{Answer, CARD_NO, SECOND_NO, World};

/// A cardholder whose card has no CVV.
async fn without_cvv(world: &World) -> Cardholder<'_> {
    Cardholder::with(world, issued(world, &json!({"card_no": SECOND_NO})).await)
}

async fn issued(world: &World, body: &Value) -> String {
    let answer = world.merchant().native(body).await.json();
    answer["token"].as_str().unwrap().to_owned()
}

fn refused(answer: &Answer, code: &str) {
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (403, &json!(code)),
        "{}",
        answer.shown()
    );
}

#[tokio::test]
async fn shows_what_there_is_and_names_what_is_not_engrid_324_braintree_web_drop_in_149() {
    let world = World::new().await;
    let cardholder = without_cvv(&world).await;
    let asked = ["pan", "expiry", "cvv"];
    let answer = cardholder.redeem(&asked).await;
    assert_eq!(answer.status, 200, "{}", answer.shown());
    assert_eq!(answer.json()["missing"], json!(["cvv"]));
    assert_eq!(answer.json()["window"]["fields_left"], json!(["name"]));
    let header = Cardholder::header(&answer);
    assert_eq!(header["fields"], json!(["pan", "expiry"]));
    let opened = cardholder.open(&answer);
    let members: Vec<_> = opened.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["pan", "expiry"]);
    let released = world.operator().logged(Kind::RevealReleased).await;
    let fields = released[0].event.detail.fields.unwrap();
    assert_eq!(
        fields.names(),
        ["pan", "expiry"],
        "what went out is on record"
    );

    // A lost answer, and a further field: the same rules, and the same that is not there.
    let again = cardholder.redeem(&asked).await;
    assert_eq!(
        (again.status, again.json()["missing"].clone()),
        (200, json!(["cvv"]))
    );
    let further = cardholder.redeem(&["cvv", "name"]).await;
    assert_eq!(further.json()["missing"], json!(["cvv"]));
    assert_eq!(further.json()["window"]["fields_left"], json!([]));
}

#[tokio::test]
async fn an_answer_with_all_fields_names_none() {
    let world = World::new().await;
    let answer = world.cardholder().await.redeem(&["pan", "cvv"]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json().get("missing").is_none());
}

#[tokio::test]
async fn a_token_whose_card_has_none_of_the_fields_stays_good() {
    let world = World::new().await;
    let cardholder = without_cvv(&world).await;
    let answer = cardholder.redeem(&["cvv"]).await;
    refused(&answer, "field_unavailable");
    insta::assert_snapshot!(answer.shown());
    let told = world.operator().logged(Kind::RevealRefused).await;
    let detail = &told[0].event.detail;
    assert_eq!(detail.cause, Some(Cause::FieldNotAllowed));
    assert!(detail.fields.unwrap().contains(Field::Cvv));
    assert_eq!(
        cardholder.redeem(&["pan"]).await.status,
        200,
        "nothing was spent"
    );
}

#[tokio::test]
async fn a_field_that_the_token_is_not_for_is_refused_and_not_left_out() {
    let world = World::new().await;
    for (no, fields) in [(CARD_NO, ["pan", "cvv"]), (SECOND_NO, ["pan", "name"])] {
        let body = json!({"card_no": no, "fields": ["pan", "expiry"]});
        let cardholder = Cardholder::with(&world, issued(&world, &body).await);
        refused(&cardholder.redeem(&fields).await, "field_unavailable");
        refused(&cardholder.redeem(&["name"]).await, "field_unavailable");
        assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    }
    assert_eq!(world.operator().logged(Kind::RevealReleased).await.len(), 2);
}
