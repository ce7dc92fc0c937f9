//! The file: what survives in it, who may read it, and files that are none of ours.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::{self, Attributes, CardRef, Field};
use cardveil_core::clock::Time;
use cardveil_core::keys::{self, ClassKey};
use cardveil_core::merchant::allowlist::Allowlist;
use cardveil_core::mfa::Factor;
use cardveil_core::port::{
    Admin, Audit, CardFilter, Cards, Change, Class, Error, Keys, Outbox, Paging, Registry, Take,
    Tokens, WrappedKey,
};
use cardveil_core::token::{self, Cause, Idempotency, Issued, State, Verdict};
use cardveil_core::verb::{Changes, Commit, CreateKeys, RecordEvent};
use cardveil_seal::SystemEntropy;
use cardveil_store::sqlite::{OpenError, Options, Sqlite, VERSION};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START};

use crate::home::{Home, with_merchant, with_token};

#[tokio::test]
async fn a_reopened_store_has_everything() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    store
        .commit(sample::claim(&record, 1, &[Field::Pan], START))
        .await
        .unwrap();
    let keys = vec![WrappedKey {
        class: Class::Pan,
        version: 1,
        wrapped: vec![1; 61],
    }];
    let made = sample::event(Kind::KeysCreated, START);
    assert!(
        store
            .commit(CreateKeys {
                from: Vec::new(),
                keys: keys.clone(),
                event: made
            })
            .await
            .unwrap()
    );
    let mut named = sample::issue(2, START, epoch);
    named.idempotency = Some(Idempotency {
        key: [7; 32],
        fingerprint: [8; 32],
        seed: [9; 32],
        expires_at: START.plus(token::TTL),
    });
    store.commit(named.clone()).await.unwrap();
    let log = store.entries(0, 100).await.unwrap();
    assert_eq!(log.len(), 8);
    drop(store);

    let (store, opened) = home.open();
    assert!(!opened.created);
    assert_eq!(store.entries(0, 100).await.unwrap(), log);
    let held = store.token(&record.key).await.unwrap().unwrap();
    assert!(
        matches!(&held.state, State::Held(held) if held.redemption == sample::redemption(1)),
        "{held:?}"
    );
    assert_eq!(
        store
            .commit(sample::claim(&record, 2, &[Field::Pan], START))
            .await
            .unwrap(),
        Verdict::Refused(Cause::OtherKey)
    );
    assert_eq!(store.wrapped_keys().await.unwrap(), keys);
    assert!(matches!(
        store.commit(named).await.unwrap(),
        Issued::Before(..)
    ));
    let admission = store.admission(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(admission.credential, sample::credential(1));
    let card = sample::card(1);
    let found = store
        .card(&card.merchant, &CardRef::No(card.no.clone()))
        .await
        .unwrap();
    assert_eq!(found, Some(card));
    let counted = Paging {
        count: true,
        ..Paging::default()
    };
    let listed = store.list_cards(&CardFilter::default(), counted).await;
    assert_eq!(listed.unwrap().count, Some(1));
}

#[tokio::test]
async fn only_its_owner_may_read_it() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let database = &home.options.database;
    let files = [
        database.clone(),
        database.with_extension("db-wal"),
        database.with_extension("db-shm"),
        home.options.fence.clone(),
    ];
    for file in files {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_closed_store_is_unavailable_and_one_file() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    store.close();
    store.close();
    let event = sample::event(Kind::AuditRead, START);
    assert!(matches!(
        store.commit(RecordEvent(event)).await,
        Err(Error::Unavailable(_))
    ));
    assert!(matches!(store.epoch().await, Err(Error::Unavailable(_))));
    let folder = home.options.database.parent().unwrap();
    let names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(names, ["cardveil.db"], "nothing is left in the WAL");
}

#[tokio::test]
async fn a_row_that_was_altered_is_as_if_it_was_not_there_and_hurts_no_other() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let (good, bad) = (with_token(&store, 1).await, with_token(&store, 2).await);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    let changed = raw.execute(
        "UPDATE token SET operation = 'NOTHING' WHERE hash = ?1",
        [bad.key.hash.0],
    );
    assert_eq!(changed.unwrap(), 1);
    assert_eq!(store.token(&bad.key).await.unwrap(), None);
    let (refused, granted) = tokio::join!(
        store.commit(sample::claim(&bad, 1, &[Field::Pan], START)),
        store.commit(sample::claim(&good, 1, &[Field::Pan], START)),
    );
    let refused = refused.unwrap();
    assert_eq!(refused, Verdict::Refused(Cause::Unknown), "{refused:?}");
    assert!(matches!(granted, Ok(Verdict::Granted(_))), "{granted:?}");
}

#[test]
fn the_version_is_that_of_the_last_migration_and_migrating_twice_is_nothing() {
    let home = Home::new();
    assert!(home.open().1.created);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    let pragma = |name: &str| raw.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    assert_eq!(
        pragma("user_version").unwrap(),
        i64::try_from(VERSION).unwrap()
    );
    assert_eq!(pragma("application_id"), Ok(0x4356_4549));
    drop(raw);
    assert!(!home.open().1.created);
}

/// A file as the program of version 1 left it: a card of then keeps what it had, and was last
/// changed when it came.
#[tokio::test]
async fn a_file_of_version_1_is_brought_to_the_newest() {
    let home = Home::new();
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(include_str!("../../src/sqlite/migrations/0001_start.sql"))
        .unwrap();
    raw.execute_batch(
        "INSERT INTO merchant VALUES ('mer_1', 'Merchant 1', 'active', 1, 1767225600000);
         INSERT INTO card (id, no, merchant, account, person, kind, state, network, last_four,
             label, dek, pan, expiry, name, cvv_dek, cvv, pan_index, created_at)
         VALUES (unhex('01010101010101010101010101010101'), 'C1', 'mer_1', 'F50091',
             unhex('01010101010101010101010101010101'), 'virtual', 'active', 'visa', '0001',
             'Card 1', x'01', x'02', x'03', x'04', NULL, NULL,
             unhex('0101010101010101010101010101010101010101010101010101010101010101'),
             1767225600000);",
    )
    .unwrap();
    raw.pragma_update(None, "application_id", 0x4356_4549)
        .unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
    drop(raw);
    let (store, opened) = home.try_open().unwrap();
    assert!(!opened.created);
    let mut expected = sample::card(1);
    expected.attributes = Attributes::default();
    (expected.sealed.dek, expected.sealed.pan) = (vec![1], vec![2]);
    (expected.sealed.expiry, expected.sealed.name) = (vec![3], vec![4]);
    (expected.sealed.cvv, expected.sealed.pin) = (None, None);
    expected.sealed.index_key = 1;
    expected.updated_at = expected.created_at;
    let mut merchant = sample::merchant(1);
    merchant.mfa.factors.fallback = [Factor::Otp].into_iter().collect();
    assert_eq!(store.merchants().await.unwrap(), [merchant]);
    let paging = Paging {
        limit: 10,
        ..Paging::default()
    };
    let listed = store.list_cards(&CardFilter::default(), paging).await;
    assert_eq!(listed.unwrap().cards, [expected]);
    let set = store.commit(sample::pin_setting(1, 7)).await;
    assert_eq!(set.unwrap(), card::PinSet::Done);
    let own = sample::merchant(1).id;
    let card_1 = CardRef::Id(sample::card(1).id);
    let found = store.card(&own, &card_1).await.unwrap().unwrap();
    assert_eq!(found.sealed.pin, Some(sample::pin(7)));
    let subscription = sample::subscription(1);
    let change = Change::AddSubscription(Box::new(subscription));
    let event = sample::event(Kind::WebhookAdded, START);
    store.commit(Changes(vec![(change, event)])).await.unwrap()[0].unwrap();
    let moved = sample::moved(1, card::State::Suspended, START);
    store.commit(RecordEvent(moved)).await.unwrap();
    assert_eq!(store.outbox_counts().await.unwrap().waiting, 1);
}

/// What a program before issued is redeemed after its upgrade: until then tokens had no check.
#[tokio::test]
async fn a_file_of_version_1_says_when_a_token_of_the_first_form_was_last_issued() {
    let home = Home::new();
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(include_str!("../../src/sqlite/migrations/0001_start.sql"))
        .unwrap();
    let issued = |at: i64| {
        let sql = "INSERT INTO token (issued_secs, hash, epoch, merchant, credential, card,
                 operation, allowed, issued_at, expires_at, conflict)
             VALUES (?1 / 1000, randomblob(32), 0, 'mer_1', 'crd_1', randomblob(16), 'VIEW_CARD',
                 'pan', ?1, ?1 + 300000, 0)";
        raw.execute(sql, [at]).unwrap();
    };
    issued(START.millis());
    issued(START.millis() - 7_000);
    raw.pragma_update(None, "application_id", 0x4356_4549)
        .unwrap();
    raw.pragma_update(None, "user_version", 1).unwrap();
    drop(raw);
    let upgraded = home.open().0;
    assert_eq!(upgraded.first_form_last(START).await.unwrap(), Some(START));
    let fresh = Home::new();
    assert_eq!(fresh.open().0.first_form_last(START).await.unwrap(), None);
}

/// Networks that were texts are kept, each with the time of its credential.
#[tokio::test]
async fn a_file_of_version_3_keeps_its_networks() {
    let home = Home::new();
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    for migration in [
        include_str!("../../src/sqlite/migrations/0001_start.sql"),
        include_str!("../../src/sqlite/migrations/0002_outbox.sql"),
        include_str!("../../src/sqlite/migrations/0003_cards.sql"),
    ] {
        raw.execute_batch(migration).unwrap();
    }
    raw.pragma_update(None, "application_id", 0x4356_4549)
        .unwrap();
    raw.pragma_update(None, "user_version", 3).unwrap();
    let nets = r#"["203.0.113.7/32","2001:db8::/32"]"#;
    raw.execute_batch(&format!(
        "INSERT INTO merchant (id, name, state, pci_enabled, created_at) VALUES ('mer_1', 'M', 'active', 1, 5);
         INSERT INTO credential (key_hash, id, merchant, dek, sealed, allowed_ips, scopes, state, created_at)
         VALUES (x'{}', 'crd_1', 'mer_1', x'', x'', '{nets}', '[]', 'enabled', 7),
                (x'{}', 'crd_2', 'mer_1', x'', x'', '[]', '[]', 'enabled', 8);",
        "01".repeat(32),
        "02".repeat(32),
    ))
    .unwrap();
    drop(raw);
    let (store, _) = home.try_open().unwrap();
    let lists: Vec<_> = store
        .credentials()
        .await
        .unwrap()
        .into_iter()
        .map(|credential| credential.allowed_ips)
        .collect();
    let kept = ["203.0.113.7/32", "2001:db8::/32"].map(|net| net.parse().unwrap());
    let expected = Allowlist::of(kept, Time::from_millis(7));
    assert_eq!(lists, [expected, Allowlist::default()]);
}

/// Class keys from before they had states are active, and nobody knows since when.
#[tokio::test]
async fn a_file_of_version_9_keeps_its_class_keys() {
    let home = Home::new();
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
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
    ] {
        raw.execute_batch(migration).unwrap();
    }
    raw.pragma_update(None, "application_id", 0x4356_4549)
        .unwrap();
    raw.pragma_update(None, "user_version", 9).unwrap();
    raw.execute_batch("INSERT INTO wrapped_key VALUES (1, 1, x'0102'), (5, 1, x'0304')")
        .unwrap();
    drop(raw);
    let (store, _) = home.try_open().unwrap();
    let of = |class, wrapped| ClassKey {
        key: WrappedKey {
            class,
            version: 1,
            wrapped,
        },
        created_at: None,
        complete_at: None,
        state: keys::State::Active,
    };
    let expected = [of(Class::Pan, vec![1, 2]), of(Class::Index, vec![3, 4])];
    assert_eq!(store.class_keys().await.unwrap(), expected);
}

/// What is queued and what is under way survives; the lease of a process that is gone ends.
#[tokio::test]
async fn a_reopened_store_goes_on_with_its_outbox() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    let change = Change::AddSubscription(Box::new(sample::subscription(1)));
    let event = sample::event(Kind::WebhookAdded, START);
    store.commit(Changes(vec![(change, event)])).await.unwrap()[0].unwrap();
    for state in [card::State::Suspended, card::State::Active] {
        let moved = sample::moved(1, state, START);
        store.commit(RecordEvent(moved)).await.unwrap();
    }
    let until = START.plus(Duration::from_secs(30));
    let take = |now: Time, lease_until| Take {
        now,
        lease_until,
        limit: 10,
        per_subscription: 10,
    };
    let lost = store.commit(take(START, until)).await.unwrap();
    assert_eq!(lost.len(), 1);
    drop(store);

    let (store, _) = home.open();
    assert_eq!(store.next_due().await.unwrap(), Some(until));
    let later = until.plus(Duration::from_secs(30));
    let again = store.commit(take(until, later)).await.unwrap();
    assert_eq!(again[0].delivery.id, lost[0].delivery.id);
    assert_eq!(again[0].event, lost[0].event);
}

#[test]
fn of_many_that_open_at_once_one_makes_it() {
    let home = Home::new();
    let created = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| home.open().1)).collect();
        let opened = openers.into_iter().map(|opener| opener.join().unwrap());
        opened
            .inspect(|opened| assert_eq!(opened.epoch_raised, None))
            .filter(|opened| opened.created)
            .count()
    });
    assert_eq!(created, 1);
}

/// The error of opening a home whose database is made by `make`.
fn refusal(make: impl FnOnce(&Home)) -> OpenError {
    let home = Home::new();
    make(&home);
    home.try_open().map(drop).unwrap_err()
}

#[test]
fn a_newer_file_is_refused_with_what_to_do() {
    let error = refusal(|home| {
        home.open().0.close();
        let raw = rusqlite::Connection::open(&home.options.database).unwrap();
        raw.pragma_update(None, "user_version", 99).unwrap();
    });
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 99,
                known: VERSION
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!(
            "the database is of version 99 and this program knows versions up to {VERSION}: run the \
             program that wrote it, or restore a backup from before the upgrade"
        )
    );
}

#[test]
fn another_programs_file_is_refused_and_left_as_it_is() {
    let home = Home::new();
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(raw);
    let before = std::fs::read(&home.options.database).unwrap();
    let error = home.try_open().map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Foreign(_)), "{error:?}");
    assert_eq!(std::fs::read(&home.options.database).unwrap(), before);
    let garbage = refusal(|home| {
        std::fs::write(&home.options.database, "no database at all\n".repeat(500)).unwrap();
    });
    assert!(matches!(garbage, OpenError::Foreign(_)), "{garbage:?}");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    drop(store);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&home.options.database)
        .unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = home.try_open().map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[test]
fn places_that_cannot_be_used_are_named() {
    let error = refusal(|home| std::fs::create_dir(&home.options.database).unwrap());
    assert!(matches!(error, OpenError::File { .. }), "{error:?}");
    assert!(error.to_string().contains("cardveil.db"), "{error}");
    let error = refusal(|home| std::fs::create_dir(&home.options.fence).unwrap());
    assert!(matches!(error, OpenError::Fence { .. }), "{error:?}");
    let error = refusal(|home| {
        std::fs::remove_dir(home.options.database.parent().unwrap()).unwrap();
    });
    assert!(matches!(error, OpenError::File { .. }), "{error:?}");
}

#[test]
fn a_fence_beside_the_database_is_refused() {
    let home = Home::new();
    for name in ["fence", "deeper/fence"] {
        let fence = home.options.database.with_file_name(name);
        std::fs::create_dir_all(fence.parent().unwrap()).unwrap();
        let options = Options {
            fence,
            ..home.options.clone()
        };
        let clock = Arc::new(ManualClock::at(START));
        let error = Sqlite::open(&options, clock, Arc::new(SystemEntropy))
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, OpenError::FenceInside(_)), "{error:?}");
    }
    assert!(!home.options.database.exists(), "and nothing was made");
}

/// Another process keeps the file for that long.
#[tokio::test]
async fn a_write_that_waits_for_five_seconds_is_refused_and_claims_nothing() {
    let home = Home::new();
    let clock = Arc::new(ManualClock::at(START));
    let (store, _) = Sqlite::open(&home.options, clock.clone(), Arc::new(SystemEntropy)).unwrap();
    with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let other = rusqlite::Connection::open(&home.options.database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let claim = sample::claim(&record, 1, &[Field::Pan], START);
    let (redeemed, ()) = futures_util::future::join(store.commit(claim), async {
        clock.advance(Duration::from_secs(5));
        other.execute_batch("ROLLBACK").unwrap();
    })
    .await;
    let Err(Error::Unavailable(text)) = redeemed else {
        panic!("{redeemed:?}")
    };
    assert_eq!(text, "the write has waited for 5 s");
    assert_eq!(
        store.token(&record.key).await.unwrap().as_ref(),
        Some(&record)
    );
    let other = sample::claim(&record, 2, &[Field::Pan], START);
    let verdict = store.commit(other).await.unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
}
