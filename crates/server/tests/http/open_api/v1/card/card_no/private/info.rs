//! `GET /open-api/v1/card/{card_no}/private/info`: the one way on which clear card data leaves for
//! a merchant's server, encrypted under its credential's secret.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_core::audit::{Actor, Kind, Outcome};
use cardveil_core::card::{self, Field, State};
use cardveil_core::merchant::{MerchantState, Scope};
use cardveil_core::mfa::Policy;
use cardveil_seal::{Key, contract_ecb};
use cardveil_server::ListenerKind;
use cardveil_server::log::AccessLog;
use cardveil_testkit::Fault;
use serde_json::json;

use crate::actors::{Merchant, empty};
use crate::world::{
    Answer, CARD_ID, CARD_NO, CVV, FOREIGN_NO, KEY, OTHER_KEY, OWN_KEY, PAN, SECOND_NO, World,
    settings,
};

/// What `openssl enc -aes-256-ecb -K 7373...73 | base64` makes of
/// `{"card_no":"C202605220001","card_unique_no":"","cvv":"739","pan":"4111111111111111",
/// "exp_year":"2030","exp_month":"12"}` without the break: made with OpenSSL, not with this
/// program.
const KNOWN: &str = "tiGimdpmg8Nn4iQ/xFDmes0a824RJ8V+/FONtTBhW5iNhDjnnP/+KcLtsAzguxH7SZgVCG4whiaW9znQ6os/x3Iu6xxve1jQGtiji+YIT+NpQLjRktKZrmHwcwCT+pAY2ZhZb8Ijn0mtWk+MTb18PpdYcdKlqZayW20FGJ5ucmk=";

/// The same of the second card, which has no CVV.
const KNOWN_WITHOUT_CVV: &str = "tiGimdpmg8Nn4iQ/xFDmehJC2db0wRlzI4AKGbd4Tm6NhDjnnP/+KcLtsAzguxH7GcM6u8Fgyj4T1iLZVyNYrhmTFlrdBbCvk5vasAKECE+m3m948HlM4EN0I8cGYw2eQrWPWqFLEfDYb7VYlPFX8mh0LUHn6y856/6vzgmgnsQ=";

/// Each credential may have card data, and merchant 1 may.
async fn world() -> World {
    furnished(World::new().await).await
}

async fn furnished(world: World) -> World {
    for key in [KEY, OWN_KEY, OTHER_KEY] {
        world
            .operator()
            .set_credential(key, |c| c.scopes.push(Scope::CardsExport))
            .await;
    }
    world
}

async fn asked(merchant: &Merchant<'_>, card_no: &str) -> Answer {
    let access = merchant.login().await;
    let path = format!("/open-api/v1/card/{card_no}/private/info");
    let call = merchant.keysecure(&path).header("Access-Token", access);
    merchant.send(empty(call)).await
}

fn is(answer: &Answer, code: u16) {
    let status = if code == 1001 { 500 } else { 200 };
    assert_eq!(
        answer.code(),
        (status, code.to_string()),
        "{}",
        answer.shown()
    );
    assert_eq!(answer.json().get("data").is_some(), code == 0);
}

#[tokio::test]
async fn the_answer_is_what_openssl_makes_of_the_documents_json() {
    let world = world().await;
    let answer = asked(&world.merchant(), CARD_NO).await;
    assert_eq!(
        answer.json(),
        json!({"code": 0, "msg": "Success", "data": KNOWN})
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_card_without_a_cvv_has_an_empty_one() {
    let world = world().await;
    let answer = asked(&world.merchant(), SECOND_NO).await;
    assert_eq!(answer.json()["data"], KNOWN_WITHOUT_CVV);
    let log = world.operator().logged(Kind::CardExported).await;
    let fields = log[0].event.detail.fields.unwrap();
    assert_eq!(fields.names(), ["pan", "expiry"]);
}

#[tokio::test]
async fn it_opens_with_the_secret_of_the_credential_that_asked_and_no_other() {
    let world = world().await;
    world
        .add_credential_with_secret(1, "cvk_test_merchant_1_second", [b'x'; 32])
        .await;
    world
        .operator()
        .set_credential("cvk_test_merchant_1_second", |c| {
            c.scopes.push(Scope::CardsExport);
        })
        .await;
    let second = Merchant::new(&world, "cvk_test_merchant_1_second");
    let answer = asked(&second, CARD_NO).await.json();
    let data = BASE64_STANDARD
        .decode(answer["data"].as_str().unwrap())
        .unwrap();
    let key = |byte| Key::from_slice(&[byte; 32]).unwrap();
    let opened = contract_ecb::decrypt_unauthenticated(&key(b'x'), &data).unwrap();
    let opened = std::str::from_utf8(opened.expose()).unwrap();
    assert!(opened.contains(r#""cvv":"739","pan":"4111111111111111""#));
    assert!(contract_ecb::decrypt_unauthenticated(&key(b's'), &data).is_err());
}

#[tokio::test]
async fn it_is_on_record_as_a_release() {
    let world = world().await;
    is(&asked(&world.merchant(), CARD_NO).await, 0);
    let log = world.operator().logged(Kind::CardExported).await;
    assert_eq!(log.len(), 1);
    let event = &log[0].event;
    assert_eq!(event.outcome, Outcome::Success);
    assert_eq!(event.merchant.as_ref().unwrap().as_str(), "mer_1");
    assert_eq!(event.target.card.unwrap().to_string(), CARD_ID);
    assert!(
        matches!(&event.actor, Actor::Credential(id) if Some(id) == event.target.credential.as_ref())
    );
    let fields = event.detail.fields.unwrap();
    assert!(fields.contains(Field::Pan) && fields.contains(Field::Cvv));
    assert!(
        !fields.contains(Field::Name),
        "the contract leaves the name out"
    );
    assert_eq!(world.counted("cardveil_cards_exported_total").await, 1);
}

/// P2: what cannot be recorded does not go out, and what may have been is not repeated as if it
/// had.
#[tokio::test]
async fn code_1001_without_its_record_nothing_goes_out() {
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        let world = world().await;
        let merchant = world.merchant();
        let access = merchant.login().await;
        let call = merchant
            .keysecure("/open-api/v1/card/C202605220001/private/info")
            .header("Access-Token", access);
        world.store.fail_next(fault);
        let answer = merchant.send(empty(call)).await;
        is(&answer, 1001);
        assert_eq!(answer.json(), json!({"code": 1001, "msg": "System error"}));
        assert_eq!(world.counted("cardveil_cards_exported_total").await, 0);
    }
}

#[tokio::test]
async fn code_1013_before_anything_about_the_card() {
    let world = world().await;
    world
        .operator()
        .set_merchant(1, |m| m.pci_enabled = false)
        .await;
    for card_no in [CARD_NO, "C404", "%20"] {
        is(&asked(&world.merchant(), card_no).await, 1013);
    }
    assert!(world.operator().logged(Kind::CardExported).await.is_empty());
}

#[tokio::test]
async fn code_1004_for_what_is_no_card_no() {
    let world = world().await;
    for card_no in ["%20", "%FF", &"C".repeat(65)] {
        let answer = asked(&world.merchant(), card_no).await;
        is(&answer, 1004);
        assert_eq!(
            answer.json()["msg"],
            "card_no must be 1 to 64 letters, digits, _ or -"
        );
    }
}

#[tokio::test]
async fn code_4001_an_unknown_card_a_foreign_one_and_another_persons_are_the_same() {
    let world = world().await;
    let merchant = world.merchant();
    let unknown = asked(&merchant, "C404").await;
    is(&unknown, 4001);
    assert_eq!(
        asked(&merchant, FOREIGN_NO).await.without_id(),
        unknown.without_id()
    );
    let own = Merchant::new(&world, OWN_KEY);
    assert_eq!(
        asked(&own, SECOND_NO).await.without_id(),
        unknown.without_id()
    );
    is(&asked(&own, CARD_NO).await, 0);
    is(
        &asked(&Merchant::new(&world, OTHER_KEY), CARD_NO).await,
        4001,
    );
    assert_eq!(world.operator().logged(Kind::CardExported).await.len(), 1);
}

#[tokio::test]
async fn code_4005_in_each_state_that_is_not_shown() {
    let world = world().await;
    for (n, state) in (1..).zip(State::ALL) {
        let (no, _) = world.card_in(n, card::Kind::Physical, state).await;
        let expected = if state == State::Active { 0 } else { 4005 };
        is(&asked(&world.merchant(), &no).await, expected);
    }
    assert_eq!(world.operator().logged(Kind::CardExported).await.len(), 1);
}

/// A virtual card comes into use when its details are first shown, to a merchant's server too.
#[tokio::test]
async fn a_virtual_card_that_was_never_used_comes_into_use() {
    let world = world().await;
    let (no, _) = world
        .card_in(1, card::Kind::Virtual, State::Unactivated)
        .await;
    for _ in 0..2 {
        is(&asked(&world.merchant(), &no).await, 0);
    }
    let moved = world.operator().logged(Kind::CardChanged).await;
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].event.detail.to.as_deref(), Some("active"));
    assert_eq!(world.operator().logged(Kind::CardExported).await.len(), 2);
}

#[tokio::test]
async fn every_refusal_and_the_success_in_both_languages() {
    let world = world().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    let mut told = Vec::new();
    for card_no in [CARD_NO, "C404", "%20"] {
        for language in ["en_US", "zh_CN"] {
            let call = merchant
                .keysecure(&format!("/open-api/v1/card/{card_no}/private/info"))
                .header("Access-Token", &access)
                .header("Language", language);
            told.push(merchant.send(empty(call)).await.json()["msg"].to_string());
        }
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    "Success"
    "成功"
    "Card does not exist"
    "卡片不存在"
    "card_no must be 1 to 64 letters, digits, _ or -"
    "card_no 须为 1 至 64 位字母、数字、_ 或 -"
    "#);
}

#[tokio::test]
async fn a_suspended_merchant_and_a_call_without_a_login_get_nothing() {
    let world = world().await;
    let merchant = world.merchant();
    let call = merchant.keysecure("/open-api/v1/card/C202605220001/private/info");
    is(&merchant.send(empty(call)).await, 1006);
    let access = merchant.login().await;
    world
        .operator()
        .set_merchant(1, |m| m.state = MerchantState::Suspended)
        .await;
    let call = merchant
        .keysecure("/open-api/v1/card/C202605220001/private/info")
        .header("Access-Token", access);
    is(&merchant.send(empty(call)).await, 1022);
    assert!(world.operator().logged(Kind::CardExported).await.is_empty());
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The canary (P3): after exports that went well and ones that did not, neither number nor CVV nor
/// the ciphertext is in the access log, the program's log at its most talkative, the audit log or
/// the figures.
#[tokio::test]
async fn no_log_and_no_figure_holds_what_was_exported() {
    let (program, access) = (Buffer::default(), Buffer::default());
    let to = program.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || to.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let (writer, log) = AccessLog::start(Box::new(access.clone())).unwrap();
    let world = furnished(World::with(settings(), log).await).await;
    is(&asked(&world.merchant(), CARD_NO).await, 0);
    let merchant = world.merchant();
    let token = merchant.login().await;
    world.store.fail_next(Fault::UnknownPersisted);
    let call = merchant
        .keysecure("/open-api/v1/card/C202605220001/private/info")
        .header("Access-Token", token);
    is(&merchant.send(empty(call)).await, 1001);
    asked(&merchant, PAN).await;
    let audit = serde_json::to_string(&world.operator().log().await).unwrap();
    let figures = world.stranger().get(ListenerKind::Admin, "/metrics").await;
    let figures = figures.text().to_owned();
    drop(world);
    drop(writer);
    drop(guard);
    let text = |buffer: &Buffer| String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    let (program, access) = (text(&program), text(&access));
    assert!(audit.contains("card.exported") && access.contains("private/info"));
    // How long a call took may be three digits too, and those of the CVV.
    let access = access.replace(&format!("\"duration_us\":{CVV}}}"), "");
    for (place, text) in [
        ("audit", audit),
        ("figures", figures),
        ("program", program),
        ("access", access),
    ] {
        for secret in [PAN, "\"739\"", "=739", &format!(":{CVV}"), KNOWN] {
            assert!(!text.contains(secret), "{place} holds {secret}: {text}");
        }
    }
}

/// P3: `private/info` alone has it. What the other dialects can answer holds no ciphertext of a
/// card.
#[tokio::test]
async fn no_other_dialect_offers_it() {
    let world = world().await;
    let merchant = world.merchant();
    for path in [
        format!("/v1/cards/{CARD_ID}/private-info"),
        format!("/v1/cards/{CARD_ID}/private/info"),
        format!("/v2/cards/{CARD_ID}/private-info"),
        format!("/v2/cards/{CARD_ID}/private/info"),
        format!("/open-api/v1/merchant/client/{CARD_NO}/private/info"),
    ] {
        let answer = world.stranger().get(ListenerKind::Merchant, &path).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let document = serde_json::to_value(cardveil_server::document()).unwrap();
    let offered: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|path| path.contains("private"))
        .collect();
    assert_eq!(offered, ["/open-api/v1/card/{card_no}/private/info"]);
    is(&asked(&merchant, CARD_NO).await, 0);
}

/// This call has no place for a second factor, so a policy that asks for one to view a card bars
/// it; that of another operation does not.
#[tokio::test]
async fn code_1012_under_a_policy_to_view_a_card() {
    let world = world().await;
    for policy in [Policy::Required, Policy::Delegated, Policy::InFrame] {
        world
            .operator()
            .set_merchant(1, |merchant| merchant.mfa.view_card = policy)
            .await;
        let barred = asked(&world.merchant(), CARD_NO).await;
        let msg = "Integration mode not supported";
        assert_eq!(barred.json(), json!({"code": 1012, "msg": msg}));
        // Before anything about the card.
        is(&asked(&world.merchant(), "C404").await, 1012);
    }
    assert!(world.operator().logged(Kind::CardExported).await.is_empty());
    world
        .operator()
        .set_merchant(1, |merchant| {
            merchant.mfa.add_card_to_wallet = Policy::Required;
            merchant.mfa.view_pin = Policy::Required;
            merchant.mfa.set_pin = Policy::Required;
        })
        .await;
    is(&asked(&world.merchant(), CARD_NO).await, 0);
}
