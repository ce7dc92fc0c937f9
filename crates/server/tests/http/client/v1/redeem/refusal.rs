//! P6: whatever is wrong with a token, the answer is the same.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::State;
use cardveil_core::merchant::MerchantState;
use cardveil_core::token::{Cause, ClientToken, Epoch};
use cardveil_core::{Time, card::Environment};
use serde_json::json;

use crate::actors::Cardholder;
use crate::world::{Answer, CARD_ID, CARD_NO, CVV, PAN, World};

/// What every refusal is.
fn refusal(answer: &Answer) -> Answer {
    assert_eq!(answer.status, 403, "{}", answer.shown());
    answer.without_id()
}

/// A world, a cardholder in it with a good token, and the refusal of what is then done to it.
async fn refused(spoil: impl AsyncFnOnce(&World, &mut Cardholder<'_>)) -> (Answer, Option<Cause>) {
    let world = World::new().await;
    let mut cardholder = world.cardholder().await;
    spoil(&world, &mut cardholder).await;
    let released = world.operator().logged(Kind::RevealReleased).await.len();
    let answer = cardholder.redeem(&["pan"]).await;
    let operator = world.operator();
    let after = operator.logged(Kind::RevealReleased).await.len();
    assert_eq!(after, released, "a refusal releases nothing");
    let mut causes = operator.logged(Kind::RevealRefused).await;
    causes.extend(operator.logged(Kind::RevealConflict).await);
    (
        refusal(&answer),
        causes.last().and_then(|entry| entry.event.detail.cause),
    )
}

#[tokio::test]
async fn all_refusals_are_one() {
    let told = [
        (
            "unknown",
            refused(async |_, cardholder| {
                let now = Time::from_millis(cardveil_core::testing::sample::START.millis());
                let token = ClientToken::new(Environment::Sandbox, Epoch(0), now, &[9; 32]);
                cardholder.token = token.expose().to_owned();
            })
            .await,
        ),
        (
            "expired",
            refused(async |world, _| {
                world.clock.advance(Duration::from_secs(300));
            })
            .await,
        ),
        (
            "spent",
            refused(async |world, cardholder| {
                let first = Cardholder::with(world, cardholder.token.clone());
                assert_eq!(first.redeem(&["pan"]).await.status, 200);
            })
            .await,
        ),
        (
            "revoked",
            refused(async |world, cardholder| {
                world.operator().revoke(&cardholder.token).await;
            })
            .await,
        ),
        (
            "foreign embed",
            refused(async |_, cardholder| {
                cardholder.embed = "emb_2".to_owned();
            })
            .await,
        ),
        (
            "unknown embed",
            refused(async |_, cardholder| {
                cardholder.embed = "emb_404".to_owned();
            })
            .await,
        ),
        (
            "disabled embed",
            refused(async |world, _| {
                world
                    .operator()
                    .set_embed(1, |embed| embed.enabled = false)
                    .await;
            })
            .await,
        ),
        (
            "suspended merchant",
            refused(async |world, _| {
                world
                    .operator()
                    .set_merchant(1, |m| m.state = MerchantState::Suspended)
                    .await;
            })
            .await,
        ),
        (
            "closed merchant",
            refused(async |world, _| {
                world
                    .operator()
                    .set_merchant(1, |m| m.state = MerchantState::Closed)
                    .await;
            })
            .await,
        ),
        (
            "merchant without PCI",
            refused(async |world, _| {
                world
                    .operator()
                    .set_merchant(1, |m| m.pci_enabled = false)
                    .await;
            })
            .await,
        ),
        (
            "frozen card",
            refused(async |world, _| {
                world.operator().set_card(CARD_ID, State::Suspended).await;
            })
            .await,
        ),
        (
            "old epoch",
            refused(async |world, _| world.operator().raise_epoch().await).await,
        ),
        (
            "other fields",
            refused(async |world, cardholder| {
                let body = json!({"card_no": CARD_NO, "fields": ["expiry"]});
                let issued = world.merchant().native(&body).await.json();
                cardholder.token = issued["token"].as_str().unwrap().to_owned();
            })
            .await,
        ),
        (
            "wrong operation",
            refused(async |world, cardholder| {
                let body = json!({"card_no": CARD_NO, "operation": "ADD_CARD_TO_WALLET"});
                let issued = world.merchant().native(&body).await.json();
                cardholder.token = issued["token"].as_str().unwrap().to_owned();
            })
            .await,
        ),
        (
            "bound to another key",
            refused(async |world, cardholder| {
                let other = Cardholder::with(world, String::new());
                let body = json!({"card_no": CARD_NO, "thumbprint": other.thumbprint()});
                let issued = world.merchant().native(&body).await.json();
                cardholder.token = issued["token"].as_str().unwrap().to_owned();
            })
            .await,
        ),
        (
            "wrong environment",
            refused(async |world, cardholder| {
                let now = Time::from_millis(world.now_ms());
                let token = ClientToken::new(Environment::Live, Epoch(0), now, &[9; 32]);
                cardholder.token = token.expose().to_owned();
            })
            .await,
        ),
        (
            "empty",
            refused(async |_, cardholder| cardholder.token.clear()).await,
        ),
        (
            "garbage",
            refused(async |_, cardholder| {
                cardholder.token = "\u{1f600}\0'; --".repeat(100);
            })
            .await,
        ),
        (
            "a card number",
            refused(async |_, cardholder| cardholder.token = PAN.to_owned()).await,
        ),
    ];
    let (_, (first, _)) = &told[0];
    for (name, (answer, _)) in &told {
        assert_eq!(answer, first, "{name}");
    }
    let causes: Vec<_> = told
        .iter()
        .map(|(name, (_, cause))| (*name, *cause))
        .collect();
    assert_eq!(
        causes,
        [
            ("unknown", Some(Cause::Unknown)),
            ("expired", Some(Cause::Expired)),
            ("spent", Some(Cause::OtherKey)),
            ("revoked", Some(Cause::Revoked)),
            ("foreign embed", Some(Cause::Foreign)),
            ("unknown embed", Some(Cause::Foreign)),
            ("disabled embed", Some(Cause::Foreign)),
            ("suspended merchant", Some(Cause::MerchantBarred)),
            ("closed merchant", Some(Cause::MerchantBarred)),
            ("merchant without PCI", Some(Cause::MerchantBarred)),
            ("frozen card", Some(Cause::CardState)),
            ("old epoch", Some(Cause::OldEpoch)),
            ("other fields", Some(Cause::FieldNotAllowed)),
            ("wrong operation", Some(Cause::WrongOperation)),
            ("bound to another key", Some(Cause::OtherKey)),
            ("wrong environment", None),
            ("empty", None),
            ("garbage", None),
            ("a card number", None),
        ]
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&first.json()).unwrap(), @r#"
    {
      "code": "token_refused",
      "detail": "Ask for a new token and try again.",
      "status": 403,
      "title": "The token is refused",
      "type": "urn:cardveil:problem:token_refused"
    }
    "#);
}

#[tokio::test]
async fn a_token_with_one_character_altered_is_the_same_refusal() {
    let world = World::new().await;
    let mut cardholder = world.cardholder().await;
    let token = cardholder.token.clone();
    let mut first = None;
    for place in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[place] = if altered[place] == b'x' { b'y' } else { b'x' };
        cardholder.token = String::from_utf8(altered).unwrap();
        let answer = refusal(&cardholder.redeem(&["pan"]).await);
        assert_eq!(
            *first.get_or_insert_with(|| answer.clone()),
            answer,
            "{place}"
        );
    }
    for altered in [
        format!(" {token}"),
        format!("{token}\n"),
        token.to_uppercase(),
    ] {
        cardholder.token = altered;
        assert_eq!(first, Some(refusal(&cardholder.redeem(&["pan"]).await)));
    }
    cardholder.token = token;
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
}

#[tokio::test]
async fn it_is_good_until_300_seconds_less_a_millisecond() {
    let world = World::new().await;
    let last = world.cardholder().await;
    world.clock.advance(Duration::from_millis(299_999));
    assert_eq!(last.redeem(&["pan"]).await.status, 200);
}

#[tokio::test]
async fn an_unknown_token_is_on_record_too() {
    let world = World::new().await;
    let mut cardholder = world.cardholder().await;
    let now = Time::from_millis(world.now_ms());
    cardholder.token = ClientToken::new(Environment::Sandbox, Epoch(0), now, &[9; 32])
        .expose()
        .to_owned();
    refusal(&cardholder.redeem(&["pan"]).await);
    assert_eq!(world.operator().logged(Kind::RevealRefused).await.len(), 1);
}

/// No answer that refuses repeats a token, a key or anything of a card.
#[tokio::test]
async fn an_error_holds_nothing_of_a_token_a_key_or_a_card() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let good = cardholder.ask_for(&["pan"]);
    let mut answers = Vec::new();
    for spoil in ["token", "embed", "key", "fields", "attempt"] {
        let mut body = good.clone();
        body[spoil] = json!(format!("{}x", cardholder.token));
        answers.push(cardholder.send(&body).await);
        body[spoil] = json!({PAN: cardholder.token, CVV: PAN});
        answers.push(cardholder.send(&body).await);
        body[spoil] = json!([PAN, CVV, cardholder.token]);
        answers.push(cardholder.send(&body).await);
        body.as_object_mut().unwrap().remove(spoil);
        answers.push(cardholder.send(&body).await);
    }
    let mut body = good.clone();
    body[cardholder.token.clone()] = json!(1);
    answers.push(cardholder.send(&body).await);
    let x = good["key"]["x"].as_str().unwrap();
    for answer in answers {
        assert!(
            answer.status == 400 || answer.status == 403,
            "{}",
            answer.shown()
        );
        let shown = answer.shown();
        for secret in [cardholder.token.as_str(), x, PAN, "739", "cvt_"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
