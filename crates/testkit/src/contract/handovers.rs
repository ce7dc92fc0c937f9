//! The cases of exports and activations.

use std::time::Duration;

use futures_util::future::join_all;

use super::super::sample::{self, START};
use super::{log_len, log_of, with_merchant};
use cardveil_core::audit::{Kind, Outcome};
use cardveil_core::card::{
    Activated, Activation, Card, CardRef, Export, Exported, GUESSES_WINDOW, Kind as CardKind, State,
};
use cardveil_core::clock::Time;
use cardveil_core::id::CardId;
use cardveil_core::port::{Change, Store};
use cardveil_core::verb::{Changes, Commit};

/// A card of merchant 1 beside the ones that are there.
async fn with_card(store: &dyn Store, n: u8, kind: CardKind, state: State) -> CardId {
    let card = Card {
        kind,
        state,
        ..sample::card(n)
    };
    let event = sample::event(Kind::CardAdded, START);
    let change = Change::AddCard(Box::new(card.clone()));
    store.commit(Changes(vec![(change, event)])).await.unwrap()[0].unwrap();
    card.id
}

async fn state(store: &dyn Store, card: CardId) -> State {
    let merchant = sample::merchant(1).id;
    let card = store.card(&merchant, &CardRef::Id(card)).await;
    card.unwrap().unwrap().state
}

async fn export(store: &dyn Store, merchant: u8, card: CardId) -> Exported {
    let export = Export {
        merchant: sample::merchant(merchant).id,
        card: CardRef::Id(card),
        event: sample::event(Kind::CardExported, START),
        source: sample::operator(),
        charge: None,
    };
    store.commit(export).await.unwrap()
}

async fn activate(store: &dyn Store, card: CardId, proven: bool, at: Time) -> Activated {
    let activation = Activation {
        merchant: sample::merchant(1).id,
        card: CardRef::Id(card),
        proven,
        at,
        source: sample::operator(),
    };
    store.commit(activation).await.unwrap()
}

/// An export is recorded while the card may be shown, and refused without a trace when not.
pub(super) async fn an_export_is_recorded_or_refused(store: &dyn Store) {
    with_merchant(store).await;
    let active = with_card(store, 41, CardKind::Physical, State::Active).await;
    let frozen = with_card(store, 42, CardKind::Physical, State::Suspended).await;
    assert_eq!(export(store, 1, active).await, Exported::Recorded);
    let length = log_len(store).await;
    let refused = Exported::Refused(State::Suspended);
    assert_eq!(export(store, 1, frozen).await, refused);
    assert_eq!(export(store, 2, active).await, Exported::Unknown);
    assert_eq!(log_len(store).await, length);
    assert_eq!(log_of(store, Kind::CardExported).await.len(), 1);
}

/// A virtual card that was never used comes into use in the commit of its first export.
pub(super) async fn an_export_brings_a_virtual_card_into_use(store: &dyn Store) {
    with_merchant(store).await;
    let card = with_card(store, 43, CardKind::Virtual, State::Unactivated).await;
    for _ in 0..2 {
        assert_eq!(export(store, 1, card).await, Exported::Recorded);
        assert_eq!(state(store, card).await, State::Active);
    }
    assert_eq!(log_of(store, Kind::CardExported).await.len(), 2);
    let moved = log_of(store, Kind::CardChanged).await;
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].detail.reason.as_deref(), Some("details shown"));
}

/// A right proof activates a card, once; wrong ones before it are forgotten.
pub(super) async fn a_right_proof_activates_a_card(store: &dyn Store) {
    with_merchant(store).await;
    let card = with_card(store, 44, CardKind::Physical, State::Unactivated).await;
    for _ in 0..4 {
        assert_eq!(activate(store, card, false, START).await, Activated::Wrong);
    }
    for _ in 0..2 {
        assert_eq!(activate(store, card, true, START).await, Activated::Done);
        assert_eq!(state(store, card).await, State::Active);
    }
    assert_eq!(log_of(store, Kind::CardChanged).await.len(), 1);
    for _ in 0..5 {
        assert_eq!(activate(store, card, false, START).await, Activated::Wrong);
    }
    let unknown = CardId::from_bytes([99; 16]);
    assert_eq!(
        activate(store, unknown, true, START).await,
        Activated::Unknown
    );
}

/// Of many tries at once five are looked at, and then none for a day, right ones included.
pub(super) async fn wrong_proofs_block_the_way(store: &dyn Store) {
    with_merchant(store).await;
    let card = with_card(store, 45, CardKind::Physical, State::Unactivated).await;
    let tries = (0..20).map(|_| activate(store, card, false, START));
    let verdicts = join_all(tries).await;
    let wrong = verdicts.iter().filter(|v| **v == Activated::Wrong).count();
    assert_eq!(wrong, 5);
    let refused = log_of(store, Kind::CardActivationRefused).await;
    assert_eq!(refused.len(), 5);
    assert!(
        refused
            .iter()
            .all(|event| event.outcome == Outcome::Failure)
    );
    let day = START.plus(GUESSES_WINDOW);
    for at in [START, day.minus(Duration::from_millis(1))] {
        assert_eq!(activate(store, card, true, at).await, Activated::Blocked);
    }
    assert_eq!(state(store, card).await, State::Unactivated);
    let other = with_card(store, 46, CardKind::Physical, State::Unactivated).await;
    assert_eq!(activate(store, other, true, START).await, Activated::Done);
    assert_eq!(activate(store, card, true, day).await, Activated::Done);
}
