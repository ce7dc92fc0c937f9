//! Second factors over a restart.

use cardveil_core::id::SessionId;
use cardveil_core::mfa::{Assertion, Factor, FactorPolicy, Opening, Proof, State};
use cardveil_core::port::Mfa;
use cardveil_core::token::{Cause, Epoch, Issue, Issued};
use cardveil_core::verb::Commit;
use cardveil_testkit::sample::{self, START};

use crate::home::{Home, with_merchant};

fn guess(n: u8, right: bool, epoch: Epoch) -> Issue {
    Issue {
        mfa: Some(Assertion {
            session: Some(SessionId::from_bytes([1; 16])),
            person: sample::card(1).person,
            proof: Proof::Otp { right },
        }),
        ..sample::issue(n, START, epoch)
    }
}

#[tokio::test]
async fn wrong_codes_stay_counted_over_restarts() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    let card = sample::card(1);
    let opening = Opening {
        id: SessionId::from_bytes([1; 16]),
        merchant: card.merchant.clone(),
        person: card.person,
        card: card.id,
        purpose: cardveil_core::mfa::Purpose::ViewCard,
        factor: Some(Factor::Otp),
        factors: FactorPolicy::default(),
        at: START,
        source: sample::operator(),
    };
    let opened = store.commit(opening).await.unwrap().unwrap();
    drop(store);
    for n in 1..=5 {
        let (store, _) = home.open();
        let wrong = store.commit(guess(n, false, epoch)).await.unwrap();
        assert_eq!(wrong, Issued::MfaRefused(Cause::WrongCode));
    }
    let (store, _) = home.open();
    let session = store.mfa_session(&opened.id).await.unwrap().unwrap();
    assert_eq!(session.state, State::Locked { at: START });
    let right = store.commit(guess(6, true, epoch)).await.unwrap();
    assert_eq!(right, Issued::MfaRefused(Cause::SessionLocked));
    let person = store.mfa_person(&card.merchant, &card.person).await;
    assert_eq!(person.unwrap().unwrap().wrong, 5);
}
