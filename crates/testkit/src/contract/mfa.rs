//! What every store must do with second factors.

use std::time::Duration;

use futures_util::future::join_all;

use super::{after, log_len, log_of, with_merchant};
use crate::sample::{self, START};
use cardveil_core::audit::{Kind, Outcome};
use cardveil_core::clock::Time;
use cardveil_core::id::{FactorId, PersonId, SessionId};
use cardveil_core::mfa::{
    Assertion, Factor, FactorChange, FactorPolicy, FactorRefused, FactorRequest, Opening,
    OpeningRefused, PAUSE, Proof, Purpose, RETENTION, SESSION_TTL, SESSIONS_MAX, Session, State,
    Totp, WRONG_IN_A_ROW_MAX,
};
use cardveil_core::port::Store;
use cardveil_core::token::{Cause, Epoch, Idempotency, Issue, Issued, Operation};
use cardveil_core::verb::{Commit, RaiseEpoch, SweepSessions};

fn person() -> PersonId {
    sample::card(1).person
}

fn opening(n: u8, factor: Factor, at: Time) -> Opening {
    Opening {
        id: SessionId::from_bytes([n; 16]),
        merchant: sample::merchant(1).id,
        person: person(),
        card: sample::card(1).id,
        purpose: Purpose::ViewCard,
        factor: Some(factor),
        factors: FactorPolicy::default(),
        at,
        source: sample::operator(),
    }
}

pub(super) async fn open(store: &dyn Store, n: u8, at: Time) -> Session {
    let opened = store.commit(opening(n, Factor::Otp, at)).await.unwrap();
    opened.unwrap()
}

/// The issue of token `n` with the session `session` and a code that is or is not right.
fn issue(n: u8, session: u8, right: bool, at: Time, epoch: Epoch) -> Issue {
    asserting(n, session, Proof::Otp { right }, at, epoch)
}

fn asserting(n: u8, session: u8, proof: Proof, at: Time, epoch: Epoch) -> Issue {
    Issue {
        mfa: Some(Assertion {
            session: Some(SessionId::from_bytes([session; 16])),
            person: person(),
            proof,
        }),
        ..sample::issue(n, at, epoch)
    }
}

async fn change(store: &dyn Store, change: FactorChange, at: Time) -> Result<(), FactorRefused> {
    let request = FactorRequest {
        merchant: sample::merchant(1).id,
        person: person(),
        change,
        at,
        source: sample::operator(),
    };
    store.commit(request).await.unwrap()
}

fn totp(n: u8) -> Totp {
    Totp {
        id: FactorId::from_bytes([n; 16]),
        sealed: sample::credential(n).sealed_secret,
        enrolled_at: START,
        confirmed_at: None,
        last_step: None,
    }
}

/// Enrolled and confirmed by the code of step 10.
pub(super) async fn with_app(store: &dyn Store, n: u8) -> FactorId {
    let app = totp(n);
    let factor = app.id;
    assert_eq!(
        change(store, FactorChange::Enrol(Box::new(app)), START).await,
        Ok(())
    );
    let confirm = FactorChange::Confirm {
        factor,
        step: Some(10),
    };
    assert_eq!(change(store, confirm, START).await, Ok(()));
    factor
}

/// Whoever has an app is asked for it. A code that the merchant delivers counts beside it only
/// where the policy lists it as a fallback, and then the record says so.
pub(super) async fn a_weaker_factor_counts_as_a_fallback_alone_and_on_record(store: &dyn Store) {
    with_merchant(store).await;
    let wish = |n: u8, factor: Option<Factor>, fallback: &[Factor]| Opening {
        factor,
        factors: FactorPolicy {
            fallback: fallback.iter().copied().collect(),
            ..FactorPolicy::default()
        },
        ..opening(n, Factor::Otp, START)
    };
    let first = store.commit(wish(1, None, &[])).await.unwrap().unwrap();
    assert_eq!(first.factor, Factor::Otp, "the only one");
    with_app(store, 1).await;
    let strongest = store.commit(wish(2, None, &[])).await.unwrap().unwrap();
    assert_eq!(strongest.factor, Factor::Totp);
    let weaker = store.commit(wish(3, Some(Factor::Otp), &[])).await.unwrap();
    assert_eq!(weaker.err(), Some(OpeningRefused::StrongerEnrolled));
    let refused = log_of(store, Kind::MfaRefused).await.pop().unwrap();
    assert_eq!(refused.detail.cause, Some(Cause::WeakerFactor));
    let fallback = store
        .commit(wish(4, Some(Factor::Otp), &[Factor::Otp]))
        .await
        .unwrap();
    assert_eq!(fallback.unwrap().factor, Factor::Otp);
    let told = log_of(store, Kind::MfaCode).await.pop().unwrap();
    assert_eq!(
        told.detail.note.as_deref(),
        Some("OTP, a fallback for TOTP")
    );
    let apps_alone = Opening {
        factors: FactorPolicy {
            accepts: [Factor::Totp].into_iter().collect(),
            ..FactorPolicy::default()
        },
        ..opening(5, Factor::Otp, START)
    };
    let refused = store.commit(apps_alone).await.unwrap();
    assert_eq!(refused.err(), Some(OpeningRefused::FactorUnavailable));
}

/// What goes in comes out.
pub(super) async fn a_session_is_found_as_it_was_opened(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let session = open(store, 1, START).await;
    assert_eq!(session.epoch, epoch);
    assert_eq!(session.expires_at, START.plus(SESSION_TTL));
    assert_eq!(session.state, State::Open { wrong: 0 });
    let found = store.mfa_session(&session.id).await.unwrap();
    assert_eq!(found, Some(session));
    let unknown = SessionId::from_bytes([9; 16]);
    assert_eq!(store.mfa_session(&unknown).await.unwrap(), None);
    let told = &log_of(store, Kind::MfaCode).await[0];
    assert_eq!(told.target.session, Some(SessionId::from_bytes([1; 16])));
    assert_eq!(told.target.person, Some(person()));
    assert_eq!(told.target.card, Some(sample::card(1).id));
    assert_eq!(told.topic(), Some(cardveil_core::audit::Topic::MfaCode));
}

/// The session is spent in the commit of its token.
pub(super) async fn one_assertion_gives_one_token(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    open(store, 1, START).await;
    let first = issue(1, 1, true, after(1), epoch);
    let key = first.record.key;
    assert_eq!(store.commit(first).await.unwrap(), Issued::New);
    assert!(store.token(&key).await.unwrap().is_some());
    let second = issue(2, 1, true, after(1), epoch);
    let key = second.record.key;
    let refused = Issued::MfaRefused(Cause::SessionSpent);
    assert_eq!(store.commit(second).await.unwrap(), refused);
    assert_eq!(store.token(&key).await.unwrap(), None);
    let passed = log_of(store, Kind::MfaPassed).await;
    assert_eq!(passed.len(), 1);
    assert_eq!(passed[0].detail.to.as_deref(), Some("spent"));
    assert_eq!(log_of(store, Kind::TokenIssued).await.len(), 1);
    let refused = log_of(store, Kind::MfaRefused).await;
    assert_eq!(refused[0].detail.cause, Some(Cause::SessionSpent));
    assert_eq!(refused[0].outcome, Outcome::Failure);
}

/// The same under a race.
pub(super) async fn of_64_concurrent_assertions_one_gets_a_token(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    open(store, 1, START).await;
    let all = (1..=64).map(|n| store.commit(issue(n, 1, true, START, epoch)));
    let results = join_all(all).await;
    let count = |wanted: &Issued| {
        let same = |result: &&Result<Issued, _>| result.as_ref().unwrap() == wanted;
        results.iter().filter(same).count()
    };
    assert_eq!(count(&Issued::New), 1);
    assert_eq!(count(&Issued::MfaRefused(Cause::SessionSpent)), 63);
    assert_eq!(log_of(store, Kind::TokenIssued).await.len(), 1);
}

/// RTS 2018/389 Article 4(3)(b), and the pause after it.
pub(super) async fn the_fifth_wrong_code_ends_the_session_and_pauses_the_person(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    open(store, 1, START).await;
    open(store, 2, START).await;
    for n in 1..=5 {
        let wrong = store.commit(issue(n, 1, false, after(10), epoch)).await;
        assert_eq!(wrong.unwrap(), Issued::MfaRefused(Cause::WrongCode));
        let session = store.mfa_session(&SessionId::from_bytes([1; 16])).await;
        let state = session.unwrap().unwrap().state;
        if n < 5 {
            assert_eq!(state, State::Open { wrong: n });
        } else {
            assert_eq!(state, State::Locked { at: after(10) });
        }
    }
    let right = store.commit(issue(6, 1, true, after(10), epoch)).await;
    assert_eq!(right.unwrap(), Issued::MfaRefused(Cause::SessionLocked));
    let other = store.commit(issue(7, 2, true, after(10), epoch)).await;
    assert_eq!(other.unwrap(), Issued::MfaRefused(Cause::TooOften));
    let until = after(10).plus(PAUSE);
    let early = Time::from_millis(until.millis() - 1);
    let refused = store.commit(opening(3, Factor::Otp, early)).await.unwrap();
    assert_eq!(refused, Err(OpeningRefused::TooOften { until }));
    open(store, 4, until).await;
    let right = store.commit(issue(8, 4, true, until, epoch)).await.unwrap();
    assert_eq!(right, Issued::New);
    let person = store.mfa_person(&sample::merchant(1).id, &person()).await;
    assert_eq!(
        person.unwrap().unwrap().wrong,
        0,
        "a right code starts anew"
    );
    let locked = log_of(store, Kind::MfaRefused).await;
    let locked: Vec<_> = locked.iter().filter(|e| e.detail.to.is_some()).collect();
    assert_eq!(locked.len(), 1);
    assert_eq!(locked[0].detail.to.as_deref(), Some("locked"));
}

/// Whatever a session is not for, it does not pass for, and nothing of it changes.
pub(super) async fn a_session_passes_for_nothing_else(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let session = open(store, 1, START).await;
    let mut merchant = issue(1, 1, true, START, epoch);
    merchant.record.merchant = sample::merchant(2).id;
    let mut card = issue(2, 1, true, START, epoch);
    card.record.card = sample::card(2).id;
    let mut operation = issue(3, 1, true, START, epoch);
    operation.record.operation = Operation::AddCardToWallet;
    let mut other = issue(4, 1, true, START, epoch);
    other.mfa.as_mut().unwrap().person = PersonId::from_bytes([9; 16]);
    let mut nothing = issue(5, 1, true, START, epoch);
    nothing.mfa.as_mut().unwrap().session = None;
    let cases = [
        (merchant, Cause::Foreign),
        (card, Cause::Foreign),
        (operation, Cause::WrongOperation),
        (other, Cause::Foreign),
        (nothing, Cause::Unknown),
        (issue(6, 9, true, START, epoch), Cause::Unknown),
        (issue(7, 1, true, after(300), epoch), Cause::Expired),
    ];
    for (issue, cause) in cases {
        let key = issue.record.key;
        let refused = store.commit(issue).await.unwrap();
        assert_eq!(refused, Issued::MfaRefused(cause));
        assert_eq!(store.token(&key).await.unwrap(), None);
        let last = log_of(store, Kind::MfaRefused).await.pop().unwrap();
        assert_eq!(last.detail.cause, Some(cause));
    }
    let found = store.mfa_session(&session.id).await.unwrap();
    assert_eq!(found, Some(session));
    let last_moment = Time::from_millis(after(300).millis() - 1);
    let good = store.commit(issue(8, 1, true, last_moment, epoch)).await;
    assert_eq!(good.unwrap(), Issued::New);
}

/// A restored backup un-spends sessions as it un-spends tokens.
pub(super) async fn a_raised_epoch_ends_all_older_sessions(store: &dyn Store) {
    with_merchant(store).await;
    open(store, 1, START).await;
    let raised = store
        .commit(RaiseEpoch(sample::event(Kind::EpochRaised, START)))
        .await
        .unwrap();
    let refused = store
        .commit(issue(1, 1, true, START, raised))
        .await
        .unwrap();
    assert_eq!(refused, Issued::MfaRefused(Cause::OldEpoch));
    open(store, 2, START).await;
    let good = store
        .commit(issue(2, 2, true, START, raised))
        .await
        .unwrap();
    assert_eq!(good, Issued::New);
}

/// RFC 6238 section 5.2.
pub(super) async fn a_step_is_used_once_and_none_before_it(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let none = store.commit(opening(1, Factor::Totp, START)).await.unwrap();
    assert_eq!(none, Err(OpeningRefused::FactorUnavailable));
    let factor = with_app(store, 1).await;
    let cases = [
        (10, Err(Cause::CodeReused), "confirmed by it"),
        (9, Err(Cause::CodeReused), "before that"),
        (11, Ok(()), "the next"),
        (11, Err(Cause::CodeReused), "again, in another session"),
        (12, Ok(()), "the one after"),
    ];
    for (n, (step, expected, why)) in (1..).zip(cases) {
        let opened = store.commit(opening(n, Factor::Totp, START)).await;
        opened.unwrap().unwrap();
        let proof = Proof::Totp {
            factor,
            step: Some(step),
        };
        let issued = store.commit(asserting(n, n, proof, START, epoch)).await;
        let expected = match expected {
            Ok(()) => Issued::New,
            Err(cause) => Issued::MfaRefused(cause),
        };
        assert_eq!(issued.unwrap(), expected, "{why}");
    }
    assert_eq!(log_of(store, Kind::MfaOpened).await.len(), cases.len());
}

/// A code that matched the app of before is no proof for the app of now.
pub(super) async fn an_app_is_enrolled_confirmed_replaced_and_removed(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let confirm = |factor, step| FactorChange::Confirm { factor, step };
    let nobody = change(store, FactorChange::Remove, START).await;
    assert_eq!(nobody, Err(FactorRefused::Unavailable));
    let nobody = change(store, FactorChange::Reset, START).await;
    assert_eq!(nobody, Err(FactorRefused::Unavailable));

    let old = with_app(store, 1).await;
    let again = change(store, confirm(old, Some(11)), START).await;
    assert_eq!(
        again,
        Err(FactorRefused::Unavailable),
        "no second way to try codes"
    );
    store
        .commit(opening(1, Factor::Totp, START))
        .await
        .unwrap()
        .unwrap();

    let replaced = FactorChange::Enrol(Box::new(totp(2)));
    assert_eq!(change(store, replaced, START).await, Ok(()));
    let proof = Proof::Totp {
        factor: old,
        step: Some(20),
    };
    let stale = store
        .commit(asserting(1, 1, proof, START, epoch))
        .await
        .unwrap();
    assert_eq!(stale, Issued::MfaRefused(Cause::FactorUnavailable));
    let unconfirmed = store.commit(opening(2, Factor::Totp, START)).await.unwrap();
    assert_eq!(unconfirmed, Err(OpeningRefused::FactorUnavailable));

    let new = totp(2).id;
    let foreign = change(store, confirm(old, Some(20)), START).await;
    assert_eq!(foreign, Err(FactorRefused::Unavailable));
    let wrong = change(store, confirm(new, None), START).await;
    assert_eq!(wrong, Err(FactorRefused::WrongCode));
    let known = async || {
        let known = store.mfa_person(&sample::merchant(1).id, &person()).await;
        known.unwrap().unwrap()
    };
    assert_eq!(known().await.wrong, 1);
    assert_eq!(change(store, confirm(new, Some(5)), START).await, Ok(()));
    let person = known().await;
    let expected = Totp {
        confirmed_at: Some(START),
        last_step: Some(5),
        ..totp(2)
    };
    assert_eq!(person.totp, Some(expected));
    assert_eq!(person.wrong, 1, "who enrols anew has not been right yet");
    assert_eq!(change(store, FactorChange::Remove, START).await, Ok(()));
    assert_eq!(known().await.totp, None);
    for (kind, count) in [
        (Kind::MfaEnrolled, 2),
        (Kind::MfaConfirmed, 2),
        (Kind::MfaRemoved, 1),
    ] {
        assert_eq!(log_of(store, kind).await.len(), count, "{kind:?}");
    }
}

/// NIST SP 800-63B 5.2.2.
pub(super) async fn a_hundred_wrong_codes_in_a_row_lock_until_a_reset(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let mut now = START;
    let mut wrong = 0;
    let mut session = 0;
    while wrong < WRONG_IN_A_ROW_MAX {
        session += 1;
        open(store, session, now).await;
        for _ in 0..5 {
            let refused = store.commit(issue(1, session, false, now, epoch)).await;
            assert_eq!(refused.unwrap(), Issued::MfaRefused(Cause::WrongCode));
            wrong += 1;
        }
        now = now.plus(PAUSE);
    }
    for factor in [Factor::Otp, Factor::Totp] {
        let locked = store.commit(opening(99, factor, now)).await.unwrap();
        assert_eq!(locked, Err(OpeningRefused::FactorUnavailable));
    }
    assert_eq!(change(store, FactorChange::Reset, now).await, Ok(()));
    open(store, 100, now).await;
    let right = store.commit(issue(2, 100, true, now, epoch)).await;
    assert_eq!(right.unwrap(), Issued::New);
    assert_eq!(log_of(store, Kind::MfaReset).await.len(), 1);
}

/// The most that a person gets in an hour, whoever asks.
pub(super) async fn sessions_are_counted_by_the_hour(store: &dyn Store) {
    with_merchant(store).await;
    for n in 1..=20 {
        open(store, n, after(u64::from(n))).await;
    }
    assert_eq!(SESSIONS_MAX, 20);
    let until = after(3_601);
    let early = Time::from_millis(until.millis() - 1);
    let refused = store.commit(opening(21, Factor::Otp, early)).await.unwrap();
    assert_eq!(refused, Err(OpeningRefused::TooOften { until }));
    let mut other = opening(22, Factor::Otp, early);
    other.person = PersonId::from_bytes([9; 16]);
    assert!(
        store.commit(other).await.unwrap().is_ok(),
        "of this person alone"
    );
    open(store, 23, until).await;
}

/// `Idempotency-Key`: the answer before is looked up first, so a retry needs no second code.
pub(super) async fn a_named_request_spends_its_session_once(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    open(store, 1, START).await;
    let named = |n: u8, right| {
        let mut issue = issue(n, 1, right, START, epoch);
        issue.idempotency = Some(Idempotency {
            key: [7; 32],
            fingerprint: [1; 32],
            seed: [n; 32],
            expires_at: START.plus(Duration::from_secs(300)),
        });
        issue
    };
    let refused = store.commit(named(1, false)).await.unwrap();
    assert_eq!(
        refused,
        Issued::MfaRefused(Cause::WrongCode),
        "a refusal takes no name"
    );
    assert_eq!(store.commit(named(2, true)).await.unwrap(), Issued::New);
    let again = store.commit(named(3, true)).await.unwrap();
    assert!(matches!(again, Issued::Before(..)), "{again:?}");
    assert_eq!(log_of(store, Kind::MfaPassed).await.len(), 1);
}

/// P8.
pub(super) async fn old_sessions_are_deleted_in_bounded_rounds(store: &dyn Store) {
    with_merchant(store).await;
    for n in 1..=3 {
        open(store, n, START).await;
    }
    open(store, 4, after(1)).await;
    let before = log_len(store).await;
    let kept_until = START.plus(SESSION_TTL).plus(RETENTION);
    assert_eq!(
        store
            .commit(SweepSessions {
                now: kept_until,
                limit: 2
            })
            .await
            .unwrap(),
        0
    );
    let past = Time::from_millis(kept_until.millis() + 1);
    assert_eq!(
        store
            .commit(SweepSessions {
                now: past,
                limit: 2
            })
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        store
            .commit(SweepSessions {
                now: past,
                limit: 2
            })
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        store
            .commit(SweepSessions {
                now: past,
                limit: 2
            })
            .await
            .unwrap(),
        0
    );
    let kept = store.mfa_session(&SessionId::from_bytes([4; 16])).await;
    assert!(kept.unwrap().is_some());
    assert_eq!(log_len(store).await, before);
}
