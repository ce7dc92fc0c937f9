//! `GET /open-api/v1/card/{card_no}/detail`.

use cardveil_testkit::sample;
use serde_json::json;

use crate::actors::{Merchant, empty};
use crate::world::{
    Answer, CARD_NO, CVV, FOREIGN_NO, OWN_KEY, PAN, PERSON, SECOND_NO, World, new_card,
};

async fn asked(merchant: &Merchant<'_>, card_no: &str, zone: &str) -> Answer {
    let access = merchant.login().await;
    let call = merchant
        .keysecure(&format!("/open-api/v1/card/{card_no}/detail"))
        .header("Access-Token", access)
        .header("Timezone", zone);
    merchant.send(empty(call)).await
}

#[tokio::test]
async fn a_card_has_what_the_document_lists() {
    let world = World::new().await;
    world
        .add(cardveil_core::flow::NewCard {
            attributes: sample::card(7).attributes,
            ..new_card(
                1,
                ("C7", "00000007-0000-4000-8000-000000000000"),
                PERSON,
                (PAN, Some(CVV)),
            )
        })
        .await;
    let answer = asked(&world.merchant(), "C7", "UTC").await;
    assert_eq!(
        answer.json(),
        json!({"code": 0, "msg": "Success", "data": {
            "card_no": "C7", "card_unique_no": "unique-7", "cardholder_no": "holder-7", "card_type": "Physical",
            "card_last_no": "1111", "organization": "VISA", "status": "Activated",
            "time": "2026-01-01 00:00:00", "card_name": "A card",
            "package_name_en": "product-7", "package_name_cn": "product-7", "fee_detail": {},
        }})
    );
    assert!(!answer.text().contains(PAN));
}

#[tokio::test]
async fn code_4001_an_unknown_card_a_foreign_one_and_another_persons_are_the_same() {
    let world = World::new().await;
    let unknown = asked(&world.merchant(), "C404", "UTC").await;
    assert_eq!(unknown.code(), (200, "4001".to_owned()));
    let foreign = asked(&world.merchant(), FOREIGN_NO, "UTC").await;
    let others = asked(&Merchant::new(&world, OWN_KEY), SECOND_NO, "UTC").await;
    assert_eq!(foreign.without_id(), unknown.without_id());
    assert_eq!(others.without_id(), unknown.without_id());
    assert_eq!(
        asked(&Merchant::new(&world, OWN_KEY), CARD_NO, "UTC")
            .await
            .code()
            .1,
        "0"
    );
}

#[tokio::test]
async fn code_1004_for_what_is_no_card_no() {
    let world = World::new().await;
    assert_eq!(
        asked(&world.merchant(), "%20", "UTC").await.code().1,
        "1004"
    );
}

/// A card is told of even where none may be shown: it has nothing of it.
#[tokio::test]
async fn it_needs_no_pci() {
    let world = World::new().await;
    world
        .operator()
        .set_merchant(1, |m| m.pci_enabled = false)
        .await;
    assert_eq!(asked(&world.merchant(), CARD_NO, "UTC").await.code().1, "0");
}
