use std::time::Duration;

use cardveil_core::audit::Topic;
use cardveil_core::card::CardRef;
use cardveil_core::card::*;
use cardveil_testkit::sample::{self, START};
use proptest::prelude::*;
use proptest::sample::select;

fn to(state: State, secs: u64) -> Transition {
    Transition {
        merchant: sample::merchant(1).id,
        card: CardRef::Id(sample::card(1).id),
        to: state,
        from: None,
        reason: Some(Reason::parse("as asked").unwrap()),
        at: START.plus(Duration::from_secs(secs)),
        source: sample::operator(),
    }
}

proptest! {
    /// Every event says truly where the card came from and where it went, a card that does not
    /// move has none, and one that was asked for what it is has succeeded.
    #[test]
    fn every_event_tells_the_step_that_was_made(
        start in select(State::ALL.to_vec()),
        asked in prop::collection::vec(select(State::ALL.to_vec()), 0..30),
    ) {
        let mut card = sample::card(1);
        card.state = start;
        for (secs, state) in (1..).zip(asked) {
            let before = card.clone();
            let decided = to(state, secs).decide(Some(&card));
            match (&decided.verdict, decided.write) {
                (Changed::Done(told), Some((next, event))) => {
                    prop_assert_eq!(told, &next);
                    prop_assert_eq!(event.detail.from.as_deref(), Some(before.state.as_str()));
                    prop_assert_eq!(event.detail.to.as_deref(), Some(next.state.as_str()));
                    prop_assert_eq!(event.detail.reason.as_deref(), Some("as asked"));
                    prop_assert_eq!(event.target.card, Some(card.id));
                    prop_assert_eq!(event.topic(), Some(Topic::CardState));
                    prop_assert_eq!((event.at, next.state), (next.updated_at, state));
                    prop_assert!(before.state.leads_to(state));
                    card = *next;
                    prop_assert_eq!(&before, &Card {
                        state: before.state,
                        updated_at: before.updated_at,
                        ..card.clone()
                    });
                }
                (Changed::Already(told), None) => {
                    prop_assert_eq!(&**told, &before);
                    prop_assert_eq!(before.state, state);
                }
                (Changed::Refused(from), None) => {
                    prop_assert_eq!(*from, before.state);
                    prop_assert!(!before.state.leads_to(state) && before.state != state);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

#[test]
fn a_dialect_may_allow_fewer_steps_and_never_more() {
    const FROZEN: &[State] = &[State::Suspended];
    const ANY: &[State] = &State::ALL;
    let ask = |from: State, allowed: &'static [State], state: State| {
        let mut card = sample::card(1);
        card.state = from;
        let transition = Transition {
            from: Some(allowed),
            ..to(state, 1)
        };
        transition.decide(Some(&card)).verdict
    };
    assert!(matches!(
        ask(State::Suspended, FROZEN, State::Active),
        Changed::Done(_)
    ));
    assert_eq!(
        ask(State::Unactivated, FROZEN, State::Active),
        Changed::Refused(State::Unactivated)
    );
    assert!(matches!(
        ask(State::Active, FROZEN, State::Active),
        Changed::Already(_)
    ));
    assert_eq!(
        ask(State::Terminated, ANY, State::Active),
        Changed::Refused(State::Terminated)
    );
    assert_eq!(to(State::Active, 1).decide(None).verdict, Changed::Unknown);
}

#[test]
fn a_label_is_no_news_to_merchants_and_not_in_the_record() {
    let relabel = |label: &str| Relabel {
        merchant: sample::merchant(1).id,
        card: CardRef::Id(sample::card(1).id),
        label: Label::parse(label).unwrap(),
        at: START.plus(Duration::from_secs(1)),
        source: sample::operator(),
    };
    let card = sample::card(1);
    let (next, event) = relabel("Petrol").decide(Some(&card)).write.unwrap();
    assert_eq!((next.label.as_str(), event.topic()), ("Petrol", None));
    assert!(!serde_json::to_string(&event).unwrap().contains("Petrol"));
    let same = relabel(&card.label).decide(Some(&card));
    assert_eq!(same.write, None);
}
