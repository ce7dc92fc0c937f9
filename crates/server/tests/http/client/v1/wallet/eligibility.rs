//! Whether a card can go into a wallet: told to one key, with every reason against it.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::{CardRef, State};
use cardveil_core::merchant::{Credential, CredentialState, Embed, MerchantState};
use cardveil_core::port::{Change, Registry as _};
use cardveil_core::token::Cause;
use cardveil_core::verb::Commit;
use cardveil_core::wallet::{Bin, Reason, Wallet, WalletRules};
use cardveil_server::ListenerKind;
use cardveil_testkit::{Fault, sample};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::actors::{Cardholder, post};
use crate::world::{Answer, CARD_ID, CARD_NO, CVV, HOME, KEY, PAN, World};

const APP: &str = "emb_app";

/// A merchant whose cards go into every wallet, and its app.
async fn world() -> World {
    let world = World::new().await;
    let operator = world.operator();
    operator
        .set_merchant(1, |merchant| merchant.wallets = WalletRules::all())
        .await;
    let app = Embed {
        id: APP.parse().unwrap(),
        origins: vec![],
        ..sample::embed(1)
    };
    operator
        .change(Change::AddEmbed(app), Kind::EmbedAdded)
        .await;
    world
}

async fn token(world: &World, operation: &str) -> String {
    let body = json!({"card_no": CARD_NO, "operation": operation});
    let answer = world.merchant().native(&body).await;
    assert_eq!(answer.status, 201, "{}", answer.shown());
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// A phone with a fresh token and a key of its own.
async fn phone(world: &World) -> Cardholder<'_> {
    Cardholder::with(world, token(world, "ADD_CARD_TO_WALLET").await)
}

fn question(phone: &Cardholder<'_>) -> Value {
    json!({
        "token": phone.token,
        "app": APP,
        "key": phone.jwk(),
        "wallet": "APPLE_PAY",
        "device_type": "MOBILE_PHONE",
        "device_id": "phone-1",
    })
}

/// As an app sends it: no browser's headers.
async fn send(world: &World, body: &Value) -> Answer {
    let call = post("/client/v1/wallet/eligibility", body);
    world.ask(ListenerKind::Client, HOME, call).await
}

async fn ask(world: &World, phone: &Cardholder<'_>) -> Answer {
    send(world, &question(phone)).await
}

fn is_refused(answer: &Answer) -> bool {
    answer.code() == (403, "token_refused".to_owned())
}

#[tokio::test]
async fn a_card_that_can_go_in() {
    let world = world().await;
    let answer = ask(&world, &phone(&world).await).await;
    insta::assert_snapshot!(answer.shown());
    let checked = world.operator().logged(Kind::WalletChecked).await;
    assert_eq!(checked.len(), 1);
    let event = serde_json::to_value(&checked[0].event).unwrap();
    assert_eq!(
        event["detail"]["note"],
        "APPLE_PAY on MOBILE_PHONE: eligible; without an Origin"
    );
    assert_eq!(event["detail"]["operation"], "ADD_CARD_TO_WALLET");
    assert_eq!(event["target"]["card"], CARD_ID);
    let released = world.operator().logged(Kind::RevealReleased).await;
    assert!(released.is_empty(), "no field went out");
}

/// Makes exactly these reasons hold for the card.
async fn spoil(world: &World, reasons: &[Reason]) {
    let has = |reason| reasons.contains(&reason);
    let operator = world.operator();
    let mut rules = WalletRules::all();
    if has(Reason::WalletNotEnabled) {
        rules.wallets = vec![Wallet::AndroidPay, Wallet::SamsungPay];
    }
    let bin = if has(Reason::BinNotEnabled) {
        "411112"
    } else {
        "41111111"
    };
    rules.bins = Some(vec![
        Bin::parse("555555").unwrap(),
        Bin::parse(bin).unwrap(),
    ]);
    if has(Reason::ProductNotEnabled) {
        rules.products = Some(vec!["gold".to_owned()]);
    }
    operator
        .set_merchant(1, |merchant| merchant.wallets = rules)
        .await;
    let add = async |n: u8, device: &str| {
        let mut asked = sample::wallet_asked(n, world.app.service.now());
        let card = CardRef::Id(CARD_ID.parse().unwrap());
        let card = world.store.card(&asked.merchant, &card).await;
        let card = card.unwrap().unwrap();
        asked.indexes = world.app.service.vault().pan_indexes(&card).unwrap();
        asked.card = card.id;
        asked.device.device_id = device.parse().unwrap();
        world.store.commit(asked).await.unwrap().unwrap();
    };
    if has(Reason::AlreadyOnDevice) {
        add(100, "phone-1").await;
    }
    if has(Reason::TokenLimitReached) {
        for n in 0..25_u8 {
            add(n, &format!("other-{n}")).await;
        }
    }
    if has(Reason::CardNotActive) {
        operator.set_card(CARD_ID, State::Suspended).await;
    }
}

/// All 64 sets of reasons, each told whole and in the one order.
#[tokio::test]
async fn every_reason_that_holds_is_told_in_one_order() {
    for set in 0..1_u32 << Reason::ALL.len() {
        let wanted: Vec<Reason> = (0..)
            .zip(Reason::ALL)
            .filter(|(bit, _)| set >> bit & 1 == 1)
            .map(|(_, reason)| reason)
            .collect();
        let world = world().await;
        spoil(&world, &wanted).await;
        let answer = ask(&world, &phone(&world).await).await;
        assert_eq!(answer.status, 200, "{}", answer.shown());
        let names: Vec<_> = wanted.iter().map(|reason| reason.as_str()).collect();
        let json = answer.json();
        assert_eq!(json["reasons"], json!(names));
        assert_eq!(json["eligible"], json!(wanted.is_empty()));
        let text = answer.text();
        assert!(!text.contains(PAN) && !text.contains(CVV) && !text.contains("41111111"));
    }
}

#[tokio::test]
async fn by_default_no_card_goes_into_a_wallet() {
    let world = world().await;
    world.operator().set_merchant(1, |_| {}).await;
    let answer = ask(&world, &phone(&world).await).await.json();
    assert_eq!(answer["reasons"], json!(["wallet_not_enabled"]));
}

#[tokio::test]
async fn of_64_keys_at_once_one_is_told() {
    let world = world().await;
    let first = phone(&world).await;
    let phones: Vec<_> = (0..64)
        .map(|_| Cardholder::with(&world, first.token.clone()))
        .collect();
    let answers = join_all(phones.iter().map(|phone| ask(&world, phone))).await;
    let told = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| is_refused(answer)).count();
    assert_eq!((told, refused), (1, 63));
    let operator = world.operator();
    assert_eq!(operator.logged(Kind::WalletChecked).await.len(), 1);
    assert_eq!(operator.logged(Kind::RevealConflict).await.len(), 1);
    // With the conflict 16 in all, as of any token.
    assert_eq!(operator.logged(Kind::RevealRefused).await.len(), 15);
}

#[tokio::test]
async fn the_same_key_may_ask_again_within_the_window() {
    let world = world().await;
    let phone = phone(&world).await;
    assert_eq!(ask(&world, &phone).await.status, 200);
    world.clock.advance(Duration::from_secs(60));
    let mut other = question(&phone);
    other["wallet"] = json!("SAMSUNG_PAY");
    other["device_type"] = json!("WATCH");
    assert_eq!(
        send(&world, &other).await.status,
        200,
        "60 s after, another wallet"
    );
    world.clock.advance(Duration::from_millis(1));
    assert!(is_refused(&ask(&world, &phone).await));
    let refused = world.operator().logged(Kind::RevealRefused).await;
    assert_eq!(refused[0].event.detail.cause, Some(Cause::WindowClosed));
    let checked = world.operator().logged(Kind::WalletChecked).await;
    assert_eq!(checked.len(), 2);
}

#[tokio::test]
async fn one_token_answers_16_times() {
    let world = world().await;
    let phone = phone(&world).await;
    for _ in 0..16 {
        assert_eq!(ask(&world, &phone).await.status, 200);
    }
    assert!(is_refused(&ask(&world, &phone).await));
    let refused = world.operator().logged(Kind::RevealRefused).await;
    assert_eq!(refused[0].event.detail.cause, Some(Cause::RepeatsExhausted));
}

#[tokio::test]
async fn each_operation_has_its_own_token() {
    let world = world().await;
    let viewer = Cardholder::with(&world, token(&world, "VIEW_CARD").await);
    assert!(is_refused(&ask(&world, &viewer).await));
    assert_eq!(
        viewer.redeem(&["pan"]).await.status,
        200,
        "and is not spent by that"
    );
    let phone = phone(&world).await;
    assert_eq!(phone.redeem(&["pan"]).await.code().1, "token_refused");
    assert_eq!(ask(&world, &phone).await.status, 200);
    assert_eq!(phone.redeem(&["pan"]).await.code().1, "token_refused");
    let refused = world.operator().logged(Kind::RevealRefused).await;
    let causes: Vec<_> = refused.iter().map(|e| e.event.detail.cause).collect();
    assert_eq!(causes, [Some(Cause::WrongOperation); 3]);
}

#[tokio::test]
async fn a_wallet_token_of_a_card_releases_no_fields() {
    let world = world().await;
    let body = json!({"card_no": CARD_NO, "operation": "ADD_CARD_TO_WALLET", "fields": ["pan"]});
    let answer = world.merchant().native(&body).await;
    assert_eq!(answer.code(), (400, "invalid_request".to_owned()));
    let phone = phone(&world).await;
    let issued = world.operator().logged(Kind::TokenIssued).await;
    assert_eq!(issued[0].event.detail.fields, None);
    assert_eq!(ask(&world, &phone).await.status, 200);
    world.clock.advance(Duration::from_secs(61));
    world.app.service.sweep(100).await.unwrap();
    let unconfirmed = world.operator().logged(Kind::RevealUnconfirmed).await;
    assert!(unconfirmed.is_empty(), "nothing was there to be shown");
}

#[tokio::test]
async fn whatever_is_wrong_with_the_token_the_answer_is_the_same() {
    let world = world().await;
    let good = phone(&world).await;
    let never_was = {
        let mut body = question(&good);
        body["token"] = json!("cvt_test_guessed");
        send(&world, &body).await
    };
    let foreign = {
        let mut body = question(&phone(&world).await);
        body["app"] = json!("emb_2");
        let call = post("/client/v1/wallet/eligibility", &body);
        good.send_as_frame(call).await
    };
    let unknown_app = {
        let mut body = question(&phone(&world).await);
        body["app"] = json!("emb_unknown");
        send(&world, &body).await
    };
    let revoked = {
        let phone = phone(&world).await;
        world.operator().revoke(&phone.token).await;
        ask(&world, &phone).await
    };
    let expired = {
        let phone = phone(&world).await;
        world.clock.advance(Duration::from_secs(300));
        ask(&world, &phone).await
    };
    let barred = {
        let phone = phone(&world).await;
        let suspend = |merchant: &mut cardveil_core::merchant::Merchant| {
            merchant.state = MerchantState::Suspended;
        };
        world.operator().set_merchant(1, suspend).await;
        ask(&world, &phone).await
    };
    assert!(is_refused(&never_was));
    for answer in [foreign, unknown_app, revoked, expired, barred] {
        assert_eq!(answer.without_id(), never_was.without_id());
    }
}

#[tokio::test]
async fn the_form_is_checked_first_and_each_member_is_named() {
    let world = world().await;
    let phone = phone(&world).await;
    for (member, value) in [
        ("wallet", json!("apple_pay")),
        ("wallet", json!("GARMIN_PAY")),
        ("device_type", json!("PHONE")),
        ("device_id", json!("")),
        ("device_id", json!("a b")),
        ("device_id", json!("d".repeat(65))),
        ("app", json!("app_1")),
        (
            "key",
            json!({"kty": "EC", "crv": "P-384", "x": "", "y": ""}),
        ),
        ("token", json!(7)),
    ] {
        let mut body = question(&phone);
        body[member] = value.clone();
        let answer = send(&world, &body).await;
        assert_eq!(
            answer.code(),
            (400, "invalid_request".to_owned()),
            "{member} {value}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(&format!("{member}: ")), "{detail}");
    }
    for member in ["token", "app", "key", "wallet", "device_type", "device_id"] {
        let mut body = question(&phone);
        body.as_object_mut().unwrap().shift_remove(member);
        assert_eq!(send(&world, &body).await.status, 400, "{member}");
    }
    let mut more = question(&phone);
    more["fields"] = json!(["pan"]);
    assert_eq!(
        send(&world, &more).await.status,
        400,
        "unknown members are refused"
    );
    let mut longest = question(&phone);
    longest["device_id"] = json!("d".repeat(64));
    assert_eq!(send(&world, &longest).await.status, 200);
}

#[tokio::test]
async fn a_strange_page_is_refused() {
    let world = world().await;
    let phone = phone(&world).await;
    let mut call = post("/client/v1/wallet/eligibility", &question(&phone));
    let headers = call.headers_mut();
    headers.insert("origin", "https://shop.example".parse().unwrap());
    let answer = world.ask(ListenerKind::Client, HOME, call).await;
    assert_eq!(answer.code(), (403, "origin_refused".to_owned()));
    assert_eq!(ask(&world, &phone).await.status, 200);
}

/// P2: what is not on record is not told; what may be on record is looked up.
#[tokio::test]
async fn nothing_is_told_before_it_is_on_record() {
    for (fault, status, records) in [
        (Fault::NotPersisted, 503, 0),
        (Fault::UnknownNotPersisted, 503, 0),
        (Fault::UnknownPersisted, 200, 1),
    ] {
        let world = world().await;
        let phone = phone(&world).await;
        world.store.fail_next(fault);
        assert_eq!(ask(&world, &phone).await.status, status, "{fault:?}");
        let checked = world.operator().logged(Kind::WalletChecked).await;
        assert_eq!(checked.len(), records, "{fault:?}");
        assert_eq!(
            ask(&world, &phone).await.status,
            200,
            "the token is still good"
        );
    }
}

#[tokio::test]
async fn a_token_bound_to_a_key_answers_that_key_alone() {
    let world = world().await;
    let mut owner = Cardholder::with(&world, String::new());
    let body = json!({
        "card_no": CARD_NO, "operation": "ADD_CARD_TO_WALLET", "thumbprint": owner.thumbprint(),
    });
    let issued = world.merchant().native(&body).await.json();
    let token = issued["token"].as_str().unwrap().to_owned();
    let thief = Cardholder::with(&world, token.clone());
    assert!(is_refused(&ask(&world, &thief).await));
    owner.token = token;
    assert_eq!(ask(&world, &owner).await.status, 200);
    assert_eq!(world.operator().logged(Kind::RevealConflict).await.len(), 1);
}

/// The answer is of the card as it is in the commit that records it.
#[tokio::test]
async fn a_card_that_is_suspended_between_the_look_and_the_claim_is_not_eligible() {
    let world = world().await;
    let phone = phone(&world).await;
    let mut suspended = sample::transition(1, State::Suspended, world.clock_now());
    suspended.card = CardRef::Id(CARD_ID.parse().unwrap());
    world.store.move_before_next_claim(suspended);
    let answer = ask(&world, &phone).await.json();
    assert_eq!(answer["eligible"], false);
    assert_eq!(answer["reasons"], json!(["card_not_active"]));
    let checked = world.operator().logged(Kind::WalletChecked).await;
    assert_eq!(checked.len(), 1);
    let note = checked[0].event.detail.note.as_deref();
    assert_eq!(
        note,
        Some("APPLE_PAY on MOBILE_PHONE: card_not_active; without an Origin")
    );
}

/// An embed that pages frame is no app.
#[tokio::test]
async fn what_pages_frame_asks_with_our_origin_alone() {
    let world = world().await;
    let phone = phone(&world).await;
    let mut question = question(&phone);
    question["app"] = json!("emb_1");
    let answer = send(&world, &question).await;
    assert_eq!(answer.code(), (403, "origin_refused".to_owned()));
    let call = post("/client/v1/wallet/eligibility", &question);
    assert_eq!(phone.send_as_frame(call).await.status, 200);
}

/// Later answers of a held token, too.
#[tokio::test]
async fn a_credential_that_is_disabled_ends_it() {
    let world = world().await;
    let phone = phone(&world).await;
    assert_eq!(ask(&world, &phone).await.status, 200);
    let disable = |it: &mut Credential| it.state = CredentialState::Disabled;
    world.operator().set_credential(KEY, disable).await;
    let answer = ask(&world, &phone).await;
    assert_eq!(answer.code(), (403, "token_refused".to_owned()));
}
