//! The cases of PINs: setting and telling them.

use futures_util::future::join_all;

use super::super::sample::{self, START};
use super::{after, log_len, log_of, with_merchant};
use cardveil_core::audit::Kind;
use cardveil_core::budget::{Budget, Budgets, Charge, Overdrawn};
use cardveil_core::card::{
    Card, CardRef, Kind as CardKind, PinRelease, PinReleased, PinSet, PinSetting, SealedPin, State,
};
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, SessionId};
use cardveil_core::mfa::{Assertion, Factor, FactorPolicy, Opening, Proof, Purpose, Use};
use cardveil_core::port::{Change, Store};
use cardveil_core::token::Cause;
use cardveil_core::verb::{Changes, Commit};

async fn with_card(store: &dyn Store, card: Card) -> u8 {
    let n = card.id.as_bytes()[0];
    let event = sample::event(Kind::CardAdded, START);
    let change = Change::AddCard(Box::new(card));
    store.commit(Changes(vec![(change, event)])).await.unwrap()[0].unwrap();
    n
}

async fn card(store: &dyn Store, n: u8) -> Card {
    let card = CardRef::Id(CardId::from_bytes([n; 16]));
    let found = store.card(&sample::merchant(1).id, &card).await.unwrap();
    found.unwrap()
}

async fn pin(store: &dyn Store, n: u8) -> Option<SealedPin> {
    card(store, n).await.sealed.pin
}

/// What goes in comes out, whichever way it went in, and stays when the card is changed.
pub(super) async fn a_pin_is_found_as_it_was_set(store: &dyn Store) {
    with_merchant(store).await;
    assert_eq!(pin(store, 1).await, Some(sample::pin(1)));
    let mut setting = sample::pin_setting(1, 7);
    setting.event.at = after(5);
    assert_eq!(store.commit(setting).await.unwrap(), PinSet::Done);
    let mut expected = sample::card(1);
    expected.sealed.pin = Some(sample::pin(7));
    expected.updated_at = after(5);
    assert_eq!(card(store, 1).await, expected);
    let again = sample::pin_setting(1, 8);
    assert_eq!(store.commit(again).await.unwrap(), PinSet::Done);
    let moved = sample::transition(1, State::Suspended, after(6));
    store.commit(moved).await.unwrap();
    assert_eq!(pin(store, 1).await, Some(sample::pin(8)));
    assert_eq!(log_of(store, Kind::PinSet).await.len(), 2);
    let mut added = sample::card(51);
    added.sealed.pin = Some(sample::pin(9));
    with_card(store, added.clone()).await;
    assert_eq!(card(store, 51).await, added);
}

/// What a card's state or kind does not allow writes nothing.
pub(super) async fn a_pin_of_a_card_not_in_use_is_neither_set_nor_told(store: &dyn Store) {
    with_merchant(store).await;
    let mut frozen = sample::card(52);
    frozen.state = State::Suspended;
    frozen.sealed.pin = Some(sample::pin(1));
    with_card(store, frozen).await;
    let length = log_len(store).await;
    let set = |setting: PinSetting| store.commit(setting);
    let refused = PinSet::Refused(State::Suspended);
    assert_eq!(set(sample::pin_setting(52, 2)).await.unwrap(), refused);
    let physical_only = PinSetting {
        physical_only: true,
        ..sample::pin_setting(1, 2)
    };
    assert_eq!(set(physical_only).await.unwrap(), PinSet::NotPhysical);
    let foreign = PinSetting {
        merchant: sample::merchant(2).id,
        ..sample::pin_setting(1, 2)
    };
    assert_eq!(set(foreign).await.unwrap(), PinSet::Unknown);
    assert_eq!(pin(store, 1).await, Some(sample::pin(1)));
    assert_eq!(pin(store, 52).await, Some(sample::pin(1)));
    let release = sample::pin_release(52, Some(sample::pin(1)));
    let refused = PinReleased::Refused(State::Suspended);
    assert_eq!(store.commit(release).await.unwrap(), refused);
    let mut foreign = sample::pin_release(1, None);
    foreign.merchant = sample::merchant(2).id;
    let unknown = store.commit(foreign).await.unwrap();
    assert_eq!(unknown, PinReleased::Unknown);
    assert_eq!(log_len(store).await, length);
}

/// A telling is recorded if the card still has what was opened for it, and writes nothing if not.
pub(super) async fn the_pin_that_is_told_is_the_one_that_the_card_has(store: &dyn Store) {
    with_merchant(store).await;
    let mut physical = sample::card(53);
    physical.kind = CardKind::Physical;
    physical.sealed.pin = Some(sample::pin(1));
    with_card(store, physical).await;
    let tell = |n: u8| store.commit(sample::pin_release(53, Some(sample::pin(n))));
    assert_eq!(tell(1).await.unwrap(), PinReleased::Recorded);
    let setting = PinSetting {
        physical_only: true,
        ..sample::pin_setting(53, 2)
    };
    assert_eq!(store.commit(setting).await.unwrap(), PinSet::Done);
    let length = log_len(store).await;
    assert_eq!(tell(1).await.unwrap(), PinReleased::Superseded);
    assert_eq!(log_len(store).await, length);
    assert_eq!(tell(2).await.unwrap(), PinReleased::Recorded);
    assert_eq!(log_of(store, Kind::PinReleased).await.len(), 2);
    let mut without = sample::card(54);
    without.sealed.pin = None;
    with_card(store, without).await;
    let nothing = PinRelease {
        event: None,
        ..sample::pin_release(54, None)
    };
    let told = store.commit(nothing).await.unwrap();
    assert_eq!(told, PinReleased::Recorded);
    assert_eq!(log_of(store, Kind::PinReleased).await.len(), 2);
}

/// A PIN that is set is known to whoever sets it, as one that is told: the same budget, the same
/// commit.
pub(super) async fn setting_a_pin_is_charged(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let day = std::time::Duration::from_secs(86_400);
    let setting = |n: u8| PinSetting {
        charge: Some(Charge {
            budgets: Budgets {
                card: Some(Budget::new(3, 3, day).unwrap()),
                person: None,
            },
            merchant: card.merchant.clone(),
            card: card.id,
            person: card.person,
            second_factor: false,
            at: START,
        }),
        ..sample::pin_setting(1, n)
    };
    let all = join_all((1..=20).map(|n| store.commit(setting(n)))).await;
    let verdicts: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    let done = |verdict: &&PinSet| **verdict == PinSet::Done;
    assert_eq!(verdicts.iter().filter(done).count(), 3, "{verdicts:?}");
    let over = |verdict: &PinSet| matches!(verdict, PinSet::Done | PinSet::Overdrawn(_));
    assert!(verdicts.iter().all(over), "{verdicts:?}");
    assert_eq!(log_of(store, Kind::PinSet).await.len(), 3);
}

async fn open(store: &dyn Store, n: u8, purpose: Purpose) {
    let card = sample::card(1);
    let opening = Opening {
        id: SessionId::from_bytes([n; 16]),
        merchant: card.merchant,
        person: card.person,
        card: card.id,
        purpose,
        factor: Some(Factor::Otp),
        factors: FactorPolicy::default(),
        at: START,
        source: sample::operator(),
    };
    store.commit(opening).await.unwrap().unwrap();
}

fn asserted(session: u8, purpose: Purpose, right: bool, at: Time) -> (Assertion, Use) {
    let card = sample::card(1);
    let assertion = Assertion {
        session: Some(SessionId::from_bytes([session; 16])),
        person: card.person,
        proof: Proof::Otp { right },
    };
    let wanted = Use {
        merchant: card.merchant,
        card: card.id,
        token: None,
        purpose,
        at,
        source: sample::operator(),
    };
    (assertion, wanted)
}

/// A session passes for one setting or one telling, for the one that it was opened for, and is
/// spent in its commit; a refusal is written and nothing else.
pub(super) async fn one_session_passes_for_one_use_of_a_pin(store: &dyn Store) {
    with_merchant(store).await;
    open(store, 1, Purpose::SetPin).await;
    open(store, 2, Purpose::ViewPin).await;
    let setting = |n, session, right| PinSetting {
        mfa: Some(asserted(session, Purpose::SetPin, right, START)),
        ..sample::pin_setting(1, n)
    };
    for (session, right, cause) in [
        (2, true, Cause::WrongOperation),
        (1, false, Cause::WrongCode),
        (9, true, Cause::Unknown),
    ] {
        let refused = store.commit(setting(3, session, right)).await.unwrap();
        assert_eq!(refused, PinSet::MfaRefused(cause));
        assert_eq!(pin(store, 1).await, Some(sample::pin(1)));
    }
    let all = (10..30).map(|n| store.commit(setting(n, 1, true)));
    let verdicts = join_all(all).await;
    let done = verdicts
        .iter()
        .filter(|v| *v.as_ref().unwrap() == PinSet::Done);
    assert_eq!(done.count(), 1);
    assert_eq!(log_of(store, Kind::PinSet).await.len(), 1);
    let kept = pin(store, 1).await;
    let release = |session, right| PinRelease {
        mfa: Some(asserted(session, Purpose::ViewPin, right, START)),
        ..sample::pin_release(1, kept.clone())
    };
    let tell = |session, right| store.commit(release(session, right));
    let refused = PinReleased::MfaRefused(Cause::WrongOperation);
    assert_eq!(tell(1, true).await.unwrap(), refused);
    assert_eq!(tell(2, true).await.unwrap(), PinReleased::Recorded);
    let spent = PinReleased::MfaRefused(Cause::SessionSpent);
    assert_eq!(tell(2, true).await.unwrap(), spent);
    assert_eq!(log_of(store, Kind::PinReleased).await.len(), 1);
    assert_eq!(log_of(store, Kind::MfaPassed).await.len(), 2);
    // What a wrong state refuses spends no session.
    open(store, 4, Purpose::ViewPin).await;
    let moved = sample::transition(1, State::Suspended, START);
    store.commit(moved).await.unwrap();
    let refused = PinReleased::Refused(State::Suspended);
    assert_eq!(tell(4, true).await.unwrap(), refused);
    let back = sample::transition(1, State::Active, START);
    store.commit(back).await.unwrap();
    assert_eq!(tell(4, true).await.unwrap(), PinReleased::Recorded);
}

/// A telling takes from the budgets as a token does, before its second factor is judged.
pub(super) async fn a_pin_that_is_told_is_charged_to_the_budgets(store: &dyn Store) {
    with_merchant(store).await;
    open(store, 1, Purpose::ViewPin).await;
    let day = std::time::Duration::from_secs(86_400);
    let budget = Budget::new(1, 2, day).unwrap();
    let tell = |second_factor: bool| {
        let sample = sample::card(1);
        let charge = Charge {
            budgets: Budgets {
                card: Some(budget),
                person: None,
            },
            merchant: sample.merchant,
            card: sample.id,
            person: sample.person,
            second_factor,
            at: START,
        };
        store.commit(PinRelease {
            charge: Some(charge),
            mfa: second_factor.then(|| asserted(1, Purpose::ViewPin, true, START)),
            ..sample::pin_release(1, Some(sample::pin(1)))
        })
    };
    assert_eq!(tell(false).await.unwrap(), PinReleased::Recorded);
    let until = START.plus(day / 2);
    let needs = PinReleased::Overdrawn(Overdrawn::NeedsFactor { until });
    assert_eq!(tell(false).await.unwrap(), needs);
    assert_eq!(tell(true).await.unwrap(), PinReleased::Recorded);
    let exhausted = PinReleased::Overdrawn(Overdrawn::Exhausted { until });
    assert_eq!(tell(true).await.unwrap(), exhausted);
    assert_eq!(log_of(store, Kind::PinReleased).await.len(), 2);
}
