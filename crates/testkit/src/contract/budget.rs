//! What every store must do with budgets of reveals.

use std::time::Duration;

use futures_util::future::join_all;

use super::{after, log_len, log_of, with_merchant};
use crate::sample::{self, START};
use cardveil_core::audit::Kind;
use cardveil_core::budget::{Budget, Budgets, Charge, Of, Overdrawn, Reset};
use cardveil_core::card::{CardRef, Export, Exported};
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, SessionId};
use cardveil_core::mfa::{Assertion, Factor, FactorPolicy, Opening, Proof, Purpose};
use cardveil_core::port::Store;
use cardveil_core::token::{Epoch, Issue, Issued};
use cardveil_core::verb::{Commit, Sweep};

const DAY: Duration = Duration::from_secs(86_400);

fn budgets(free: u32, most: u32) -> Budgets {
    Budgets {
        card: Some(Budget::new(free, most, DAY).unwrap()),
        person: None,
    }
}

fn issue(n: u8, budgets: Budgets, at: Time, epoch: Epoch) -> Issue {
    let card = sample::card(1);
    Issue {
        charge: Some(Charge {
            budgets,
            merchant: card.merchant,
            card: card.id,
            person: card.person,
            second_factor: false,
            at,
        }),
        ..sample::issue(n, at, epoch)
    }
}

/// As many as it holds, whoever asks for it at once; a refusal writes nothing, and time fills it.
pub(super) async fn a_budget_grants_as_many_as_it_holds(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let asked = (1..=16).map(|n| store.commit(issue(n, budgets(4, 4), START, epoch)));
    let before = log_len(store).await;
    let answers: Vec<_> = join_all(asked)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let new = answers.iter().filter(|a| **a == Issued::New).count();
    assert_eq!(new, 4, "{answers:?}");
    let until = START.plus(DAY / 4);
    let refused = Issued::Overdrawn(Overdrawn::Exhausted { until });
    assert_eq!(answers.iter().filter(|a| **a == refused).count(), 12);
    assert_eq!(log_len(store).await, before + 4);

    let just_before = Time::from_millis(until.millis() - 1);
    let early = store.commit(issue(17, budgets(4, 4), just_before, epoch));
    assert_eq!(early.await.unwrap(), refused);
    let late = store.commit(issue(17, budgets(4, 4), until, epoch));
    assert_eq!(late.await.unwrap(), Issued::New);
}

/// Two cards of one person share the person's; two people share nothing.
pub(super) async fn a_persons_budget_is_of_all_their_cards(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let budgets = Budgets {
        card: Some(Budget::new(2, 2, DAY).unwrap()),
        person: Some(Budget::new(2, 2, DAY).unwrap()),
    };
    let of_card = |n: u8, card: u8| {
        let mut issue = issue(n, budgets, START, epoch);
        if let Some(charge) = &mut issue.charge {
            charge.card = CardId::from_bytes([card; 16]);
        }
        issue
    };
    assert_eq!(store.commit(of_card(1, 1)).await.unwrap(), Issued::New);
    assert_eq!(store.commit(of_card(2, 2)).await.unwrap(), Issued::New);
    let third = store.commit(of_card(3, 3)).await.unwrap();
    assert!(matches!(third, Issued::Overdrawn(_)), "{third:?}");
    let mut other = of_card(4, 4);
    if let Some(charge) = &mut other.charge {
        charge.person = sample::card(2).person;
        charge.merchant = sample::merchant(2).id;
    }
    assert_eq!(store.commit(other).await.unwrap(), Issued::New);
}

/// A second factor opens what is left of it; what it refuses spends no session, and what the second
/// factor refuses is not charged.
pub(super) async fn an_overdrawn_budget_spends_no_assertion(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let card = sample::card(1);
    let opening = Opening {
        id: SessionId::from_bytes([1; 16]),
        merchant: card.merchant.clone(),
        person: card.person,
        card: card.id,
        purpose: Purpose::ViewCard,
        factor: Some(Factor::Otp),
        factors: FactorPolicy::default(),
        at: START,
        source: sample::operator(),
    };
    store.commit(opening).await.unwrap().unwrap();
    let with_code = |n: u8, right: bool, most: u32| {
        let mut issue = issue(n, budgets(0, most), START, epoch);
        issue.mfa = Some(Assertion {
            session: Some(SessionId::from_bytes([1; 16])),
            person: card.person,
            proof: Proof::Otp { right },
        });
        if let Some(charge) = &mut issue.charge {
            charge.second_factor = true;
        }
        issue
    };
    let plain = store.commit(issue(1, budgets(0, 1), START, epoch)).await;
    let needed = Overdrawn::NeedsFactor {
        until: START.plus(DAY),
    };
    assert_eq!(plain.unwrap(), Issued::Overdrawn(needed));
    let wrong = store.commit(with_code(1, false, 1)).await.unwrap();
    assert!(matches!(wrong, Issued::MfaRefused(_)), "{wrong:?}");
    let right = store.commit(with_code(2, true, 1)).await;
    assert_eq!(right.unwrap(), Issued::New);
    let exhausted = store.commit(with_code(3, true, 1)).await.unwrap();
    assert!(matches!(exhausted, Issued::Overdrawn(_)), "{exhausted:?}");
}

/// What is whole again is forgotten, in bounded rounds.
pub(super) async fn whole_budgets_are_forgotten(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let first = store.commit(issue(1, budgets(1, 1), START, epoch)).await;
    assert_eq!(first.unwrap(), Issued::New);
    store
        .commit(Sweep {
            now: after(60),
            limit: 100,
        })
        .await
        .unwrap();
    let still = store
        .commit(issue(2, budgets(1, 1), after(60), epoch))
        .await;
    assert!(matches!(still.unwrap(), Issued::Overdrawn(_)));
    let day = START.plus(DAY);
    store
        .commit(Sweep {
            now: day,
            limit: 100,
        })
        .await
        .unwrap();
    let again = store.commit(issue(3, budgets(1, 1), day, epoch)).await;
    assert_eq!(again.unwrap(), Issued::New);
}

/// An export is charged like a token, in the commit that records it; what it may not is not
/// recorded.
pub(super) async fn an_export_is_charged_too(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let charge = issue(1, budgets(1, 1), START, epoch).charge;
    let card = sample::card(1);
    let export = || Export {
        merchant: card.merchant.clone(),
        card: CardRef::Id(card.id),
        event: sample::event(Kind::CardExported, START),
        source: sample::operator(),
        charge: charge.clone(),
    };
    assert_eq!(store.commit(export()).await.unwrap(), Exported::Recorded);
    let before = log_len(store).await;
    let until = START.plus(DAY);
    let overdrawn = Overdrawn::Exhausted { until };
    let refused = store.commit(export()).await.unwrap();
    assert_eq!(refused, Exported::Overdrawn(overdrawn));
    assert_eq!(log_len(store).await, before);
    let token = store.commit(issue(1, budgets(1, 1), START, epoch)).await;
    assert_eq!(token.unwrap(), Issued::Overdrawn(overdrawn));
}

/// An operator sees how far a budget is used, and makes it whole: on record from what to what.
pub(super) async fn a_budget_is_shown_and_reset(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let card = sample::card(1);
    let of = Of::Card(card.id);
    let budget = Budget::new(2, 2, DAY).unwrap();
    let reset = |of: &Of| Reset {
        of: of.clone(),
        merchant: card.merchant.clone(),
        budget: Some(budget),
        at: START,
        source: sample::operator(),
    };
    assert_eq!(store.budget(&of).await.unwrap(), None);
    let before = log_len(store).await;
    assert!(!store.commit(reset(&of)).await.unwrap());
    assert_eq!(log_len(store).await, before, "there was nothing to do");
    for n in 1..=2 {
        let issued = store.commit(issue(n, budgets(2, 2), START, epoch)).await;
        assert_eq!(issued.unwrap(), Issued::New);
    }
    let level = store.budget(&of).await.unwrap().unwrap();
    assert_eq!(budget.used(level, START), 2);
    assert_eq!(level.whole_at, START.plus(DAY));
    assert!(store.commit(reset(&of)).await.unwrap());
    let log = log_of(store, Kind::BudgetReset).await;
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].target.card, Some(card.id));
    let from = format!("2 of 2 used, whole at {}", START.plus(DAY));
    assert_eq!(log[0].detail.from.as_deref(), Some(&*from));
    assert_eq!(log[0].detail.to.as_deref(), Some("whole"));
    assert!(!store.commit(reset(&of)).await.unwrap(), "once");
    let issued = store.commit(issue(3, budgets(2, 2), START, epoch)).await;
    assert_eq!(issued.unwrap(), Issued::New);
    let person = Of::Person(card.merchant.clone(), card.person);
    assert!(!store.commit(reset(&person)).await.unwrap());
}
