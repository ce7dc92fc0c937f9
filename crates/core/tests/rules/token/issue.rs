use std::time::Duration;

use cardveil_core::budget::{Budget, Budgets, Charge};
use cardveil_core::mfa::required::Rows;
use cardveil_core::mfa::{Assertion, Proof, Unmet};
use cardveil_core::port::Audit as _;
use cardveil_core::token::{Cause, Epoch, Idempotency, Issue, Issued, Record};
use cardveil_core::verb::Commit as _;
use cardveil_testkit::Memory;
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

/// The request that had the name before, with a token of this epoch.
fn before(name: Idempotency, epoch: Epoch) -> (Idempotency, Record) {
    (name, sample::record(1, START, epoch))
}

#[test]
fn an_older_epoch_comes_before_the_name() {
    let named = || Some(before(name(), EPOCH));
    let older = issue(Epoch(2)).decide(EPOCH, named());
    assert_eq!(older, Some(Issued::OldEpoch(EPOCH)));
    let again = issue(EPOCH).decide(EPOCH, named());
    assert!(matches!(again, Some(Issued::Before(..))), "{again:?}");
}

#[test]
fn a_name_is_free_again_once_its_token_is_good_for_nothing() {
    let mut past = name();
    past.expires_at = START;
    assert_eq!(issue(EPOCH).decide(EPOCH, None), None);
    for named in [before(name(), Epoch(2)), before(past, EPOCH)] {
        assert_eq!(issue(EPOCH).decide(EPOCH, Some(named)), None);
    }
}

#[test]
fn what_the_second_factor_refuses_is_charged_to_no_budget() {
    let required = |issue: &Issue| {
        let wanted = issue.second_factor_use();
        let rows = Rows::default();
        issue.required(Some(&wanted)).decide(&rows, EPOCH)
    };
    let met = required(&issue(EPOCH));
    assert_eq!(met.verdict, Err(Unmet::Mfa(Cause::Unknown)));
    assert_eq!(met.levels, []);
    assert!(met.effects.is_some(), "its refusal is on record");
    let mut without = issue(EPOCH);
    without.mfa = None;
    let met = required(&without);
    assert_eq!((met.verdict, met.levels.len()), (Ok(()), 1));
}

#[tokio::test]
async fn what_was_answered_before_is_neither_charged_nor_judged_again() {
    let (store, epoch) = (Memory::default(), Epoch(0));
    let mut first = issue(epoch);
    first.mfa = None;
    assert_eq!(store.commit(first).await.unwrap(), Issued::New);
    let entries = store.last_entry().await.unwrap();
    let again = store.commit(issue(epoch)).await.unwrap();
    assert!(matches!(again, Issued::Before(..)), "{again:?}");
    assert_eq!(store.last_entry().await.unwrap(), entries);
    let other = Issue {
        idempotency: None,
        mfa: None,
        ..issue(epoch)
    };
    let overdrawn = store.commit(other).await.unwrap();
    assert!(matches!(overdrawn, Issued::Overdrawn(_)), "{overdrawn:?}");
}
