//! The chain of the audit log, and a hand in its file.

use cardveil_core::audit::Kind;
use cardveil_core::audit::chain::{Finding, Flaw, Link, Verifier};
use cardveil_core::id::ChainId;
use cardveil_core::port::Audit;
use cardveil_core::verb::{Commit, RecordEvent};
use cardveil_store::sqlite::Sqlite;
use cardveil_testkit::sample::{self, START};
use rusqlite::Connection;

use crate::home::{Home, with_merchant, with_token};

async fn verify(store: &Sqlite) -> Result<u64, Finding> {
    let mut verifier = Verifier::whole(Vec::new());
    let log = store.chained(i64::MIN, 10_000).await.unwrap();
    log.iter().try_for_each(|entry| verifier.look(entry))?;
    Ok(verifier.count())
}

/// Eight entries in a file, and the hand of somebody who has dropped the triggers.
async fn tampered(hand: &str) -> Result<u64, Finding> {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    for n in 1..=4 {
        with_token(&store, n).await;
    }
    assert_eq!(verify(&store).await, Ok(8));
    let raw = Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "DROP TRIGGER audit_is_not_changed;
         DROP TRIGGER audit_is_not_deleted;",
    )
    .unwrap();
    raw.execute_batch(hand).unwrap();
    assert!(hand.is_empty() || raw.total_changes() > 0, "{hand}");
    verify(&store).await
}

fn at(seq: i64, flaw: Flaw) -> Result<u64, Finding> {
    Err(Finding { seq, flaw })
}

#[tokio::test]
async fn an_untouched_file_is_found_good() {
    assert_eq!(tampered("").await, Ok(8));
}

#[tokio::test]
async fn an_edited_row_is_found() {
    let edit = "UPDATE audit SET event = replace(event, 'success', 'failure') WHERE seq = 3";
    assert_eq!(tampered(edit).await, at(3, Flaw::Edited));
    let edit = "UPDATE audit SET event = event || ' ' WHERE seq = 3";
    assert_eq!(tampered(edit).await, at(3, Flaw::Edited), "a blank");
    let edit = "UPDATE audit SET chain_hash = randomblob(32) WHERE seq = 8";
    assert_eq!(tampered(edit).await, at(8, Flaw::Edited), "the hash");
}

#[tokio::test]
async fn a_removed_row_is_found() {
    let remove = "DELETE FROM audit WHERE seq = 3";
    assert_eq!(tampered(remove).await, at(4, Flaw::Missing { expected: 3 }));
    let remove = "DELETE FROM audit WHERE seq <= 2";
    assert_eq!(
        tampered(remove).await,
        at(3, Flaw::Missing { expected: 1 }),
        "the first ones"
    );
    let close = "DELETE FROM audit WHERE seq = 3; UPDATE audit SET seq = seq - 1 WHERE seq > 3;";
    assert_eq!(tampered(close).await, at(3, Flaw::Edited), "and closed up");
}

#[tokio::test]
async fn rows_that_changed_places_are_found() {
    let swap = "UPDATE audit SET seq = -seq WHERE seq IN (4, 6);
                UPDATE audit SET seq = 10 + seq WHERE seq IN (-4, -6);";
    assert_eq!(tampered(swap).await, at(4, Flaw::Edited));
}

/// Four entries of an operator, and the hand of somebody who has dropped the trigger.
async fn beside(hand: &str) -> Result<u64, Finding> {
    let home = Home::new();
    let (store, _) = home.open();
    for _ in 0..4 {
        let mut read = sample::event(Kind::AuditRead, START);
        read.actor = sample::operator().actor;
        store.commit(RecordEvent(read)).await.unwrap();
    }
    let raw = Connection::open(&home.options.database).unwrap();
    raw.execute_batch("DROP TRIGGER audit_is_not_changed")
        .unwrap();
    raw.execute_batch(hand).unwrap();
    assert!(raw.total_changes() > 0, "{hand}");
    verify(&store).await
}

#[tokio::test]
async fn a_personal_value_that_is_not_what_was_written_is_found() {
    let edit = "UPDATE audit SET personal = replace(personal, 'tester', 'bystander') WHERE seq = 3";
    assert_eq!(beside(edit).await, at(3, Flaw::Personal), "a value");
    let edit = "UPDATE audit SET personal = json_set(personal, '$.operator[0]',
                    (SELECT personal ->> '$.operator[0]' FROM audit WHERE seq = 4))
                WHERE seq = 3";
    assert_eq!(beside(edit).await, at(3, Flaw::Personal), "a salt");
    let swap = "UPDATE audit SET personal = (SELECT personal FROM audit WHERE seq = 4)
                WHERE seq = 3";
    assert_eq!(beside(swap).await, at(3, Flaw::Personal), "another entry's");
    let edit = "UPDATE audit SET event = replace(event, '\"operator\":\"', '\"operator\":\"x')
                WHERE seq = 3";
    assert_eq!(beside(edit).await, at(3, Flaw::Edited), "a commitment");
}

#[tokio::test]
async fn a_personal_value_that_was_erased_leaves_the_chain_whole() {
    let erase = "UPDATE audit SET personal = json_remove(personal, '$.operator') WHERE seq = 3;
                 UPDATE audit SET personal = NULL WHERE seq = 4;";
    assert_eq!(beside(erase).await, Ok(4));
}

#[tokio::test]
async fn an_inserted_row_is_found() {
    let at_the_end = "INSERT INTO audit (event, chain_hash, personal)
                      SELECT event, chain_hash, personal FROM audit WHERE seq = 4";
    assert_eq!(tampered(at_the_end).await, at(9, Flaw::Edited));
    let before_all = "INSERT INTO audit (seq, event, chain_hash, personal)
                      SELECT -1, event, chain_hash, personal FROM audit WHERE seq = 4";
    assert_eq!(tampered(before_all).await, at(-1, Flaw::OutOfPlace));
    let between = "UPDATE audit SET seq = seq + 100 WHERE seq > 4;
                   INSERT INTO audit (seq, event, chain_hash, personal)
                   SELECT 5, event, chain_hash, personal FROM audit WHERE seq = 4;
                   UPDATE audit SET seq = seq - 99 WHERE seq > 100;";
    assert_eq!(tampered(between).await, at(5, Flaw::Edited));
}

/// What is cut off at the end leaves a good chain. The fence has seen more: the next start says so.
#[tokio::test]
async fn rows_removed_at_the_end_are_seen_by_the_fence() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    with_token(&store, 1).await;
    drop(store);
    let raw = Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "DROP TRIGGER audit_is_not_deleted;
         DELETE FROM audit WHERE seq >= 4;",
    )
    .unwrap();
    drop(raw);
    let (store, opened) = home.open();
    assert!(opened.epoch_raised.is_some());
    assert_eq!(verify(&store).await, Ok(4), "with the entry that says so");
    let last = store.chain_end().await.unwrap().unwrap();
    assert_eq!(last.event().unwrap().kind, Kind::EpochRaised);
}

/// The log of a program that knew no chain is chained as it stands, and goes on.
#[tokio::test]
async fn a_file_of_version_10_is_chained() {
    let home = Home::new();
    let raw = Connection::open(&home.options.database).unwrap();
    for migration in [
        include_str!("../../src/sqlite/migrations/0001_start.sql"),
        include_str!("../../src/sqlite/migrations/0002_outbox.sql"),
        include_str!("../../src/sqlite/migrations/0003_cards.sql"),
        include_str!("../../src/sqlite/migrations/0004_wallet.sql"),
        include_str!("../../src/sqlite/migrations/0005_mfa.sql"),
        include_str!("../../src/sqlite/migrations/0006_allowlist.sql"),
        include_str!("../../src/sqlite/migrations/0007_handover.sql"),
        include_str!("../../src/sqlite/migrations/0008_budget.sql"),
        include_str!("../../src/sqlite/migrations/0009_pin.sql"),
        include_str!("../../src/sqlite/migrations/0010_keys.sql"),
    ] {
        raw.execute_batch(migration).unwrap();
    }
    let events = [1, 2, 3].map(|n| {
        let mut event = sample::event(Kind::AuditRead, START);
        event.detail.note = Some(n.to_string().into());
        event
    });
    for event in &events {
        let json = serde_json::to_string(event).unwrap();
        raw.execute("INSERT INTO audit (event) VALUES (?1)", [json])
            .unwrap();
    }
    raw.pragma_update(None, "application_id", 0x4356_4549)
        .unwrap();
    raw.pragma_update(None, "user_version", 10).unwrap();
    drop(raw);
    let (store, _) = home.open();
    assert_eq!(verify(&store).await, Ok(4), "one tells of the lost fence");
    let read = store.entries(0, 10).await.unwrap();
    let kept: Vec<_> = read.iter().take(3).map(|entry| &entry.event).collect();
    assert_eq!(kept, events.iter().collect::<Vec<_>>());
    store
        .commit(RecordEvent(sample::event(Kind::AuditRead, START)))
        .await
        .unwrap();
    assert_eq!(verify(&store).await, Ok(5));
    drop(store);
    let raw = Connection::open(&home.options.database).unwrap();
    let left: i64 = raw
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'audit_before'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
    for sql in ["UPDATE audit SET event = ''", "DELETE FROM audit"] {
        assert!(raw.execute(sql, []).is_err(), "{sql}");
    }
}

/// Entries of form 1 stay as they are, those of form 2 follow them in one chain, and a program of the
/// version before that still has the file open writes nothing more.
#[tokio::test]
async fn a_log_of_form_1_goes_on_in_form_2_and_an_old_process_writes_no_more() {
    const APPEND: &str = "INSERT INTO audit (seq, event, hash) VALUES (?1, ?2, ?3)";
    let home = Home::new();
    drop(home.open());
    let raw = Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "ALTER TABLE audit RENAME COLUMN chain_hash TO hash;
         ALTER TABLE audit DROP COLUMN personal;
         ALTER TABLE wrapped_key DROP COLUMN complete_at;
         DROP TABLE row_change;
         DROP TRIGGER credential_changes; DROP TRIGGER credential_goes;
         DROP TRIGGER merchant_changes; DROP TRIGGER merchant_goes;
         DROP TRIGGER embed_changes; DROP TRIGGER embed_goes;
         DROP TRIGGER credential_comes; DROP TRIGGER merchant_comes; DROP TRIGGER embed_comes;
         ALTER TABLE meta DROP COLUMN registry;
         ALTER TABLE card DROP COLUMN index_key;
         ALTER TABLE wallet_token DROP COLUMN index_key;
         PRAGMA user_version = 23;",
    )
    .unwrap();
    for table in [
        "merchant",
        "credential",
        "embed",
        "card",
        "token",
        "subscription",
        "mfa_session",
        "mfa_person",
        "wrapped_key",
    ] {
        let sql = format!(
            "ALTER TABLE {table} DROP COLUMN mac; ALTER TABLE {table} DROP COLUMN row_version;"
        );
        raw.execute_batch(&sql).unwrap();
    }
    let id = raw.query_row("SELECT database_id FROM meta", [], |row| row.get(0));
    let mut end = Link::start(ChainId::from_bytes(id.unwrap()));
    let mut old_process_writes = |seq: i64| {
        let mut event = sample::event(Kind::AuditRead, START);
        event.actor = sample::operator().actor;
        let stored = serde_json::to_string(&event).unwrap();
        end = end.next(stored.as_bytes());
        raw.execute(APPEND, (seq, stored, end.hash.0))
    };
    for seq in 1..=3 {
        old_process_writes(seq).unwrap();
    }
    // The fence has seen none of them.
    let (store, opened) = home.open();
    assert_eq!(opened.epoch_raised, None);
    with_merchant(&store).await;
    let refused = old_process_writes(8).unwrap_err().to_string();
    assert!(refused.contains("no column named hash"), "{refused}");
    assert_eq!(verify(&store).await, Ok(7));
    let log = store.chained(0, 10).await.unwrap();
    let forms: Vec<_> = log.iter().map(|entry| entry.personal.is_some()).collect();
    assert_eq!(forms, [false, false, false, true, true, true, true]);
    let first = log[0].entry().unwrap();
    assert_eq!(first.event.actor, sample::operator().actor);
    assert!(first.erased.is_empty());
}

/// Two processes, such as the server and the command line, continue one chain.
#[tokio::test]
async fn two_processes_write_one_chain() {
    let home = Home::new();
    let (server, _) = home.open();
    let (console, _) = home.open();
    with_merchant(&server).await;
    for n in 1..=10 {
        with_token(&server, n).await;
        let read = sample::event(Kind::AuditRead, START);
        console.commit(RecordEvent(read)).await.unwrap();
    }
    assert_eq!(verify(&server).await, Ok(24));
    assert_eq!(verify(&console).await, Ok(24));
}
