//! `POST /open-api/v1/card/pin/set`: the PIN of a physical card in use.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_core::audit::Kind;
use cardveil_core::budget::{Budget, Budgets};
use cardveil_core::card::{self, Attributes, CardRef, State};
use cardveil_core::flow::NewCard;
use cardveil_core::merchant::Scope;
use cardveil_core::mfa::Policy;
use cardveil_core::port::Registry as _;
use cardveil_seal::{Key, Secret, contract_ecb};
use cardveil_server::log::AccessLog;
use cardveil_testkit::Fault;
use cardveil_testkit::sample;
use serde_json::{Value, json};

use crate::world::{
    Answer, CARD_NO, CVV, FOREIGN_NO, KEY, OWN_KEY, PAN, PERSON, SECOND_NO, World, new_card,
    settings,
};

const PATH: &str = "/open-api/v1/card/pin/set";
const PIN: &str = "258036";

async fn world() -> World {
    furnished(World::new().await).await
}

async fn furnished(world: World) -> World {
    let scopes = vec![Scope::CardsReadAny, Scope::PinsSet];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    world
}

/// As a merchant's server encrypts it, under this secret.
fn sealed(pin: &str, secret: u8) -> String {
    let key = Key::from_slice(&[secret; 32]).unwrap();
    let pin = Secret::new(pin.as_bytes().to_vec());
    BASE64_STANDARD.encode(contract_ecb::encrypt_unauthenticated(&key, &pin).unwrap())
}

fn good(card_no: &str) -> Value {
    json!({"card_no": card_no, "pin": sealed(PIN, b's')})
}

fn with(mut body: Value, field: &str, value: &str) -> Value {
    body[field] = json!(value);
    body
}

async fn asked(world: &World, body: &Value) -> Answer {
    world.merchant().keysecure_post(PATH, "en_US", body).await
}

/// What is kept, opened.
async fn kept(world: &World, card_no: &str) -> Option<String> {
    let card = CardRef::No(card_no.parse().unwrap());
    let found = world.store.card(&sample::merchant(1).id, &card).await;
    let pin = world.app.service.vault().open_pin(&found.unwrap().unwrap());
    pin.unwrap()
        .map(|pin| String::from_utf8(pin.expose().to_vec()).unwrap())
}

#[tokio::test]
async fn a_pin_is_set_and_set_again() {
    let world = world().await;
    assert_eq!(kept(&world, CARD_NO).await, None);
    for pin in [PIN, "908172", PIN, PIN] {
        let answer = asked(&world, &with(good(CARD_NO), "pin", &sealed(pin, b's'))).await;
        let done = json!({"code": 0, "msg": "Success", "data": {"result": true}});
        assert_eq!(answer.json(), done);
        assert_eq!(kept(&world, CARD_NO).await.as_deref(), Some(pin));
    }
    let log = world.operator().logged(Kind::PinSet).await;
    assert_eq!(log.len(), 4);
    let shown = serde_json::to_string(&log).unwrap();
    assert!(!shown.contains(PIN) && !shown.contains("908172"));
    assert_eq!(
        log[0]
            .event
            .target
            .credential
            .as_ref()
            .map(|id| id.as_str().is_empty()),
        Some(false)
    );
    assert_eq!(log[0].event.detail.claimed_verification, None);
}

/// Whatever is wrong with it: the same bytes, and what was there stays.
#[tokio::test]
async fn code_4016_whatever_is_wrong_with_the_pin() {
    let world = world().await;
    assert_eq!(asked(&world, &good(CARD_NO)).await.code().1, "0");
    let mut answers = Vec::new();
    for pin in [
        "25803", "2580361", "2580a6", "", "258 36", "２５", "111258", "251118", "258999", "123580",
        "580123", "987250", "250321",
    ] {
        let body = with(good(CARD_NO), "pin", &sealed(pin, b's'));
        answers.push(asked(&world, &body).await.without_id());
    }
    let padded = format!("{}=", sealed(PIN, b's'));
    let other_key = sealed(PIN, b't');
    for text in ["no base64!", "AAAA", &other_key, &padded] {
        let body = with(good(CARD_NO), "pin", text);
        answers.push(asked(&world, &body).await.without_id());
    }
    let msg = "The PIN must be 6 digits, of which no 3 in a row are the same or sequential";
    assert_eq!(answers[0].json(), json!({"code": 4016, "msg": msg}));
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    assert_eq!(kept(&world, CARD_NO).await.as_deref(), Some(PIN));
    let weak = with(good(CARD_NO), "pin", &sealed("000000", b's'));
    let chinese = world.merchant().keysecure_post(PATH, "zh_CN", &weak).await;
    let msg = "PIN 须为 6 位数字，且不得含 3 位或以上相同或连续的数字";
    assert_eq!(chinese.json(), json!({"code": 4016, "msg": msg}));
    // At the edge: two alike, two in sequence, and 9 beside 0.
    for strong in ["112258", "890215", "121212"] {
        let body = with(good(CARD_NO), "pin", &sealed(strong, b's'));
        assert_eq!(asked(&world, &body).await.code().1, "0", "{strong}");
    }
}

#[tokio::test]
async fn code_4017_for_a_virtual_card_and_4005_for_one_not_in_use() {
    let world = world().await;
    let mut n = 0;
    for kind in [card::Kind::Virtual, card::Kind::Physical] {
        for state in State::ALL {
            n += 1;
            let (no, _) = world.card_in(n, kind, state).await;
            let expected = match (kind, state) {
                (card::Kind::Virtual, _) => "4017",
                (card::Kind::Physical, State::Active) => "0",
                (card::Kind::Physical, _) => "4005",
            };
            let answer = asked(&world, &good(&no)).await;
            assert_eq!(answer.code().1, expected, "{kind:?} {state:?}");
            let set = (expected == "0").then(|| PIN.to_owned());
            assert_eq!(kept(&world, &no).await, set);
        }
    }
    assert_eq!(world.operator().logged(Kind::PinSet).await.len(), 1);
}

#[tokio::test]
async fn code_4001_for_a_card_that_is_not_there_for_this_caller() {
    let world = world().await;
    let scopes = vec![Scope::CardsReadAny, Scope::PinsSet];
    world
        .operator()
        .set_credential(OWN_KEY, |c| c.scopes = scopes)
        .await;
    let own = crate::actors::Merchant::new(&world, OWN_KEY);
    for no in [FOREIGN_NO, "C404"] {
        assert_eq!(asked(&world, &good(no)).await.code().1, "4001");
    }
    let of_another = own.keysecure_post(PATH, "en_US", &good(SECOND_NO)).await;
    assert_eq!(of_another.code().1, "4001");
    let of_theirs = own.keysecure_post(PATH, "en_US", &good(CARD_NO)).await;
    assert_eq!(of_theirs.code().1, "0");
}

#[tokio::test]
async fn a_holder_who_is_named_is_the_card_s() {
    let world = world().await;
    let id = "33333333-5eb3-4dbc-916c-dbaf9e2deefd";
    world
        .add(NewCard {
            attributes: Attributes {
                holder_no: Some("H1".to_owned()),
                ..Attributes::default()
            },
            ..new_card(1, ("C9", id), PERSON, (PAN, Some(CVV)))
        })
        .await;
    for (no, holder, expected) in [
        ("C9", "H1", "0"),
        ("C9", "", "0"),
        ("C9", "H2", "4001"),
        (CARD_NO, "H1", "4001"),
    ] {
        let body = with(good(no), "cardholder_no", holder);
        assert_eq!(
            asked(&world, &body).await.code().1,
            expected,
            "{no} {holder}"
        );
    }
}

#[tokio::test]
async fn code_1004_names_the_parameter() {
    let world = world().await;
    let long = "A".repeat(65);
    for (body, msg) in [
        (json!({"pin": "AAAA"}), "card_no is required"),
        (
            with(good(CARD_NO), "card_no", "no card"),
            "card_no must be 1 to 64 letters, digits, _ or -",
        ),
        (json!({"card_no": CARD_NO}), "pin is required"),
        (with(good(CARD_NO), "pin", ""), "pin is required"),
        (
            json!({"card_no": CARD_NO, "pin": 258_036}),
            "pin must be a string",
        ),
        (
            with(good(CARD_NO), "pin", &long),
            "pin must be the Base64 of an AES ciphertext",
        ),
        (
            with(good(CARD_NO), "cardholder_no", &long),
            "cardholder_no must be at most 64 characters, none of them NUL",
        ),
        (
            with(good(CARD_NO), "cardholder_no", "H\0"),
            "cardholder_no must be at most 64 characters, none of them NUL",
        ),
        (
            json!([]),
            "body must be a JSON object of at most 16 KiB, sent as application/json",
        ),
    ] {
        let answer = asked(&world, &body).await;
        assert_eq!(answer.json(), json!({"code": 1004, "msg": msg}));
    }
    assert_eq!(kept(&world, CARD_NO).await, None);
}

/// This dialect has no place for a second factor. A policy of another operation bars nothing.
#[tokio::test]
async fn code_1012_under_a_policy_that_asks_for_a_second_factor() {
    let world = world().await;
    for policy in [Policy::Required, Policy::Delegated, Policy::InFrame] {
        world
            .operator()
            .set_merchant(1, |merchant| merchant.mfa.set_pin = policy)
            .await;
        let msg = "Integration mode not supported";
        let answer = asked(&world, &good(CARD_NO)).await;
        assert_eq!(answer.json(), json!({"code": 1012, "msg": msg}));
        let chinese = world
            .merchant()
            .keysecure_post(PATH, "zh_CN", &good(CARD_NO))
            .await;
        assert_eq!(
            chinese.json(),
            json!({"code": 1012, "msg": "不支持的接入模式"})
        );
    }
    assert_eq!(kept(&world, CARD_NO).await, None);
    world
        .operator()
        .set_merchant(1, |merchant| {
            merchant.mfa.view_card = Policy::Required;
            merchant.mfa.view_pin = Policy::Required;
        })
        .await;
    assert_eq!(asked(&world, &good(CARD_NO)).await.code().1, "0");
}

/// Like `card/active`, it gives nothing away, so it does not need card display to be enabled.
#[tokio::test]
async fn a_merchant_without_card_display_may_set_a_pin() {
    let world = world().await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.pci_enabled = false)
        .await;
    assert_eq!(asked(&world, &good(CARD_NO)).await.code().1, "0");
}

#[tokio::test]
async fn code_1013_for_whoever_may_not_set_pins() {
    let world = World::new().await;
    let mut all = Scope::ALL.to_vec();
    all.retain(|scope| *scope != Scope::PinsSet);
    let operator = world.operator();
    operator.set_credential(KEY, |c| c.scopes = all).await;
    assert_eq!(asked(&world, &good(CARD_NO)).await.code().1, "1013");
    operator
        .set_credential(KEY, |c| c.scopes.push(Scope::PinsSet))
        .await;
    assert_eq!(asked(&world, &good(CARD_NO)).await.code().1, "0");
    operator
        .set_merchant(1, |m| m.permissions.set_pins = false)
        .await;
    assert_eq!(asked(&world, &good(CARD_NO)).await.code().1, "1013");
}

/// A PIN that was not written was not set, and one whose commit did not answer is told as a fault.
#[tokio::test]
async fn code_1001_when_the_store_does_not_answer() {
    let world = world().await;
    for (fault, set) in [
        (Fault::NotPersisted, None),
        (Fault::UnknownNotPersisted, None),
        (Fault::UnknownPersisted, Some(PIN)),
    ] {
        let access = world.merchant().login().await;
        world.store.fail_next(fault);
        let call = world
            .merchant()
            .keysecure(PATH)
            .method(http::Method::POST)
            .header("Access-Token", access)
            .body(axum::body::Body::from(good(CARD_NO).to_string()));
        let answer = world.merchant().send(call.unwrap()).await;
        assert_eq!(answer.code(), (500, "1001".to_owned()));
        assert_eq!(kept(&world, CARD_NO).await.as_deref(), set);
    }
}

/// A PIN that is set is charged as a reveal. This dialect carries no second factor, so whether the
/// budget wants one or is used up, the caller is told when there is one more.
#[tokio::test]
async fn code_1009_says_when_the_budget_has_one_more() {
    for (most, secs) in [(2, "43200"), (1, "86400")] {
        let budgets = Budgets {
            card: Some(Budget::new(1, most, Duration::from_secs(86_400)).unwrap()),
            person: None,
        };
        let world = World::with_budgets(settings(), AccessLog::none(), budgets).await;
        let world = furnished(world).await;
        assert_eq!(asked(&world, &good(CARD_NO)).await.code().1, "0");
        let refused = asked(&world, &good(CARD_NO)).await;
        assert_eq!(refused.code(), (200, "1009".to_owned()));
        assert_eq!(refused.header("retry-after"), Some(secs));
        assert_eq!(world.operator().logged(Kind::PinSet).await.len(), 1);
    }
}
