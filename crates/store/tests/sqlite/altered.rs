//! Rows that somebody with the database has altered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cardveil_core::audit::Kind;
use cardveil_core::card::{CardRef, State};
use cardveil_core::merchant::Merchant;
use cardveil_core::port::{
    Change, Class, Keys as _, Registry as _, RowChecks as _, RowPlace, Set, WrappedKey,
};
use cardveil_core::verb::{Changes, Commit as _, CreateKeys};
use cardveil_store::sqlite::Sqlite;
use cardveil_testkit::contract::{
    Hand, an_altered_row_hides_no_other, no_account_hears_of_a_card_that_a_hand_gave_it,
    no_altered_row_is_taken_for_what_was_written, no_change_on_record_stops_the_comparison,
    no_epoch_is_set_back, no_event_is_delivered_to_another_merchant,
    no_row_that_was_put_back_goes_on, no_version_counts_that_the_log_does_not_tell,
    what_is_kept_goes_with_a_change, with_three_of_each,
};
use cardveil_testkit::sample::{self, START};
use cardveil_testkit::{ManualClock, guard_rows_otherwise};
use rusqlite::Connection;

use crate::home::{Home, with_merchant};

/// What no program of ours writes there, in the second row of each table.
const ALTER: &str = "
    UPDATE %merchant SET state = 'odd' WHERE id = 'mer_2';
    UPDATE %credential SET rights = '{' WHERE id = 'crd_2';
    UPDATE %embed SET origins = 'https://evil.example' WHERE id = 'emb_2';
    UPDATE %card SET kind = 'odd' WHERE no = 'C2';
    UPDATE %subscription SET topics = '{' WHERE seq = (SELECT seq FROM %subscription ORDER BY seq LIMIT 1 OFFSET 1);
    UPDATE %wallet_token SET state = 'odd' WHERE seq = (SELECT seq FROM %wallet_token ORDER BY seq LIMIT 1 OFFSET 1);";

#[tokio::test]
async fn one_altered_record_fails_no_list() {
    let home = Home::new();
    let (store, _) = home.open();
    with_three_of_each(&store).await;
    let raw = Connection::open(&home.options.database).unwrap();
    raw.execute_batch(&ALTER.replace('%', "")).unwrap();
    an_altered_row_hides_no_other(&store).await;
}

struct Raw(Mutex<Connection>);

#[async_trait]
impl Hand for Raw {
    async fn run(&self, sql: &str) {
        self.0.lock().unwrap().execute_batch(sql).unwrap();
    }

    async fn columns(&self, table: &str) -> Vec<(String, String)> {
        const COLUMNS: &str = "SELECT name, type FROM pragma_table_info(?1)";
        let raw = self.0.lock().unwrap();
        let mut columns = raw.prepare(COLUMNS).unwrap();
        let columns = columns.query_map([table], |row| {
            let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
            let other = match &*kind {
                "INTEGER" => format!("coalesce(\"{name}\", 0) + 100"),
                "TEXT" => format!("coalesce(\"{name}\", '') || ' '"),
                _ => format!("randomblob(coalesce(length(\"{name}\"), 16))"),
            };
            Ok((name, other))
        });
        columns.unwrap().map(Result::unwrap).collect()
    }
}

fn hand(home: &Home) -> Raw {
    let raw = Connection::open(&home.options.database).unwrap();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    Raw(Mutex::new(raw))
}

#[tokio::test]
async fn no_altered_row_passes() {
    let home = Home::new();
    let (store, _) = home.open();
    no_altered_row_is_taken_for_what_was_written(&store, &hand(&home)).await;
}

#[tokio::test]
async fn no_row_that_was_put_back_passes() {
    let home = Home::new();
    let (store, _) = home.open();
    let (other, _) = home.open();
    no_row_that_was_put_back_goes_on(&store, &other, &hand(&home)).await;
}

#[tokio::test]
async fn no_version_passes_that_the_log_does_not_tell() {
    let home = Home::new();
    let store = home.open().0;
    no_version_counts_that_the_log_does_not_tell(&store, &hand(&home)).await;
}

#[tokio::test]
async fn no_account_hears_of_another_s_card() {
    let home = Home::new();
    let (store, _) = home.open();
    no_account_hears_of_a_card_that_a_hand_gave_it(&store, &hand(&home)).await;
}

#[tokio::test]
async fn what_a_hand_puts_on_record_stops_nobody() {
    let home = Home::new();
    let (store, _) = home.open();
    no_change_on_record_stops_the_comparison(&store, &hand(&home)).await;
}

#[tokio::test]
async fn an_epoch_that_a_hand_sets_back_is_raised() {
    let home = Home::new();
    let (store, _) = home.open();
    no_epoch_is_set_back(&store, &hand(&home)).await;
}

#[tokio::test]
async fn an_event_goes_to_no_other_merchant() {
    let home = Home::new();
    let (store, _) = home.open();
    no_event_is_delivered_to_another_merchant(&store, &hand(&home)).await;
}

#[tokio::test]
async fn a_change_that_is_counted_or_not_is_seen() {
    const STOP: &str = "DROP TRIGGER credential_changes";
    let home = Home::new();
    let clock = Arc::new(ManualClock::at(START));
    let (store, _) = home.try_open_at(Arc::clone(&clock)).unwrap();
    cardveil_testkit::guard_rows(&store);
    let (other, _) = home.open();
    what_is_kept_goes_with_a_change((&store, &clock), &other, (&hand(&home), STOP)).await;
}

/// SQLite deletes for it without the trigger that counts deletions.
#[tokio::test]
async fn a_row_that_a_hand_replaces_is_refused_at_once() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let hash = sample::credential(1).key_hash;
    assert!(store.admission(&hash).await.unwrap().is_some());
    let raw = hand(&home);
    raw.run(
        "CREATE TEMP TABLE other AS SELECT * FROM credential;
         UPDATE other SET allowed_ips = '[]', expires_at = NULL, mac = randomblob(20);
         REPLACE INTO credential SELECT * FROM other",
    )
    .await;
    assert_eq!(store.admission(&hash).await.unwrap(), None);
}

async fn altered(store: &Sqlite) -> usize {
    let (mut altered, mut next) = (0, Some(RowPlace::default()));
    while let Some(place) = next {
        let page = store.check_rows(&place, 100).await.unwrap();
        altered += page.altered.len();
        next = page.next;
    }
    altered
}

/// What was changed as often there has another version: a copy goes on by itself with the same keys.
#[tokio::test]
async fn no_row_of_a_copy_that_went_on_passes() {
    let (home, copy) = (Home::new(), Home::new());
    let store = home.open().0;
    with_three_of_each(&store).await;
    let hand = hand(&home);
    let there = copy.options.database.display();
    hand.run(&format!("VACUUM INTO '{there}'")).await;
    for (store, to) in [
        (&store, State::Suspended),
        (&copy.open().0, State::Terminated),
    ] {
        store
            .commit(sample::transition(2, to, START))
            .await
            .unwrap();
        assert_eq!(altered(store).await, 0);
    }
    hand.run(&format!(
        "ATTACH '{there}' AS copy; DELETE FROM card;
         INSERT INTO card SELECT * FROM copy.card"
    ))
    .await;
    assert_eq!(altered(&store).await, 1);
    hand.run("INSERT OR IGNORE INTO row_change SELECT * FROM copy.row_change")
        .await;
    assert_eq!(altered(&store).await, 1);
}

/// To who makes keys at the same time their rows are none that it knows.
#[tokio::test]
async fn keys_that_another_program_has_made_are_not_overwritten() {
    let home = Home::new();
    let store = home.open().0;
    let create = |byte: u8| CreateKeys {
        from: Vec::new(),
        keys: vec![WrappedKey {
            class: Class::Pan,
            version: 1,
            wrapped: vec![byte; 61],
        }],
        event: sample::event(Kind::KeysCreated, START),
    };
    assert!(store.commit(create(1)).await.unwrap());
    let (other, _) = home.try_open().unwrap();
    guard_rows_otherwise(&other);
    assert!(!other.commit(create(2)).await.unwrap());
    assert_eq!(store.wrapped_keys().await.unwrap(), create(1).keys);
}

/// A server whose clock is behind has not noticed the key when others use it already: it gives new
/// rows no MAC yet, and takes none away.
#[tokio::test]
async fn a_server_whose_clock_is_behind_takes_no_mac_away() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let (behind, _) = home.try_open().unwrap();
    cardveil_testkit::know_row_key(&behind, START.plus(Duration::from_secs(5)));
    let merchant = sample::merchant(1);
    let renamed = Merchant {
        name: "Renamed".into(),
        ..merchant.clone()
    };
    let change = Change::SetMerchant(Set::boxed(merchant, renamed.clone()));
    let new = Change::AddMerchant(sample::merchant(3));
    for change in [change, new] {
        let change = sample::recorded(change);
        let made = behind.commit(Changes(vec![change])).await.unwrap();
        assert_eq!(made, [Ok(())]);
    }
    assert_eq!(store.merchant(&renamed.id).await.unwrap(), Some(renamed));
    let raw = Connection::open(&home.options.database).unwrap();
    let sql = "SELECT id FROM merchant WHERE mac IS NULL";
    let bare: String = raw.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(bare, "mer_3");
}

/// What version 25 of the schema had.
#[tokio::test]
async fn rows_with_macs_go_on_under_a_later_schema() {
    let home = Home::new();
    // As all were.
    let mut card = sample::card(1);
    card.sealed.index_key = 1;
    let changes = [
        Change::AddMerchant(sample::merchant(1)),
        Change::AddCredential(sample::credential(1)),
        Change::AddEmbed(sample::embed(1)),
        Change::AddCard(Box::new(card.clone())),
    ];
    let changes = changes.map(sample::recorded);
    let made = home.open().0.commit(Changes(changes.into())).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    hand(&home)
        .run(
            "DROP TRIGGER credential_changes; DROP TRIGGER credential_goes;
             DROP TRIGGER merchant_changes; DROP TRIGGER merchant_goes;
             DROP TRIGGER embed_changes; DROP TRIGGER embed_goes;
             DROP TRIGGER credential_comes; DROP TRIGGER merchant_comes;
             DROP TRIGGER embed_comes;
             ALTER TABLE meta DROP COLUMN registry;
             ALTER TABLE card DROP COLUMN index_key;
             ALTER TABLE wallet_token DROP COLUMN index_key;
             PRAGMA user_version = 25;",
        )
        .await;
    let (store, _) = home.open();
    assert_eq!(altered(&store).await, 0);
    let found = store.card(&card.merchant, &CardRef::Id(card.id)).await;
    assert_eq!(found.unwrap(), Some(card));
}
