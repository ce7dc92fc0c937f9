use cardveil_core::audit::Kind as EventKind;
use cardveil_core::card::*;
use cardveil_testkit::sample::{self, START};
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    /// A PIN is set and told in use only, each with its record; all else writes nothing.
    #[test]
    fn a_pin_is_of_a_card_in_use(
        state in select(State::ALL.to_vec()),
        kind in select(vec![Kind::Virtual, Kind::Physical]),
        physical_only: bool,
        has_pin: bool,
    ) {
        let mut card = Card { kind, state, ..sample::card(1) };
        card.sealed.pin = has_pin.then(|| sample::pin(1));
        let setting = PinSetting { physical_only, ..sample::pin_setting(1, 2) };
        let decided = setting.decide(Some(&card));
        if physical_only && kind == Kind::Virtual {
            prop_assert_eq!(decided, HandoverDecided::nothing(PinSet::NotPhysical));
        } else if state == State::Active {
            prop_assert_eq!(decided.verdict, PinSet::Done);
            prop_assert_eq!(decided.events[0].kind, EventKind::PinSet);
            let mut next = *decided.card.unwrap();
            prop_assert_eq!(next.sealed.pin.replace(sample::pin(1)), Some(sample::pin(2)));
            prop_assert_eq!(next.updated_at, START);
            next.updated_at = card.updated_at;
            card.sealed.pin = Some(sample::pin(1));
            prop_assert_eq!(next, card.clone());
        } else {
            prop_assert_eq!(decided, HandoverDecided::nothing(PinSet::Refused(state)));
        }
        let released = sample::pin_release(1, card.sealed.pin.clone()).decide(Some(&card));
        prop_assert!(released.card.is_none());
        if state == State::Active {
            prop_assert_eq!(released.verdict, PinReleased::Recorded);
            prop_assert_eq!(released.events[0].kind, EventKind::PinReleased);
        } else {
            prop_assert_eq!(released, HandoverDecided::nothing(PinReleased::Refused(state)));
        }
    }
}

#[test]
fn what_is_told_is_what_the_card_has() {
    let mut card = sample::card(1);
    for (has, opened) in [(Some(1), Some(2)), (None, Some(1)), (Some(1), None)] {
        card.sealed.pin = has.map(sample::pin);
        let release = sample::pin_release(1, opened.map(sample::pin));
        let decided = release.decide(Some(&card));
        assert_eq!(decided, HandoverDecided::nothing(PinReleased::Superseded));
    }
    assert_eq!(
        sample::pin_release(1, None).decide(None).verdict,
        PinReleased::Unknown
    );
    assert_eq!(
        sample::pin_setting(1, 1).decide(None).verdict,
        PinSet::Unknown
    );
}
