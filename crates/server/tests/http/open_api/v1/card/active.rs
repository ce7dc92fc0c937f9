//! `POST /open-api/v1/card/active`: a physical card, by its CVV and last four digits.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_core::audit::{Kind, Outcome};
use cardveil_core::card::{self, Attributes, State};
use cardveil_core::flow::NewCard;
use cardveil_core::merchant::Scope;
use cardveil_seal::{Key, Secret, contract_ecb};
use serde_json::{Value, json};

use crate::actors::Merchant;
use crate::world::{
    Answer, CARD_NO, CVV, FOREIGN_NO, KEY, PAN, PERSON, SECOND_NO, World, new_card,
};

const PATH: &str = "/open-api/v1/card/active";

async fn world() -> World {
    let world = World::new().await;
    let scopes = vec![Scope::CardsReadAny, Scope::CardsWriteAny];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    world
}

/// As a merchant's server encrypts it, under this secret.
fn sealed(cvv: &str, secret: u8) -> String {
    let key = Key::from_slice(&[secret; 32]).unwrap();
    let cvv = Secret::new(cvv.as_bytes().to_vec());
    BASE64_STANDARD.encode(contract_ecb::encrypt_unauthenticated(&key, &cvv).unwrap())
}

fn good(card_no: &str) -> Value {
    json!({"card_no": card_no, "cvv": sealed(CVV, b's'), "card_last_no": "1111"})
}

fn with(mut body: Value, field: &str, value: &str) -> Value {
    body[field] = json!(value);
    body
}

async fn asked(merchant: &Merchant<'_>, body: &Value) -> Answer {
    merchant.keysecure_post(PATH, "en_US", body).await
}

async fn status(world: &World, card_no: &str) -> Value {
    let merchant = world.merchant();
    let path = format!("/open-api/v1/card/{card_no}/detail");
    let call = merchant
        .keysecure(&path)
        .header("Access-Token", merchant.login().await);
    merchant.send(crate::actors::empty(call)).await.json()["data"]["status"].clone()
}

#[tokio::test]
async fn a_card_that_waits_for_it_comes_into_use() {
    let world = world().await;
    let (no, _) = world
        .card_in(1, card::Kind::Physical, State::Unactivated)
        .await;
    assert_eq!(status(&world, &no).await, "ToActivate");
    let answer = asked(&world.merchant(), &good(&no)).await;
    assert_eq!(
        answer.json(),
        json!({"code": 0, "msg": "Success", "data": {"result": true}})
    );
    assert_eq!(status(&world, &no).await, "Activated");
    // An answer may get lost.
    assert_eq!(asked(&world.merchant(), &good(&no)).await.code().1, "0");
    let log = world.operator().logged(Kind::CardChanged).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].event.detail.to.as_deref(), Some("active"));
}

/// Whatever is wrong with the proof, the same bytes answer, and it counts.
#[tokio::test]
async fn every_wrong_proof_is_the_same_and_counts() {
    let world = world().await;
    let (no, _) = world
        .card_in(1, card::Kind::Physical, State::Unactivated)
        .await;
    let wrong = [
        with(good(&no), "cvv", &sealed("738", b's')),
        with(good(&no), "cvv", &sealed(CVV, b't')),
        with(good(&no), "cvv", "no base64!"),
        with(good(&no), "cvv", "AAAA"),
        with(good(&no), "card_last_no", "1112"),
    ];
    let mut answers = Vec::new();
    for body in &wrong {
        answers.push(asked(&world.merchant(), body).await.without_id());
    }
    assert_eq!(
        answers[0].json(),
        json!({"code": 1004, "msg": "cvv or card_last_no does not match the card"})
    );
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    let log = world.operator().logged(Kind::CardActivationRefused).await;
    assert_eq!(log.len(), 5);
    assert!(
        log.iter()
            .all(|entry| entry.event.outcome == Outcome::Failure)
    );
    // Five were looked at: now none is, and the right one neither.
    assert_eq!(asked(&world.merchant(), &good(&no)).await.code().1, "1009");
    world
        .clock
        .advance(Duration::from_millis(24 * 3_600_000 - 1));
    assert_eq!(asked(&world.merchant(), &good(&no)).await.code().1, "1009");
    assert_eq!(status(&world, &no).await, "ToActivate");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(asked(&world.merchant(), &good(&no)).await.code().1, "0");
}

#[tokio::test]
async fn another_card_is_not_blocked() {
    let world = world().await;
    let (no, _) = world
        .card_in(1, card::Kind::Physical, State::Unactivated)
        .await;
    let (other, _) = world
        .card_in(2, card::Kind::Physical, State::Unactivated)
        .await;
    for _ in 0..5 {
        asked(&world.merchant(), &with(good(&no), "card_last_no", "0000")).await;
    }
    assert_eq!(asked(&world.merchant(), &good(&no)).await.code().1, "1009");
    assert_eq!(asked(&world.merchant(), &good(&other)).await.code().1, "0");
}

#[tokio::test]
async fn code_4005_in_each_state_that_does_not_lead_there() {
    let world = world().await;
    for (n, state) in (1..).zip(State::ALL) {
        let (no, _) = world.card_in(n, card::Kind::Physical, state).await;
        let allowed = matches!(state, State::Unactivated | State::Active);
        let expected = if allowed { "0" } else { "4005" };
        assert_eq!(
            asked(&world.merchant(), &good(&no)).await.code().1,
            expected,
            "{state:?}"
        );
    }
}

#[tokio::test]
async fn code_4017_for_a_virtual_card() {
    let world = world().await;
    let (no, _) = world
        .card_in(1, card::Kind::Virtual, State::Unactivated)
        .await;
    let mut told = Vec::new();
    for language in ["en_US", "zh_CN"] {
        let answer = world
            .merchant()
            .keysecure_post(PATH, language, &good(&no))
            .await;
        told.push(answer.json());
    }
    assert_eq!(
        told[0],
        json!({"code": 4017, "msg": "The card is not a physical card"})
    );
    assert_eq!(told[1], json!({"code": 4017, "msg": "该卡不是实体卡"}));
}

#[tokio::test]
async fn code_1012_for_a_card_whose_cvv_is_not_kept() {
    let world = world().await;
    let body = with(good(SECOND_NO), "card_last_no", "4444");
    assert_eq!(asked(&world.merchant(), &body).await.code().1, "1012");
}

#[tokio::test]
async fn code_4001_an_unknown_card_a_foreign_one_and_another_holders_are_the_same() {
    let world = world().await;
    world
        .add(NewCard {
            state: State::Unactivated,
            attributes: Attributes {
                holder_no: Some("H7".to_owned()),
                ..Attributes::default()
            },
            ..new_card(
                1,
                ("C7", "00000007-0000-4000-8000-000000000000"),
                PERSON,
                (PAN, Some(CVV)),
            )
        })
        .await;
    let unknown = asked(&world.merchant(), &good("C404")).await;
    assert_eq!(unknown.code().1, "4001");
    let foreign = asked(&world.merchant(), &good(FOREIGN_NO)).await;
    assert_eq!(foreign.without_id(), unknown.without_id());
    let others = asked(&world.merchant(), &with(good("C7"), "cardholder_no", "H8")).await;
    assert_eq!(others.without_id(), unknown.without_id());
    let own = asked(&world.merchant(), &with(good("C7"), "cardholder_no", "H7")).await;
    assert_eq!(own.code().1, "0");
}

#[tokio::test]
async fn code_1004_names_the_field() {
    let world = world().await;
    for (field, value, msg) in [
        ("card_no", "", "card_no is required"),
        ("cvv", "", "cvv is required"),
        ("card_last_no", "", "card_last_no is required"),
        ("card_last_no", "111", "card_last_no must be four digits"),
        ("card_last_no", "111a", "card_last_no must be four digits"),
        (
            "cvv",
            &"A".repeat(65),
            "cvv must be the Base64 of an AES ciphertext",
        ),
    ] {
        let answer = asked(&world.merchant(), &with(good(CARD_NO), field, value))
            .await
            .json();
        assert_eq!(
            (&answer["code"], &answer["msg"]),
            (&json!(1004), &json!(msg))
        );
    }
    assert!(
        world
            .operator()
            .logged(Kind::CardActivationRefused)
            .await
            .is_empty()
    );
}
