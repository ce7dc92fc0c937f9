//! Clusters that are killed, promoted and restored.

use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::port::{Admin, Audit, Error, Writes};
use cardveil_core::token::{Cause, Issued, Record, Verdict};
use cardveil_core::verb::{Commit, RecordCheckpoint, RecordEvent, Sweep};
use cardveil_store::postgres::{Postgres, Why};
use cardveil_testkit::sample::{self, START};
use futures_util::future::join_all;

use crate::cluster::Cluster;
use crate::home::{Home, migrate, open, try_open, with_merchant, with_token};

/// A cluster of the test's own, with the schema; the name of its database.
async fn cluster() -> (Cluster, String) {
    let mut cluster = Cluster::create();
    cluster.start();
    cluster.add_roles();
    let database = cluster.database();
    migrate(&cluster, &database).await;
    (cluster, database)
}

async fn claim(store: &Postgres, record: &Record, key: u8) -> Verdict {
    let claim = sample::claim(record, key, &[Field::Pan], START);
    store.commit(claim).await.unwrap()
}

/// P1 and P2: what was answered is there after the server was killed, and nothing has a second key.
#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let (mut cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    let epoch = with_merchant(&store).await;
    for n in 0..=255 {
        with_token(&store, n).await;
    }
    let claims = (0..=255).map(async |n| {
        let record = sample::record(n, START, epoch);
        let claim = sample::claim(&record, 1, &[Field::Pan], START);
        (n, store.commit(claim).await)
    });
    // The first answers come while others are still being written.
    let mut answers = futures_util::future::select_all(claims.map(Box::pin));
    let mut granted = Vec::new();
    for _ in 0..20 {
        let ((n, verdict), _, rest) = answers.await;
        if let Ok(Verdict::Granted(_)) = verdict {
            granted.push(n);
        }
        answers = futures_util::future::select_all(rest);
    }
    cluster.kill();
    cluster.start();
    for (n, verdict) in join_all(answers.into_inner()).await {
        if let Ok(Verdict::Granted(_)) = verdict {
            granted.push(n);
        }
    }
    assert!(granted.len() >= 20, "{granted:?}");
    let second = open(&cluster, &database).await;
    assert_eq!(
        second.epoch().await.unwrap(),
        epoch,
        "a crash is no restore"
    );
    for n in granted {
        let record = sample::record(n, START, epoch);
        let thief = claim(&second, &record, 2).await;
        assert_eq!(thief, Verdict::Refused(Cause::OtherKey), "token {n}");
    }
}

/// A sweep that finds nothing to do shows it, so that a node recovers to which nobody is sent.
#[tokio::test]
async fn writes_fail_until_the_server_is_back() {
    let (mut cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    assert_eq!(store.writes(), Writes::Fine);
    cluster.stop();
    let swept = store
        .commit(Sweep {
            now: START,
            limit: 1,
        })
        .await;
    assert!(matches!(swept, Err(Error::Unavailable(_))), "{swept:?}");
    let failed = Writes::Pending {
        since: START,
        failed: true,
    };
    assert_eq!(store.writes(), failed);
    cluster.start();
    store
        .commit(Sweep {
            now: START,
            limit: 1,
        })
        .await
        .unwrap();
    assert_eq!(store.writes(), Writes::Fine);
    store.close();
    assert_eq!(store.writes(), Writes::Ended);
}

/// Grants and logins are the server's affair, though it answers: nobody is told that it takes
/// writes.
#[tokio::test]
async fn writes_fail_while_the_role_may_not_write() {
    let home = Home::new().await;
    let store = home.open().await;
    let epoch = with_merchant(&store).await;
    let admin = |sql: &str| Cluster::shared().sql(&home.database, sql);
    let issue = |n| store.commit(sample::issue(n, START, epoch));
    let failed = Writes::Pending {
        since: START,
        failed: true,
    };
    admin("REVOKE INSERT ON cardveil.audit FROM cardveil");
    let refused = issue(1).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert_eq!(store.writes(), failed);
    admin("GRANT INSERT ON cardveil.audit TO cardveil");
    assert_eq!(issue(1).await.unwrap(), Issued::New);
    assert_eq!(store.writes(), Writes::Fine);

    let no_entry = format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", home.database);
    admin(&no_entry);
    admin(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = 'cardveil'",
    );
    let refused = issue(2).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert_eq!(store.writes(), failed);
}

/// The standby has not seen the claim, and so would hold the token for good.
#[tokio::test]
async fn a_promoted_standby_takes_no_token_of_before() {
    let (mut cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let mut standby = cluster.base_backup(&["-R"]);
    standby.set("primary_conninfo=''");
    assert!(matches!(
        claim(&store, &record, 1).await,
        Verdict::Granted(_)
    ));
    drop(store);
    cluster.stop();

    standby.start();
    let refused = try_open(&standby, &database).await.err().unwrap();
    assert!(refused.to_string().contains("standby"), "{refused}");
    standby.promote();
    let (second, raised) = try_open(&standby, &database).await.unwrap();
    assert_eq!(raised.unwrap().why, Why::OtherTimeline);
    assert_eq!(
        claim(&second, &record, 2).await,
        Verdict::Refused(Cause::OldEpoch)
    );
    let log = second.entries(0, 100).await.unwrap();
    let events_of_it = log.iter().filter(|e| e.event.kind == Kind::EpochRaised);
    assert_eq!(events_of_it.count(), 1);
    let (third, raised) = try_open(&standby, &database).await.unwrap();
    assert_eq!(raised, None, "once is enough");
    assert_eq!(third.epoch().await.unwrap(), second.epoch().await.unwrap());
}

/// A store that was open all the while learns of it when it connects anew.
#[tokio::test]
async fn a_store_that_goes_on_with_a_promoted_standby_raises_the_epoch_first() {
    let (mut cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let mut standby = cluster.base_backup(&["-R"]);
    assert!(matches!(
        claim(&store, &record, 1).await,
        Verdict::Granted(_)
    ));
    cluster.stop();
    standby.set("primary_conninfo=''");
    standby.move_to(&mut cluster);
    cluster.start();
    cluster.promote();
    assert_eq!(
        claim(&store, &record, 2).await,
        Verdict::Refused(Cause::OldEpoch)
    );
    assert!(store.epoch().await.unwrap() > epoch);
}

/// A signature over an entry that the standby never had would look like a log that was written
/// anew.
#[tokio::test]
async fn a_promoted_standby_gets_no_checkpoint_of_what_it_lacks() {
    let (mut cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    with_merchant(&store).await;
    let kept = store.chain_end().await.unwrap().unwrap().link;
    let mut standby = cluster.base_backup(&["-R"]);
    with_token(&store, 1).await;
    let lost = store.chain_end().await.unwrap().unwrap().link;
    cluster.stop();
    standby.set("primary_conninfo=''");
    standby.move_to(&mut cluster);
    cluster.start();
    cluster.promote();
    let signed = async |link| {
        let event = sample::event(Kind::AuditCheckpoint, START);
        store
            .commit(RecordCheckpoint { link, event })
            .await
            .unwrap()
    };
    assert!(!signed(lost).await);
    assert!(signed(kept).await);
}

/// Two stores that were open all the while and have seen more: the first raises it, for both.
#[tokio::test]
async fn a_promotion_is_noticed_once_by_all_nodes_together() {
    let (mut cluster, database) = cluster().await;
    let (one, two) = (
        open(&cluster, &database).await,
        open(&cluster, &database).await,
    );
    let before = with_merchant(&one).await;
    let backup = cluster.base_backup(&["-R"]);
    for n in 0..20 {
        with_token(&one, n).await;
        two.commit(RecordEvent(sample::event(Kind::AuditRead, START)))
            .await
            .unwrap();
    }
    cluster.stop();
    let mut standby = backup;
    standby.set("primary_conninfo=''");
    standby.move_to(&mut cluster);
    cluster.start();
    cluster.promote();
    let after = one.epoch().await.unwrap();
    assert!(after > before);
    for node in [&two, &one, &two] {
        node.commit(RecordEvent(sample::event(Kind::AuditRead, START)))
            .await
            .unwrap();
        assert_eq!(node.epoch().await.unwrap(), after);
    }
    let log = one.entries(0, 100).await.unwrap();
    let raises = log.iter().filter(|e| e.event.kind == Kind::EpochRaised);
    assert_eq!(raises.count(), 1);
}

/// By the way that PostgreSQL's manual describes: recovery from a base backup ends on a new
/// timeline.
#[tokio::test]
async fn a_recovered_base_backup_takes_no_token_of_before() {
    let (mut cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let mut backup = cluster.base_backup(&[]);
    assert!(matches!(
        claim(&store, &record, 1).await,
        Verdict::Granted(_)
    ));
    drop(store);
    cluster.stop();

    std::fs::write(backup.data().join("recovery.signal"), "").unwrap();
    backup.set("restore_command=false");
    backup.start();
    backup.await_primary();
    let (second, raised) = try_open(&backup, &database).await.unwrap();
    assert_eq!(raised.unwrap().why, Why::OtherTimeline);
    assert_eq!(
        claim(&second, &record, 2).await,
        Verdict::Refused(Cause::OldEpoch)
    );
}

/// Files put back without a recovery have the same timeline; a store that was there before notices.
#[tokio::test]
async fn a_cluster_that_went_back_under_an_open_store_is_noticed() {
    let (mut cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let backup = cluster.base_backup(&[]);
    assert!(matches!(
        claim(&store, &record, 1).await,
        Verdict::Granted(_)
    ));
    cluster.stop();
    backup.move_to(&mut cluster);
    cluster.start();
    assert_eq!(
        claim(&store, &record, 2).await,
        Verdict::Refused(Cause::OldEpoch)
    );
    let log = store.entries(0, 100).await.unwrap();
    let note = log
        .iter()
        .find(|e| e.event.kind == Kind::EpochRaised)
        .and_then(|e| e.event.detail.note.clone());
    assert!(note.unwrap().contains("less than was seen"));
}

/// A dump in another cluster.
#[tokio::test]
async fn a_restored_dump_takes_no_token_of_before() {
    let (cluster, database) = cluster().await;
    let store = open(&cluster, &database).await;
    with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let dump = cluster.dump(&database);
    assert!(matches!(
        claim(&store, &record, 1).await,
        Verdict::Granted(_)
    ));

    let mut other = Cluster::create();
    other.start();
    other.add_roles();
    let restored = other.database();
    other.restore(&restored, &dump);
    let (second, raised) = try_open(&other, &restored).await.unwrap();
    assert_eq!(raised.unwrap().why, Why::OtherCluster);
    assert_eq!(
        claim(&second, &record, 2).await,
        Verdict::Refused(Cause::OldEpoch)
    );
}
