//! A store that went back in time.

use std::path::Path;
use std::time::Duration;

use cardveil_core::audit::{Actor, Event, Kind};
use cardveil_core::card::Field;
use cardveil_core::port::{Admin, Audit, Tokens};
use cardveil_core::token::{Cause, Epoch, Issued, Verdict};
use cardveil_core::verb::{Commit, RaiseEpoch, RecordEvent};
use cardveil_store::sqlite::{OpenError, Raised, Sqlite, Why};
use cardveil_testkit::sample::{self, START};
use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::home::{Home, with_merchant, with_token};

async fn raises(store: &Sqlite) -> Vec<Event> {
    let log = store.entries(0, 1_000).await.unwrap();
    let events = log.into_iter().map(|entry| entry.event);
    events
        .filter(|event| event.kind == Kind::EpochRaised)
        .collect()
}

/// Opens a home whose epoch must have been raised for this reason, and says so in the log.
async fn raised(home: &Home, why: Why, before: Epoch) -> Sqlite {
    let (store, opened) = home.open();
    let epoch = store.epoch().await.unwrap();
    assert!(epoch > before, "{epoch:?} {before:?}");
    assert_eq!(opened.epoch_raised, Some(Raised { why, epoch }));
    let last = raises(&store).await.pop().unwrap();
    assert_eq!(last.actor, Actor::System);
    let note = last.detail.note.unwrap();
    assert!(note.contains(&why.to_string()), "{note}");
    assert!(note.contains(&epoch.0.to_string()), "{note}");
    store
}

#[tokio::test]
async fn a_new_store_begins_at_the_clock() {
    let home = Home::new();
    let (store, opened) = home.open();
    assert!(opened.created);
    assert_eq!(opened.epoch_raised, None);
    assert_eq!(
        store.epoch().await.unwrap(),
        Epoch(START.secs_u32()),
        "so that no later database of this place begins with the same"
    );
}

#[tokio::test]
async fn a_restart_keeps_the_epoch() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    drop(store);
    let (store, opened) = home.open();
    assert!(!opened.created);
    assert_eq!(opened.epoch_raised, None);
    assert_eq!(store.epoch().await.unwrap(), epoch);
    let verdict = store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
}

#[tokio::test]
async fn a_restored_copy_does_not_unspend_a_token() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    store.close();
    drop(store);
    let copy = home.back_up();

    let (store, opened) = home.open();
    assert_eq!(opened.epoch_raised, None);
    let first = sample::claim(&record, 1, &[Field::Pan], START);
    assert!(matches!(
        store.commit(first).await.unwrap(),
        Verdict::Granted(_)
    ));
    drop(store);

    home.restore(&copy);
    let store = raised(&home, Why::Behind, epoch).await;
    let kept = store.token(&record.key).await.unwrap();
    assert_eq!(kept, Some(record.clone()), "the copy does not know");
    let thief = sample::claim(&record, 2, &[Field::Pan], START);
    assert_eq!(
        store.commit(thief).await.unwrap(),
        Verdict::Refused(Cause::OldEpoch)
    );
    drop(store);
    let (_, opened) = home.open();
    assert_eq!(opened.epoch_raised, None, "once");
}

/// `.restore` of `sqlite3`, while a server and a command have the database open.
#[tokio::test]
async fn a_copy_put_back_into_the_open_database_does_not_unspend_a_token() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let live = || Connection::open(&home.options.database).unwrap();
    let mut copy = Connection::open_in_memory().unwrap();
    let whole = |from: &Connection, to: &mut Connection| {
        let backup = Backup::new(from, to).unwrap();
        backup
            .run_to_completion(1_000, Duration::ZERO, None)
            .unwrap();
    };
    whole(&live(), &mut copy);
    let (other, _) = home.open();
    let first = sample::claim(&record, 1, &[Field::Pan], START);
    let granted = store.commit(first).await.unwrap();
    assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");

    whole(&copy, &mut live());
    for store in [&store, &other] {
        let thief = sample::claim(&record, 2, &[Field::Pan], START);
        let refused = store.commit(thief).await.unwrap();
        assert_eq!(refused, Verdict::Refused(Cause::OldEpoch));
    }
    let raised = raises(&store).await;
    assert_eq!(raised.len(), 1, "once, by the first to notice: {raised:?}");
    assert!(store.epoch().await.unwrap() > epoch);
    drop((store, other));
    let (_, opened) = home.open();
    assert_eq!(opened.epoch_raised, None, "the fence is in step again");
}

#[tokio::test]
async fn a_copy_taken_while_it_ran_is_seen_too() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    let copy = home.back_up();
    with_token(&store, 1).await;
    drop(store);
    home.restore(&copy);
    raised(&home, Why::Behind, epoch).await;
}

#[tokio::test]
async fn each_restore_gets_an_epoch_of_its_own() {
    let home = Home::new();
    let (store, _) = home.open();
    let mut epoch = with_merchant(&store).await;
    store.close();
    drop(store);
    let copy = home.back_up();
    for _ in 0..3 {
        let (store, _) = home.open();
        with_token(&store, 1).await;
        drop(store);
        home.restore(&copy);
        let store = raised(&home, Why::Behind, epoch).await;
        epoch = store.epoch().await.unwrap();
        store.close();
        drop(store);
        home.restore(&copy);
        epoch = raised(&home, Why::Behind, epoch)
            .await
            .epoch()
            .await
            .unwrap();
    }
}

/// What `sqlite3`'s `.dump`, loaded into a new file, makes of a database: its rows, and none of its
/// marks.
fn load_dump(from: &Path, to: &Path) {
    let new = Connection::open(to).unwrap();
    new.execute_batch("PRAGMA foreign_keys = off").unwrap();
    let from = from.to_str().unwrap();
    new.execute("ATTACH ?1 AS old", [from]).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut rows = new.prepare(sql).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let made = "FROM old.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND type";
    for table in texts(&format!("SELECT sql {made} = 'table'")) {
        new.execute_batch(&table).unwrap();
    }
    for table in texts(&format!("SELECT name {made} = 'table'")) {
        let columns = "SELECT name FROM pragma_table_xinfo('NAME', 'old') WHERE hidden = 0";
        let columns = texts(&columns.replace("NAME", &table)).join(", ");
        let rows = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM old.{table}");
        new.execute_batch(&rows).unwrap();
    }
    for other in texts(&format!("SELECT sql {made} <> 'table'")) {
        new.execute_batch(&other).unwrap();
    }
}

/// Sets the marks by which a database is known, as whoever insists on a dump may do.
fn mark(database: &Path, like: &Path) {
    let (new, old) = (
        Connection::open(database).unwrap(),
        Connection::open(like).unwrap(),
    );
    for mark in ["application_id", "user_version"] {
        let kept: i64 = old
            .pragma_query_value(None, mark, |row| row.get(0))
            .unwrap();
        new.pragma_update(None, mark, kept).unwrap();
    }
}

#[tokio::test]
async fn a_dump_and_a_vacuumed_copy_unspend_no_token() {
    for is_dump in [false, true] {
        let home = Home::new();
        let (store, _) = home.open();
        let epoch = with_merchant(&store).await;
        let record = with_token(&store, 1).await;
        let (database, copy) = (&home.options.database, home.path().join("copy"));
        if is_dump {
            load_dump(database, &copy);
        } else {
            let database = Connection::open(database).unwrap();
            let copy = copy.to_str().unwrap();
            database.execute("VACUUM INTO ?1", [copy]).unwrap();
        }
        let first = sample::claim(&record, 1, &[Field::Pan], START);
        let verdict = store.commit(first).await.unwrap();
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        store.close();
        drop(store);
        let before = home.path().join("before");
        std::fs::rename(database, &before).unwrap();
        std::fs::copy(&copy, database).unwrap();
        if is_dump {
            let opened = home.try_open();
            assert!(
                matches!(opened, Err(OpenError::Foreign(_))),
                "no dump is taken for ours"
            );
            mark(database, &before);
        }
        let store = raised(&home, Why::Behind, epoch).await;
        let thief = sample::claim(&record, 2, &[Field::Pan], START);
        let verdict = store.commit(thief).await.unwrap();
        assert_eq!(verdict, Verdict::Refused(Cause::OldEpoch));
    }
}

#[tokio::test]
async fn a_missing_fence_raises() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    drop(store);
    std::fs::remove_file(&home.options.fence).unwrap();
    drop(raised(&home, Why::FenceMissing, epoch).await);
    assert_eq!(home.open().1.epoch_raised, None, "once");
}

#[tokio::test]
async fn a_fence_that_cannot_be_read_raises() {
    for wrong in ["x", "cardveil-fence-1 0 0 0 0\n"] {
        let home = Home::new();
        let epoch = with_merchant(&home.open().0).await;
        std::fs::write(&home.options.fence, wrong).unwrap();
        drop(raised(&home, Why::FenceUnreadable, epoch).await);
        assert_eq!(home.open().1.epoch_raised, None, "once");
    }
    let home = Home::new();
    let epoch = with_merchant(&home.open().0).await;
    std::fs::write(&home.options.fence, [0xff; 4_096]).unwrap();
    drop(raised(&home, Why::FenceUnreadable, epoch).await);
    assert_eq!(
        home.open().1.epoch_raised,
        None,
        "what was longer than a fence is cut"
    );
}

#[tokio::test]
async fn another_database_raises_above_both() {
    let (home, other) = (Home::new(), Home::new());
    let (store, _) = home.open();
    let low = with_merchant(&store).await;
    drop(store);
    let (store, _) = other.open();
    with_merchant(&store).await;
    let high = store
        .commit(RaiseEpoch(sample::event(Kind::EpochRaised, START)))
        .await
        .unwrap();
    assert!(high > low);
    drop(store);
    home.restore(&[]);
    for (path, bytes) in other.back_up() {
        let name = path.file_name().unwrap();
        std::fs::write(home.options.database.with_file_name(name), bytes).unwrap();
    }
    drop(raised(&home, Why::OtherDatabase, high).await);
}

/// A volume that was not mounted: an empty database in its place once served as if all were well.
#[tokio::test]
async fn a_database_that_is_gone_is_not_made_anew() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    drop(store);
    let copy = home.back_up();
    home.restore(&[]);
    for empty in [false, true] {
        if empty {
            std::fs::write(&home.options.database, "").unwrap();
        }
        let refused = Sqlite::open(
            &home.options,
            std::sync::Arc::new(cardveil_core::clock::SystemClock),
            std::sync::Arc::new(cardveil_seal::SystemEntropy),
        )
        .err()
        .unwrap();
        assert!(matches!(refused, OpenError::Gone { .. }), "{refused}");
        assert!(home.options.database.exists() == empty, "nothing was made");
    }
    home.restore(&copy);
    let (store, opened) = home.open();
    assert_eq!(opened.epoch_raised, None, "it is back, as it was");
    assert_eq!(store.epoch().await.unwrap(), epoch);
}

#[tokio::test]
async fn two_at_once_raise_no_alarm() {
    let home = Home::new();
    let (server, _) = home.open();
    let epoch = with_merchant(&server).await;
    for n in 1..=20 {
        with_token(&server, n).await;
        let (console, opened) = home.open();
        assert_eq!(opened.epoch_raised, None);
        let read = sample::event(Kind::AuditRead, START);
        console.commit(RecordEvent(read)).await.unwrap();
        with_token(&server, 100 + n).await;
    }
    drop(server);
    let (store, opened) = home.open();
    assert_eq!(opened.epoch_raised, None);
    assert_eq!(store.epoch().await.unwrap(), epoch);
}

#[tokio::test]
async fn an_epoch_raised_by_one_process_is_the_others_too() {
    let home = Home::new();
    let (server, _) = home.open();
    let epoch = with_merchant(&server).await;
    let record = with_token(&server, 1).await;
    let (console, _) = home.open();
    let later = START.plus(Duration::from_secs(1_000));
    let raised = console
        .commit(RaiseEpoch(sample::event(Kind::EpochRaised, later)))
        .await
        .unwrap();
    assert_eq!(raised, Epoch(later.secs_u32()), "no less than the clock");
    assert_eq!(server.epoch().await.unwrap(), raised);
    let claim = sample::claim(&record, 1, &[Field::Pan], START);
    assert_eq!(
        server.commit(claim).await.unwrap(),
        Verdict::Refused(Cause::OldEpoch)
    );
    assert_eq!(
        server.commit(sample::issue(2, START, epoch)).await.unwrap(),
        Issued::OldEpoch(raised)
    );
}
