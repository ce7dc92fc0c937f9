//! Lookups that share a query, and that wait for no list.

use cardveil_core::audit::Kind;
use cardveil_core::card::{CardRef, Field};
use cardveil_core::id::MerchantId;
use cardveil_core::merchant::{Merchant, MerchantState};
use cardveil_core::port::{
    Audit, Change, Registry, Set, Tokens, WalletFilter, WalletPage, WalletTokens,
};
use cardveil_core::token::Verdict;
use cardveil_core::verb::{Changes, Commit};
use cardveil_store::postgres::Postgres;
use cardveil_testkit::sample::{self, START};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, join_all, select};
use tokio_postgres::NoTls;

use crate::cluster::{Cluster, OWNER};
use crate::home::{Home, with_merchant, with_token};
use crate::proxy::Proxy;

/// How many a store has (`readers`).
const CONNECTIONS: u8 = 8;

fn lookup(store: &Postgres, n: u8) -> BoxFuture<'_, Option<Merchant>> {
    let id: MerchantId = format!("mer_{n}").parse().unwrap();
    async move { store.merchant(&id).await.unwrap() }.boxed()
}

/// Lookups that have been sent, because none had to wait.
fn one_on_each_connection(store: &Postgres) -> Vec<BoxFuture<'_, Option<Merchant>>> {
    let mut sent: Vec<_> = (1..=CONNECTIONS).map(|n| lookup(store, n)).collect();
    for lookup in &mut sent {
        assert!(lookup.now_or_never().is_none());
    }
    sent
}

fn state(found: Option<&Merchant>) -> MerchantState {
    found.unwrap().state
}

/// Those that wait are one query, and it is sent after the last of them; whoever asks while a query
/// is under way gets one of its own, for that one may not have seen what was committed since.
#[tokio::test]
async fn lookups_that_wait_share_a_query_and_none_is_older_than_its_question() {
    let home = Home::new().await;
    let other = home.open().await;
    with_merchant(&other).await;
    let event = sample::event(Kind::MerchantAdded, START);
    let another = (Change::AddMerchant(sample::merchant(2)), event);
    assert_eq!(
        other.commit(Changes(vec![another])).await.unwrap(),
        [Ok(())]
    );
    let proxy = Proxy::start();
    let store = proxy.open(&home.database).await;
    // All connections are there, and have the statement.
    let pages = (0..CONNECTIONS).map(|_| store.entries(0, 1));
    assert!(join_all(pages).await.iter().all(Result::is_ok));
    join_all(one_on_each_connection(&store)).await;

    proxy.hold_answers();
    let before = proxy.executed();
    let busy = one_on_each_connection(&store);
    proxy.until_held(usize::from(CONNECTIONS)).await;
    // Of whom there is one, of whom there is none, and some who are asked for again and again.
    let mut waiting: Vec<_> = (0..100).map(|n| lookup(&store, 1 + n % 7)).collect();
    for lookup in &mut waiting {
        assert!(lookup.now_or_never().is_none());
    }
    // The one who was first goes away.
    drop(waiting.remove(0));
    let suspended = Merchant {
        state: MerchantState::Suspended,
        ..sample::merchant(1)
    };
    let event = sample::event(Kind::MerchantChanged, START);
    let change = Change::SetMerchant(Set::boxed(sample::merchant(1), suspended));
    let changes = vec![(change, event)];
    assert_eq!(other.commit(Changes(changes)).await.unwrap(), [Ok(())]);
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
    let found = join_all(waiting).await;
    let states: Vec<_> = (1..100).map(|n| 1 + n % 7).chain([1]).zip(&found).collect();
    for (n, found) in states {
        match n {
            1 => assert_eq!(state(found.as_ref()), MerchantState::Suspended),
            2 => assert_eq!(found, &Some(sample::merchant(2))),
            _ => assert_eq!(found, &None),
        }
    }
    let sent = proxy.executed() - before;
    assert_eq!(sent, usize::from(CONNECTIONS) + 1);
}

/// Lists of 10^6 cards held every connection, and another merchant's issue and redeem waited for
/// seconds. Here they wait for a table that issue and redeem do not need.
#[tokio::test]
async fn while_lists_hold_their_connections_cards_are_issued_and_redeemed() {
    let home = Home::new().await;
    let store = home.open().await;
    with_merchant(&store).await;
    let connection = Cluster::shared().connection(OWNER, &home.database);
    let (owner, driven) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driven);
    let lock = "BEGIN; LOCK TABLE cardveil.wallet_token IN ACCESS EXCLUSIVE MODE";
    owner.batch_execute(lock).await.unwrap();

    let filter = WalletFilter::default();
    let page = WalletPage {
        after: None,
        offset: 0,
        limit: 1,
    };
    // So many that who waited behind them would give up.
    let lists = (0..6 * CONNECTIONS).map(|_| store.wallet_tokens(&filter, page));
    let others = async {
        let card = sample::card(1);
        let by_no = CardRef::No(card.no.clone());
        let found = store.card(&card.merchant, &by_no).await.unwrap();
        assert_eq!(found, Some(card));
        let record = with_token(&store, 1).await;
        assert!(store.token(&record.key).await.unwrap().is_some());
        let claim = sample::claim(&record, 1, &[Field::Pan], START);
        store.commit(claim).await.unwrap()
    };
    // The lists begin.
    match select(join_all(lists), Box::pin(others)).await {
        Either::Right((verdict, _)) => {
            assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        }
        Either::Left((lists, _)) => panic!("the lists ended before: {lists:?}"),
    }
}
