//! What every store must do with the second factor that a frame asks for.

use futures_util::future::join_all;

use super::{after, log_of, with_merchant};
use crate::sample::{self, START};
use cardveil_core::audit::{Kind, Outcome};
use cardveil_core::card::Field;
use cardveil_core::clock::Time;
use cardveil_core::id::AttemptId;
use cardveil_core::mfa::{
    Factor, FactorPolicy, Opening, OpeningRefused, PAUSE, Proof, WRONG_CODES_MAX,
};
use cardveil_core::port::Store;
use cardveil_core::token::{
    Answered, Cause, Challenge, Challenged, Claim, Record, State, Verdict, session_of,
};
use cardveil_core::verb::{Commit, Revoke};

/// Token `n`, which waits for a second factor.
async fn waiting(store: &dyn Store, n: u8) -> Record {
    let mut issue = sample::issue(n, START, store.epoch().await.unwrap());
    issue.record.state = State::Waiting;
    store.commit(issue.clone()).await.unwrap();
    issue.record
}

/// The claim of key `key`, with what it answers to challenge `challenge`.
fn claim(record: &Record, key: u8, answer: Option<(u8, bool)>, at: Time) -> Claim {
    Claim {
        answered: answer.map(|(challenge, right)| Answered {
            challenge: AttemptId::from_bytes([challenge; 16]),
            merchant: record.merchant.clone(),
            person: sample::card(1).person,
            proof: Proof::Otp { right },
        }),
        ..sample::claim(record, key, &[Field::Pan], at)
    }
}

fn challenge(record: &Record, key: u8, challenge: u8, at: Time) -> Challenge {
    let claim = claim(record, key, None, at);
    let name = AttemptId::from_bytes([challenge; 16]);
    Challenge {
        opening: Opening {
            id: session_of(&record.key.hash, claim.by, name),
            merchant: record.merchant.clone(),
            person: sample::card(1).person,
            card: record.card,
            purpose: record.operation.into(),
            factor: Some(Factor::Otp),
            factors: FactorPolicy::default(),
            at,
            source: sample::operator(),
        },
        claim,
    }
}

async fn ask(store: &dyn Store, record: &Record, key: u8, name: u8) -> Challenged {
    let asked = challenge(record, key, name, after(1));
    store.commit(asked).await.unwrap()
}

async fn row(store: &dyn Store, record: &Record) -> Record {
    store.token(&record.key).await.unwrap().unwrap()
}

/// Nothing opens it without the factor, which nobody has counted as a refusal: the frame learns of
/// it so.
pub(super) async fn a_token_that_waits_opens_nothing_without_a_factor(store: &dyn Store) {
    with_merchant(store).await;
    let record = waiting(store, 1).await;
    let before = row(store, &record).await;
    assert_eq!(before.state, State::Waiting);
    let claimed = store.commit(claim(&record, 1, None, after(1))).await;
    assert_eq!(claimed.unwrap(), Verdict::WantsFactor);
    assert_eq!(row(store, &record).await, before);
    assert!(log_of(store, Kind::RevealRefused).await.is_empty());
    // A session that was never opened passes nothing, whatever the code is said to be.
    let claimed = store.commit(claim(&record, 1, Some((1, true)), after(1)));
    assert_eq!(
        claimed.await.unwrap(),
        Verdict::FactorRefused(Cause::Unknown)
    );
    let waits = row(store, &record).await;
    assert_eq!((waits.state, waits.refusals), (State::Waiting, 1));
}

/// Nobody fills the log with what needs neither a code nor the cardholder.
pub(super) async fn factors_that_nobody_asked_for_are_counted_and_16_are_on_record(
    store: &dyn Store,
) {
    with_merchant(store).await;
    let record = waiting(store, 1).await;
    for n in 0..20 {
        let bogus = store.commit(claim(&record, 1, Some((n, true)), after(1)));
        assert_eq!(bogus.await.unwrap(), Verdict::FactorRefused(Cause::Unknown));
    }
    let mut nobody = challenge(&record, 1, 50, after(1));
    nobody.opening.factor = Some(Factor::Totp);
    let asked = store.commit(nobody).await.unwrap();
    let unavailable = Challenged::Unavailable(OpeningRefused::FactorUnavailable);
    assert_eq!(asked, unavailable);
    let refused = log_of(store, Kind::MfaRefused).await;
    assert_eq!(refused.len(), 16, "the rest is a count");
    let counted = row(store, &record).await;
    assert_eq!((counted.state, counted.refusals), (State::Waiting, 21));
    assert!(matches!(
        ask(store, &record, 1, 7).await,
        Challenged::Asked(_)
    ));
    let right = store.commit(claim(&record, 1, Some((7, true)), after(2)));
    assert!(matches!(right.await.unwrap(), Verdict::Granted(_)));
}

pub(super) async fn the_factor_that_was_asked_for_opens_it_once(store: &dyn Store) {
    with_merchant(store).await;
    let record = waiting(store, 1).await;
    let Challenged::Asked(session) = ask(store, &record, 1, 7).await else {
        panic!("it waits for a factor");
    };
    let wrong = store.commit(claim(&record, 1, Some((7, false)), after(2)));
    assert_eq!(
        wrong.await.unwrap(),
        Verdict::FactorRefused(Cause::WrongCode)
    );
    assert_eq!(row(store, &record).await.state, State::Waiting);
    let granted = store.commit(claim(&record, 1, Some((7, true)), after(3)));
    assert!(matches!(granted.await.unwrap(), Verdict::Granted(_)));
    let released = log_of(store, Kind::RevealReleased).await;
    assert_eq!(released.len(), 1);
    assert_eq!(released[0].target.session, Some(session.id));
    // Its key goes on without another; any other key gets nothing, with the factor or without.
    let mut further = sample::claim(&record, 1, &[Field::Cvv], after(4));
    further.redemption = sample::redemption(1);
    assert!(matches!(
        store.commit(further).await.unwrap(),
        Verdict::Granted(_)
    ));
    for answer in [None, Some((7, true))] {
        let other = store.commit(claim(&record, 2, answer, after(4))).await;
        assert_eq!(other.unwrap(), Verdict::Refused(Cause::OtherKey));
    }
    let asked = ask(store, &record, 1, 8).await;
    assert_eq!(asked, Challenged::NotWanted, "its key has it");
}

/// Another token, another key, another challenge: each has a session of its own.
pub(super) async fn a_factor_passes_for_its_token_and_its_key_alone(store: &dyn Store) {
    with_merchant(store).await;
    let (record, other) = (waiting(store, 1).await, waiting(store, 2).await);
    let asked = ask(store, &record, 1, 7).await;
    assert!(matches!(asked, Challenged::Asked(_)));
    for (record, key, challenge) in [(&other, 1, 7), (&record, 2, 7), (&record, 1, 8)] {
        let claim = claim(record, key, Some((challenge, true)), after(2));
        assert_eq!(
            store.commit(claim).await.unwrap(),
            Verdict::FactorRefused(Cause::Unknown)
        );
    }
    let granted = store.commit(claim(&record, 1, Some((7, true)), after(2)));
    assert!(matches!(granted.await.unwrap(), Verdict::Granted(_)));
}

pub(super) async fn a_challenge_that_is_sent_again_gives_no_try_back(store: &dyn Store) {
    with_merchant(store).await;
    let record = waiting(store, 1).await;
    for _ in 0..WRONG_CODES_MAX {
        let asked = ask(store, &record, 1, 7).await;
        assert!(matches!(asked, Challenged::Asked(_)));
        let wrong = store.commit(claim(&record, 1, Some((7, false)), after(2)));
        assert!(matches!(wrong.await.unwrap(), Verdict::FactorRefused(_)));
    }
    let codes = log_of(store, Kind::MfaCode).await;
    assert_eq!(codes.len(), 1);
    let refused = log_of(store, Kind::MfaRefused).await;
    assert_eq!(refused.len(), usize::from(WRONG_CODES_MAX));
    // The record says of which token, when somebody has a cardholder asked again and again.
    for event in codes.iter().chain(&refused) {
        assert_eq!(event.target.token, Some(record.key.hash));
    }
    let right = store.commit(claim(&record, 1, Some((7, true)), after(2)));
    assert_eq!(
        right.await.unwrap(),
        Verdict::FactorRefused(Cause::SessionLocked)
    );
    // Neither the one that is locked nor another: whoever waits is told so.
    for name in [7, 8] {
        let asked = ask(store, &record, 1, name).await;
        let until = after(2).plus(PAUSE);
        let too_often = Challenged::Unavailable(OpeningRefused::TooOften { until });
        assert_eq!(asked, too_often);
    }
    assert_eq!(row(store, &record).await.state, State::Waiting);
}

/// What a redemption would refuse: the cardholder is asked for no code, and nobody is told more.
pub(super) async fn a_challenge_is_refused_as_a_redemption_is(store: &dyn Store) {
    with_merchant(store).await;
    let epoch = store.epoch().await.unwrap();
    let record = waiting(store, 1).await;
    let revoked = waiting(store, 2).await;
    let revoke = Revoke {
        tokens: vec![revoked.key],
        at: START,
        source: sample::operator(),
    };
    store.commit(revoke).await.unwrap();
    let unknown = sample::record(9, START, epoch);
    let expired = challenge(&record, 1, 1, record.expires_at);
    let mut foreign = challenge(&record, 1, 2, after(1));
    foreign.claim.embed = sample::embed(2).id;
    let mut barred = challenge(&record, 1, 3, after(1));
    barred.claim.barred = Some(Cause::CardState);
    for (asked, cause) in [
        (challenge(&revoked, 1, 4, after(1)), Cause::Revoked),
        (challenge(&unknown, 1, 5, after(1)), Cause::Unknown),
        (expired, Cause::Expired),
        (foreign, Cause::Foreign),
        (barred, Cause::CardState),
    ] {
        let challenged = store.commit(asked).await.unwrap();
        assert_eq!(challenged, Challenged::Refused(cause));
    }
    assert!(log_of(store, Kind::MfaCode).await.is_empty());
    let refused = log_of(store, Kind::RevealRefused).await;
    assert_eq!(refused.len(), 4, "all but that without a row");
    for event in &refused {
        assert_eq!(event.outcome, Outcome::Failure);
        assert_eq!(event.detail.fields, None, "none was asked for");
        assert!(event.detail.note.is_some());
    }
    // One that waits for nothing is told so.
    let plain = sample::issue(3, START, epoch);
    store.commit(plain.clone()).await.unwrap();
    let asked = ask(store, &plain.record, 1, 6).await;
    assert_eq!(asked, Challenged::NotWanted);
}

/// P1 with a factor: each of many keys has the right code of its own session.
pub(super) async fn of_16_concurrent_keys_with_factors_one_gets_it(store: &dyn Store) {
    with_merchant(store).await;
    let record = waiting(store, 1).await;
    for key in 1..=16 {
        let asked = ask(store, &record, key, 7).await;
        assert!(matches!(asked, Challenged::Asked(_)));
    }
    let claims = (1..=16).map(|key| store.commit(claim(&record, key, Some((7, true)), after(2))));
    let verdicts = join_all(claims).await;
    let granted = verdicts
        .iter()
        .filter(|it| matches!(it, Ok(Verdict::Granted(_))));
    assert_eq!(granted.count(), 1, "{verdicts:?}");
    assert_eq!(log_of(store, Kind::MfaPassed).await.len(), 1);
}
