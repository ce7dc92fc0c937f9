use std::time::Duration;

use cardveil_core::budget::{Budget, Budgets, Charge};
use cardveil_core::mfa::required::Rows;
use cardveil_core::mfa::{Assertion, Proof};
use cardveil_core::token::{Cause, Epoch, Idempotency, Issue, IssueRows, Issued};
use cardveil_testkit::sample::{self, START};

const EPOCH: Epoch = Epoch(3);

fn name() -> Idempotency {
    Idempotency {
        key: [1; 32],
        fingerprint: [2; 32],
        seed: [3; 32],
        expires_at: START.plus(Duration::from_secs(1)),
    }
}

/// It has a name, is charged, and asserts a session that is not there.
fn issue(epoch: Epoch) -> Issue {
    let card = sample::card(1);
    let budget = Budget::new(1, 1, Duration::from_secs(60)).unwrap();
    Issue {
        idempotency: Some(name()),
        mfa: Some(Assertion {
            session: None,
            person: card.person,
            proof: Proof::Nothing,
        }),
        charge: Some(Charge {
            budgets: Budgets {
                card: Some(budget),
                person: None,
            },
            merchant: card.merchant,
            card: card.id,
            person: card.person,
            second_factor: true,
            at: START,
        }),
        ..sample::issue(2, START, epoch)
    }
}

fn rows(named: Option<(Idempotency, Epoch)>) -> IssueRows {
    let token = |epoch| sample::record(1, START, epoch);
    IssueRows {
        epoch: EPOCH,
        named: named.map(|(name, epoch)| (name, token(epoch))),
        required: Rows::default(),
    }
}

#[test]
fn an_older_epoch_comes_before_the_name_and_the_name_before_what_is_required() {
    let named = rows(Some((name(), EPOCH)));
    let older = issue(Epoch(2)).decide(named.clone());
    assert_eq!(older.verdict, Issued::OldEpoch(EPOCH));
    assert_eq!(older.met, None);
    let again = issue(EPOCH).decide(named);
    assert!(matches!(again.verdict, Issued::Before(..)), "{again:?}");
    assert_eq!(again.met, None, "neither charged nor judged again");
}

#[test]
fn a_name_is_free_again_once_its_token_is_good_for_nothing() {
    let mut past = name();
    past.expires_at = START;
    for named in [None, Some((name(), Epoch(2))), Some((past, EPOCH))] {
        let decided = issue(EPOCH).decide(rows(named));
        assert_eq!(decided.verdict, Issued::MfaRefused(Cause::Unknown));
    }
}

#[test]
fn what_the_second_factor_refuses_is_charged_to_no_budget() {
    let decided = issue(EPOCH).decide(rows(None));
    let met = decided.met.unwrap();
    assert_eq!(met.levels, []);
    assert!(met.effects.is_some(), "its refusal is on record");
    let mut without = issue(EPOCH);
    without.mfa = None;
    let decided = without.decide(rows(None));
    assert_eq!(decided.verdict, Issued::New);
    assert_eq!(decided.met.unwrap().levels.len(), 1);
}
