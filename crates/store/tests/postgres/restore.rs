//! Dumps that are put back into the same cluster while the nodes are stopped, and what is none:
//! each kind by PostgreSQL's own programs. Neither the system identifier nor the timeline tells of
//! these.

use cardveil_core::card::Field;
use cardveil_core::port::{Admin, Tokens};
use cardveil_core::token::{Cause, Issued, Record, Verdict};
use cardveil_core::verb::{Commit, Sweep};
use cardveil_store::postgres::{Postgres, Raised, Why};
use cardveil_testkit::sample::{self, START};

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::home::{Home, migrate, open, try_open, unguarded, with_merchant, with_token};

const DATA: &[&str] = &["--data-only", "--schema=cardveil"];

/// A database from which a backup was taken before its token was spent.
struct World {
    home: Home,
    token: Record,
}

async fn claim(store: &Postgres, record: &Record, key: u8) -> Verdict {
    let claim = sample::claim(record, key, &[Field::Pan], START);
    store.commit(claim).await.unwrap()
}

impl World {
    /// Takes a backup, spends the token, stops the node, and puts the backup back.
    async fn put_back<T>(
        take: impl FnOnce(&Cluster, &str) -> T,
        put: impl FnOnce(&Cluster, &str, &T),
    ) -> Self {
        let (cluster, home) = (Cluster::shared(), Home::new().await);
        let store = home.open().await;
        with_merchant(&store).await;
        let token = with_token(&store, 1).await;
        let backup = take(cluster, &home.database);
        let granted = claim(&store, &token, 1).await;
        assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
        store.close();
        put(cluster, &home.database, &backup);
        Self { home, token }
    }

    async fn open(&self) -> (Postgres, Option<Raised>) {
        let cluster = Cluster::shared();
        try_open(cluster, &self.home.database).await.unwrap()
    }

    /// The epoch is raised for this reason, once, and nobody gets the token.
    async fn raises(self, why: Why) {
        let (store, raised) = self.open().await;
        let raised = raised.expect("it is recognised");
        assert_eq!(raised.why, why);
        assert!(raised.epoch > self.token.epoch);
        for key in [2, 1] {
            let thief = claim(&store, &self.token, key).await;
            assert_eq!(thief, Verdict::Refused(Cause::OldEpoch));
        }
        let fresh = with_token(&store, 9).await;
        let granted = claim(&store, &fresh, 1).await;
        assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
        let (_, again) = self.open().await;
        assert_eq!(again, None, "once");
    }

    /// The head is as it was, so the epoch is; but the rows that were put back go to nobody.
    async fn refuses(self) {
        let (store, raised) = self.open().await;
        assert_eq!(raised, None);
        for key in [2, 1] {
            let thief = claim(&store, &self.token, key).await;
            assert_eq!(thief, Verdict::Refused(Cause::OldEpoch));
        }
        store
            .commit(Sweep {
                now: START.plus(std::time::Duration::from_secs(61)),
                limit: 10,
            })
            .await
            .unwrap();
        let thief = claim(&store, &self.token, 2).await;
        assert_eq!(
            thief,
            Verdict::Refused(Cause::OldEpoch),
            "after a sweep too"
        );
        let fresh = with_token(&store, 9).await;
        let granted = claim(&store, &fresh, 1).await;
        assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
    }

    /// Nothing was put back: the epoch stays, and the token is still the first key's.
    async fn stays_as_it_was(self) {
        let (store, raised) = self.open().await;
        assert_eq!(raised, None);
        let thief = claim(&store, &self.token, 2).await;
        assert_eq!(thief, Verdict::Refused(Cause::OtherKey));
        let again = claim(&store, &self.token, 1).await;
        assert!(
            matches!(again, Verdict::Superseded | Verdict::Granted(_)),
            "{again:?}"
        );
    }
}

/// A dump of these arguments, as text.
fn dumped(arguments: &'static [&'static str]) -> impl FnOnce(&Cluster, &str) -> Vec<u8> {
    move |cluster, database| cluster.dump_with(database, arguments)
}

#[tokio::test]
async fn a_whole_dump_put_back_raises_the_epoch_instantdb_2809_reloop_138() {
    let put = |cluster: &Cluster, database: &str, dump: &Vec<u8>| {
        cluster.sql(database, "DROP SCHEMA cardveil CASCADE");
        cluster.restore(database, dump);
    };
    World::put_back(dumped(&[]), put)
        .await
        .raises(Why::Restored)
        .await;
}

/// `migrate` brings grants and schema up to date, and does not hide what was done.
#[tokio::test]
async fn a_dump_that_was_migrated_afterwards_raises_the_epoch() {
    let put = |cluster: &Cluster, database: &str, dump: &Vec<u8>| {
        cluster.sql(database, "DROP SCHEMA cardveil CASCADE");
        cluster.restore(database, dump);
    };
    let world = World::put_back(dumped(&["--no-privileges"]), put).await;
    migrate(Cluster::shared(), &world.home.database).await;
    world.raises(Why::Restored).await;
}

#[tokio::test]
async fn a_dump_in_one_transaction_raises_the_epoch() {
    let put = |cluster: &Cluster, database: &str, dump: &Vec<u8>| {
        cluster.pg_restore(
            database,
            dump,
            &["--clean", "--if-exists", "--single-transaction"],
        );
    };
    let world = World::put_back(dumped(&["--format=custom"]), put).await;
    world.raises(Why::Restored).await;
}

#[tokio::test]
async fn the_schema_and_then_the_data_raise_the_epoch() {
    let take = |cluster: &Cluster, database: &str| {
        let schema = cluster.dump_with(database, &["--schema-only"]);
        (schema, cluster.dump_with(database, DATA))
    };
    let put = |cluster: &Cluster, database: &str, (schema, data): &(Vec<u8>, Vec<u8>)| {
        cluster.sql(database, "DROP SCHEMA cardveil CASCADE");
        cluster.restore(database, schema);
        cluster.sql(database, "TRUNCATE cardveil.guard");
        cluster.restore(database, data);
    };
    World::put_back(take, put).await.raises(Why::Restored).await;
}

/// TRUNCATE and COPY, or INSERT: the table stays the same one, with its triggers.
#[tokio::test]
async fn rows_of_head_and_tokens_put_back_raise_the_epoch() {
    for form in ["--format=plain", "--inserts", "--column-inserts"] {
        let take = |cluster: &Cluster, database: &str| {
            let tables = ["--table=cardveil.meta", "--table=cardveil.token"];
            cluster.dump_with(database, &["--data-only", form, tables[0], tables[1]])
        };
        let put = |cluster: &Cluster, database: &str, dump: &Vec<u8>| {
            cluster.sql(database, "TRUNCATE cardveil.meta, cardveil.token");
            cluster.restore(database, dump);
        };
        World::put_back(take, put).await.raises(Why::Restored).await;
    }
}

#[tokio::test]
async fn the_head_alone_put_back_raises_the_epoch() {
    let put = |cluster: &Cluster, database: &str, dump: &Vec<u8>| {
        cluster.sql(database, "DELETE FROM cardveil.meta");
        cluster.pg_restore(database, dump, &["--data-only", "--table=meta"]);
    };
    let world = World::put_back(dumped(&["--format=custom"]), put).await;
    // Whoever writes over it, a node of the version before too, does not hide it.
    let sql = "UPDATE cardveil.meta SET audit_seq = audit_seq";
    let cluster = Cluster::shared();
    cluster.sql_as(SERVER, &world.home.database, sql).unwrap();
    world.raises(Why::Restored).await;
}

#[tokio::test]
async fn tokens_alone_put_back_go_to_nobody() {
    let put = |cluster: &Cluster, database: &str, dump: &Vec<u8>| {
        cluster.sql(database, "DELETE FROM cardveil.token");
        cluster.pg_restore(database, dump, &["--data-only", "--table=token"]);
    };
    let world = World::put_back(dumped(&["--format=custom"]), put).await;
    world.refuses().await;
}

#[tokio::test]
async fn a_dump_in_another_database_raises_the_epoch() {
    let put = |cluster: &Cluster, database: &str, dump: &Vec<u8>| {
        let other = cluster.database();
        cluster.restore(&other, dump);
        let swap = format!(
            "ALTER DATABASE {database} RENAME TO {database}_before;
             ALTER DATABASE {other} RENAME TO {database}"
        );
        cluster.leave(database);
        cluster.sql("postgres", &swap);
    };
    let world = World::put_back(dumped(&[]), put).await;
    world.raises(Why::OtherDatabase).await;
}

/// Its rows have the transaction ids of the template.
#[tokio::test]
async fn a_copy_by_template_in_the_place_of_its_origin_raises_the_epoch() {
    let take = |cluster: &Cluster, database: &str| {
        cluster.leave(database);
        cluster.database_like(database)
    };
    let put = |cluster: &Cluster, database: &str, copy: &String| {
        let swap = format!(
            "ALTER DATABASE {database} RENAME TO {database}_before;
             ALTER DATABASE {copy} RENAME TO {database}"
        );
        cluster.leave(database);
        cluster.sql("postgres", &swap);
    };
    World::put_back(take, put)
        .await
        .raises(Why::OtherDatabase)
        .await;
}

/// A node that has its connections, and no reason to look.
#[tokio::test]
async fn rows_put_back_under_a_node_that_runs_go_to_nobody() {
    let (cluster, home) = (Cluster::shared(), Home::new().await);
    let store = home.open().await;
    let epoch = with_merchant(&store).await;
    let token = with_token(&store, 1).await;
    let tables = [
        "--data-only",
        "--table=cardveil.meta",
        "--table=cardveil.token",
    ];
    let dump = cluster.dump_with(&home.database, &tables);
    let granted = claim(&store, &token, 1).await;
    assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
    cluster.sql(&home.database, "TRUNCATE cardveil.meta, cardveil.token");
    cluster.restore(&home.database, &dump);
    let thief = claim(&store, &token, 2).await;
    // The node remembers that it gave the token away, whatever the row says of its epoch.
    assert_eq!(thief, Verdict::Refused(Cause::Unknown));
    let late = store.commit(sample::issue(9, START, epoch)).await;
    assert!(matches!(late, Ok(Issued::OldEpoch(_))), "{late:?}");
    assert!(store.epoch().await.unwrap() > epoch);
}

/// Maintenance moves rows and freezes them, and writes none.
#[tokio::test]
async fn maintenance_raises_nothing() {
    let put = |cluster: &Cluster, database: &str, (): &()| {
        for sql in [
            "VACUUM (FREEZE, ANALYZE)",
            "VACUUM (FULL, FREEZE)",
            "CLUSTER cardveil.token USING token_pkey",
            "CLUSTER cardveil.meta USING meta_pkey",
            "REINDEX SCHEMA cardveil",
        ] {
            cluster.sql(database, sql);
        }
    };
    World::put_back(|_, _| (), put)
        .await
        .stays_as_it_was()
        .await;
}

/// By hand, by a migration, by nodes of the version before: they know nothing of the stamp.
#[tokio::test]
async fn writes_of_others_raise_nothing() {
    let put = |cluster: &Cluster, database: &str, (): &()| {
        for (who, sql) in [
            (OWNER, "UPDATE cardveil.meta SET works_with = works_with"),
            (
                SERVER,
                "UPDATE cardveil.meta SET audit_seq = audit_seq, audit_hash = audit_hash",
            ),
            (SERVER, "UPDATE cardveil.token SET conflict = conflict"),
        ] {
            cluster.sql_as(who, database, sql).unwrap();
        }
    };
    let world = World::put_back(|_, _| (), put).await;
    migrate(Cluster::shared(), &world.home.database).await;
    world.stays_as_it_was().await;
}

/// What a node of the version before issues is claimed by a new one.
#[tokio::test]
async fn a_token_that_an_older_node_issues_is_good() {
    let home = Home::new().await;
    let (store, _) = unguarded(Cluster::shared(), &home.database).await.unwrap();
    let epoch = with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let columns = "issued_secs, epoch, merchant, credential, card, operation, allowed, bound_to,
         issued_at, expires_at, conflict, state, sweep_due_at";
    let sql = format!(
        "INSERT INTO cardveil.token (hash, {columns})
         SELECT decode(repeat('02', 32), 'hex'), {columns} FROM cardveil.token"
    );
    Cluster::shared()
        .sql_as(SERVER, &home.database, &sql)
        .unwrap();
    let second = sample::record(2, START, epoch);
    assert_eq!(
        store.token(&second.key).await.unwrap(),
        Some(second.clone())
    );
    for token in [record, second] {
        let granted = claim(&store, &token, 1).await;
        assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
    }
}

/// The counter of transactions passes 2^32, and rows keep its low half alone; and a prepared
/// transaction writes like any other.
#[tokio::test]
async fn transaction_ids_that_wrap_around_raise_nothing() {
    let mut cluster = Cluster::create();
    cluster.set("max_prepared_transactions=2");
    cluster.start();
    cluster.add_roles();
    let database = cluster.database();
    migrate(&cluster, &database).await;
    let store = open(&cluster, &database).await;
    with_merchant(&store).await;
    store.close();
    cluster.stop();
    cluster.reset_wal(&["--epoch=3"]);
    cluster.start();
    let store = open(&cluster, &database).await;
    let token = with_token(&store, 1).await;
    let written: u64 = cluster
        .sql(&database, "SELECT written_by FROM cardveil.token")
        .parse()
        .unwrap();
    assert!(written > 3 << 32, "{written}");
    store.close();
    cluster.sql(
        &database,
        "BEGIN; UPDATE cardveil.meta SET works_with = works_with; PREPARE TRANSACTION 'p'",
    );
    cluster.sql(&database, "COMMIT PREPARED 'p'");
    let store = open(&cluster, &database).await;
    let granted = claim(&store, &token, 1).await;
    assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
    let issue = sample::issue(2, START, store.epoch().await.unwrap());
    assert_eq!(store.commit(issue).await.unwrap(), Issued::New);
}
