//! Files of versions before: what they hold is there afterwards.

use cardveil_core::audit::Kind;
use cardveil_core::port::{Admin, Change, Registry, WalletTokens};
use cardveil_core::testing::sample::{self, START};
use cardveil_core::wallet::WalletRules;

use crate::home::Home;

/// The file of the first version, with a merchant in it.
fn first_version(home: &Home) {
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(include_str!("../../src/sqlite/migrations/0001_start.sql"))
        .unwrap();
    raw.execute_batch(
        "INSERT INTO merchant (id, name, state, pci_enabled, created_at)
         VALUES ('mer_1', 'Merchant 1', 'active', 1, 0);
         PRAGMA application_id = 0x43564549;
         PRAGMA user_version = 1;",
    )
    .unwrap();
}

#[tokio::test]
async fn a_file_from_before_wallets_enables_none_and_takes_tokens() {
    let home = Home::new();
    first_version(&home);
    let (store, opened) = home.open();
    assert!(!opened.created);
    let merchant = store.merchant(&sample::merchant(1).id).await.unwrap();
    assert_eq!(merchant.unwrap().wallets, WalletRules::default());
    let card = Change::AddCard(Box::new(sample::card(1)));
    let added = sample::event(Kind::CardAdded, START);
    assert_eq!(store.change(vec![(card, added)]).await.unwrap(), [Ok(())]);
    let asked = sample::wallet_asked(1, START);
    let token = store.add_wallet_token(asked).await.unwrap().unwrap();
    assert_eq!(token.card, sample::card(1).id);
}

/// Embeds keep what they had; one that is added afterwards asks for it.
#[tokio::test]
async fn an_embed_from_before_keeps_its_transparent_parts() {
    let home = Home::new();
    first_version(&home);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at)
         VALUES ('emb_1', 'mer_1', '[\"http://shop.example\"]', 0, 1, 0);",
    )
    .unwrap();
    drop(raw);
    let (store, _) = home.open();
    let kept = store.embed(&sample::embed(1).id).await.unwrap().unwrap();
    assert!(kept.transparent);
    assert_eq!(kept.origins, ["http://shop.example"]);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at)
         VALUES ('emb_2', 'mer_1', '[]', 0, 1, 0);",
    )
    .unwrap();
    let added = store.embed(&sample::embed(2).id).await.unwrap().unwrap();
    assert!(!added.transparent);
}
