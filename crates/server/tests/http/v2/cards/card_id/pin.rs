//! `GET` and `PUT /v2/cards/{cardId}/pin`: a PIN that crosses a merchant's server.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::budget::{Budget, Budgets};
use cardveil_core::card::{State, Verification};
use cardveil_core::merchant::Scope;
use cardveil_core::mfa::Policy;
use cardveil_core::token::Cause;
use cardveil_server::log::AccessLog;
use cardveil_testkit::Fault;
use http::Method;
use serde_json::{Value, json};

use crate::actors::{Merchant, Phone, session_for};
use crate::world::{
    Answer, CARD_ID, CARD_NO, FOREIGN_ID, KEY, OTHER_KEY, OWN_KEY, PERSON, SECOND_ID,
    SECOND_PERSON, World, settings,
};

const PIN: &str = "2580";
const ASKED: &str = "accountId=F50091&personId=775596ae-2624-40af-a9dc-9756110a4a04&cardholderVerificationMethod=OTP";

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

async fn world() -> World {
    furnished(World::new().await).await
}

async fn furnished(world: World) -> World {
    let scopes = vec![Scope::CardsReadAny, Scope::PinsRead, Scope::PinsSet];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    world
}

async fn get(merchant: &Merchant<'_>, card: &str, query: &str) -> Answer {
    let path = format!("/v2/cards/{card}/pin?{query}");
    merchant.call("ApiKey", Method::GET, &path, None).await
}

async fn put(merchant: &Merchant<'_>, card: &str, query: &str, body: Value) -> Answer {
    let path = format!("/v2/cards/{card}/pin?{query}");
    merchant
        .call("ApiKey", Method::PUT, &path, Some(body))
        .await
}

/// The PIN of the published examples' card.
async fn told(world: &World) -> Value {
    let answer = get(&world.merchant(), CARD_ID, ASKED).await;
    assert_eq!(answer.status, 200, "{}", answer.shown());
    answer.json()["pin"].clone()
}

async fn set(world: &World, body: Value) -> Answer {
    put(&world.merchant(), CARD_ID, "accountId=F50091", body).await
}

async fn policies(world: &World, view: Policy, set: Policy) {
    world
        .operator()
        .set_merchant(1, |merchant| {
            merchant.mfa.view_pin = view;
            merchant.mfa.set_pin = set;
        })
        .await;
}

async fn session(world: &World, operation: &str) -> String {
    let mut body = session_for("TOTP");
    body["operationName"] = json!(operation);
    let answer = world.merchant().mfa_session(&body).await;
    assert_eq!(answer.status, 201, "{}", answer.shown());
    answer.json()["sessionId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_pin_that_was_set_is_told() {
    let world = world().await;
    let none = get(&world.merchant(), CARD_ID, ASKED).await;
    assert_eq!((none.status, none.json()), (200, json!({"pin": null})));
    assert!(world.operator().logged(Kind::PinReleased).await.is_empty());
    let answer = set(
        &world,
        json!({"pin": PIN, "cardholderVerificationMethod": "LOGIN"}),
    )
    .await;
    insta::assert_snapshot!(answer.shown(), @r#"
    200
    cache-control: no-store
    content-length: 29
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    content-type: application/json
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    {
      "pin": "2580",
      "success": true
    }
    "#);
    let answer = get(&world.merchant(), CARD_ID, ASKED).await;
    insta::assert_snapshot!(answer.shown(), @r#"
    200
    cache-control: no-store
    content-length: 14
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    content-type: application/json
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    {
      "pin": "2580"
    }
    "#);
    let another = set(&world, json!({"pin": "1379"})).await;
    assert_eq!(another.json(), json!({"success": true, "pin": "1379"}));
    assert_eq!(told(&world).await, "1379");
    assert_eq!(world.counted("cardveil_pins_released_total").await, 2);
    let path = format!("/v2/cards/{CARD_ID}?accountId=F50091");
    let card = world
        .merchant()
        .call("ApiKey", Method::GET, &path, None)
        .await;
    assert_eq!(card.json()["pinIsSet"], true);
    let path = format!("/v2/cards/{SECOND_ID}?accountId=F50091");
    let card = world
        .merchant()
        .call("ApiKey", Method::GET, &path, None)
        .await;
    assert_eq!(card.json()["pinIsSet"], false);
}

/// What is on record says who, which card and how the merchant says to have verified the
/// cardholder, and no PIN.
#[tokio::test]
async fn what_is_set_and_told_is_on_record() {
    let world = world().await;
    set(&world, json!({"pin": PIN})).await;
    assert_eq!(told(&world).await, PIN);
    let [set] = &world.operator().logged(Kind::PinSet).await[..] else {
        panic!("one was set");
    };
    let [released] = &world.operator().logged(Kind::PinReleased).await[..] else {
        panic!("one was told");
    };
    assert_eq!(set.event.detail.claimed_verification, None);
    let claimed = released.event.detail.claimed_verification;
    assert_eq!(claimed, Some(Verification::Otp));
    for entry in [set, released] {
        assert_eq!(entry.event.target.card.unwrap().to_string(), CARD_ID);
        assert!(entry.event.target.credential.is_some());
        assert!(!serde_json::to_string(entry).unwrap().contains(PIN));
        assert_eq!(entry.event.topic(), None);
    }
    let shown = serde_json::to_value(released).unwrap();
    assert_eq!(shown["detail"], json!({"claimed_verification": "OTP"}));
}

#[tokio::test]
async fn a_pin_that_is_left_out_is_generated() {
    let world = world().await;
    let mut pins = Vec::new();
    for body in [json!({}), json!({"pin": null}), json!({"unknown": 1})] {
        let answer = set(&world, body).await.json();
        let pin = answer["pin"].as_str().unwrap().to_owned();
        assert!(pin.len() == 4 && pin.bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(told(&world).await, pin.as_str());
        pins.push(pin);
    }
    assert!(pins[0] != pins[1] || pins[1] != pins[2]);
}

#[tokio::test]
async fn a_pin_is_four_digits_without_a_run() {
    let world = world().await;
    for wrong in ["", "258", "25803", "258a", "258 ", "२५८०"] {
        let answer = set(&world, json!({"pin": wrong})).await;
        is(&answer, 400, "invalid_request");
        assert_eq!(answer.json()["detail"], "pin: must be 4 digits");
    }
    for weak in ["1112", "2111", "1238", "8123", "9872", "0000", "4321"] {
        is(&set(&world, json!({"pin": weak})).await, 400, "weak_pin");
    }
    assert_eq!(told(&world).await, Value::Null);
    for strong in ["1121", "8901", "1357", "1212"] {
        let answer = set(&world, json!({"pin": strong})).await;
        assert_eq!(answer.status, 200, "{strong}");
    }
    let weak = set(&world, json!({"pin": "1111"})).await;
    insta::assert_snapshot!(weak.text(), @r#"{"type":"urn:cardveil:problem:weak_pin","title":"The PIN is too weak","status":400,"code":"weak_pin","detail":"Choose a PIN without three digits in a row that are the same or sequential, or leave it out to get one."}"#);
}

/// A PIN of six digits was set in the other dialect: this contract has none of that length.
#[tokio::test]
async fn a_pin_of_another_length_is_null() {
    use base64::Engine as _;
    let world = world().await;
    let key = cardveil_seal::Key::from_slice(&[b's'; 32]).unwrap();
    let pin = cardveil_core::Secret::new(b"258036".to_vec());
    let sealed = cardveil_seal::contract_ecb::encrypt_unauthenticated(&key, &pin).unwrap();
    let sealed = base64::prelude::BASE64_STANDARD.encode(sealed);
    let body = json!({"card_no": CARD_NO, "pin": sealed});
    let path = "/open-api/v1/card/pin/set";
    let answer = world.merchant().keysecure_post(path, "en_US", &body).await;
    assert_eq!(answer.code().1, "0");
    assert_eq!(told(&world).await, Value::Null);
    assert!(world.operator().logged(Kind::PinReleased).await.is_empty());
    set(&world, json!({"pin": PIN})).await;
    assert_eq!(told(&world).await, PIN);
}

#[tokio::test]
async fn a_merchant_without_card_data_gets_and_sets_none() {
    let world = world().await;
    set(&world, json!({"pin": PIN})).await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.pci_enabled = false)
        .await;
    let merchant = world.merchant();
    let refused = get(&merchant, CARD_ID, ASKED).await;
    is(&refused, 403, "pci_not_enabled");
    // Whether there is such a card is not told either.
    let unknown = get(&merchant, FOREIGN_ID, ASKED).await;
    assert_eq!(unknown.without_id(), refused.without_id());
    for body in [json!({}), json!({"pin": "1379"})] {
        is(&set(&world, body).await, 403, "pci_not_enabled");
    }
    world.operator().set_merchant(1, |_| ()).await;
    assert_eq!(told(&world).await, PIN);
}

#[tokio::test]
async fn another_person_s_card_is_not_there() {
    let world = world().await;
    let merchant = world.merchant();
    let of = |person: &str, account: &str| {
        format!("accountId={account}&personId={person}&cardholderVerificationMethod=LOGIN")
    };
    for (card, query) in [
        (SECOND_ID, of(PERSON, "F50091")),
        (CARD_ID, of(SECOND_PERSON, "F50091")),
        (CARD_ID, of(PERSON, "F50092")),
        (FOREIGN_ID, of(PERSON, "F50091")),
        ("99999999-5eb3-4dbc-916c-dbaf9e2deefd", of(PERSON, "F50091")),
    ] {
        is(&get(&merchant, card, &query).await, 404, "not_found");
        let put = put(&merchant, card, &query, json!({"pin": PIN})).await;
        is(&put, 404, "not_found");
    }
    for key in [OTHER_KEY, OWN_KEY] {
        world
            .operator()
            .set_credential(key, |c| c.scopes.push(Scope::PinsRead))
            .await;
    }
    let other = Merchant::new(&world, OTHER_KEY);
    is(&get(&other, CARD_ID, ASKED).await, 404, "not_found");
    // A credential that is bound to a person: their cards only, and only reading.
    let own = Merchant::new(&world, OWN_KEY);
    assert_eq!(get(&own, CARD_ID, ASKED).await.status, 200);
    let second = of(SECOND_PERSON, "F50091");
    is(&get(&own, SECOND_ID, &second).await, 404, "not_found");
    let put = put(&own, CARD_ID, "accountId=F50091", json!({})).await;
    is(&put, 403, "scope_missing");
    assert!(world.operator().logged(Kind::PinSet).await.is_empty());
    assert!(world.operator().logged(Kind::PinReleased).await.is_empty());
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let world = world().await;
    let merchant = world.merchant();
    let (account, person) = ("accountId=F50091", format!("personId={PERSON}"));
    let method = "cardholderVerificationMethod";
    for (query, detail) in [
        (format!("{person}&{method}=OTP"), "accountId: required"),
        (format!("{account}&{method}=OTP"), "personId: required"),
        (
            format!("{account}&personId=x&{method}=OTP"),
            "personId: must be a UUID",
        ),
        (
            format!("{account}&{person}"),
            "cardholderVerificationMethod: required",
        ),
        (
            format!("{account}&{person}&{method}=otp"),
            "cardholderVerificationMethod: must be BIOMETRIC_FACE, BIOMETRIC_FINGERPRINT, LOGIN or OTP",
        ),
        (
            format!("{account}&{person}&{method}=OTP&{method}=OTP"),
            "cardholderVerificationMethod: given more than once",
        ),
    ] {
        let answer = get(&merchant, CARD_ID, &query).await;
        is(&answer, 400, "invalid_request");
        assert_eq!(answer.json()["detail"], detail);
    }
    is(&get(&merchant, "1", ASKED).await, 400, "invalid_request");
    for method in ["BIOMETRIC_FACE", "BIOMETRIC_FINGERPRINT", "LOGIN", "OTP"] {
        let query = ASKED.replace("OTP", method);
        assert_eq!(get(&merchant, CARD_ID, &query).await.status, 200);
        let body = json!({"cardholderVerificationMethod": method});
        assert_eq!(set(&world, body).await.status, 200);
    }
    for body in [
        json!({"cardholderVerificationMethod": "SMS"}),
        json!({"pin": 2580}),
        json!({"mfa": 1}),
        json!([]),
    ] {
        is(&set(&world, body).await, 400, "invalid_request");
    }
}

#[tokio::test]
async fn a_card_not_in_use_has_its_pin_neither_set_nor_told() {
    let world = world().await;
    set(&world, json!({"pin": PIN})).await;
    for state in [State::Suspended, State::Replaced, State::Terminated] {
        world.operator().set_card(CARD_ID, state).await;
        let answer = get(&world.merchant(), CARD_ID, ASKED).await;
        is(&answer, 403, "card_not_viewable");
        is(&set(&world, json!({})).await, 409, "transition_refused");
    }
    let refused = set(&world, json!({"pin": "1379"})).await;
    assert_eq!(
        refused.json()["detail"],
        "The card is terminated. A PIN is set and told of a card in use."
    );
    assert_eq!(world.operator().logged(Kind::PinSet).await.len(), 1);
    assert!(world.operator().logged(Kind::PinReleased).await.is_empty());
}

/// Each operation has its policy, and a session passes for the one that it was opened for, once.
#[tokio::test]
async fn a_second_factor_passes_for_one_setting_and_one_telling() {
    let world = world().await;
    policies(&world, Policy::Required, Policy::Required).await;
    let phone = Phone::of(&world, PERSON).await;
    let merchant = world.merchant();
    is(&set(&world, json!({"pin": PIN})).await, 403, "mfa_required");
    is(&get(&merchant, CARD_ID, ASKED).await, 403, "mfa_required");
    let opened = session(&world, "SET_PIN").await;
    let body = |session: &str, code: &str| json!({"pin": PIN, "mfa": {"sessionId": session, "token": code}});
    // A weak PIN spends no session.
    let mut weak = body(&opened, &phone.code(0));
    weak["pin"] = json!("1111");
    is(&set(&world, weak).await, 400, "weak_pin");
    let wrong = set(&world, body(&opened, &phone.wrong())).await;
    is(&wrong, 403, "mfa_refused");
    let done = set(&world, body(&opened, &phone.code(0))).await;
    assert_eq!(done.json(), json!({"success": true, "pin": PIN}));
    let again = set(&world, body(&opened, &phone.code(1))).await;
    assert_eq!(again.without_id(), wrong.without_id());
    let set_log = world.operator().logged(Kind::PinSet).await;
    assert_eq!(set_log.len(), 1);
    assert_eq!(set_log[0].event.target.session.unwrap().to_string(), opened);

    world.clock.advance(Duration::from_secs(60));
    let view = session(&world, "VIEW_PIN").await;
    let other = session(&world, "SET_PIN").await;
    let card = session(&world, "VIEW_CARD").await;
    let with = |session: &str, code: &str| format!("{ASKED}&sessionId={session}&token={code}");
    for foreign in [&other, &card] {
        let answer = get(&merchant, CARD_ID, &with(foreign, &phone.code(0))).await;
        is(&answer, 403, "mfa_refused");
        let refused = world.operator().logged(Kind::MfaRefused).await;
        let cause = refused.last().unwrap().event.detail.cause;
        assert_eq!(cause, Some(Cause::WrongOperation));
    }
    let good = get(&merchant, CARD_ID, &with(&view, &phone.code(0))).await;
    assert_eq!(good.json(), json!({"pin": PIN}));
    let spent = get(&merchant, CARD_ID, &with(&view, &phone.code(1))).await;
    is(&spent, 403, "mfa_refused");
    // No client token may be asked for by these names.
    for operation in ["VIEW_PIN", "SET_PIN"] {
        let query = format!("accountId=F50091&operationName={operation}");
        is(
            &merchant.access_token(CARD_ID, &query).await,
            400,
            "invalid_request",
        );
        let native = json!({"card_no": CARD_NO, "operation": operation});
        is(&merchant.native(&native).await, 400, "invalid_request");
        let native = json!({"card_no": CARD_NO, "operation": operation, "factor": "TOTP"});
        let path = "/v1/mfa/sessions";
        let opened = merchant.native_at(Method::POST, path, Some(&native)).await;
        assert_eq!(opened.status, 201);
    }
}

#[tokio::test]
async fn a_delegated_second_factor_is_on_record_by_the_merchant_s_reference() {
    let world = world().await;
    policies(&world, Policy::Delegated, Policy::Delegated).await;
    is(&set(&world, json!({"pin": PIN})).await, 403, "mfa_required");
    for session in ["a b", "é"] {
        let body = json!({"pin": PIN, "mfa": {"sessionId": session}});
        is(&set(&world, body).await, 400, "invalid_request");
    }
    let done = set(
        &world,
        json!({"pin": PIN, "mfa": {"sessionId": "theirs-1"}}),
    )
    .await;
    assert_eq!(done.status, 200);
    let query = format!("{ASKED}&sessionId=theirs-2");
    let merchant = world.merchant();
    assert_eq!(get(&merchant, CARD_ID, &query).await.json()["pin"], PIN);
    for (kind, reference) in [(Kind::PinSet, "theirs-1"), (Kind::PinReleased, "theirs-2")] {
        let log = world.operator().logged(kind).await;
        assert_eq!(log[0].event.detail.attested.as_deref(), Some(reference));
    }
}

/// No frame shows or sets a PIN here, so none could ask.
#[tokio::test]
async fn a_policy_that_a_frame_asks_by_bars_pins() {
    let world = world().await;
    policies(&world, Policy::InFrame, Policy::InFrame).await;
    for code in ["", "123456"] {
        let mfa = json!({"sessionId": "theirs-1", "token": code});
        let answer = set(&world, json!({"pin": PIN, "mfa": mfa})).await;
        is(&answer, 403, "mfa_required");
    }
    is(
        &get(&world.merchant(), CARD_ID, ASKED).await,
        403,
        "mfa_required",
    );
    assert!(world.operator().logged(Kind::PinSet).await.is_empty());
    assert!(world.operator().logged(Kind::PinReleased).await.is_empty());
}

/// Five wrong codes end a session here too.
#[tokio::test]
async fn wrong_codes_for_a_pin_count() {
    let world = world().await;
    policies(&world, Policy::Required, Policy::Off).await;
    set(&world, json!({"pin": PIN})).await;
    let phone = Phone::of(&world, PERSON).await;
    let session = session(&world, "VIEW_PIN").await;
    let with = |code: &str| format!("{ASKED}&sessionId={session}&token={code}");
    let merchant = world.merchant();
    for _ in 0..5 {
        let wrong = get(&merchant, CARD_ID, &with(&phone.wrong())).await;
        is(&wrong, 403, "mfa_refused");
    }
    let right = get(&merchant, CARD_ID, &with(&phone.code(0))).await;
    is(&right, 403, "mfa_refused");
    assert!(world.operator().logged(Kind::PinReleased).await.is_empty());
}

async fn with_budget(free: u32, most: u32) -> World {
    let day = Duration::from_secs(86_400);
    let budgets = Budgets {
        card: Some(Budget::new(free, most, day).unwrap()),
        person: None,
    };
    furnished(World::with_budgets(settings(), AccessLog::none(), budgets).await).await
}

/// Whoever may set one as often as they like is told a PIN as often as they like.
#[tokio::test]
async fn of_150_wishes_for_a_new_pin_only_the_budgets_share_is_granted() {
    let world = with_budget(20, 50).await;
    let mut granted = 0;
    for _ in 0..150 {
        granted += usize::from(set(&world, json!({})).await.status == 200);
    }
    assert_eq!(granted, 20);
    assert_eq!(world.operator().logged(Kind::PinSet).await.len(), 20);
    is(&set(&world, json!({})).await, 403, "mfa_required");
}

/// A PIN that is told or set counts with the card's other reveals; one that is not there does not.
#[tokio::test]
async fn a_pin_that_is_told_or_set_counts_in_the_budgets() {
    let world = with_budget(1, 2).await;
    let merchant = world.merchant();
    for _ in 0..3 {
        assert_eq!(told(&world).await, Value::Null);
    }
    assert_eq!(set(&world, json!({"pin": PIN})).await.status, 200);
    is(&set(&world, json!({"pin": PIN})).await, 403, "mfa_required");
    is(&get(&merchant, CARD_ID, ASKED).await, 403, "mfa_required");
    let token = merchant.access_token(CARD_ID, "accountId=F50091").await;
    is(&token, 403, "mfa_required");
    let phone = Phone::of(&world, PERSON).await;
    let opened = session(&world, "VIEW_PIN").await;
    let query = format!("{ASKED}&sessionId={opened}&token={}", phone.code(0));
    assert_eq!(get(&merchant, CARD_ID, &query).await.json()["pin"], PIN);
    world.clock.advance(Duration::from_secs(60));
    let opened = session(&world, "VIEW_PIN").await;
    let query = format!("{ASKED}&sessionId={opened}&token={}", phone.code(0));
    let exhausted = get(&merchant, CARD_ID, &query).await;
    is(&exhausted, 429, "rate_limited");
    assert_eq!(exhausted.header("retry-after"), Some("43140"));
    is(&set(&world, json!({})).await, 429, "rate_limited");
}

/// No PIN goes out before its record is durable (P2).
#[tokio::test]
async fn without_its_record_no_pin_is_told() {
    let world = world().await;
    set(&world, json!({"pin": PIN})).await;
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        world.store.fail_next(fault);
        let answer = get(&world.merchant(), CARD_ID, ASKED).await;
        is(&answer, 503, "unavailable");
        assert!(!answer.text().contains(PIN));
    }
    assert_eq!(told(&world).await, PIN);
}
