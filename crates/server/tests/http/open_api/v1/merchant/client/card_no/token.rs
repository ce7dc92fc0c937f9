//! `GET /open-api/v1/merchant/client/{card_no}/token`: KeySecure's "Issue PCI Client Access Token".

use std::time::Duration;

use cardveil_core::Time;
use cardveil_core::audit::Kind;
use cardveil_core::card::{self, State};
use cardveil_core::merchant::allowlist::Allowlist;
use cardveil_core::merchant::{CredentialState, MerchantState, Scope};
use cardveil_server::ListenerKind;
use cardveil_server::log::AccessLog;
use cardveil_testkit::Fault;
use http::HeaderValue;
use http::request::Builder;
use serde_json::json;

use crate::actors::{Merchant, empty, get, hash};
use crate::world::{
    Answer, CARD_ID, CARD_NO, FOREIGN_NO, HOME, KEY, OFFICE, OTHER_KEY, OWN_KEY, SECOND_NO, World,
    settings,
};

const PATH: &str = "/open-api/v1/merchant/client/C202605220001/token";

/// A good call, to be spoilt.
async fn good(merchant: &Merchant<'_>) -> Builder {
    let access = merchant.login().await;
    merchant.keysecure(PATH).header("Access-Token", access)
}

/// The call with one header set to this value, or taken away.
fn with(mut call: Builder, name: &'static str, value: Option<&str>) -> Builder {
    let headers = call.headers_mut().unwrap();
    match value {
        Some(value) => {
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        None => {
            headers.remove(name);
        }
    }
    call
}

async fn asked(world: &World, call: Builder) -> Answer {
    world.merchant().send(empty(call)).await
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
async fn the_published_call_as_it_is_written() {
    let world = World::new().await;
    let access = world.merchant().login().await;
    // curl --request GET --url .../open-api/v1/merchant/client/C202605220001/token
    let call = get("/open-api/v1/merchant/client/C202605220001/token")
        .header("Content-Type", "application/json")
        .header("Api-Key", KEY)
        .header("Timestamp", world.now_ms().to_string())
        .header("Access-Token", access);
    let answer = world.ask(ListenerKind::Merchant, OFFICE, empty(call)).await;
    let mut shown = answer.shown();
    let token = answer.json()["data"]["client_access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    // Redacted once its form, its row and its record are checked.
    assert_eq!(token.len(), 92, "{token}");
    let issued = world.operator().logged(Kind::TokenIssued).await;
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].event.target.token, Some(hash(&token)));
    shown = shown.replace(&token, "[client token]");
    insta::assert_snapshot!(shown, @r#"
    200
    cache-control: no-store
    content-length: 169
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    content-type: application/json
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    {
      "code": 0,
      "data": {
        "client_access_token": "[client token]",
        "expires_in": 300
      },
      "msg": "Success"
    }
    "#);
}

#[tokio::test]
async fn its_token_shows_the_card() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let answer = cardholder.redeem(&["pan"]).await;
    assert_eq!(cardholder.open(&answer), json!({"pan": "4111111111111111"}));
}

#[tokio::test]
async fn code_1001_a_store_that_fails_gives_no_token() {
    let world = World::new().await;
    let call = good(&world.merchant()).await;
    world.store.fail_next(Fault::NotPersisted);
    let answer = asked(&world, call).await;
    is(&answer, 1001);
    assert_eq!(answer.json(), json!({"code": 1001, "msg": "System error"}));
    assert!(world.operator().logged(Kind::TokenIssued).await.is_empty());
    assert_eq!(world.counted("cardveil_faults_total").await, 1);
}

#[tokio::test]
async fn code_1002_the_api_key_is_required() {
    let world = World::new().await;
    for value in [None, Some(""), Some("  ")] {
        let call = with(good(&world.merchant()).await, "api-key", value);
        is(&asked(&world, call).await, 1002);
    }
}

#[tokio::test]
async fn code_1003_only_from_an_allowed_address() {
    let world = World::new().await;
    for address in ["203.0.113.8", HOME, "::1", "2001:db8::1"] {
        let call = good(&world.merchant()).await;
        is(
            &world
                .ask(ListenerKind::Merchant, address, empty(call))
                .await,
            1003,
        );
    }
    let call = good(&world.merchant()).await;
    let mapped = world
        .ask(ListenerKind::Merchant, "::ffff:203.0.113.7", empty(call))
        .await;
    is(&mapped, 0);
}

#[tokio::test]
async fn code_1003_a_credential_without_addresses_is_allowed_from_nowhere() {
    let world = World::new().await;
    let call = good(&world.merchant()).await;
    world
        .operator()
        .set_credential(KEY, |credential| {
            credential.allowed_ips = Allowlist::default();
        })
        .await;
    is(&asked(&world, call).await, 1003);
}

#[tokio::test]
async fn code_1004_a_card_no_of_another_form() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    for wrong in [
        "C%20",
        "C%2F1",
        "%C3%A9",
        "%FF",
        "C%00",
        "..%2f..",
        "C%0d%0aSet-Cookie:x",
        "C'--",
        &"C".repeat(65),
        "%25",
    ] {
        let answer = merchant.client_token(wrong, &access).await;
        is(&answer, 1004);
        assert_eq!(
            answer.json()["msg"],
            "card_no must be 1 to 64 letters, digits, _ or -",
            "{wrong}"
        );
    }
    // Percent-encoded, it is the same card.
    is(&merchant.client_token("C20260522000%31", &access).await, 0);
}

#[tokio::test]
async fn code_1005_the_timestamp_window_has_both_ends_in() {
    let world = World::new().await;
    for (offset, code) in [
        (0, 0),
        (1, 1005),
        (-60_000, 0),
        (-60_001, 1005),
        (60_000, 1005),
    ] {
        let timestamp = (world.now_ms() + offset).to_string();
        let call = with(good(&world.merchant()).await, "timestamp", Some(&timestamp));
        is(&asked(&world, call).await, code);
    }
}

#[tokio::test]
async fn code_1005_tells_the_servers_time() {
    let world = World::new().await;
    let call = with(
        good(&world.merchant()).await,
        "timestamp",
        Some("1716307200000"),
    );
    assert_eq!(
        asked(&world, call).await.json()["msg"],
        "Timestamp is invalid or expired: it is more than 60 seconds old; the server's time is 1767225600000"
    );
}

/// All of them were told to set their clock.
#[tokio::test]
async fn code_1005_says_which_fxa_auth_server_300_hubspot_api_ruby_357() {
    let world = World::new().await;
    let now = world.now_ms();
    let says = async |call| {
        let answer = asked(&world, call).await;
        is(&answer, 1005);
        let msg = answer.json()["msg"].as_str().unwrap().to_owned();
        let (said, time) = msg.split_once("; ").unwrap();
        assert_eq!(time, format!("the server's time is {now}"));
        said.split_once(": ").unwrap().1.to_owned()
    };
    let good = async || good(&world.merchant()).await;
    let set = async |value: Option<&str>| with(good().await, "timestamp", value);
    assert_eq!(says(set(None).await).await, "the header is missing");
    let twice = "the header is there more than once";
    let doubled = good().await.header("timestamp", now);
    assert_eq!(says(doubled).await, twice);
    assert_eq!(says(set(Some(&format!("{now}, {now}"))).await).await, twice);
    let seconds = (now / 1_000).to_string();
    let told = "it is in seconds, send milliseconds";
    assert_eq!(says(set(Some(&seconds)).await).await, told);
    let late = (now - 60_001).to_string();
    assert_eq!(
        says(set(Some(&late)).await).await,
        "it is more than 60 seconds old"
    );
    let early = (now + 1).to_string();
    assert_eq!(
        says(set(Some(&early)).await).await,
        "it is ahead of the server's time"
    );
}

#[tokio::test]
async fn code_1005_what_is_not_digits_is_no_timestamp() {
    let world = World::new().await;
    let now = world.now_ms();
    for wrong in [
        String::new(),
        format!("+{now}"),
        format!("-{now}"),
        format!("{now}.0"),
        "now".to_owned(),
        format!("{now},{now}"),
        (now / 1_000).to_string(),
        "9".repeat(400),
        format!("{now}\u{e9}"),
    ] {
        let call = with(good(&world.merchant()).await, "timestamp", Some(&wrong));
        is(&asked(&world, call).await, 1005);
    }
    is(
        &asked(
            &world,
            with(good(&world.merchant()).await, "timestamp", None),
        )
        .await,
        1005,
    );
}

#[tokio::test]
async fn the_timestamp_tolerance_lets_in_that_much_of_the_future() {
    let mut settings = settings();
    settings.timestamp_future_tolerance_ms = 5_000;
    let world = World::with(settings, AccessLog::none()).await;
    for (offset, code) in [(5_000, 0), (5_001, 1005), (-60_000, 0), (-60_001, 1005)] {
        let timestamp = (world.now_ms() + offset).to_string();
        let call = with(good(&world.merchant()).await, "timestamp", Some(&timestamp));
        is(&asked(&world, call).await, code);
    }
}

#[tokio::test]
async fn code_1006_the_access_token_is_required() {
    let world = World::new().await;
    for value in [None, Some(""), Some(" ")] {
        let call = with(good(&world.merchant()).await, "access-token", value);
        is(&asked(&world, call).await, 1006);
    }
}

#[tokio::test]
async fn code_1007_the_access_token_ends_after_two_hours() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    world
        .clock
        .advance(Duration::from_millis(2 * 3_600_000 - 1));
    is(&merchant.client_token(CARD_NO, &access).await, 0);
    world.clock.advance(Duration::from_millis(1));
    is(&merchant.client_token(CARD_NO, &access).await, 1007);
}

#[tokio::test]
async fn code_1007_the_access_token_of_another_credential() {
    let world = World::new().await;
    let merchant = world.merchant();
    for key in [OWN_KEY, OTHER_KEY] {
        let access = Merchant::new(&world, key).login().await;
        is(&merchant.client_token(CARD_NO, &access).await, 1007);
    }
}

#[tokio::test]
async fn code_1007_an_access_token_with_one_character_altered() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    for place in 0..access.len() {
        let mut altered = access.clone().into_bytes();
        altered[place] = if altered[place] == b'B' { b'C' } else { b'B' };
        let altered = String::from_utf8(altered).unwrap();
        is(&merchant.client_token(CARD_NO, &altered).await, 1007);
    }
    is(&merchant.client_token(CARD_NO, &access).await, 0);
}

#[tokio::test]
async fn code_1007_an_access_token_of_an_older_epoch() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    world.operator().raise_epoch().await;
    is(&merchant.client_token(CARD_NO, &access).await, 1007);
    is(
        &merchant
            .client_token(CARD_NO, &merchant.login().await)
            .await,
        0,
    );
}

#[tokio::test]
async fn code_1008_an_api_key_that_does_not_exist() {
    let world = World::new().await;
    let (longer, large) = (format!("{KEY}x"), "k".repeat(60_000));
    for value in [
        "unknown",
        &longer,
        &large,
        "cvk_test_merchant_1_an",
        "k\u{e9}y",
    ] {
        let call = with(good(&world.merchant()).await, "api-key", Some(value));
        is(&asked(&world, call).await, 1008);
    }
}

#[tokio::test]
async fn code_1010_a_disabled_credential_is_out_at_once() {
    let world = World::new().await;
    let call = good(&world.merchant()).await;
    let disable = |credential: &mut cardveil_core::merchant::Credential| {
        credential.state = CredentialState::Disabled;
    };
    world.operator().set_credential(KEY, disable).await;
    is(&asked(&world, call).await, 1010);
}

#[tokio::test]
async fn code_1010_a_credential_that_sees_no_card() {
    let world = World::new().await;
    world
        .add_credential(1, "blind", Scope::CardsReadOwn, None)
        .await;
    let merchant = Merchant::new(&world, "blind");
    let call = merchant.keysecure("/open-api/v1/merchant/token");
    is(&merchant.send(empty(call)).await, 1010);
}

#[tokio::test]
async fn code_1011_a_credential_ends_at_its_expiry() {
    let world = World::new().await;
    let end = Time::from_millis(world.now_ms() + 1_000);
    world
        .operator()
        .set_credential(KEY, |credential| credential.expires_at = Some(end))
        .await;
    let access = world.merchant().login().await;
    world.clock.advance(Duration::from_millis(999));
    is(&world.merchant().client_token(CARD_NO, &access).await, 0);
    world.clock.advance(Duration::from_millis(1));
    is(&world.merchant().client_token(CARD_NO, &access).await, 1011);
}

#[tokio::test]
async fn code_1013_a_merchant_that_may_not_show_cards() {
    let world = World::new().await;
    let call = good(&world.merchant()).await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.pci_enabled = false)
        .await;
    is(&asked(&world, call).await, 1013);
}

/// A call that somebody recorded made one more token within the minute of its Timestamp.
#[tokio::test]
async fn code_1017_a_nonce_that_was_used() {
    let world = World::new().await;
    let merchant = world.merchant();
    let now = world.now_ms().to_string();
    let with_nonce = async |nonce: &str| with(good(&merchant).await, "nonce", Some(nonce));
    is(&asked(&world, with_nonce("a-1_B").await).await, 0);
    let recorded = || async { with(with_nonce("a-1_B").await, "timestamp", Some(&now)) };
    let again = asked(&world, recorded().await).await;
    is(&again, 1017);
    assert!(!again.text().contains("cvt_"), "{}", again.shown());
    // For another card, too: the nonce is the credential's.
    let access = merchant.login().await;
    let other = merchant
        .keysecure(&PATH.replace(CARD_NO, SECOND_NO))
        .header("Access-Token", access)
        .header("Nonce", "a-1_B");
    is(&asked(&world, other).await, 1017);
    is(&asked(&world, with_nonce("a-2").await).await, 0);
    // At another node, and to the last moment of the Timestamp.
    let beside = world.beside();
    world.clock.advance(Duration::from_secs(60));
    is(&asked(&beside, recorded().await).await, 1017);
    world.clock.advance(Duration::from_millis(1));
    is(&asked(&world, recorded().await).await, 1005);
    // Without, as before.
    for _ in 0..2 {
        is(&asked(&world, good(&merchant).await).await, 0);
    }
}

/// Whoever sends the nonce of a call first: another credential, and a name of the native API, are
/// others.
#[tokio::test]
async fn a_nonce_is_of_one_credential_and_of_this_call() {
    let world = World::new().await;
    let merchant = world.merchant();
    let native = merchant
        .native_named("n", &json!({"card_no": CARD_NO}))
        .await;
    assert_eq!(native.status, 201);
    is(
        &asked(&world, with(good(&merchant).await, "nonce", Some("n"))).await,
        0,
    );
    let own = Merchant::new(&world, OWN_KEY);
    is(
        &asked(&world, with(good(&own).await, "nonce", Some("n"))).await,
        0,
    );
}

#[tokio::test]
async fn code_1004_a_nonce_of_another_form() {
    let world = World::new().await;
    let long = "n".repeat(65);
    for wrong in ["a b", "ä", "a.b", &long] {
        let call = with(good(&world.merchant()).await, "nonce", Some(wrong));
        is(&asked(&world, call).await, 1004);
    }
    let twice = good(&world.merchant())
        .await
        .header("Nonce", "a")
        .header("Nonce", "b");
    is(&asked(&world, twice).await, 1004);
}

#[tokio::test]
async fn code_1021_a_merchant_that_has_gone() {
    let world = World::new().await;
    let call = good(&world.merchant()).await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.state = MerchantState::Closed)
        .await;
    is(&asked(&world, call).await, 1021);
}

#[tokio::test]
async fn code_1022_a_suspended_merchant() {
    let world = World::new().await;
    let call = good(&world.merchant()).await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.state = MerchantState::Suspended)
        .await;
    is(&asked(&world, call).await, 1022);
}

#[tokio::test]
async fn code_4001_an_unknown_card_and_a_foreign_one_are_the_same() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    let unknown = merchant.client_token("C404", &access).await;
    is(&unknown, 4001);
    let foreign = merchant.client_token(FOREIGN_NO, &access).await;
    assert_eq!(unknown.without_id(), foreign.without_id());
    // A credential that is bound to one person sees no card of another.
    let own = Merchant::new(&world, OWN_KEY);
    let others = own.client_token(SECOND_NO, &own.login().await).await;
    assert_eq!(unknown.without_id(), others.without_id());
    is(&own.client_token(CARD_NO, &own.login().await).await, 0);
}

#[tokio::test]
async fn code_4005_in_each_state_that_is_not_shown() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    for (n, state) in (1..).zip(State::ALL) {
        let (no, _) = world.card_in(n, card::Kind::Physical, state).await;
        // The card is physical: it must be activated before it is shown.
        let expected = if state == State::Active { 0 } else { 4005 };
        is(&merchant.client_token(&no, &access).await, expected);
    }
}

#[tokio::test]
async fn every_refusal_in_both_languages() {
    let world = World::new().await;
    let operator = world.operator();
    let merchant = world.merchant();
    let mut told = Vec::new();
    let mut say = async |call: &dyn Fn() -> Builder| {
        for language in ["en_US", "zh_CN"] {
            let call = with(call(), "language", Some(language));
            told.push(asked(&world, call).await.text().to_owned());
        }
    };
    let access = merchant.login().await;
    let at = |path: &str| merchant.keysecure(path).header("Access-Token", &access);
    let call = || at(PATH);
    say(&|| with(call(), "api-key", None)).await;
    say(&|| with(call(), "api-key", Some("unknown"))).await;
    operator
        .set_credential(KEY, |c| c.state = CredentialState::Disabled)
        .await;
    say(&call).await;
    operator
        .set_credential(KEY, |c| c.state = CredentialState::Enabled)
        .await;
    operator
        .set_credential(KEY, |c| c.expires_at = Some(Time::from_millis(0)))
        .await;
    say(&call).await;
    operator.set_credential(KEY, |c| c.expires_at = None).await;
    let addresses = Allowlist::of(["192.0.2.1/32".parse().unwrap()], Time::from_millis(0));
    operator
        .set_credential(KEY, |c| c.allowed_ips = addresses)
        .await;
    say(&call).await;
    let addresses = Allowlist::of(["203.0.113.7/32".parse().unwrap()], Time::from_millis(0));
    operator
        .set_credential(KEY, |c| c.allowed_ips = addresses)
        .await;
    say(&|| with(call(), "timestamp", None)).await;
    say(&|| with(call(), "access-token", None)).await;
    say(&|| with(call(), "access-token", Some("cva_"))).await;
    operator
        .set_merchant(1, |m| m.state = MerchantState::Closed)
        .await;
    say(&call).await;
    operator
        .set_merchant(1, |m| m.state = MerchantState::Suspended)
        .await;
    say(&call).await;
    operator.set_merchant(1, |m| m.pci_enabled = false).await;
    say(&call).await;
    operator.set_merchant(1, |_| {}).await;
    say(&|| at("/open-api/v1/merchant/client/%20/token")).await;
    say(&|| at("/open-api/v1/merchant/client/C404/token")).await;
    operator.set_card(CARD_ID, State::Suspended).await;
    say(&call).await;
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn code_1001_in_both_languages() {
    let world = World::new().await;
    for (language, words) in [
        ("zh_CN", "系统错误"),
        ("fr_FR", "System error"),
        ("", "System error"),
    ] {
        let call = with(good(&world.merchant()).await, "language", Some(language));
        world.store.fail_next(Fault::UnknownNotPersisted);
        assert_eq!(asked(&world, call).await.json()["msg"], words);
    }
}

/// Everything is wrong at first; what answers is mended, and the next thing answers.
#[tokio::test]
async fn the_checks_come_in_the_order_of_the_design() {
    let world = World::new().await;
    let operator = world.operator();
    operator.set_card(CARD_ID, State::Suspended).await;
    operator
        .set_merchant(1, |m| {
            (m.state, m.pci_enabled) = (MerchantState::Closed, false);
        })
        .await;
    operator
        .set_credential(KEY, |c| {
            c.state = CredentialState::Disabled;
            c.expires_at = Some(Time::from_millis(0));
            c.allowed_ips = Allowlist::default();
        })
        .await;
    let mut call: Vec<(&'static str, String)> = vec![];
    let mut card = "%20";
    let mut codes = Vec::new();
    for step in 0..16 {
        match step {
            1 => call.push(("api-key", "unknown".to_owned())),
            2 => call[0].1 = KEY.to_owned(),
            3 => {
                operator
                    .set_credential(KEY, |c| c.state = CredentialState::Enabled)
                    .await;
            }
            4 => operator.set_credential(KEY, |c| c.expires_at = None).await,
            5 => {
                let office =
                    Allowlist::of(["203.0.113.7/32".parse().unwrap()], Time::from_millis(0));
                operator
                    .set_credential(KEY, |c| c.allowed_ips = office)
                    .await;
            }
            6 => call.push(("timestamp", world.now_ms().to_string())),
            7 => call.push(("access-token", "cva_wrong".to_owned())),
            8 => {
                operator.set_merchant(1, |_| {}).await;
                call[2].1 = world.merchant().login().await;
                operator
                    .set_merchant(1, |m| {
                        (m.state, m.pci_enabled) = (MerchantState::Closed, false);
                    })
                    .await;
            }
            9 => {
                operator
                    .set_merchant(1, |m| {
                        (m.state, m.pci_enabled) = (MerchantState::Suspended, false);
                    })
                    .await;
            }
            10 => operator.set_merchant(1, |m| m.pci_enabled = false).await,
            11 => operator.set_merchant(1, |_| {}).await,
            12 => card = "C404",
            13 => card = CARD_NO,
            14 => operator.set_card(CARD_ID, State::Active).await,
            _ => {}
        }
        let mut request = get(&format!("/open-api/v1/merchant/client/{card}/token"));
        for (name, value) in &call {
            request = request.header(*name, value);
        }
        codes.push(asked(&world, request).await.code().1);
    }
    codes.dedup();
    assert_eq!(
        codes,
        [
            "1002", "1008", "1010", "1011", "1003", "1005", "1006", "1007", "1021", "1022", "1013",
            "1004", "4001", "4005", "0"
        ]
    );
}

#[tokio::test]
async fn a_header_that_is_there_twice_is_none() {
    let world = World::new().await;
    let merchant = world.merchant();
    let now = world.now_ms().to_string();
    let access = merchant.login().await;
    for (name, value, code) in [
        ("api-key", KEY, 1008),
        ("timestamp", now.as_str(), 1005),
        ("access-token", access.as_str(), 1007),
    ] {
        let call = merchant
            .keysecure(PATH)
            .header("access-token", &access)
            .header(name, value);
        is(&asked(&world, call).await, code);
    }
}

#[tokio::test]
async fn a_header_that_is_not_ascii_is_none() {
    let world = World::new().await;
    for (name, code) in [
        ("api-key", 1008),
        ("timestamp", 1005),
        ("access-token", 1007),
    ] {
        let mut call = good(&world.merchant()).await;
        let value = HeaderValue::from_bytes(b"\xff\xfe").unwrap();
        call.headers_mut().unwrap().insert(name, value);
        is(&asked(&world, call).await, code);
    }
}

#[tokio::test]
async fn each_call_gives_another_token() {
    let world = World::new().await;
    let merchant = world.merchant();
    assert_ne!(merchant.token(CARD_NO).await, merchant.token(CARD_NO).await);
}
