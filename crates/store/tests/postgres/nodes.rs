//! Several nodes on one database.

use std::collections::BTreeSet;
use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::budget::{Budget, Budgets, Charge};
use cardveil_core::card::Field;
use cardveil_core::id::{CardId, PersonId, SessionId};
use cardveil_core::mfa::{Factor, FactorPolicy, Opening, Purpose};
use cardveil_core::port::{Admin, Audit, Count, Counters, Heard, NodeId, Tokens, Told};
use cardveil_core::token::{Cause, Issued, Verdict};
use cardveil_core::verb::{Commit, RaiseEpoch};
use cardveil_store::postgres::Postgres;
use cardveil_testkit::sample::{self, START};
use futures_util::future::{join, join_all, join3};
use tokio_postgres::NoTls;

use crate::cluster::Cluster;
use crate::home::{Home, with_merchant, with_token};

const TOKENS: u8 = 100;

/// Each token is asked for by a key of each node at once.
#[tokio::test]
async fn of_three_nodes_one_gets_each_token() {
    let home = Home::new().await;
    let nodes = [home.open().await, home.open().await, home.open().await];
    let epoch = with_merchant(&nodes[0]).await;
    for n in 0..TOKENS {
        with_token(&nodes[usize::from(n) % 3], n).await;
    }
    let claim = async |node: &Postgres, key: u8, n: u8| {
        let record = sample::record(n, START, epoch);
        let claim = sample::claim(&record, key, &[Field::Pan], START);
        node.commit(claim).await.unwrap()
    };
    // One node asks in the opposite order: whoever locks what the other has must not wait for ever.
    let forwards = |key: usize| {
        let node = &nodes[key];
        let key = u8::try_from(key + 1).unwrap();
        join_all((0..TOKENS).map(move |n| claim(node, key, n)))
    };
    let backwards = join_all((0..TOKENS).rev().map(|n| claim(&nodes[2], 3, n)));
    let ((one, two), mut three) = join(join(forwards(0), forwards(1)), backwards).await;
    three.reverse();
    for n in 0..usize::from(TOKENS) {
        let verdicts = [&one[n], &two[n], &three[n]];
        let granted = |v: &&&Verdict| matches!(v, Verdict::Granted(_));
        let refused = |v: &&&Verdict| ***v == Verdict::Refused(Cause::OtherKey);
        assert_eq!(verdicts.iter().filter(granted).count(), 1, "{verdicts:?}");
        assert_eq!(verdicts.iter().filter(refused).count(), 2, "{verdicts:?}");
    }
    let log = nodes[0].entries(0, 10_000).await.unwrap();
    let count = |kind| log.iter().filter(|entry| entry.event.kind == kind).count();
    assert_eq!(count(Kind::RevealReleased), usize::from(TOKENS));
    assert_eq!(count(Kind::RevealConflict), usize::from(TOKENS));
    let seqs: Vec<_> = log.iter().map(|entry| entry.seq).collect();
    let whole: Vec<_> = (1..=i64::try_from(log.len()).unwrap()).collect();
    assert_eq!(seqs, whole, "no place is left out");
}

/// Whoever reads the log from where they were reads all of it, while two nodes write.
#[tokio::test]
async fn a_reader_of_the_log_misses_nothing() {
    let home = Home::new().await;
    let (one, two) = (home.open().await, home.open().await);
    let epoch = with_merchant(&one).await;
    let write = async |node: &Postgres, numbers: std::ops::Range<u8>| {
        for n in numbers {
            let issue = sample::issue(n, START, epoch);
            assert_eq!(node.commit(issue).await.unwrap(), Issued::New);
        }
    };
    let read = async {
        let mut seen = Vec::new();
        while seen.len() < 200 {
            let after = seen.last().copied().unwrap_or(4);
            let entries = two.entries(after, 3).await.unwrap();
            seen.extend(entries.iter().map(|entry| entry.seq));
        }
        seen
    };
    let writes = join(write(&one, 0..100), write(&two, 100..200));
    let (_, seen) = join(writes, read).await;
    assert_eq!(seen, (5..205).collect::<Vec<_>>());
}

/// A raise on one node is obeyed by the next write of another.
#[tokio::test]
async fn all_nodes_learn_of_a_raised_epoch() {
    let home = Home::new().await;
    let (one, two) = (home.open().await, home.open().await);
    let epoch = with_merchant(&one).await;
    let record = with_token(&two, 1).await;
    let event = sample::event(Kind::EpochRaised, START);
    let raised = one.commit(RaiseEpoch(event)).await.unwrap();
    assert!(raised > epoch);
    let claim = sample::claim(&record, 1, &[Field::Pan], START);
    let verdict = two.commit(claim).await.unwrap();
    assert_eq!(verdict, Verdict::Refused(Cause::OldEpoch));
    let old = sample::issue(2, START, epoch);
    assert_eq!(two.commit(old).await.unwrap(), Issued::OldEpoch(raised));
    assert_eq!(two.epoch().await.unwrap(), raised);
}

/// One job that the database refuses does not fail those that share its batch.
#[tokio::test]
async fn a_bad_write_fails_alone() {
    let home = Home::new().await;
    let store = home.open().await;
    let epoch = with_merchant(&store).await;
    with_token(&store, 7).await;
    let issues = (1..=20).map(|n| store.commit(sample::issue(n, START, epoch)));
    let results = join_all(issues).await;
    let bad: BTreeSet<_> = (1..=20).filter(|n| results[n - 1].is_err()).collect();
    assert_eq!(bad, BTreeSet::from([7]), "its hash is taken");
    let record = sample::record(8, START, epoch);
    assert!(store.token(&record.key).await.unwrap().is_some());
}

/// Nor does one that waits for what another transaction keeps locked.
#[tokio::test]
async fn a_write_that_waits_for_a_lock_fails_none_of_its_batch() {
    let home = Home::new().await;
    let store = home.open().await;
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let connection = Cluster::shared().connection("postgres", &home.database);
    let (other, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driver);
    let lock = "BEGIN; SELECT FROM cardveil.token FOR UPDATE";
    other.batch_execute(lock).await.unwrap();
    let neighbours = async {
        let issues = (2..=20).map(|n| store.commit(sample::issue(n, START, epoch)));
        let answers = join_all(issues).await;
        other.batch_execute("ROLLBACK").await.unwrap();
        answers
    };
    let claim = store.commit(sample::claim(&record, 1, &[Field::Pan], START));
    let (answers, claimed) = join(neighbours, claim).await;
    for answer in answers {
        assert_eq!(answer.unwrap(), Issued::New);
    }
    assert!(matches!(claimed, Ok(Verdict::Granted(_))), "{claimed:?}");
}

/// Two nodes charge the same budgets and ask for the same persons, in opposite orders.
#[tokio::test]
async fn batches_that_cross_do_not_deadlock() {
    const PERSONS: u8 = 10;
    let home = Home::new().await;
    let (one, two) = (home.open().await, home.open().await);
    let epoch = with_merchant(&one).await;
    // Both meet in the middle, where another one lets them wait until each has what the other
    // needs.
    let cluster = Cluster::shared();
    let connection = cluster.connection("postgres", &home.database);
    let (other, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driver);
    let middle = "BEGIN; INSERT INTO cardveil.budget (key, whole_at)
         VALUES ('c'::bytea || decode(repeat('05', 16), 'hex'), 0)";
    other.batch_execute(middle).await.unwrap();
    let of = |table| format!("FROM {table} WHERE datname = '{}'", home.database);
    let release = async {
        let waiting = of("pg_stat_activity") + " AND wait_event_type = 'Lock'";
        let waiting = format!("SELECT count(*) {waiting}");
        while cluster.sql("postgres", &waiting) != "2" {
            tokio::task::yield_now().await;
        }
        other.batch_execute("ROLLBACK").await.unwrap();
    };
    let card = |n: u8| (CardId::from_bytes([n; 16]), PersonId::from_bytes([n; 16]));
    let issue = |place: u8, n: u8| {
        let mut issue = sample::issue(place, START, epoch);
        let whole = Budget::new(4, 4, Duration::from_secs(86_400)).unwrap();
        issue.charge = Some(Charge {
            budgets: Budgets {
                card: Some(whole),
                person: Some(whole),
            },
            merchant: sample::merchant(1).id,
            card: card(n).0,
            person: card(n).1,
            second_factor: false,
            at: START,
        });
        issue
    };
    let opening = |place: u8, n: u8| Opening {
        id: SessionId::from_bytes([place; 16]),
        merchant: sample::merchant(1).id,
        person: card(n).1,
        card: card(n).0,
        purpose: Purpose::ViewCard,
        factor: Some(Factor::Otp),
        factors: FactorPolicy::default(),
        at: START,
        source: sample::operator(),
    };
    let write = async |node: &Postgres, place: u8, n: u8| {
        let (issued, opened) =
            join(node.commit(issue(place, n)), node.commit(opening(place, n))).await;
        assert_eq!(issued.unwrap(), Issued::New);
        opened.unwrap().unwrap();
    };
    let forwards = join_all((0..PERSONS).map(|n| write(&one, n, n)));
    let backwards = join_all((0..PERSONS).rev().map(|n| write(&two, PERSONS + n, n)));
    join3(forwards, backwards, release).await;
    let charged = "SELECT count(*), count(DISTINCT whole_at) FROM cardveil.budget";
    assert_eq!(cluster.sql(&home.database, charged), "20|1", "each twice");

    // A backend tells what it has counted when it ends.
    drop((one, two, other));
    let left = format!("SELECT count(*) {}", of("pg_stat_activity"));
    while cluster.sql("postgres", &left) != "0" {
        tokio::task::yield_now().await;
    }
    let deadlocks = format!("SELECT deadlocks {}", of("pg_stat_database"));
    assert_eq!(cluster.sql("postgres", &deadlocks), "0");
}

/// What a node has admitted, the others hear; it waits for no disk, and a process that ended leaves
/// nothing for long.
#[tokio::test]
async fn nodes_hear_what_the_others_have_admitted() {
    let home = Home::new().await;
    let (one, two) = (home.open().await, home.open().await);
    let told = |node: u8, round: i64| Told {
        node: NodeId([node; 16]),
        round,
        counts: vec![Count {
            limit: "address".into(),
            caller: "203.0.113.7".into(),
            calls: 3,
        }],
    };
    let nothing = Heard::new();
    assert_eq!(
        one.exchange(told(1, 1), &nothing).await.unwrap(),
        Some(vec![])
    );
    let heard = two.exchange(told(2, 1), &nothing).await.unwrap();
    assert_eq!(heard, Some(vec![told(1, 1)]));
    let cluster = Cluster::shared();
    let sql = |sql: &str| cluster.sql(&home.database, sql);
    let unlogged = "SELECT relpersistence FROM pg_class WHERE relname = 'counted'";
    assert_eq!(sql(unlogged), "u");
    sql("UPDATE cardveil.counted SET told_at = now() - interval '2 minutes' WHERE round = 1");
    let three = home.open().await;
    let heard = three.exchange(told(3, 1), &nothing).await.unwrap();
    assert_eq!(heard, Some(vec![]));
    assert_eq!(sql("SELECT count(*) FROM cardveil.counted"), "1");
    three.close();
    assert!(three.exchange(told(3, 2), &nothing).await.is_err());
}

/// A statement that ends with its server is not the end: the next exchange has a new connection.
#[tokio::test]
async fn an_exchange_that_fails_is_followed_by_one_that_does_not() {
    let home = Home::new().await;
    let node = home.open().await;
    let told = |round| Told {
        node: NodeId([1; 16]),
        round,
        counts: vec![],
    };
    let nothing = Heard::new();
    node.exchange(told(1), &nothing).await.unwrap();
    let end = format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{}'",
        home.database
    );
    Cluster::shared().sql("postgres", &end);
    let mut failed = 0;
    while node.exchange(told(2), &nothing).await.is_err() {
        failed += 1;
        assert!(failed < 3);
    }
}
