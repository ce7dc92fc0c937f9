//! Rows that somebody with the database has altered.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_testkit::ManualClock;
use cardveil_testkit::contract::{
    Hand, an_altered_row_hides_no_other, no_account_hears_of_a_card_that_a_hand_gave_it,
    no_altered_row_is_taken_for_what_was_written, no_change_on_record_stops_the_comparison,
    no_epoch_is_set_back, no_event_is_delivered_to_another_merchant,
    no_row_that_was_put_back_goes_on, no_version_counts_that_the_log_does_not_tell,
    what_is_kept_goes_with_a_change, with_three_of_each,
};
use cardveil_testkit::sample::START;
use tokio_postgres::NoTls;

use crate::cluster::Cluster;
use crate::home::{Home, unguarded_at};

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
    let home = Home::new().await;
    let store = home.open().await;
    with_three_of_each(&store).await;
    let connection = Cluster::shared().connection("postgres", &home.database);
    let (other, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driver);
    let alter = ALTER.replace('%', "cardveil.");
    other.batch_execute(&alter).await.unwrap();
    an_altered_row_hides_no_other(&store).await;
}

struct Raw(tokio_postgres::Client);

#[async_trait]
impl Hand for Raw {
    async fn run(&self, sql: &str) {
        self.0.batch_execute(sql).await.unwrap();
    }

    async fn columns(&self, table: &str) -> Vec<(String, String)> {
        const COLUMNS: &str = "SELECT column_name::text, data_type::text
             FROM information_schema.columns WHERE table_schema = 'cardveil' AND table_name = $1";
        let columns = self.0.query(COLUMNS, &[&table]).await.unwrap();
        let other = |row: &tokio_postgres::Row| {
            let (name, kind): (String, String) = (row.get(0), row.get(1));
            let other = match &*kind {
                "bigint" | "integer" => format!("coalesce(\"{name}\", 0) + 100"),
                "text" => format!("coalesce(\"{name}\", '') || ' '"),
                "boolean" => format!("NOT coalesce(\"{name}\", false)"),
                _ => format!("decode(repeat('f7', coalesce(length(\"{name}\"), 16)), 'hex')"),
            };
            (name, other)
        };
        columns.iter().map(other).collect()
    }
}

async fn hand(home: &Home) -> Raw {
    let connection = Cluster::shared().connection("postgres", &home.database);
    let (raw, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driver);
    // No trigger stamps what it writes, and no constraint is looked at.
    let all = "SET search_path = cardveil; SET session_replication_role = replica";
    raw.batch_execute(all).await.unwrap();
    Raw(raw)
}

#[tokio::test]
async fn no_altered_row_passes() {
    let home = Home::new().await;
    let store = home.open().await;
    no_altered_row_is_taken_for_what_was_written(&store, &hand(&home).await).await;
}

#[tokio::test]
async fn no_row_that_was_put_back_passes() {
    let home = Home::new().await;
    let store = home.open().await;
    let other = home.open().await;
    no_row_that_was_put_back_goes_on(&store, &other, &hand(&home).await).await;
}

#[tokio::test]
async fn no_version_passes_that_the_log_does_not_tell() {
    let home = Home::new().await;
    let store = home.open().await;
    no_version_counts_that_the_log_does_not_tell(&store, &hand(&home).await).await;
}

#[tokio::test]
async fn no_account_hears_of_another_s_card() {
    let home = Home::new().await;
    let store = home.open().await;
    no_account_hears_of_a_card_that_a_hand_gave_it(&store, &hand(&home).await).await;
}

#[tokio::test]
async fn what_a_hand_puts_on_record_stops_nobody() {
    let home = Home::new().await;
    let store = home.open().await;
    no_change_on_record_stops_the_comparison(&store, &hand(&home).await).await;
}

#[tokio::test]
async fn an_epoch_that_a_hand_sets_back_is_raised() {
    let home = Home::new().await;
    let store = home.open().await;
    no_epoch_is_set_back(&store, &hand(&home).await).await;
}

#[tokio::test]
async fn an_event_goes_to_no_other_merchant() {
    let home = Home::new().await;
    let store = home.open().await;
    no_event_is_delivered_to_another_merchant(&store, &hand(&home).await).await;
}

#[tokio::test]
async fn a_change_that_is_counted_or_not_is_seen() {
    const STOP: &str = "ALTER TABLE credential DISABLE TRIGGER ALL";
    let home = Home::new().await;
    let clock = Arc::new(ManualClock::at(START));
    let opened = unguarded_at(Cluster::shared(), &home.database, Arc::clone(&clock)).await;
    let (store, _) = opened.unwrap();
    cardveil_testkit::guard_rows(&store);
    let other = home.open().await;
    let hand = hand(&home).await;
    what_is_kept_goes_with_a_change((&store, &clock), &other, (&hand, STOP)).await;
}
