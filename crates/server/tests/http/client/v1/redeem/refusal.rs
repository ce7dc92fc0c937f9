//! P6: whatever is wrong with a token, the answer is the same.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::{Environment, State};
use cardveil_core::merchant::{Credential, CredentialState, MerchantState, Scope};
use cardveil_core::token::{Cause, ClientToken, Epoch, LIFE, RETENTION, Said};
use cardveil_testkit::sample::START;
use serde_json::{Value, json};

use crate::actors::{Cardholder, post};
use crate::world::{Answer, CARD_ID, CARD_NO, CVV, KEY, PAN, SECOND_PERSON, World, app};

/// What every refusal is.
fn refusal(answer: &Answer) -> Answer {
    assert_eq!(answer.status, 403, "{}", answer.shown());
    answer.without_id()
}

/// In all its parts one of ours, but for its check, which `mac` makes.
fn written(
    environment: Environment,
    mac: impl FnOnce(&[&[u8]]) -> Result<[u8; 32], cardveil_core::vault::Error>,
) -> String {
    let said = Said {
        environment,
        epoch: Epoch(0),
        issued_at: START,
        random: &[9; 32],
    };
    let token = ClientToken::new(&said, 1, mac).unwrap();
    token.expose().to_owned()
}

/// Anybody can write this.
fn forged_token(environment: Environment) -> String {
    written(environment, |_| Ok([7; 32]))
}

/// We made it, and there is no row of it.
fn unknown_token(world: &World) -> String {
    let vault = world.app.service.vault();
    written(Environment::Sandbox, |parts| vault.mac_under(1, parts))
}

/// A cardholder's good token is spoilt; then the answer is that of a token that never was, nothing
/// is released, and the audit log has the cause. A text that is no token leaves no record. The same
/// of one that was not for the field that is asked for: of fields only who holds a good token is
/// told.
async fn is_the_refusal(cause: Option<Cause>, spoil: impl AsyncFn(&World, &mut Cardholder<'_>)) {
    for fields in [["pan", "expiry"], ["expiry", "name"]] {
        let world = World::new().await;
        let body = json!({"card_no": CARD_NO, "fields": fields});
        let mut cardholder = Cardholder::with(&world, issued(&world, &body).await);
        spoil(&world, &mut cardholder).await;
        let operator = world.operator();
        let before = operator.log().await.len();
        let answer = cardholder.redeem(&["pan"]).await;
        let written = operator.log().await.split_off(before);
        let causes: Vec<_> = written
            .iter()
            .map(|entry| entry.event.detail.cause)
            .collect();
        assert_eq!(causes, cause.map(Some).into_iter().collect::<Vec<_>>());
        assert!(
            written
                .iter()
                .all(|entry| entry.event.kind != Kind::RevealReleased)
        );
        let never_was = Cardholder::with(&world, forged_token(Environment::Sandbox));
        assert_eq!(refusal(&answer), refusal(&never_was.redeem(&["pan"]).await));
    }
}

#[tokio::test]
async fn the_refusal() {
    let world = World::new().await;
    let never_was = Cardholder::with(&world, forged_token(Environment::Sandbox));
    insta::assert_snapshot!(never_was.redeem(&["pan"]).await.shown());
}

async fn issued(world: &World, body: &Value) -> String {
    let answer = world.merchant().native(body).await.json();
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_unknown_token() {
    is_the_refusal(None, async |world, cardholder| {
        cardholder.token = unknown_token(world);
    })
    .await;
}

#[tokio::test]
async fn a_token_expires_at_exactly_300_seconds() {
    is_the_refusal(Some(Cause::Expired), async |world, _| {
        world.clock.advance(Duration::from_secs(300));
    })
    .await;
}

#[tokio::test]
async fn a_spent_token() {
    is_the_refusal(Some(Cause::OtherKey), async |world, cardholder| {
        let first = Cardholder::with(world, cardholder.token.clone());
        assert_eq!(first.redeem(&["expiry"]).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token() {
    is_the_refusal(Some(Cause::Revoked), async |world, cardholder| {
        world.operator().revoke(&cardholder.token).await;
    })
    .await;
}

#[tokio::test]
async fn a_foreign_embed() {
    is_the_refusal(Some(Cause::Foreign), async |_, cardholder| {
        cardholder.embed = "emb_2".to_owned();
    })
    .await;
}

#[tokio::test]
async fn an_unknown_embed() {
    is_the_refusal(Some(Cause::Foreign), async |_, cardholder| {
        cardholder.embed = "emb_404".to_owned();
    })
    .await;
}

#[tokio::test]
async fn a_disabled_embed() {
    is_the_refusal(Some(Cause::Foreign), async |world, _| {
        world
            .operator()
            .set_embed(1, |embed| embed.enabled = false)
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_suspended_merchant() {
    is_the_refusal(Some(Cause::MerchantBarred), async |world, _| {
        world
            .operator()
            .set_merchant(1, |m| m.state = MerchantState::Suspended)
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_merchant_that_has_gone() {
    is_the_refusal(Some(Cause::MerchantBarred), async |world, _| {
        world
            .operator()
            .set_merchant(1, |m| m.state = MerchantState::Closed)
            .await;
    })
    .await;
}

/// Out of use in the moment of the command, whatever was issued before.
#[tokio::test]
async fn a_credential_that_is_disabled() {
    is_the_refusal(Some(Cause::Revoked), async |world, _| {
        let disable = |it: &mut Credential| it.state = CredentialState::Disabled;
        world.operator().set_credential(KEY, disable).await;
    })
    .await;
}

#[tokio::test]
async fn a_credential_that_has_expired() {
    is_the_refusal(Some(Cause::Revoked), async |world, _| {
        let now = world.clock_now();
        let expire = |it: &mut Credential| it.expires_at = Some(now);
        world.operator().set_credential(KEY, expire).await;
    })
    .await;
}

#[tokio::test]
async fn a_credential_that_is_bound_to_another_person_since() {
    is_the_refusal(Some(Cause::Revoked), async |world, _| {
        let bind = |it: &mut Credential| {
            it.scopes = vec![Scope::CardsReadOwn];
            it.person = Some(SECOND_PERSON.parse().unwrap());
        };
        world.operator().set_credential(KEY, bind).await;
    })
    .await;
}

#[tokio::test]
async fn an_embed_that_the_token_is_not_bound_to() {
    is_the_refusal(Some(Cause::Foreign), async |world, cardholder| {
        let app = app(world).await;
        let body = json!({"card_no": CARD_NO, "embed": app});
        cardholder.token = issued(world, &body).await;
    })
    .await;
}

/// Whoever holds one token of ours writes 16 records with it, and no more.
#[tokio::test]
async fn a_flood_with_one_token_is_16_records() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    world.operator().raise_epoch().await;
    for _ in 0..40 {
        refusal(&cardholder.redeem(&["pan"]).await);
    }
    let records = world.operator().logged(Kind::RevealRefused).await;
    assert_eq!(records.len(), 16);
}

#[tokio::test]
async fn a_merchant_that_may_not_show_cards() {
    is_the_refusal(Some(Cause::MerchantBarred), async |world, _| {
        world
            .operator()
            .set_merchant(1, |m| m.pci_enabled = false)
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_frozen_card() {
    is_the_refusal(Some(Cause::CardState), async |world, _| {
        world.operator().set_card(CARD_ID, State::Suspended).await;
    })
    .await;
}

#[tokio::test]
async fn an_older_epoch() {
    is_the_refusal(Some(Cause::OldEpoch), async |world, _| {
        world.operator().raise_epoch().await;
    })
    .await;
}

#[tokio::test]
async fn another_operation() {
    is_the_refusal(Some(Cause::WrongOperation), async |world, cardholder| {
        let body = json!({"card_no": CARD_NO, "operation": "ADD_CARD_TO_WALLET"});
        cardholder.token = issued(world, &body).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_bound_to_another_key() {
    is_the_refusal(Some(Cause::OtherKey), async |world, cardholder| {
        let other = Cardholder::with(world, String::new());
        let body = json!({"card_no": CARD_NO, "thumbprint": other.thumbprint()});
        cardholder.token = issued(world, &body).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_of_another_environment() {
    is_the_refusal(None, async |_, cardholder| {
        cardholder.token = forged_token(Environment::Live);
    })
    .await;
}

#[tokio::test]
async fn a_text_that_is_no_token() {
    is_the_refusal(None, async |_, cardholder| {
        cardholder.token = "\u{1f600}\0'; --".repeat(100);
    })
    .await;
}

/// A right checksum is no proof: anybody can compute one.
#[tokio::test]
async fn a_token_that_we_did_not_make() {
    is_the_refusal(None, async |_, cardholder| {
        cardholder.token = forged_token(Environment::Sandbox);
    })
    .await;
}

#[tokio::test]
async fn a_token_of_the_first_form_where_none_was_ever_issued() {
    is_the_refusal(None, async |_, cardholder| {
        let said = Said {
            environment: Environment::Sandbox,
            epoch: Epoch(0),
            issued_at: START,
            random: &[9; 32],
        };
        cardholder.token = ClientToken::in_first_form(&said).expose().to_owned();
    })
    .await;
}

#[tokio::test]
async fn a_token_past_its_life_by_its_own_time() {
    is_the_refusal(None, async |world, _| world.clock.advance(LIFE)).await;
}

/// 28,000 of them once made 28,000 records.
#[tokio::test]
async fn what_we_did_not_make_is_counted_and_leaves_no_record() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let ours = cardholder.token.clone();
    let before = world.operator().log().await.len();
    let forged = forged_token(Environment::Sandbox);
    for path in ["redeem", "events", "wallet/eligibility"] {
        for token in [&forged, "garbage", &ours] {
            if *token == ours {
                world.clock.set(START.plus(RETENTION));
            }
            let mut body = match path {
                "redeem" => cardholder.ask_for(&["pan"]),
                "events" => json!({"redemption": "rdm_1", "event": "displayed"}),
                _ => json!({
                    "app": "emb_1", "key": cardholder.ask_for(&["pan"])["key"],
                    "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "1",
                }),
            };
            body["token"] = json!(token);
            let request = post(&format!("/client/v1/{path}"), &body);
            let answer = cardholder.send_as_frame(request).await;
            assert_eq!(answer.json()["code"], "token_refused", "{path} {token}");
        }
    }
    assert_eq!(world.operator().log().await.len(), before);
    for name in ["malformed", "forged", "past_life"] {
        let counter = format!("cardveil_tokens_{name}_total");
        assert_eq!(world.counted(&counter).await, 3, "{name}");
    }
}

#[tokio::test]
async fn an_empty_token() {
    is_the_refusal(None, async |_, cardholder| {
        cardholder.token.clear();
    })
    .await;
}

#[tokio::test]
async fn a_card_number() {
    is_the_refusal(None, async |_, cardholder| {
        cardholder.token = PAN.to_owned();
    })
    .await;
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
