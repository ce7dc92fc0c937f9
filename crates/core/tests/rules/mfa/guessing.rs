//! Guessing, over many sessions and a long time.

use std::time::Duration;

use cardveil_core::id::{PersonId, SessionId};
use cardveil_core::mfa::*;
use cardveil_core::token::{Cause, Epoch};
use cardveil_testkit::sample::{self, START};
use proptest::prelude::*;

/// How many codes were compared, of `tries` by an attacker who opens a session whenever it can and
/// guesses `a_session` times in it.
fn compared(tries: u32, a_session: u32) -> u32 {
    let epoch = Epoch(1);
    let record = sample::record(1, START, epoch);
    let who = PersonId::from_bytes([1; 16]);
    let (mut person, mut session, mut now) = (None::<Person>, None::<Session>, START);
    let (mut left, mut compared) = (0, 0);
    for n in 0..tries {
        if left == 0 {
            let opening = Opening {
                id: SessionId::from_bytes(u128::from(n).to_be_bytes()),
                merchant: record.merchant.clone(),
                person: who,
                card: record.card,
                purpose: record.operation.into(),
                factor: Some(Factor::Otp),
                factors: FactorPolicy::default(),
                at: now,
                source: sample::operator(),
            };
            let decision = opening.decide(person.as_ref(), epoch);
            if let Ok(opened) = decision.verdict {
                (session, person) = (Some(opened), decision.effects.person);
                left = a_session;
            } else {
                now = now.plus(Duration::from_secs(60));
            }
        }
        left = left.saturating_sub(1);
        let assertion = Assertion {
            session: session.as_ref().map(|session| session.id),
            person: who,
            proof: Proof::Otp { right: false },
        };
        let wanted = sample::issue(1, now, epoch).second_factor_use();
        let rows = (session.as_ref(), person.as_ref());
        let decision = assertion.decide(&wanted, rows.0, rows.1, epoch);
        compared += u32::from(decision.verdict == Err(Cause::WrongCode));
        session = decision.effects.session.or(session);
        person = decision.effects.person.or(person);
    }
    compared
}

#[test]
fn a_hundred_thousand_tries_get_a_hundred_compared() {
    for a_session in [4, 5, 1_000] {
        assert_eq!(
            compared(100_000, a_session),
            WRONG_IN_A_ROW_MAX,
            "{a_session}"
        );
    }
}

proptest! {
    #[test]
    fn no_more_than_five_in_a_session_and_a_hundred_in_a_row(a_session in 1_u32..40, tries in 1_u32..500) {
        prop_assert!(compared(tries, a_session) <= WRONG_IN_A_ROW_MAX.min(tries));
    }

    #[test]
    fn a_step_is_taken_once_and_never_backwards(steps in prop::collection::vec(0_u64..12, 1..40)) {
        let epoch = Epoch(1);
        let record = sample::record(1, START, epoch);
        let wanted = sample::issue(1, START, epoch).second_factor_use();
        let factor = cardveil_core::id::FactorId::from_bytes([1; 16]);
        let mut person = Person::new(record.merchant.clone(), PersonId::from_bytes([1; 16]));
        person.totp = Some(Totp {
            id: factor,
            sealed: sample::credential(1).sealed_secret,
            enrolled_at: START,
            confirmed_at: Some(START),
            last_step: None,
        });
        let open = Session {
            id: SessionId::from_bytes([1; 16]),
            epoch,
            merchant: record.merchant.clone(),
            person: person.person,
            card: record.card,
            purpose: record.operation.into(),
            factor: Factor::Totp,
            opened_at: START,
            expires_at: START.plus(SESSION_TTL),
            state: State::Open { wrong: 0 },
        };
        let mut last = None;
        for step in steps {
            let assertion = Assertion {
                session: Some(open.id),
                person: person.person,
                proof: Proof::Totp { factor, step: Some(step) },
            };
            let decision = assertion.decide(&wanted, Some(&open), Some(&person), epoch);
            prop_assert_eq!(decision.verdict.is_ok(), last.is_none_or(|last| step > last));
            if decision.verdict.is_ok() {
                last = Some(step);
                person = decision.effects.person.unwrap();
            }
        }
    }
}
