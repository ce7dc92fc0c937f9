use std::time::Duration;

use cardveil_core::audit::{Kind as EventKind, Outcome};
use cardveil_core::card::CardRef;
use cardveil_core::card::*;
use cardveil_core::clock::Time;
use cardveil_testkit::sample::{self, START};
use proptest::prelude::*;
use proptest::sample::select;

fn card(kind: Kind, state: State) -> Card {
    Card {
        kind,
        state,
        ..sample::card(1)
    }
}

fn activation(proven: bool, at: Time) -> Activation {
    Activation {
        merchant: sample::merchant(1).id,
        card: CardRef::Id(sample::card(1).id),
        proven,
        at,
        source: sample::operator(),
    }
}

#[test]
fn only_a_physical_card_that_waits_for_it_is_activated() {
    for kind in [Kind::Physical, Kind::Virtual] {
        for state in State::ALL {
            let card = card(kind, state);
            let decided = activation(true, START).decide(Some(&card), &Guesses::default());
            let expected = match (kind, state) {
                (Kind::Virtual, _) => Activated::NotPhysical,
                (Kind::Physical, State::Unactivated | State::Active) => Activated::Done,
                (Kind::Physical, _) => Activated::Refused(state),
            };
            assert_eq!(decided.verdict, expected, "{kind:?} {state:?}");
            let moves = (kind, state) == (Kind::Physical, State::Unactivated);
            assert_eq!(decided.card.is_some(), moves);
            assert_eq!(decided.events.len(), usize::from(moves));
        }
    }
}

#[test]
fn the_sixth_within_a_day_is_not_looked_at_and_a_day_later_it_is() {
    let card = card(Kind::Physical, State::Unactivated);
    let mut guesses = Guesses::default();
    for n in 0..5 {
        let at = START.plus(Duration::from_secs(n));
        let decided = activation(false, at).decide(Some(&card), &guesses);
        assert_eq!(decided.verdict, Activated::Wrong);
        assert_eq!(decided.events[0].outcome, Outcome::Failure);
        guesses = decided.guesses.unwrap();
    }
    let day = START.plus(GUESSES_WINDOW);
    for at in [
        START.plus(Duration::from_secs(5)),
        Time::from_millis(day.millis() - 1),
    ] {
        let right = activation(true, at).decide(Some(&card), &guesses);
        assert_eq!(right, HandoverDecided::nothing(Activated::Blocked));
    }
    let right = activation(true, day).decide(Some(&card), &guesses);
    assert_eq!(right.verdict, Activated::Done);
    assert_eq!(right.guesses, Some(Guesses::default()));
}

#[test]
fn wrong_ones_of_a_clock_ahead_block_for_a_day_after_it_was_right() {
    let card = card(Kind::Physical, State::Unactivated);
    for ahead_days in [2, 80 * 365, 600 * 365] {
        let ahead = START.plus(Duration::from_secs(ahead_days * 86_400));
        let mut guesses = Guesses::default();
        for _ in 0..5 {
            let decided = activation(false, ahead).decide(Some(&card), &guesses);
            guesses = decided.guesses.unwrap();
        }
        let blocked = activation(true, START).decide(Some(&card), &guesses);
        assert_eq!(blocked.verdict, Activated::Blocked);
        let guesses = blocked.guesses.unwrap();
        let again = activation(true, START).decide(Some(&card), &guesses);
        assert_eq!(
            again,
            HandoverDecided::nothing(Activated::Blocked),
            "written once"
        );
        let day = START.plus(GUESSES_WINDOW);
        let before = Time::from_millis(day.millis() - 1);
        let right = |at| activation(true, at).decide(Some(&card), &guesses).verdict;
        assert_eq!(right(before), Activated::Blocked);
        assert_eq!(right(day), Activated::Done);
    }
}

proptest! {
    /// However the tries lie in time, no window of a day has more than five that were looked at,
    /// and a card is never activated by a wrong one.
    #[test]
    fn no_day_has_more_than_five_guesses(waits in proptest::collection::vec(0_u64..30_000, 1..200)) {
        let card = card(Kind::Physical, State::Unactivated);
        let mut guesses = Guesses::default();
        let (mut at, mut looked_at) = (START, Vec::new());
        for secs in waits {
            at = at.plus(Duration::from_secs(secs));
            let decided = activation(false, at).decide(Some(&card), &guesses);
            prop_assert!(decided.card.is_none());
            if decided.verdict == Activated::Wrong {
                looked_at.push(at);
            }
            guesses = decided.guesses.unwrap_or(guesses);
            prop_assert!(serde_json::to_value(&guesses).unwrap().as_array().unwrap().len() <= GUESSES_MAX);
        }
        for six in looked_at.windows(6) {
            prop_assert!(six[5] >= six[0].plus(GUESSES_WINDOW));
        }
    }

    #[test]
    fn an_export_is_recorded_only_of_a_card_that_is_shown(
        state in select(State::ALL.to_vec()),
        kind in select(vec![Kind::Virtual, Kind::Physical]),
    ) {
        let card = card(kind, state);
        let export = Export {
            merchant: card.merchant.clone(),
            card: CardRef::Id(card.id),
            event: sample::event(EventKind::CardExported, START),
            source: sample::operator(),
            charge: None,
        };
        let decided = export.decide(Some(&card));
        if card.viewable() {
            prop_assert_eq!(decided.verdict, Exported::Recorded);
            prop_assert_eq!(decided.events[0].kind, EventKind::CardExported);
            let comes_into_use = state == State::Unactivated;
            prop_assert_eq!(decided.card.is_some(), comes_into_use);
            prop_assert_eq!(decided.events.len(), 1 + usize::from(comes_into_use));
        } else {
            prop_assert_eq!(decided, HandoverDecided::nothing(Exported::Refused(state)));
        }
    }
}
