use cardveil_core::audit::Kind;
use cardveil_core::card::{self, Card};
use cardveil_core::wallet::TOKENS_PER_PAN_MAX;
use cardveil_core::wallet::token::*;
use cardveil_testkit::sample::{self, START};
use proptest::prelude::*;

fn token(state: State, fulfilment: Fulfilment) -> WalletToken {
    let asked = sample::wallet_asked(1, START);
    let (token, _) = asked
        .decide(Some(&sample::card(1)), Census::default())
        .unwrap();
    WalletToken {
        state,
        fulfilment,
        ..token
    }
}

fn moved(state: State, step: Step, counted: usize) -> Result<State, Refused> {
    let token = token(state, Fulfilment::DecisionYellow);
    let changed = sample::wallet_change(1, step, START).decide(Some(&token), counted)?;
    Ok(changed.token().state)
}

#[test]
fn every_state_and_step() {
    use State::{Active, RequestDeclined, Requested, Suspended, Terminated};
    let refused = |state| Err(Refused::Final(state));
    let waits = |state| Err(Refused::NotRequested(state));
    for (state, expected) in [
        (
            Requested,
            [
                Ok(Active),
                Ok(Suspended),
                Ok(Terminated),
                Ok(Active),
                Ok(RequestDeclined),
            ],
        ),
        (
            Active,
            [
                Ok(Active),
                Ok(Suspended),
                Ok(Terminated),
                waits(Active),
                waits(Active),
            ],
        ),
        (
            Suspended,
            [
                Ok(Active),
                Ok(Suspended),
                Ok(Terminated),
                waits(Suspended),
                waits(Suspended),
            ],
        ),
        (
            Terminated,
            [
                refused(Terminated),
                refused(Terminated),
                refused(Terminated),
                waits(Terminated),
                waits(Terminated),
            ],
        ),
        (
            RequestDeclined,
            [
                refused(RequestDeclined),
                refused(RequestDeclined),
                refused(RequestDeclined),
                waits(RequestDeclined),
                waits(RequestDeclined),
            ],
        ),
    ] {
        assert_eq!(
            Step::ALL.map(|step| moved(state, step, 0)),
            expected,
            "{state:?}"
        );
    }
}

#[test]
fn the_26th_token_of_a_number_does_not_come_into_use() {
    use State::{Active, RequestDeclined, Requested, Suspended, Terminated};
    let last = TOKENS_PER_PAN_MAX - 1;
    let full = TOKENS_PER_PAN_MAX;
    for (step, at_last, at_full) in [
        (Step::Activate, Ok(Active), Err(Refused::LimitReached)),
        (Step::Suspend, Ok(Suspended), Err(Refused::LimitReached)),
        (Step::Terminate, Ok(Terminated), Ok(Terminated)),
        (Step::Verified, Ok(Active), Ok(RequestDeclined)),
        (Step::NotVerified, Ok(RequestDeclined), Ok(RequestDeclined)),
    ] {
        assert_eq!(moved(Requested, step, last), at_last, "{step:?}");
        assert_eq!(moved(Requested, step, full), at_full, "{step:?}");
    }
    assert_eq!(
        moved(Suspended, Step::Activate, full),
        Ok(Active),
        "it counts already"
    );
    assert_eq!(moved(Active, Step::Suspend, full), Ok(Suspended));
}

#[test]
fn a_request_becomes_what_network_and_issuer_decide() {
    use Decision::{Green, Red, Yellow};
    let room = Census::default();
    let full = Census {
        counted: TOKENS_PER_PAN_MAX,
        on_device: false,
    };
    let there = Census {
        counted: 1,
        on_device: true,
    };
    let active = card::State::Active;
    let declined = |fulfilment| (State::RequestDeclined, fulfilment);
    let rejected = declined(Fulfilment::Rejected);
    let red = declined(Fulfilment::DecisionRed);
    let requested = (State::Requested, Fulfilment::DecisionYellow);
    for (decision, state, census, expected) in [
        (
            Green,
            active,
            room,
            (State::Active, Fulfilment::Provisioned),
        ),
        (Yellow, active, room, requested),
        (Red, active, room, red),
        (Green, active, full, rejected),
        (Yellow, active, full, requested),
        (Green, active, there, rejected),
        (Yellow, active, there, rejected),
        (Green, card::State::Suspended, room, red),
        (Yellow, card::State::Terminated, room, red),
        (Green, card::State::Unactivated, there, red),
    ] {
        let card = Card {
            state,
            ..sample::card(1)
        };
        let mut asked = sample::wallet_asked(1, START);
        asked.decision = decision;
        let (token, event) = asked.decide(Some(&card), census).unwrap();
        let about = (decision, state, census);
        assert_eq!((token.state, token.fulfilment), expected, "{about:?}");
        assert_eq!(event.detail.to.as_deref(), Some(token.state.as_str()));
    }
    let asked = sample::wallet_asked(1, START);
    let of_other = sample::card(2);
    assert_eq!(
        asked.decide(Some(&of_other), room).err(),
        Some(Refused::Unknown)
    );
    assert_eq!(asked.decide(None, room).err(), Some(Refused::Unknown));
}

#[test]
fn names_are_read_as_they_are_written() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(json, format!("{:?}", state.as_str()));
    }
    assert_eq!(State::parse("active"), None);
    assert_eq!(Step::to(State::Requested), None);
    assert_eq!(Step::to(State::RequestDeclined), None);
}

fn steps() -> impl Strategy<Value = Vec<(Step, usize)>> {
    let step = prop::sample::select(Step::ALL.to_vec());
    prop::collection::vec((step, 0..=TOKENS_PER_PAN_MAX), 0..24)
}

proptest! {
    /// Over any history: final states stay, a change has its event from what was to what is, and
    /// nothing comes into use over the limit.
    #[test]
    fn any_history_keeps_the_rules(
        first in prop::sample::select(State::ALL.to_vec()),
        steps in steps(),
    ) {
        let mut token = token(first, Fulfilment::DecisionYellow);
        for (n, (step, counted)) in (1..).zip(steps) {
            // The token itself is among those that count.
            let counted = counted.max(usize::from(token.state.counts()));
            let at = START.plus(std::time::Duration::from_secs(n));
            let change = sample::wallet_change(1, step, at);
            match change.decide(Some(&token), counted) {
                Err(Refused::Final(state)) => {
                    prop_assert_eq!(state, token.state);
                    prop_assert!(state.is_final());
                }
                Err(Refused::NotRequested(_)) => {
                    prop_assert_ne!(token.state, State::Requested);
                }
                Err(Refused::LimitReached) => {
                    prop_assert!(counted >= TOKENS_PER_PAN_MAX && !token.state.counts());
                }
                Err(Refused::Unknown) => prop_assert!(false, "it is there"),
                Ok(Changed::Not(same)) => prop_assert_eq!(&same, &token),
                Ok(Changed::To(next, event)) => {
                    prop_assert!(!token.state.is_final());
                    prop_assert_ne!(next.state, token.state);
                    prop_assert_ne!(next.state, State::Requested);
                    let came_in = next.state.counts() && !token.state.counts();
                    prop_assert!(!came_in || counted < TOKENS_PER_PAN_MAX);
                    prop_assert_eq!(event.detail.from.as_deref(), Some(token.state.as_str()));
                    prop_assert_eq!(event.detail.to.as_deref(), Some(next.state.as_str()));
                    prop_assert_eq!((event.at, next.updated_at), (at, at));
                    let kept = WalletToken {
                        state: token.state,
                        fulfilment: token.fulfilment,
                        updated_at: token.updated_at,
                        ..(*next).clone()
                    };
                    prop_assert_eq!(&kept, &token, "nothing else changes");
                    token = *next;
                }
            }
        }
        let of_card = sample::event(Kind::CardChanged, START);
        match token.with_its_card(&of_card) {
            Some((ended, event)) => {
                prop_assert!(!token.state.is_final());
                prop_assert_eq!(ended.state, State::Terminated);
                prop_assert_eq!(event.detail.from.as_deref(), Some(token.state.as_str()));
            }
            None => prop_assert!(token.state.is_final()),
        }
    }
}
