//! The second factor of `GET /v2/cards/{cardId}/access-token`: `sessionId` and `token`.

use std::time::Duration;

use cardveil_core::audit::{Detail, Event, Kind};
use cardveil_core::card::State;
use cardveil_core::mfa::{MfaPolicy, PAUSE, Policy};
use cardveil_core::token::Cause;
use cardveil_testkit::Fault;

use super::{good, is};
use crate::actors::{Cardholder, Merchant, Phone, session_for};
use crate::world::{Answer, CARD_ID, KEY, OWN_KEY, PERSON, SECOND_ID, SECOND_PERSON, World};

const PLAIN: &str = "accountId=F50091";

async fn world(view_card: Policy) -> World {
    let world = World::new().await;
    world
        .operator()
        .set_merchant(1, |merchant| merchant.mfa.view_card = view_card)
        .await;
    world
}

/// The cause of the last refusal of a second factor, which its caller is not told.
async fn cause(world: &World) -> Cause {
    let refused = world.operator().logged(Kind::MfaRefused).await;
    refused.last().unwrap().event.detail.cause.unwrap()
}

fn otp(world: &World, session: &str) -> String {
    let code = world
        .app
        .service
        .otp_code(&session.parse().unwrap())
        .unwrap();
    String::from_utf8(code.expose().to_vec()).unwrap()
}

async fn issued(world: &World) -> Vec<Event> {
    let entries = world.operator().logged(Kind::TokenIssued).await;
    entries.into_iter().map(|entry| entry.event).collect()
}

#[tokio::test]
async fn an_app_s_code_gives_one_token() {
    let world = world(Policy::Required).await;
    let phone = Phone::of(&world, PERSON).await;
    let merchant = world.merchant();
    let session = merchant.session("TOTP").await;
    let answer = merchant.asserted(&session, &phone.code(0)).await;
    good(&answer);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let cardholder = Cardholder::with(&world, token);
    assert_eq!(
        cardholder.open(&cardholder.redeem(&["cvv"]).await)["cvv"],
        "739"
    );
    let again = merchant.asserted(&session, &phone.code(1)).await;
    is(&again, 403, "mfa_refused");
    assert_eq!(cause(&world).await, Cause::SessionSpent);
    let events = issued(&world).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].target.session.unwrap().to_string(), session);
}

#[tokio::test]
async fn a_delivered_code_gives_one_token() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    let session = merchant.session("OTP").await;
    let code = otp(&world, &session);
    assert_eq!(
        code,
        otp(&world, &session),
        "the same, each time it is delivered"
    );
    good(&merchant.asserted(&session, &code).await);
    is(
        &merchant.asserted(&session, &code).await,
        403,
        "mfa_refused",
    );
    let other = merchant.session("OTP").await;
    is(&merchant.asserted(&other, &code).await, 403, "mfa_refused");
}

#[tokio::test]
async fn without_session_or_code_it_says_that_it_needs_them() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    let session = merchant.session("OTP").await;
    for query in [
        PLAIN.to_owned(),
        format!("{PLAIN}&sessionId={session}"),
        format!("{PLAIN}&sessionId={session}&token="),
        format!("{PLAIN}&token=123456"),
    ] {
        is(
            &merchant.access_token(CARD_ID, &query).await,
            403,
            "mfa_required",
        );
    }
    assert!(world.operator().logged(Kind::MfaRefused).await.is_empty());
    assert!(issued(&world).await.is_empty());
}

/// Whatever is wrong: the same bytes.
#[tokio::test]
async fn there_is_one_refusal() {
    let world = world(Policy::Required).await;
    let phone = Phone::of(&world, PERSON).await;
    let merchant = world.merchant();
    let open = async || merchant.session("TOTP").await;
    let first = merchant.asserted(&open().await, &phone.wrong()).await;
    is(&first, 403, "mfa_refused");
    let first = first.without_id();
    insta::assert_snapshot!(first.text(), @r#"{"type":"urn:cardveil:problem:mfa_refused","title":"The second factor is refused","status":403,"code":"mfa_refused","detail":"Ask the person for their present code, or open a new MFA session."}"#);
    assert_eq!(cause(&world).await, Cause::WrongCode);

    let same = async |answer: Answer, expected: Cause| {
        assert_eq!(answer.without_id(), first, "{expected:?}");
        assert_eq!(cause(&world).await, expected);
    };
    same(
        merchant
            .asserted("c92e2960-b745-4b38-8e77-898b2f9ad9bb", "123456")
            .await,
        Cause::Unknown,
    )
    .await;
    same(merchant.asserted("none", "123456").await, Cause::Unknown).await;
    same(
        merchant.asserted(&open().await, &phone.code(-1)).await,
        Cause::CodeReused,
    )
    .await;
    for odd in ["12345", "1234567", "abcdef", "%20", "१२३४५६"] {
        same(
            merchant.asserted(&open().await, odd).await,
            Cause::WrongCode,
        )
        .await;
    }

    let spent = open().await;
    good(&merchant.asserted(&spent, &phone.code(0)).await);
    same(
        merchant.asserted(&spent, &phone.code(1)).await,
        Cause::SessionSpent,
    )
    .await;
    same(
        merchant.asserted(&open().await, &phone.code(0)).await,
        Cause::CodeReused,
    )
    .await;

    let wallet = {
        let mut body = session_for("TOTP");
        body["operationName"] = "ADD_CARD_TO_WALLET".into();
        let answer = merchant.mfa_session(&body).await;
        answer.json()["sessionId"].as_str().unwrap().to_owned()
    };
    same(
        merchant.asserted(&wallet, &phone.code(1)).await,
        Cause::WrongOperation,
    )
    .await;

    let expired = open().await;
    world.clock.advance(Duration::from_secs(300));
    same(
        merchant.asserted(&expired, &phone.code(0)).await,
        Cause::Expired,
    )
    .await;

    let locked = open().await;
    for _ in 0..5 {
        same(
            merchant.asserted(&locked, &phone.wrong()).await,
            Cause::WrongCode,
        )
        .await;
    }
    same(
        merchant.asserted(&locked, &phone.code(0)).await,
        Cause::SessionLocked,
    )
    .await;
}

#[tokio::test]
async fn a_session_is_of_one_card_person_and_merchant() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    let session = merchant.session("OTP").await;
    let code = otp(&world, &session);
    let query = format!("{PLAIN}&sessionId={session}&token={code}");
    is(
        &merchant.access_token(SECOND_ID, &query).await,
        403,
        "mfa_refused",
    );
    assert_eq!(cause(&world).await, Cause::Foreign);

    world
        .operator()
        .set_merchant(2, |merchant| merchant.mfa.view_card = Policy::Required)
        .await;
    let other = Merchant::new(&world, crate::world::OTHER_KEY);
    let foreign = other.access_token(crate::world::FOREIGN_ID, &query).await;
    is(&foreign, 403, "mfa_refused");
    assert_eq!(cause(&world).await, Cause::Foreign);
    good(&merchant.asserted(&session, &code).await);
}

/// The session is the merchant's: which of its credentials brings it does not matter.
#[tokio::test]
async fn another_credential_of_the_merchant_may_bring_it() {
    let world = world(Policy::Required).await;
    let session = world.merchant().session("OTP").await;
    let own = Merchant::new(&world, OWN_KEY);
    good(&own.asserted(&session, &otp(&world, &session)).await);
}

#[tokio::test]
async fn a_code_is_good_one_step_before_and_after() {
    for (step, expected) in [(-2, 403), (0, 200), (1, 200), (2, 403)] {
        let world = world(Policy::Required).await;
        let phone = Phone::of(&world, PERSON).await;
        let session = world.merchant().session("TOTP").await;
        let answer = world.merchant().asserted(&session, &phone.code(step)).await;
        assert_eq!(answer.status, expected, "{step}");
    }
    // The step before was used up by the confirmation; a step later it is the step before that.
    let world = world(Policy::Required).await;
    let phone = Phone::of(&world, PERSON).await;
    world.clock.advance(Duration::from_secs(30));
    let session = world.merchant().session("TOTP").await;
    good(&world.merchant().asserted(&session, &phone.code(-1)).await);
}

#[tokio::test]
async fn a_session_ends_after_five_minutes() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    let (last, late) = (merchant.session("OTP").await, merchant.session("OTP").await);
    world.clock.advance(Duration::from_millis(299_999));
    good(&merchant.asserted(&last, &otp(&world, &last)).await);
    world.clock.advance(Duration::from_millis(1));
    is(
        &merchant.asserted(&late, &otp(&world, &late)).await,
        403,
        "mfa_refused",
    );
}

#[tokio::test]
async fn the_fifth_wrong_code_ends_it() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    for (wrong, passes) in [(4, true), (5, false)] {
        let session = merchant.session("OTP").await;
        let code = otp(&world, &session);
        for _ in 0..wrong {
            is(
                &merchant.asserted(&session, "wrong").await,
                403,
                "mfa_refused",
            );
        }
        let answer = merchant.asserted(&session, &code).await;
        assert_eq!(answer.status == 200, passes, "{wrong}");
    }
    let paused = merchant.mfa_session(&session_for("OTP")).await;
    is(&paused, 429, "rate_limited");
    assert_eq!(paused.header("retry-after"), Some("900"));
    world
        .clock
        .advance(PAUSE.saturating_sub(Duration::from_millis(1)));
    let paused = merchant.mfa_session(&session_for("OTP")).await;
    assert_eq!(paused.header("retry-after"), Some("1"));
    world.clock.advance(Duration::from_millis(1));
    let session = merchant.session("OTP").await;
    good(&merchant.asserted(&session, &otp(&world, &session)).await);
}

#[tokio::test]
async fn a_delegated_factor_is_the_merchants_word_and_is_on_record_folk_care_76() {
    let world = world(Policy::Delegated).await;
    let merchant = world.merchant();
    is(
        &merchant.access_token(CARD_ID, PLAIN).await,
        403,
        "mfa_required",
    );
    let unset = [
        "undefined",
        "null",
        "0",
        "NaN",
        "[object%20Object]",
        "session_id",
    ];
    for wrong in unset
        .into_iter()
        .chain(["a%20b", "%C3%A9", &"x".repeat(65)])
    {
        let query = format!("{PLAIN}&sessionId={wrong}");
        let answer = merchant.access_token(CARD_ID, &query).await;
        is(&answer, 400, "invalid_request");
        let told = String::from_utf8(answer.body).unwrap();
        assert!(told.contains("write for nothing"), "{told}");
    }
    for (sent, recorded) in [
        ("sca-2026.11:42", "sca-2026.11:42"),
        ("4111111111111111", "411111______1111"),
    ] {
        let query = format!("{PLAIN}&sessionId={sent}&token=anything");
        good(&merchant.access_token(CARD_ID, &query).await);
        let Detail { attested, .. } = issued(&world).await.pop().unwrap().detail;
        assert_eq!(attested.as_deref(), Some(recorded));
    }
}

#[tokio::test]
async fn off_means_that_both_are_ignored() {
    let world = world(Policy::Off).await;
    let merchant = world.merchant();
    for query in [
        "",
        "&sessionId=4111111111111111",
        "&token=000000",
        "&sessionId=a%20b&token=x",
    ] {
        good(
            &merchant
                .access_token(CARD_ID, &format!("{PLAIN}{query}"))
                .await,
        );
    }
    let twice = format!("{PLAIN}&sessionId=a&sessionId=b");
    is(
        &merchant.access_token(CARD_ID, &twice).await,
        400,
        "invalid_request",
    );
    for event in issued(&world).await {
        assert_eq!((event.detail.attested, event.target.session), (None, None));
    }
}

#[tokio::test]
async fn each_operation_has_its_own_policy() {
    let world = World::new().await;
    world
        .operator()
        .set_merchant(1, |merchant| {
            merchant.mfa = MfaPolicy {
                view_card: Policy::Off,
                add_card_to_wallet: Policy::Required,
                ..MfaPolicy::default()
            };
        })
        .await;
    let merchant = world.merchant();
    good(&merchant.access_token(CARD_ID, PLAIN).await);
    let wallet = format!("{PLAIN}&operationName=ADD_CARD_TO_WALLET");
    is(
        &merchant.access_token(CARD_ID, &wallet).await,
        403,
        "mfa_required",
    );
}

/// What the merchant may know without a second factor is told before it.
#[tokio::test]
async fn the_card_is_looked_at_before_the_code() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    let unknown = "22222222-5eb3-4dbc-916c-dbaf9e2deefd";
    is(
        &merchant.access_token(unknown, PLAIN).await,
        404,
        "not_found",
    );
    let own = Merchant::new(&world, OWN_KEY);
    let second = format!("{PLAIN}&personId={SECOND_PERSON}");
    is(
        &own.access_token(SECOND_ID, &second).await,
        404,
        "not_found",
    );
    world.operator().set_card(CARD_ID, State::Suspended).await;
    let session = merchant.session("OTP").await;
    let code = otp(&world, &session);
    is(
        &merchant.asserted(&session, &code).await,
        403,
        "card_not_viewable",
    );
    world.operator().set_card(CARD_ID, State::Active).await;
    good(&merchant.asserted(&session, &code).await);
}

/// A commit that does not answer may have spent the session: never two tokens, whatever it was.
#[tokio::test]
async fn a_store_that_fails_gives_one_token_at_most() {
    for (fault, then) in [
        (Fault::NotPersisted, 200),
        (Fault::UnknownNotPersisted, 200),
        (Fault::UnknownPersisted, 403),
    ] {
        let world = world(Policy::Required).await;
        let merchant = world.merchant();
        let session = merchant.session("OTP").await;
        let code = otp(&world, &session);
        world.store.fail_next(fault);
        is(
            &merchant.asserted(&session, &code).await,
            503,
            "unavailable",
        );
        let again = merchant.asserted(&session, &code).await;
        assert_eq!(again.status, then, "{fault:?}");
        assert_eq!(issued(&world).await.len(), 1, "{fault:?}");
    }
}

/// A wrong code whose refusal could not be written is told as our fault, and counts if it is there.
#[tokio::test]
async fn a_wrong_code_is_counted_before_it_is_told() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    let session = merchant.session("OTP").await;
    let code = otp(&world, &session);
    for _ in 0..5 {
        world.store.fail_next(Fault::UnknownPersisted);
        is(
            &merchant.asserted(&session, "wrong").await,
            503,
            "unavailable",
        );
    }
    is(
        &merchant.asserted(&session, &code).await,
        403,
        "mfa_refused",
    );
    assert_eq!(cause(&world).await, Cause::SessionLocked);
}

/// KeySecure has no place for a session and a code.
#[tokio::test]
async fn the_other_dialect_is_told_that_it_cannot() {
    for policy in [Policy::Required, Policy::Delegated] {
        let world = world(policy).await;
        let merchant = world.merchant();
        let access = merchant.login().await;
        let answer = merchant.client_token(crate::world::CARD_NO, &access).await;
        assert_eq!(answer.code(), (200, "1012".to_owned()));
        assert!(issued(&world).await.is_empty());
    }
}

/// Codes, secrets and what merchants attest with a number in it are nowhere on record.
#[tokio::test]
async fn no_code_and_no_secret_is_on_record() {
    let world = world(Policy::Required).await;
    let merchant = world.merchant();
    let delivered = merchant.session("OTP").await;
    let phone = Phone::of(&world, PERSON).await;
    let app = merchant.session("TOTP").await;
    let codes = [phone.code(0), otp(&world, &delivered), phone.wrong()];
    merchant.asserted(&app, &codes[2]).await;
    good(&merchant.asserted(&app, &codes[0]).await);
    good(&merchant.asserted(&delivered, &codes[1]).await);
    let log = serde_json::to_string(&world.operator().log().await).unwrap();
    for code in &codes {
        assert!(!log.contains(&format!("\"{code}\"")), "{code}");
    }
    for secret in ["12345678901234567890", "GEZDGNBVGY3TQOJQ", KEY] {
        assert!(!log.contains(secret), "{secret}");
    }
}
