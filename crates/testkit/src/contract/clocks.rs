//! What every store must do once a clock that jumped is right again (P9): what it has written while
//! it was ahead locks nobody out, and gives nobody more.

use std::time::Duration;

use super::{log_of, with_merchant};
use crate::sample::{self, START};
use cardveil_core::audit::Kind;
use cardveil_core::budget::{Budget, Budgets, Charge, Overdrawn};
use cardveil_core::card::{Activated, Activation, CardRef, Field, Kind as CardKind};
use cardveil_core::clock::{CLOCKS_APART, Time};
use cardveil_core::id::{CardId, CardNo, FactorId, PersonId, SessionId};
use cardveil_core::merchant::Credential;
use cardveil_core::mfa::{
    Assertion, Factor, FactorChange, FactorPolicy, FactorRequest, Opening, OpeningRefused, PAUSE,
    Proof, Purpose, SESSIONS_MAX, SESSIONS_WITHIN, Totp, step_at,
};
use cardveil_core::port::{Change, Set, Store};
use cardveil_core::token::{Cause, Epoch, Idempotency, Issue, Issued, Verdict};
use cardveil_core::verb::{Changes, Commit, Sweep};

const DAY: Duration = Duration::from_secs(86_400);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Two days, 80 years and 600 years ahead: the last is past what some libraries can count.
fn jumps() -> [(u8, Time); 3] {
    [
        (1, START.plus(2 * DAY)),
        (2, START.plus(80 * 365 * DAY)),
        (3, START.plus(600 * 365 * DAY)),
    ]
}

/// Token `n` for a person and a card of number `of`.
fn charged(n: u8, of: u8, at: Time, epoch: Epoch) -> Issue {
    let card = sample::card(1);
    let budgets = Budgets {
        card: Some(Budget::new(2, 4, DAY).unwrap()),
        person: Some(Budget::new(4, 4, DAY).unwrap()),
    };
    Issue {
        charge: Some(Charge {
            budgets,
            merchant: card.merchant,
            card: CardId::from_bytes([of; 16]),
            person: PersonId::from_bytes([of; 16]),
            second_factor: false,
            at,
        }),
        ..sample::issue(n, at, epoch)
    }
}

/// One token that was issued under it counts as one.
pub(super) async fn a_clock_that_was_ahead_locks_no_budget(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    for (n, ahead) in jumps() {
        let issue = async |token: u8, at| {
            let issue = charged(token, n, at, epoch);
            store.commit(issue).await.unwrap()
        };
        assert_eq!(issue(10 * n, ahead).await, Issued::New);
        assert_eq!(issue(10 * n + 1, START).await, Issued::New, "{ahead}");
        let until = START.plus(DAY / 4);
        let needs_factor = Issued::Overdrawn(Overdrawn::NeedsFactor { until });
        assert_eq!(issue(10 * n + 2, START).await, needs_factor, "{ahead}");
        assert_eq!(issue(10 * n + 2, until).await, Issued::New, "{ahead}");
    }
}

/// What was used up under it is used up for a window from the first call at the right time.
pub(super) async fn a_budget_used_up_under_a_clock_ahead_is_whole_a_window_later(
    store: &dyn Store,
) {
    let epoch = with_merchant(store).await;
    for (n, ahead) in jumps() {
        let issue = async |token: u8, at| {
            let mut issue = charged(token, n, at, epoch);
            if let Some(charge) = &mut issue.charge {
                charge.second_factor = true;
            }
            store.commit(issue).await.unwrap()
        };
        for token in 0..4 {
            assert_eq!(issue(20 * n + token, ahead).await, Issued::New);
        }
        let until = START.plus(DAY / 4);
        let exhausted = Issued::Overdrawn(Overdrawn::Exhausted { until });
        assert_eq!(issue(20 * n + 4, START).await, exhausted, "{ahead}");
        let before = until.minus(MILLISECOND);
        assert_eq!(issue(20 * n + 4, before).await, exhausted, "{ahead}");
        assert_eq!(issue(20 * n + 4, until).await, Issued::New, "{ahead}");
    }
}

/// Who is paused, or has opened too many sessions, waits no longer than always.
pub(super) async fn a_clock_that_was_ahead_locks_no_second_factor(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let open = async |session: u8, person: u8, at: Time| {
        let opening = Opening {
            id: SessionId::from_bytes([session; 16]),
            merchant: sample::merchant(1).id,
            person: PersonId::from_bytes([person; 16]),
            card: sample::card(1).id,
            purpose: Purpose::ViewCard,
            factor: Some(Factor::Otp),
            factors: FactorPolicy::default(),
            at,
            source: sample::operator(),
        };
        store.commit(opening).await.unwrap().map(drop)
    };
    for (n, ahead) in jumps() {
        let (person, first) = (n, 60 * n);
        open(first, person, ahead).await.unwrap();
        for _ in 0..5 {
            let wrong = Issue {
                mfa: Some(Assertion {
                    session: Some(SessionId::from_bytes([first; 16])),
                    person: PersonId::from_bytes([person; 16]),
                    proof: Proof::Otp { right: false },
                }),
                ..sample::issue(1, ahead, epoch)
            };
            let refused = store.commit(wrong).await.unwrap();
            assert_eq!(refused, Issued::MfaRefused(Cause::WrongCode));
        }
        let until = START.plus(PAUSE);
        let paused = Err(OpeningRefused::TooOften { until });
        assert_eq!(open(first + 1, person, START).await, paused, "{ahead}");
        let before = until.minus(MILLISECOND);
        assert_eq!(open(first + 1, person, before).await, paused, "{ahead}");
        assert_eq!(open(first + 1, person, until).await, Ok(()), "{ahead}");

        let often = 100 + person;
        for session in 0..SESSIONS_MAX {
            let session = first + 2 + u8::try_from(session).unwrap();
            open(session, often, ahead).await.unwrap();
        }
        let until = START.plus(SESSIONS_WITHIN);
        let full = Err(OpeningRefused::TooOften { until });
        assert_eq!(open(first + 40, often, START).await, full, "{ahead}");
        assert_eq!(open(first + 40, often, until).await, Ok(()), "{ahead}");
    }
}

/// A session that was opened under it passes for nothing: it would live until that clock's time.
pub(super) async fn a_session_of_a_clock_ahead_has_expired(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let person = sample::card(1).person;
    let edge = START.plus(CLOCKS_APART);
    let late = jumps().map(|(n, ahead)| (n, ahead, false));
    for (n, opened, passes) in [(8, edge, true), (9, edge.plus(MILLISECOND), false)]
        .into_iter()
        .chain(late)
    {
        let id = SessionId::from_bytes([n; 16]);
        let opening = Opening {
            id,
            merchant: sample::merchant(1).id,
            person,
            card: sample::card(1).id,
            purpose: Purpose::ViewCard,
            factor: Some(Factor::Otp),
            factors: FactorPolicy::default(),
            at: opened,
            source: sample::operator(),
        };
        store.commit(opening).await.unwrap().unwrap();
        let issue = Issue {
            mfa: Some(Assertion {
                session: Some(id),
                person,
                proof: Proof::Otp { right: true },
            }),
            ..sample::issue(n, START, epoch)
        };
        let expected = if passes {
            Issued::New
        } else {
            Issued::MfaRefused(Cause::Expired)
        };
        assert_eq!(store.commit(issue).await.unwrap(), expected, "{opened}");
    }
}

/// After a code of a clock ahead, one at the right time is refused once, as used, and the codes of
/// a minute later pass.
pub(super) async fn a_step_of_a_clock_ahead_is_forgotten(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let person = sample::card(1).person;
    for (n, ahead) in jumps() {
        let id = FactorId::from_bytes([n; 16]);
        let change = async |change, at| {
            let request = FactorRequest {
                merchant: sample::merchant(1).id,
                person,
                change,
                at,
                source: sample::operator(),
            };
            store.commit(request).await.unwrap().unwrap();
        };
        let app = Totp {
            id,
            sealed: sample::credential(1).sealed_secret,
            enrolled_at: START,
            confirmed_at: None,
            last_step: None,
        };
        change(FactorChange::Enrol(Box::new(app)), START).await;
        let step = Some(step_at(ahead));
        change(FactorChange::Confirm { factor: id, step }, ahead).await;
        let pass = async |session: u8, at: Time| {
            let session = SessionId::from_bytes([session; 16]);
            let opening = Opening {
                id: session,
                merchant: sample::merchant(1).id,
                person,
                card: sample::card(1).id,
                purpose: Purpose::ViewCard,
                factor: Some(Factor::Totp),
                factors: FactorPolicy::default(),
                at,
                source: sample::operator(),
            };
            store.commit(opening).await.unwrap().unwrap();
            let issue = Issue {
                mfa: Some(Assertion {
                    session: Some(session),
                    person,
                    proof: Proof::Totp {
                        factor: id,
                        step: Some(step_at(at)),
                    },
                }),
                ..sample::issue(session.as_bytes()[0], at, epoch)
            };
            store.commit(issue).await.unwrap()
        };
        let used = Issued::MfaRefused(Cause::CodeReused);
        assert_eq!(pass(10 * n, START).await, used, "{ahead}");
        let later = START.plus(CLOCKS_APART);
        assert_eq!(pass(10 * n + 1, later).await, Issued::New, "{ahead}");
        assert_eq!(pass(10 * n + 2, later).await, used, "{ahead}");
    }
}

/// No key gets a token that a clock ahead has issued, nor anything more of one that was claimed
/// under it; and its request's name is free again.
pub(super) async fn a_token_of_a_clock_ahead_is_good_for_nothing(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let_the_credential_last(store).await;
    let pan = &[Field::Pan];
    for (n, ahead) in jumps() {
        let named = |token: u8, at: Time| Issue {
            idempotency: Some(Idempotency {
                key: [n; 32],
                fingerprint: [1; 32],
                seed: [token; 32],
                expires_at: at.plus(cardveil_core::token::TTL),
            }),
            ..sample::issue(token, at, epoch)
        };
        let new = named(10 * n, ahead);
        assert_eq!(store.commit(new.clone()).await.unwrap(), Issued::New);
        let claim = sample::claim(&new.record, n, pan, START);
        let refused = Verdict::Refused(Cause::Expired);
        assert_eq!(store.commit(claim).await.unwrap(), refused, "{ahead}");
        let again = store.commit(named(10 * n + 1, START)).await.unwrap();
        assert_eq!(again, Issued::New, "{ahead}");

        let held = sample::issue(10 * n + 2, ahead, epoch);
        assert_eq!(store.commit(held.clone()).await.unwrap(), Issued::New);
        let first = sample::claim(&held.record, n, pan, ahead);
        let granted = store.commit(first).await.unwrap();
        assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
        for (field, cause) in [
            (Field::Pan, Cause::RepeatsExhausted),
            (Field::Cvv, Cause::WindowClosed),
        ] {
            let more = sample::claim(&held.record, n, &[field], START);
            let refused = Verdict::Refused(cause);
            assert_eq!(store.commit(more).await.unwrap(), refused, "{ahead}");
        }
    }
    let edge = START.plus(CLOCKS_APART);
    let apart = sample::issue(7, edge, epoch);
    assert_eq!(store.commit(apart.clone()).await.unwrap(), Issued::New);
    let claim = sample::claim(&apart.record, 7, pan, START);
    let granted = store.commit(claim).await.unwrap();
    assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
}

/// P7 does not wait for its time either.
pub(super) async fn a_release_under_a_clock_ahead_is_recorded_as_unconfirmed(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let_the_credential_last(store).await;
    for (n, ahead) in jumps() {
        let held = sample::issue(n, ahead, epoch);
        assert_eq!(store.commit(held.clone()).await.unwrap(), Issued::New);
        let claim = sample::claim(&held.record, n, &[Field::Pan], ahead);
        let granted = store.commit(claim).await.unwrap();
        assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
    }
    let swept = store
        .commit(Sweep {
            now: START,
            limit: 100,
        })
        .await
        .unwrap();
    assert_eq!((swept.unconfirmed, swept.deleted), (3, 0));
    let again = store
        .commit(Sweep {
            now: START,
            limit: 100,
        })
        .await
        .unwrap();
    assert_eq!((again.unconfirmed, again.deleted), (0, 0));
    assert_eq!(log_of(store, Kind::RevealUnconfirmed).await.len(), 3);
}

/// Wrong proofs that were brought under it block a card's activation for a day, from the next try
/// on.
pub(super) async fn wrong_proofs_under_a_clock_ahead_block_no_longer(store: &dyn Store) {
    with_merchant(store).await;
    for (n, ahead) in jumps() {
        let card = cardveil_core::card::Card {
            id: CardId::from_bytes([100 + n; 16]),
            no: CardNo::parse(&format!("P{n}")).unwrap(),
            kind: CardKind::Physical,
            state: cardveil_core::card::State::Unactivated,
            ..sample::card(100 + n)
        };
        let id = card.id;
        let change = (
            Change::AddCard(Box::new(card)),
            sample::event(Kind::CardAdded, START),
        );
        assert_eq!(store.commit(Changes(vec![change])).await.unwrap(), [Ok(())]);
        let activate = async |proven, at| {
            let activation = Activation {
                merchant: sample::merchant(1).id,
                card: CardRef::Id(id),
                proven,
                at,
                source: sample::operator(),
            };
            store.commit(activation).await.unwrap()
        };
        for _ in 0..5 {
            assert_eq!(activate(false, ahead).await, Activated::Wrong);
        }
        assert_eq!(activate(true, START).await, Activated::Blocked, "{ahead}");
        let day = START.plus(DAY);
        let before = day.minus(MILLISECOND);
        assert_eq!(activate(true, before).await, Activated::Blocked, "{ahead}");
        assert_eq!(activate(true, day).await, Activated::Done, "{ahead}");
    }
}

/// The sample's ends before the clocks of these cases do.
async fn let_the_credential_last(store: &dyn Store) {
    let was = sample::credential(1);
    let to = Credential {
        expires_at: None,
        ..was.clone()
    };
    let change = Change::SetCredential(Set::boxed(was, to));
    let event = sample::event(Kind::CredentialChanged, START);
    store.commit(Changes(vec![(change, event)])).await.unwrap()[0].unwrap();
}
