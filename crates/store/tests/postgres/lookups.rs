//! Lookups that share a query.

use cardveil_core::audit::Kind;
use cardveil_core::id::MerchantId;
use cardveil_core::merchant::{Merchant, MerchantState};
use cardveil_core::port::{Admin, Change, Registry};
use cardveil_core::testing::sample::{self, START};
use cardveil_store::postgres::Postgres;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use crate::home::{Home, with_merchant};
use crate::proxy::Proxy;

/// How many a store has (`readers`).
const CONNECTIONS: u8 = 8;

fn lookup(store: &Postgres, n: u8) -> BoxFuture<'_, Option<Merchant>> {
    let id: MerchantId = format!("mer_{n}").parse().unwrap();
    async move { store.merchant(&id).await.unwrap() }.boxed()
}

fn state(found: Option<&Merchant>) -> MerchantState {
    found.unwrap().state
}

/// Those that wait are one query, and it is sent after the last of them; whoever asks while a query is
/// under way gets one of its own, for that one may not have seen what was committed since.
#[tokio::test]
async fn lookups_that_wait_share_a_query_and_none_is_older_than_its_question() {
    let home = Home::new().await;
    let other = home.open().await;
    with_merchant(&other).await;
    let proxy = Proxy::start();
    let store = proxy.open(&home.database).await;
    // All connections are there, and have the statement.
    join_all((1..=CONNECTIONS).map(|n| lookup(&store, n))).await;

    proxy.hold_answers();
    let before = proxy.executed();
    let mut busy: Vec<_> = (1..=CONNECTIONS).map(|n| lookup(&store, n)).collect();
    for lookup in &mut busy {
        assert!(lookup.now_or_never().is_none());
    }
    proxy.until_held(usize::from(CONNECTIONS)).await;
    let mut waiting: Vec<_> = (0..100).map(|_| lookup(&store, 1)).collect();
    for lookup in &mut waiting {
        assert!(lookup.now_or_never().is_none());
    }
    // One of those who share it goes away, whoever it was.
    drop(waiting.swap_remove(0));
    let suspended = Merchant {
        state: MerchantState::Suspended,
        ..sample::merchant(1)
    };
    let event = sample::event(Kind::MerchantChanged, START);
    let changes = vec![(Change::SetMerchant(suspended), event)];
    assert_eq!(other.change(changes).await.unwrap(), [Ok(())]);
    let mut last = lookup(&store, 1);
    assert!((&mut last).now_or_never().is_none());
    waiting.push(last);
    proxy.let_answers_through();

    let found = join_all(busy).await;
    assert_eq!(
        state(found[0].as_ref()),
        MerchantState::Active,
        "it was asked before"
    );
    for found in join_all(waiting).await {
        assert_eq!(state(found.as_ref()), MerchantState::Suspended);
    }
    let sent = proxy.executed() - before;
    assert_eq!(sent, usize::from(CONNECTIONS) + 1);
}
