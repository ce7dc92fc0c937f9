//! What is asked of the server: its settings, its roles, its schema.

use std::time::Duration;

use cardveil_core::audit::Kind;
use cardveil_core::audit::chain::{Finding, Flaw, Verifier};
use cardveil_core::clock::{Clock as _, SystemClock};
use cardveil_core::merchant::{Credential, Permissions, Scope};
use cardveil_core::port::{
    Admin, Audit, Change, Counters, Error, Heard, Keys as _, NodeId, Set, Tokens, Told,
};
use cardveil_core::token::Issued;
use cardveil_core::verb::{Changes, Commit};
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::fit::Unfit;
use cardveil_store::postgres::schema;
use cardveil_store::postgres::{OpenError, Options, OptionsError, Postgres, Transport};
use cardveil_testkit::sample::{self, START};
use tokio_postgres::NoTls;

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::home::{Home, migrate, options, try_open, unguarded, with_merchant, with_token};

#[tokio::test]
async fn the_servers_role_appends_to_the_log_and_does_no_more() {
    let home = Home::new().await;
    let store = home.open().await;
    with_merchant(&store).await;
    let cluster = Cluster::shared();
    for sql in [
        "UPDATE cardveil.audit SET event = ''",
        "DELETE FROM cardveil.audit",
        "TRUNCATE cardveil.audit",
        "DELETE FROM cardveil.meta",
        "ALTER TABLE cardveil.audit DISABLE TRIGGER ALL",
        "DROP TABLE cardveil.audit",
        "CREATE TABLE cardveil.mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
    ] {
        let refused = cluster.sql_as(SERVER, &home.database, sql).unwrap_err();
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{sql}: {refused}"
        );
    }
    for sql in [
        "UPDATE cardveil.audit SET event = ''",
        "DELETE FROM cardveil.audit",
        "TRUNCATE cardveil.audit",
    ] {
        let refused = cluster.sql_as(OWNER, &home.database, sql).unwrap_err();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
}

/// Whatever the database's default is, our commits wait for the disk.
#[tokio::test]
async fn a_default_of_asynchronous_commits_is_overruled() {
    let home = Home::new().await;
    let cluster = Cluster::shared();
    let database = &home.database;
    for (default, ours) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        cluster.sql(
            "postgres",
            &format!("ALTER DATABASE {database} SET synchronous_commit = {default}"),
        );
        cluster.sql(
            database,
            "CREATE TABLE IF NOT EXISTS public.was (setting text);
             TRUNCATE public.was;
             GRANT INSERT ON public.was TO PUBLIC;
             CREATE OR REPLACE FUNCTION public.take_down() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO public.was VALUES (current_setting('synchronous_commit'));
                 RETURN NULL;
             END $$;
             CREATE OR REPLACE TRIGGER take_down AFTER INSERT ON cardveil.token
                 FOR EACH ROW EXECUTE FUNCTION public.take_down()",
        );
        let store = home.open().await;
        if default == "off" {
            with_merchant(&store).await;
        }
        with_token(&store, default.len().try_into().unwrap()).await;
        let was = cluster.sql(database, "SELECT DISTINCT setting FROM public.was");
        assert_eq!(was, ours);
    }
}

#[tokio::test]
async fn a_server_without_fsync_is_refused() {
    let mut cluster = Cluster::create();
    cluster.start();
    cluster.add_roles();
    let database = cluster.database();
    migrate(&cluster, &database).await;
    cluster.stop();
    cluster.set("fsync=off");
    cluster.start();
    let refused = try_open(&cluster, &database).await.err().unwrap();
    let OpenError::Database(Error::Unavailable(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("fsync"), "{text}");
}

#[tokio::test]
async fn a_schema_that_is_missing_older_or_newer_is_refused() {
    let cluster = Cluster::shared();
    let empty = cluster.database();
    let refused = try_open(cluster, &empty).await.err().unwrap();
    assert!(matches!(refused, OpenError::Unfit(Unfit::Missing)));

    let home = Home::new().await;
    let at = |version: i32, works_with: i32| {
        let sql =
            format!("UPDATE cardveil.meta SET version = {version}, works_with = {works_with}");
        cluster.sql(&home.database, &sql);
    };
    let now: i32 = cluster
        .sql(&home.database, "SELECT version FROM cardveil.meta")
        .parse()
        .unwrap();
    at(now - 1, 1);
    let older = try_open(cluster, &home.database).await.err().unwrap();
    assert!(matches!(older, OpenError::Unfit(Unfit::Older { .. })));
    at(now + 1, now + 1);
    let newer = try_open(cluster, &home.database).await.err().unwrap();
    assert!(matches!(newer, OpenError::Unfit(Unfit::Newer { .. })));
    at(now + 1, now);
    let beside = try_open(cluster, &home.database).await;
    assert!(beside.is_ok(), "it says that this program may serve on it");
}

/// `cardveil migrate` of a newer program, while this one serves.
#[tokio::test]
async fn a_node_that_runs_serves_on_a_newer_schema_only_if_it_may() {
    let home = Home::new().await;
    let store = home.open().await;
    let epoch = with_merchant(&store).await;
    let to = |works_with: &str| {
        let sql =
            format!("UPDATE cardveil.meta SET version = version + 1, works_with = {works_with}");
        Cluster::shared().sql(&home.database, &sql);
    };
    to("works_with");
    let issued = store.commit(sample::issue(1, START, epoch)).await;
    assert_eq!(issued.unwrap(), Issued::New);
    assert_eq!(store.epoch().await.unwrap(), epoch);
    to("version + 1");
    let refused = store.commit(sample::issue(2, START, epoch)).await;
    let Err(Error::Unavailable(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("works with programs"), "{text}");
    assert!(store.epoch().await.is_err(), "it is not ready");
}

async fn verify(store: &Postgres) -> Result<u64, Finding> {
    let mut verifier = Verifier::whole(Vec::new());
    let log = store.chained(i64::MIN, 10_000).await.unwrap();
    log.iter().try_for_each(|entry| verifier.look(entry))?;
    Ok(verifier.count())
}

/// As long as a program of an earlier version may serve, it reads what the others write. Once an
/// operator says that none does, it is refused, and the same chain goes on in form 2.
#[tokio::test]
async fn a_log_goes_on_in_form_2_once_it_is_finished_and_old_nodes_are_refused() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let sql = |sql: &str| cluster.sql(&home.database, sql);
    let known = schema::known().to_string();
    assert_eq!(
        sql("SELECT works_with FROM cardveil.meta"),
        known,
        "a fresh one"
    );
    sql("UPDATE cardveil.meta SET works_with = 1");
    let store = home.open().await;
    with_merchant(&store).await;
    with_token(&store, 1).await;
    let count = "SELECT count(*), count(personal) FROM cardveil.audit";
    assert_eq!(sql(count), "5|0");
    assert!(!migrate(cluster, &home.database).await.is_finished);
    with_token(&store, 2).await;
    assert_eq!(sql(count), "6|0", "`migrate` alone does not say it");

    let owner = options(cluster, OWNER, &home.database);
    assert!(schema::finish(&owner).await.unwrap());
    assert!(!schema::finish(&owner).await.unwrap(), "it was said before");
    // A program that knows one version less is one that works_with does not let in: the test above.
    assert_eq!(sql("SELECT works_with FROM cardveil.meta"), known);
    assert!(migrate(cluster, &home.database).await.is_finished);
    with_token(&store, 3).await;
    assert_eq!(sql(count), "7|1", "the node that runs has taken it up");
    assert_eq!(verify(&store).await, Ok(7));

    sql("ALTER TABLE cardveil.audit DISABLE TRIGGER audit_is_not_changed");
    sql(
        "UPDATE cardveil.audit SET personal = '{\"ip\":[\"AAAAAAAAAAAAAAAAAAAAAA\",\"192.0.2.7\"]}'
         WHERE seq = 7",
    );
    let edited = Err(Finding {
        seq: 7,
        flaw: Flaw::Personal,
    });
    assert_eq!(verify(&store).await, edited);
    sql("UPDATE cardveil.audit SET personal = NULL");
    assert_eq!(verify(&store).await, Ok(7), "erased");
}

#[tokio::test]
async fn what_older_programs_do_not_know_waits_until_none_serves() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let before = "UPDATE cardveil.meta SET works_with = 18";
    cluster.sql(&home.database, before);
    let store = home.open().await;
    assert!(!store.is_finished().await.unwrap());
    let owner = options(cluster, OWNER, &home.database);
    assert!(schema::finish(&owner).await.unwrap());
    assert!(store.is_finished().await.unwrap());
}

/// `CREATE INDEX CONCURRENTLY` that is killed leaves an index which is kept up to date and finds
/// nothing.
#[tokio::test]
async fn an_index_that_was_not_finished_is_built_again() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let sql = |sql: &str| cluster.sql(&home.database, sql);
    sql("UPDATE pg_index SET indisvalid = false
         WHERE indexrelid = 'cardveil.card_label'::regclass");
    migrate(cluster, &home.database).await;
    let valid = "SELECT indisvalid FROM pg_index
         WHERE indexrelid = 'cardveil.card_label'::regclass";
    assert_eq!(sql(valid), "t");
}

#[tokio::test]
async fn a_second_migration_changes_nothing() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let first = migrate(cluster, &database).await;
    assert_eq!(first.from, 0);
    let second = migrate(cluster, &database).await;
    assert_eq!((second.from, second.to), (first.to, first.to));
}

/// From a schema of today to one of the first version.
const BACK_TO_THE_FIRST: &str = "
    DROP INDEX cardveil.card_created, cardveil.card_label;
    DROP TABLE cardveil.counted, cardveil.sink, cardveil.credential_use;
    DROP FUNCTION cardveil.lives_change CASCADE;
    DROP FUNCTION cardveil.registry_change CASCADE;
    ALTER TABLE cardveil.budget DROP COLUMN charged_at;
    ALTER TABLE cardveil.writer DROP COLUMN knows;
    ALTER TABLE cardveil.embed DROP COLUMN transparent;
    DROP FUNCTION cardveil.stamp() CASCADE;
    ALTER TABLE cardveil.token DROP COLUMN written_by;
    ALTER TABLE cardveil.meta DROP COLUMN written_by, DROP COLUMN database_oid;
    ALTER TABLE cardveil.merchant DROP may_export, DROP may_read_pins, DROP may_set_pins;
    ALTER TABLE cardveil.credential DROP rights, DROP ip_ceiling, DROP inherited,
        DROP client_certificates;
    ALTER TABLE cardveil.token DROP COLUMN embed, DROP COLUMN refusals;
    ALTER TABLE cardveil.meta DROP COLUMN lives, DROP COLUMN registry;
    ALTER TABLE cardveil.audit DROP COLUMN personal;
    ALTER TABLE cardveil.merchant DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.credential DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.embed DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.card DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.token DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.subscription DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.mfa_session DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.mfa_person DROP COLUMN row_version, DROP COLUMN mac;
    ALTER TABLE cardveil.wrapped_key DROP COLUMN row_version, DROP COLUMN mac, DROP COLUMN complete_at;
    DROP TABLE cardveil.row_change;
    ALTER TABLE cardveil.card DROP COLUMN index_key;
    ALTER TABLE cardveil.wallet_token DROP COLUMN index_key;
    UPDATE cardveil.meta SET version = 1, works_with = 1";

/// A database of the first version is migrated under the nodes that serve on it: its server's role
/// may use what is new, and nothing that was there is changed.
#[tokio::test]
async fn a_database_of_the_first_version_is_migrated() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let (before, _) = unguarded(cluster, &home.database).await.unwrap();
    let record = {
        with_merchant(&before).await;
        with_token(&before, 1).await
    };
    let sql = |sql: &str| cluster.sql(&home.database, sql);
    sql(BACK_TO_THE_FIRST);
    let refused = try_open(cluster, &home.database).await.err().unwrap();
    assert!(matches!(refused, OpenError::Unfit(Unfit::Older { .. })));
    let migrated = migrate(cluster, &home.database).await;
    assert_eq!((migrated.from, migrated.to), (1, schema::known()));
    let indexes = "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid
         WHERE relname IN ('card_created', 'card_label', 'card_last_four') AND indisvalid";
    assert_eq!(sql(indexes), "3");
    assert_eq!(sql("SELECT works_with FROM cardveil.meta"), "1");
    let (after, _) = unguarded(cluster, &home.database).await.unwrap();
    for node in [&before, &after] {
        assert_eq!(node.token(&record.key).await.unwrap(), Some(record.clone()));
    }
    let told = Told {
        node: NodeId([1; 16]),
        round: 1,
        counts: vec![],
    };
    assert_eq!(
        after.exchange(told, &Heard::new()).await.unwrap(),
        Some(vec![])
    );
}

/// A lookup holds one table and goes on to another, which a migration has by then: neither may be
/// ended for it.
#[tokio::test]
async fn a_migration_gives_way_to_lookups() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    cluster.sql(&home.database, BACK_TO_THE_FIRST);
    let connection = cluster.connection(SERVER, &home.database);
    let (lookup, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    let driver = tokio::spawn(driver);
    let first = lookup.batch_execute("BEGIN; SELECT FROM cardveil.merchant");
    first.await.unwrap();
    let owner = options(cluster, OWNER, &home.database);
    let migration =
        tokio::spawn(
            async move { schema::migrate(&owner, Some(SERVER), START, &SystemEntropy).await },
        );
    let reached = "SELECT count(*) FROM pg_locks
         WHERE relation = 'cardveil.merchant'::regclass AND mode <> 'AccessShareLock'";
    while cluster.sql(&home.database, reached) == "0" {
        assert!(!migration.is_finished());
        tokio::task::yield_now().await;
    }
    // The first that a migration from there changes.
    let second = lookup.batch_execute("SELECT FROM cardveil.budget; COMMIT");
    second.await.unwrap();
    assert_eq!(migration.await.unwrap().unwrap().to, schema::known());
    drop(lookup);
    driver.await.unwrap().unwrap();
}

/// What scopes meant before there were scopes for exporting, PINs and one-time codes, they mean
/// afterwards; and a program of the version before reads no more of a credential than it may act
/// on.
#[tokio::test]
async fn credentials_of_the_version_before_keep_what_they_could() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let sql = |sql: &str| cluster.sql(&home.database, sql);
    let add = |n: u8, merchant: &str, scopes: &str, person: &str| {
        sql(&format!(
            "INSERT INTO cardveil.credential (key_hash, id, merchant, dek, sealed, allowed_ips, scopes,
                 person, state, created_at)
             VALUES ('\\x{}', 'crd_{n}', '{merchant}', '', '', '[]', '{scopes}', {person}, 'enabled', 0)",
            format!("{n:02x}").repeat(32),
        ));
    };
    sql("DROP FUNCTION cardveil.lives_change CASCADE;
         ALTER TABLE cardveil.merchant DROP may_export, DROP may_read_pins, DROP may_set_pins;
         ALTER TABLE cardveil.credential DROP rights, DROP ip_ceiling, DROP inherited;
         INSERT INTO cardveil.merchant (id, name, state, pci_enabled, created_at)
         VALUES ('mer_1', 'M', 'active', true, 0), ('mer_2', 'M', 'active', false, 0)");
    let person = format!("'\\x{}'", "07".repeat(16));
    let all = r#"["cards:read:any","cards:write:any","webhooks:manage"]"#;
    let own = r#"["cards:read:own","cards:write:own","webhooks:manage"]"#;
    add(1, "mer_1", all, "NULL");
    add(2, "mer_1", own, &person);
    add(3, "mer_2", all, "NULL");
    add(4, "mer_2", "[]", "NULL");
    let migration = include_str!("../../src/postgres/migrations/0008_permissions.sql");
    sql(&format!("SET search_path = cardveil; {migration}"));
    // A node of the version before is still there.
    add(5, "mer_1", all, "NULL");
    sql(r#"UPDATE cardveil.credential SET scopes = '["cards:read:any"]' WHERE id = 'crd_3'"#);

    let (store, _) = unguarded(cluster, &home.database).await.unwrap();
    let merchants = store.merchants().await.unwrap();
    let [first, second] = merchants.as_slice() else {
        panic!("{merchants:?}")
    };
    assert_eq!(first.permissions, sample::merchant(1).permissions);
    let set_pins = Permissions {
        set_pins: true,
        ..Permissions::default()
    };
    assert_eq!(second.permissions, set_pins);
    let known = store.credentials().await.unwrap();
    let scopes: Vec<Vec<_>> = known
        .iter()
        .map(|known| known.scopes.iter().map(|scope| scope.as_str()).collect())
        .collect();
    let common = ["webhooks:manage", "cards:export", "pins:read", "pins:set"];
    let expected: [&[&str]; 5] = [
        &[
            &["cards:read:any", "cards:write:any"],
            &common[..],
            &["mfa:codes"],
        ]
        .concat(),
        &[&["cards:read:own", "cards:write:own"], &common[..]].concat(),
        &[
            "cards:read:any",
            "cards:write:any",
            "webhooks:manage",
            "pins:set",
            "mfa:codes",
        ],
        &[],
        &["cards:read:any", "cards:write:any", "webhooks:manage"],
    ];
    assert_eq!(scopes, expected);
    assert!(known.iter().all(|known| known.ip_ceiling.is_none()));
    let inherited: Vec<_> = known.iter().map(|known| known.inherited).collect();
    assert_eq!(inherited, [true, true, true, false, false]);

    // Narrowed, it is refused by the version before, which could not hold it to that.
    let narrowed = Credential {
        scopes: vec![Scope::CardsReadAny, Scope::MfaManage],
        ..known[0].clone()
    };
    let change = Change::SetCredential(Set::boxed(known[0].clone(), narrowed.clone()));
    let event = sample::event(Kind::CredentialChanged, START);
    store.commit(Changes(vec![(change, event)])).await.unwrap()[0].unwrap();
    let before = sql("SELECT scopes FROM cardveil.credential WHERE id = 'crd_1'");
    assert_eq!(before, r#"["mfa:manage"]"#);
    assert_eq!(store.credentials().await.unwrap()[0], narrowed);
}

#[test]
fn a_connection_string_has_all_but_the_password() {
    let right = "host=/run/postgresql user=cardveil dbname=cardveil";
    let parse = |text| Options::parse(text, Transport::Plain);
    assert!(parse(right).is_ok());
    assert!(parse("postgresql://cardveil@db.internal/cardveil").is_ok());
    for (wrong, refusal) in [
        (
            "host=db user=cardveil dbname=c password=x",
            "it holds a password",
        ),
        ("user=cardveil dbname=c", "it names no host"),
        ("host=db dbname=c", "it names no user"),
        ("host=db user=c", "it names no dbname"),
    ] {
        let error: OptionsError = parse(wrong).err().unwrap();
        assert_eq!(error.to_string(), refusal);
    }
    assert!(parse("nonsense").is_err());
}

/// A node of the version before writes its row as it always did. It reads tokens of the first form
/// only.
#[tokio::test]
async fn a_node_of_the_version_before_is_noticed_by_what_it_writes() {
    let home = Home::new().await;
    let store = home.open().await;
    with_merchant(&store).await;
    assert_eq!(store.first_form_last(START).await.unwrap(), None);
    let sql = |sql: &str| Cluster::shared().sql(&home.database, sql);
    sql("INSERT INTO cardveil.writer (id, batch) VALUES ('\\x01', 1)
         ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, touched_at = now()");
    let last = store.first_form_last(START).await.unwrap().unwrap();
    assert!(last <= START && START < last.plus(Duration::from_secs(60)));
    sql("UPDATE cardveil.writer SET touched_at = now() - interval '1 hour' WHERE knows = 0");
    let last = store.first_form_last(START).await.unwrap().unwrap();
    assert!(last.plus(Duration::from_secs(3_600)) <= START);
}

/// Whose clock nodes compare theirs with.
#[tokio::test]
async fn it_tells_the_hour_by_its_own_clock() {
    let before = SystemClock.now();
    let told = Home::new()
        .await
        .open()
        .await
        .time()
        .await
        .unwrap()
        .unwrap();
    assert!(before <= told && told <= SystemClock.now(), "{told}");
}
