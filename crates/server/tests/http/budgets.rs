//! Budgets of reveals: what each dialect says when a card was asked for often.

use std::time::Duration;

use cardveil_core::budget::{Budget, Budgets};
use cardveil_server::log::AccessLog;
use serde_json::json;

use crate::actors::Phone;
use crate::world::{CARD_ID, CARD_NO, PERSON, SECOND_NO, World, settings};

const DAY: Duration = Duration::from_secs(86_400);

/// One reveal of a card a day without a second factor, two with one.
async fn world() -> World {
    let budgets = Budgets {
        card: Some(Budget::new(1, 2, DAY).unwrap()),
        person: None,
    };
    World::with_budgets(settings(), AccessLog::none(), budgets).await
}

#[tokio::test]
async fn keysecure_is_told_when_to_come_back() {
    let world = world().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    let ask = async |card_no: &str| merchant.client_token(card_no, &access).await;
    assert_eq!(ask(CARD_NO).await.code().1, "0");
    let refused = ask(CARD_NO).await;
    assert_eq!(refused.code().1, "1009");
    assert_eq!(refused.header("retry-after"), Some("43200"));
    assert_eq!(ask(SECOND_NO).await.code().1, "0");
    world.clock.advance(Duration::from_secs(43_200));
    let access = merchant.login().await;
    let later = merchant.client_token(CARD_NO, &access).await;
    assert_eq!(later.code().1, "0");
}

/// A second factor opens what is left, where no policy asks for one; then nothing does.
#[tokio::test]
async fn the_others_are_asked_for_a_second_factor_and_then_refused() {
    let world = world().await;
    let merchant = world.merchant();
    let query = "accountId=F50091";
    assert_eq!(merchant.access_token(CARD_ID, query).await.status, 200);
    let needed = merchant.access_token(CARD_ID, query).await;
    assert_eq!(needed.code(), (403, "mfa_required".to_owned()));
    let native = merchant.native(&json!({"card_no": CARD_NO})).await;
    assert_eq!(native.code(), (403, "mfa_required".to_owned()));

    let phone = Phone::of(&world, PERSON).await;
    let session = merchant.session("TOTP").await;
    let wrong = merchant.asserted(&session, &phone.wrong()).await;
    assert_eq!(wrong.code(), (403, "mfa_refused".to_owned()));
    let right = merchant.asserted(&session, &phone.code(0)).await;
    assert_eq!(right.status, 200);

    world.clock.advance(Duration::from_secs(60));
    let session = merchant.session("TOTP").await;
    let exhausted = merchant.asserted(&session, &phone.code(0)).await;
    assert_eq!(exhausted.code(), (429, "rate_limited".to_owned()));
    assert_eq!(exhausted.header("retry-after"), Some("43140"));
}
