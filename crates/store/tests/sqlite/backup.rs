//! Copies of the file.

use std::sync::Arc;

use cardveil_core::audit::chain::Verifier;
use cardveil_core::card::{CardRef, Removal, Removed, State, Transition};
use cardveil_core::port::{Admin, Audit, Change, Registry};
use cardveil_core::token::Epoch;
use cardveil_core::verb::{Changes, Commit};
use cardveil_seal::SystemEntropy;
use cardveil_store::sqlite::{Copy, OpenError, copy_to, put_in_place};
use cardveil_testkit::sample::{self, START};
use rusqlite::Connection;

use crate::home::{Home, with_merchant, with_token};

/// A copy in the folder of a home, of what its open store has committed.
fn copied(home: &Home) -> std::path::PathBuf {
    let copy = home.path().join("copy");
    copy_to(&home.options.database, &copy).unwrap();
    copy
}

#[tokio::test]
async fn a_copy_of_a_store_in_use_is_one_moment_of_it() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    with_token(&store, 1).await;
    let path = copied(&home);
    with_token(&store, 2).await;
    let copy = Copy::open(&path).unwrap();
    let contents = copy.contents().unwrap();
    let last = store.last_entry().await.unwrap();
    assert_eq!((contents.merchants, contents.cards), (1, 1));
    assert_eq!((contents.open_tokens, contents.epoch), (1, epoch));
    assert_eq!(contents.last_entry, last - 1);
    let mut verifier = Verifier::whole(Vec::new());
    for entry in copy.chained(i64::MIN, 100).unwrap() {
        verifier.look(&entry).unwrap();
    }
    assert_eq!(verifier.count(), contents.entries);
}

/// What is deleted is not in a copy, though the file still has its page.
#[tokio::test]
async fn a_copy_holds_nothing_that_was_deleted() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    store.close();
    let mark = b"what was deleted";
    let has = |path: &std::path::Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(mark.len()).any(|window| window == mark)
    };
    let raw = Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "PRAGMA secure_delete = OFF;
         CREATE TABLE other (text TEXT);
         INSERT INTO other VALUES ('what was deleted');
         DROP TABLE other;
         PRAGMA wal_checkpoint(TRUNCATE);",
    )
    .unwrap();
    drop(raw);
    assert!(has(&home.options.database), "or this test shows nothing");
    assert!(!has(&copied(&home)));
}

#[tokio::test]
async fn a_revived_copy_has_an_epoch_above_all_that_were() {
    for floor in [None, Some(Epoch(START.secs_u32() + 1_000))] {
        let home = Home::new();
        let (store, _) = home.open();
        let epoch = with_merchant(&store).await;
        let path = copied(&home);
        let mut copy = Copy::open(&path).unwrap();
        let by = (&sample::operator(), START, "made today".to_owned());
        let revived = copy.revive(floor, by, Arc::new(SystemEntropy)).unwrap();
        assert_eq!(revived.before, epoch);
        assert_eq!(revived.after, Epoch(floor.unwrap_or(epoch).0 + 1));
        assert_eq!(copy.contents().unwrap().epoch, revived.after);
        let last = revived.last.unwrap();
        assert_eq!(last.seq, store.last_entry().await.unwrap());
        drop(copy);
        drop(store);
        let kept = put_in_place(&path, &home.options.database, START).unwrap();
        assert!(kept.unwrap().exists());
        let (store, _) = home.open();
        assert!(store.epoch().await.unwrap() >= revived.after);
        let merchant = store.merchant(&sample::merchant(1).id).await.unwrap();
        assert_eq!(merchant, Some(sample::merchant(1)));
    }
}

#[tokio::test]
async fn two_restores_in_one_second_keep_both_databases() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let path = copied(&home);
    let again = home.path().join("again");
    std::fs::copy(&path, &again).unwrap();
    with_token(&store, 1).await;
    drop(store);
    let kept = [path, again].map(|copy| {
        let kept = put_in_place(&copy, &home.options.database, START).unwrap();
        Copy::open(&kept.unwrap()).unwrap().contents().unwrap()
    });
    assert_eq!(kept.map(|contents| contents.open_tokens), [1, 0]);
}

#[tokio::test]
async fn a_store_in_use_is_not_replaced() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let path = copied(&home);
    let error = put_in_place(&path, &home.options.database, START).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
    with_token(&store, 1).await;
    assert!(path.exists());
}

/// A WAL that was left alone would be taken for the copy's.
#[tokio::test]
async fn nothing_is_put_beside_what_another_database_left() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let path = copied(&home);
    drop(store);
    let wal = home.options.database.with_extension("db-wal");
    std::fs::remove_file(&home.options.database).unwrap();
    std::fs::write(&wal, "x").unwrap();
    let error = put_in_place(&path, &home.options.database, START).unwrap_err();
    assert!(error.to_string().contains("db-wal"), "{error}");
    std::fs::remove_file(&wal).unwrap();
    assert_eq!(
        put_in_place(&path, &home.options.database, START).unwrap(),
        None
    );
}

#[tokio::test]
async fn a_damaged_copy_is_refused() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let path = copied(&home);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 4_096] {
        *byte ^= 0x55;
    }
    std::fs::write(&path, bytes).unwrap();
    assert!(Copy::open(&path).is_err());
    std::fs::write(&path, "no database at all\n".repeat(500)).unwrap();
    assert!(matches!(Copy::open(&path), Err(OpenError::Foreign(_))));
}

/// A row that refers to none is no whole database.
#[tokio::test]
async fn a_copy_whose_rows_hang_in_the_air_is_refused() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let card = Change::AddCard(Box::new(sample::card(2)));
    let added = sample::event(cardveil_core::audit::Kind::CardAdded, START);
    store.commit(Changes(vec![(card, added)])).await.unwrap()[0].unwrap();
    let path = copied(&home);
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM merchant;")
        .unwrap();
    drop(raw);
    assert!(matches!(Copy::open(&path), Err(OpenError::Damaged { .. })));
}

/// So many that whole pages come to be free: the copies of rows that they held go too.
#[tokio::test]
async fn removed_cards_keys_are_not_in_the_file() {
    const CARDS: u8 = 60;
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let has = |mark: &[u8]| {
        let folder = home.options.database.parent().unwrap();
        std::fs::read_dir(folder).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(mark.len()).any(|window| window == mark)
        })
    };
    let event = |kind| sample::event(kind, START);
    for n in 2..=CARDS {
        let mut card = sample::card(n);
        card.sealed.dek = dek_of(n);
        let change = Change::AddCard(Box::new(card));
        let added = (change, event(cardveil_core::audit::Kind::CardAdded));
        store.commit(Changes(vec![added])).await.unwrap()[0].unwrap();
    }
    assert!((2..=CARDS).all(|n| has(&dek_of(n))));
    // The last one stays; card 1 was there before.
    for n in 2..CARDS {
        let card = sample::card(n);
        let (merchant, name) = (card.merchant, CardRef::Id(card.id));
        let ended = Transition {
            merchant: merchant.clone(),
            card: name.clone(),
            to: State::Terminated,
            from: None,
            reason: None,
            at: START,
            source: sample::operator(),
        };
        store.commit(ended).await.unwrap();
        let removal = Removal {
            merchant,
            card: name,
            why: "a test",
            at: START,
            source: sample::operator(),
        };
        assert_eq!(store.commit(removal).await.unwrap(), Removed::Done);
    }
    store.close();
    assert!(has(&dek_of(CARDS)));
    let left: Vec<_> = (2..CARDS).filter(|n| has(&dek_of(*n))).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn dek_of(n: u8) -> Vec<u8> {
    format!("the wrapped key of card {n:08}").into_bytes()
}
