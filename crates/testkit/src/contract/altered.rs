//! Rows that somebody with the database has altered so that they cannot be read. What alters them
//! is the adapter's own, so these are halves of its test and no cases of the suite.

use super::super::sample::{self, START};
use super::with_merchant;
use cardveil_core::hook::Form;
use cardveil_core::port::{CardFilter, Change, Paging, Store, WalletFilter, WalletPage};
use cardveil_core::verb::{Changes, Commit};

/// The rows that the adapter is to alter: of each table one in the middle of a list.
pub const ALTERED: [(&str, &str); 6] = [
    ("merchant", "mer_2"),
    ("credential", "crd_2"),
    ("embed", "emb_2"),
    ("card", "02020202-0202-0202-0202-020202020202"),
    ("subscription", "02020202-0202-0202-0202-020202020202"),
    ("wallet_token", "02020202-0202-0202-0202-020202020202"),
];

/// Three of each, of which the second is to be altered.
pub async fn with_three_of_each(store: &dyn Store) {
    with_merchant(store).await;
    let of_merchant_1 = |n| {
        let mut embed = sample::embed(n);
        embed.merchant = sample::merchant(1).id;
        let mut credential = sample::credential(n);
        credential.merchant = sample::merchant(1).id;
        let mut subscription = sample::subscription(n);
        subscription.form = Form::Standard;
        vec![
            Change::AddEmbed(embed),
            Change::AddCredential(credential),
            Change::AddSubscription(Box::new(subscription)),
        ]
    };
    let mut changes = vec![Change::AddMerchant(sample::merchant(3))];
    changes.extend([2, 3].map(|n| Change::AddCard(Box::new(sample::card(n)))));
    let first = Change::AddSubscription(Box::new(sample::subscription(1)));
    changes.push(first);
    changes.extend([2, 3].into_iter().flat_map(of_merchant_1));
    let changes: Vec<_> = changes.into_iter().map(sample::recorded).collect();
    let made = store.commit(Changes(changes)).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    for n in 1..=3 {
        let added = store.commit(sample::wallet_asked(n, START)).await;
        assert!(added.unwrap().is_ok());
    }
    assert!(store.left_out().is_empty());
}

/// Each list has the others, and it is told of each altered row once.
pub async fn an_altered_row_hides_no_other(store: &dyn Store) {
    for _ in 0..2 {
        let merchants = store.merchants().await.unwrap();
        let ids: Vec<_> = merchants.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["mer_1", "mer_3"]);
        let credentials = store.credentials().await.unwrap();
        let ids: Vec<_> = credentials.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, ["crd_1", "crd_3"]);
        let embeds = store.embeds().await.unwrap();
        let ids: Vec<_> = embeds.iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, ["emb_1", "emb_3"]);
        let subscriptions = store.subscriptions(None).await.unwrap();
        let ids: Vec<_> = subscriptions.iter().map(|s| s.id).collect();
        assert_eq!(ids, [1, 3].map(|n| sample::subscription(n).id));
        // Page by page, and the altered one is the whole of the second page.
        let mut cards = Vec::new();
        let mut paging = Paging {
            limit: 1,
            ..Paging::default()
        };
        loop {
            let page = store.list_cards(&CardFilter::default(), paging).await;
            let page = page.unwrap();
            cards.extend(page.cards);
            paging.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(cards, [sample::card(1), sample::card(3)]);
        let page = WalletPage {
            after: None,
            offset: 0,
            limit: 2,
        };
        let tokens = store.wallet_tokens(&WalletFilter::default(), page).await;
        let ids: Vec<_> = tokens.unwrap().iter().map(|t| t.token.id).collect();
        assert_eq!(ids, [1, 3].map(|n| sample::wallet_asked(n, START).id));
        let mut told = ALTERED.map(|(table, key)| format!("{table} {key}"));
        told.sort();
        assert_eq!(store.left_out(), told);
    }
}
