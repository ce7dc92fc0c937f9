//! Commits whose answer is lost.

use std::sync::Arc;
use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::port::{Admin, Audit, Error, Tokens, Writes};
use cardveil_core::token::{Cause, Issued, Verdict};
use cardveil_core::verb::{Commit, Sweep};
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::Postgres;
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START};
use futures_util::future::{join, join3};
use tokio_postgres::NoTls;

use crate::cluster::{Cluster, SERVER};
use crate::home::{Home, migrate, options, with_merchant, with_token};
use crate::proxy::{Fate, Proxy};

/// A blind retry would find its own token there, and fail; a blind refusal would lose it.
#[tokio::test]
async fn a_commit_without_an_answer_is_looked_up() {
    let home = Home::new().await;
    let proxy = Proxy::start();
    let store = proxy.open(&home.database).await;
    let epoch = with_merchant(&store).await;
    for (n, fate) in [(1, Fate::Done), (2, Fate::Undone), (3, Fate::Answered)] {
        proxy.next(fate);
        let issued = store.commit(sample::issue(n, START, epoch)).await.unwrap();
        assert_eq!(issued, Issued::New);
    }
    assert_eq!(proxy.lost(), 2);
    for (n, fate) in [(1, Fate::Done), (2, Fate::Undone), (3, Fate::Answered)] {
        let record = sample::record(n, START, epoch);
        proxy.next(fate);
        let claim = sample::claim(&record, 1, &[Field::Pan], START);
        let verdict = store.commit(claim).await.unwrap();
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        let thief = sample::claim(&record, 2, &[Field::Pan], START);
        let verdict = store.commit(thief).await.unwrap();
        assert_eq!(verdict, Verdict::Refused(Cause::OtherKey));
    }
    assert_eq!(proxy.lost(), 4);
    let log = store.entries(0, 100).await.unwrap();
    for kind in [
        Kind::TokenIssued,
        Kind::RevealReleased,
        Kind::RevealConflict,
    ] {
        let count = log.iter().filter(|entry| entry.event.kind == kind).count();
        assert_eq!(count, 3, "{kind:?}");
    }
    let raised = store.epoch().await.unwrap();
    assert_eq!(raised, epoch, "a lost connection is no restore");
}

/// The server goes on with what it was sent, and nothing is known before it has come to its end: a
/// batch that is taken for lost meanwhile, and run again, would be there twice.
#[tokio::test]
async fn a_commit_that_the_server_has_not_come_to_is_waited_for() {
    let home = Home::new().await;
    let proxy = Proxy::start();
    let store = proxy.open(&home.database).await;
    let epoch = with_merchant(&store).await;
    let cluster = Cluster::shared();
    let connection = cluster.connection("postgres", &home.database);
    let (other, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driver);
    // No entry is written meanwhile, and what is behind it waits.
    let entries = "BEGIN; LOCK TABLE cardveil.audit IN SHARE MODE";
    other.batch_execute(entries).await.unwrap();
    proxy.next(Fate::Done);
    let release = async {
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = '{}' AND wait_event_type = 'Lock'",
            home.database
        );
        while proxy.lost() == 0 {
            tokio::task::yield_now().await;
        }
        // The look-up's turn, if it comes before a lock is waited for in vain.
        for _ in 0..20 {
            if cluster.sql("postgres", &waiting) == "2" {
                break;
            }
            tokio::task::yield_now().await;
        }
        other.batch_execute("ROLLBACK").await.unwrap();
    };
    let issue = sample::issue(1, START, epoch);
    let (issued, ()) = join(store.commit(issue), release).await;
    assert_eq!(issued.unwrap(), Issued::New);
    assert_eq!(proxy.lost(), 1);
    let log = store.entries(0, 100).await.unwrap();
    let issued = log.iter().filter(|it| it.event.kind == Kind::TokenIssued);
    assert_eq!(issued.count(), 1);
}

/// As behind a standby that is waited for and has gone.
#[tokio::test]
async fn a_write_without_an_answer_is_pending() {
    let home = Home::new().await;
    let proxy = Proxy::start();
    let store = proxy.open(&home.database).await;
    with_merchant(&store).await;
    proxy.hold_answers();
    let meanwhile = async {
        proxy.until_held(1).await;
        let pending = Writes::Pending {
            since: START,
            failed: false,
        };
        assert_eq!(store.writes(), pending);
        proxy.let_answers_through();
    };
    let (swept, ()) = join(
        store.commit(Sweep {
            now: START,
            limit: 1,
        }),
        meanwhile,
    )
    .await;
    swept.unwrap();
    assert_eq!(store.writes(), Writes::Fine);
}

/// Who asked has given up by then. What is committed for nobody would take the cardholder's token.
#[tokio::test]
async fn a_write_that_waits_for_five_seconds_is_refused_and_claims_nothing() {
    let mut cluster = Cluster::create();
    cluster.start();
    cluster.add_roles();
    let database = cluster.database();
    migrate(&cluster, &database).await;
    let clock = Arc::new(ManualClock::at(START));
    let options = options(&cluster, SERVER, &database);
    let opened = Postgres::open(&options, clock.clone(), Arc::new(SystemEntropy)).await;
    let (store, _) = opened.unwrap();
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let claim = sample::claim(&record, 1, &[Field::Pan], START);
    let issue = sample::issue(2, START, epoch);
    cluster.stall(true);
    let (redeemed, issued, ()) = join3(
        store.commit(claim.clone()),
        store.commit(issue.clone()),
        async {
            clock.advance(Duration::from_secs(5));
            cluster.stall(false);
        },
    )
    .await;
    for told in [redeemed.map(drop), issued.map(drop)] {
        let Err(Error::Unavailable(text)) = told else {
            panic!("{told:?}")
        };
        assert_eq!(text, "the write has waited for 5 s");
    }
    assert_eq!(
        store.token(&record.key).await.unwrap().as_ref(),
        Some(&record)
    );
    assert_eq!(store.token(&issue.record.key).await.unwrap(), None);
    // Whoever asks again, with another key even, is the first.
    let other = sample::claim(&record, 2, &[Field::Pan], START);
    let verdict = store.commit(other).await.unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
    assert_eq!(store.writes(), Writes::Fine);
}
