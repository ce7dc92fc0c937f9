//! P1: to at most one key, ever.

use cardveil_core::audit::Kind;
use cardveil_core::card::{CardRef, State};
use cardveil_core::merchant::{Credential, CredentialState, Embed, Merchant, MerchantState};
use cardveil_core::port::{Change, Set};
use cardveil_core::token::Cause;
use cardveil_testkit::sample;
use futures_util::future::join_all;
use serde_json::json;

use crate::actors::{Cardholder, Thief};
use crate::world::{CARD_ID, KEY, World};

#[tokio::test]
async fn of_64_keys_at_once_one_gets_the_card() {
    let world = World::new().await;
    let token = world.cardholder().await.token;
    let holders: Vec<_> = (0..64)
        .map(|_| Cardholder::with(&world, token.clone()))
        .collect();
    let answers = join_all(holders.iter().map(|holder| holder.redeem(&["pan", "cvv"]))).await;
    assert_one_card(&world, &holders, &answers).await;
}

/// The same on several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_keys_on_four_threads_one_gets_the_card() {
    let world = std::sync::Arc::new(World::new().await);
    let token = world.cardholder().await.token;
    let tasks = (0..64).map(|_| {
        let (world, token) = (std::sync::Arc::clone(&world), token.clone());
        tokio::spawn(async move {
            let holder = Cardholder::with(&world, token);
            let answer = holder.redeem(&["pan", "cvv"]).await;
            let opened = (answer.status == 200).then(|| holder.open(&answer));
            (answer.without_id(), opened)
        })
    });
    let answers: Vec<_> = join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let opened: Vec<_> = answers
        .iter()
        .filter_map(|(_, opened)| opened.clone())
        .collect();
    assert_eq!(opened, [json!({"pan": "4111111111111111", "cvv": "739"})]);
    let mut refusals = answers.iter().filter(|(_, opened)| opened.is_none());
    let (first, _) = refusals.next().unwrap();
    assert!(refusals.all(|(refusal, _)| refusal == first));
    let operator = world.operator();
    assert_eq!(operator.logged(Kind::RevealReleased).await.len(), 1);
    assert_eq!(operator.logged(Kind::RevealConflict).await.len(), 1);
}

async fn assert_one_card(
    world: &World,
    holders: &[Cardholder<'_>],
    answers: &[crate::world::Answer],
) {
    let (released, refused): (Vec<_>, Vec<_>) = holders
        .iter()
        .zip(answers)
        .partition(|(_, answer)| answer.status == 200);
    assert_eq!((released.len(), refused.len()), (1, 63));
    let (winner, answer) = released[0];
    assert_eq!(
        winner.open(answer),
        json!({"pan": "4111111111111111", "cvv": "739"})
    );
    for (_, answer) in &refused {
        assert_eq!(answer.code(), (403, "token_refused".to_owned()));
        assert_eq!(answer.without_id(), refused[0].1.without_id());
    }
    let operator = world.operator();
    assert_eq!(operator.logged(Kind::RevealReleased).await.len(), 1);
    assert_eq!(operator.logged(Kind::RevealConflict).await.len(), 1);
    // With the conflict 16 in all, as of any token.
    assert_eq!(operator.logged(Kind::RevealRefused).await.len(), 15);
    assert_eq!(
        world.counted("cardveil_redemptions_conflict_total").await,
        63
    );
}

#[tokio::test]
async fn a_thief_who_comes_second_gets_nothing_and_is_noticed() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let thief = Thief::with(&world, &cardholder.token);
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    for _ in 0..3 {
        let answer = thief.redeem(&["cvv"]).await;
        assert!(!thief.reads(&answer));
    }
    assert_eq!(world.operator().logged(Kind::RevealConflict).await.len(), 1);
    assert_eq!(
        cardholder.open(&cardholder.redeem(&["cvv"]).await),
        json!({"cvv": "739"})
    );
}

#[tokio::test]
async fn a_thief_who_comes_first_leaves_nothing_to_the_cardholder_and_is_noticed() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let thief = Thief::with(&world, &cardholder.token);
    let stolen = thief.redeem(&["pan"]).await;
    assert!(thief.reads(&stolen));
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 403);
    assert_eq!(world.operator().logged(Kind::RevealConflict).await.len(), 1);
}

#[tokio::test]
async fn the_same_key_twice_at_once_is_one_redemption() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let (one, two) =
        futures_util::future::join(cardholder.redeem(&["pan"]), cardholder.redeem(&["pan"])).await;
    assert_eq!(one.json()["redemption"], two.json()["redemption"]);
    assert_eq!(cardholder.open(&one), cardholder.open(&two));
    let operator = world.operator();
    assert_eq!(operator.logged(Kind::RevealReleased).await.len(), 1);
    assert_eq!(operator.logged(Kind::RevealRepeated).await.len(), 1);
}

/// The look before the claim decides nothing: the card's state counts in the commit.
#[tokio::test]
async fn a_card_that_is_suspended_between_the_look_and_the_claim_is_not_shown() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    let mut suspended = sample::transition(1, State::Suspended, world.clock_now());
    suspended.card = CardRef::Id(CARD_ID.parse().unwrap());
    world.store.move_before_next_claim(suspended);
    let refused = cardholder.redeem(&["pan", "cvv"]).await;
    assert_eq!(refused.code(), (403, "token_refused".to_owned()));
    let operator = world.operator();
    assert!(operator.logged(Kind::RevealReleased).await.is_empty());
    let log = operator.logged(Kind::RevealRefused).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].event.detail.cause, Some(Cause::CardState));
    // A refusal does not burn the token.
    operator.set_card(CARD_ID, State::Active).await;
    let shown = cardholder.redeem(&["pan", "cvv"]).await;
    assert_eq!(cardholder.open(&shown)["cvv"], "739");
    // Nor is it shown again.
    let mut ended = sample::transition(1, State::Terminated, world.clock_now());
    ended.card = CardRef::Id(CARD_ID.parse().unwrap());
    world.store.move_before_next_claim(ended);
    let again = cardholder.redeem(&["pan", "cvv"]).await;
    assert_eq!(again.code(), (403, "token_refused".to_owned()));
}

/// A move that leaves the card as one that is shown costs another look, and no more.
#[tokio::test]
async fn a_card_that_comes_into_use_between_the_look_and_the_claim_is_shown() {
    let world = World::new().await;
    let kind = cardveil_core::card::Kind::Virtual;
    let (no, id) = world.card_in(5, kind, State::Unactivated).await;
    let cardholder = Cardholder::with(&world, world.merchant().token(&no).await);
    let mut active = sample::transition(1, State::Active, world.clock_now());
    active.card = CardRef::Id(id.parse().unwrap());
    world.store.move_before_next_claim(active);
    let shown = cardholder.redeem(&["pan"]).await;
    assert!(cardholder.open(&shown)["pan"].is_string());
    let operator = world.operator();
    assert_eq!(operator.logged(Kind::RevealReleased).await.len(), 1);
    assert_eq!(operator.logged(Kind::CardChanged).await.len(), 1);
}

/// Nor does the credential, the merchant or the embed as the look found it.
#[tokio::test]
async fn what_ends_between_the_look_and_the_claim_ends_the_token() {
    let credential = |world: &World| {
        let service = world.app.service.clone();
        async move {
            let found = service.admission(KEY).await.unwrap().unwrap();
            let was = found.credential;
            let to = Credential {
                state: CredentialState::Disabled,
                ..was.clone()
            };
            Change::SetCredential(Set::boxed(was, to))
        }
    };
    let merchant = Merchant {
        state: MerchantState::Suspended,
        ..sample::merchant(1)
    };
    let embed = Embed {
        enabled: false,
        ..sample::embed(1)
    };
    for n in 0..3 {
        let world = World::new().await;
        let cardholder = world.cardholder().await;
        let (change, cause) = match n {
            0 => (credential(&world).await, Cause::Revoked),
            1 => {
                let was = sample::merchant(1);
                let set = Set::boxed(was, merchant.clone());
                (Change::SetMerchant(set), Cause::MerchantBarred)
            }
            _ => {
                let set = Set::boxed(sample::embed(1), embed.clone());
                (Change::SetEmbed(set), Cause::Foreign)
            }
        };
        let event = sample::event(Kind::CredentialChanged, world.clock_now());
        world.store.change_before_next_claim(change, event);
        let refused = cardholder.redeem(&["pan"]).await;
        assert_eq!(refused.code(), (403, "token_refused".to_owned()));
        let operator = world.operator();
        assert!(operator.logged(Kind::RevealReleased).await.is_empty());
        let log = operator.logged(Kind::RevealRefused).await;
        assert_eq!(log.len(), 1);
        assert_eq!(log[0].event.detail.cause, Some(cause));
    }
}
