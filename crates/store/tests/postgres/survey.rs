//! What is found of a server and of its role.

use cardveil_store::postgres::fit::Unfit;
use cardveil_store::postgres::schema;
use cardveil_store::postgres::survey::{Schema, Survey, Way, survey};
use cardveil_store::postgres::{Options, Transport};

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::home::{Home, migrate, options};

async fn of(cluster: &Cluster, user: &str, database: &str) -> Survey {
    survey(&options(cluster, user, database)).await.unwrap()
}

#[tokio::test]
async fn a_server_with_our_schema_and_its_role() {
    let home = Home::new().await;
    let found = of(Cluster::shared(), SERVER, &home.database).await;
    let version = found.version;
    assert!(version >= 150_000, "{version}");
    let expected = Survey {
        version,
        is_primary: true,
        encoding: "UTF8".to_owned(),
        fsync: true,
        full_page_writes: true,
        checksums: true,
        synchronous_commit: "on".to_owned(),
        standbys: String::new(),
        way: Way::Socket,
        excess: vec![],
        may_make_large_objects: true,
        schema: Ok(Schema {
            version: schema::known(),
            is_append_only: true,
            is_finished: true,
        }),
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_a_role_has_too_much_is_found() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let database = &home.database;
    let excess = async |user: &str| of(cluster, user, database).await.excess;
    assert_eq!(excess("postgres").await, ["it is a superuser"]);
    let owner = excess(OWNER).await;
    assert!(owner.contains(&"it owns things in the database"));
    assert!(owner.contains(&"it can act as the owner of the audit log"));

    // Roles are of the whole cluster, and so these are of this test alone.
    let role = format!("role_of_{database}");
    let again = |sql: &str| {
        cluster.sql(
            database,
            &format!(
                "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN;
                 GRANT USAGE ON SCHEMA cardveil TO {role};
                 GRANT SELECT ON cardveil.meta TO {role}; {sql}"
            ),
        );
    };
    let drop_owned = || cluster.sql(database, &format!("DROP OWNED BY {role}"));
    again("");
    assert_eq!(excess(&role).await, [] as [&str; 0]);
    for (sql, wanted) in [
        (
            "GRANT UPDATE ON cardveil.audit TO",
            "it may UPDATE the audit log",
        ),
        (
            "GRANT UPDATE (event) ON cardveil.audit TO",
            "it may UPDATE the audit log",
        ),
        (
            "GRANT DELETE ON cardveil.audit TO",
            "it may DELETE from the audit log",
        ),
        (
            "GRANT TRUNCATE ON cardveil.audit TO",
            "it may TRUNCATE the audit log",
        ),
        (
            "GRANT TRIGGER ON cardveil.audit TO",
            "it may put triggers on the audit log",
        ),
        (
            "GRANT pg_write_server_files TO",
            "it may run programs or write files where the server runs",
        ),
        (
            "CREATE SCHEMA mine AUTHORIZATION",
            "it owns things in the database",
        ),
    ] {
        drop_owned();
        again(&format!("{sql} {role}"));
        assert_eq!(excess(&role).await, [wanted], "{sql}");
    }
    drop_owned();
    again(&format!("ALTER ROLE {role} CREATEROLE"));
    assert_eq!(excess(&role).await, ["it may make roles"]);
    drop_owned();
    // Whoever may become the owner without having its rights all the time.
    again(&format!(
        "ALTER ROLE {role} NOINHERIT; GRANT {OWNER} TO {role}"
    ));
    assert_eq!(
        excess(&role).await,
        ["it can act as the owner of the audit log"]
    );
}

#[tokio::test]
async fn a_schema_that_is_not_there_or_was_disarmed_is_found() {
    let cluster = Cluster::shared();
    let empty = of(cluster, SERVER, &cluster.database()).await;
    assert_eq!(empty.schema, Err(Unfit::Missing));
    let home = Home::new().await;
    for sql in [
        "ALTER TABLE cardveil.audit DISABLE TRIGGER audit_is_not_changed",
        "ALTER TABLE cardveil.audit ENABLE REPLICA TRIGGER audit_is_not_changed",
        "DROP TRIGGER audit_is_not_emptied ON cardveil.audit",
    ] {
        cluster.sql(&home.database, sql);
        let schema = of(cluster, SERVER, &home.database).await.schema.unwrap();
        assert!(!schema.is_append_only, "{sql}");
        cluster.sql(
            &home.database,
            "ALTER TABLE cardveil.audit ENABLE TRIGGER audit_is_not_changed",
        );
    }
}

/// A server that none would serve from can still be looked at.
#[tokio::test]
async fn a_careless_server_and_a_standby_are_found() {
    let mut cluster = Cluster::create();
    let at = cluster.listen("host all all 127.0.0.0/8 trust");
    cluster.start();
    cluster.add_roles();
    let database = cluster.database();
    migrate(&cluster, &database).await;
    let mut standby = cluster.base_backup(&["-R"]);
    cluster.stop();
    for setting in [
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
    ] {
        cluster.set(setting);
    }
    cluster.set("synchronous_standby_names=one");
    cluster.start();
    let over_tcp = format!("host={at} user={SERVER} dbname={database}");
    let over_tcp = Options::parse(&over_tcp, Transport::Local).unwrap();
    let found = survey(&over_tcp).await.unwrap();
    assert!(!found.fsync && !found.full_page_writes);
    assert_eq!(found.synchronous_commit, "on", "of our sessions");
    assert_eq!(found.standbys, "one");
    assert_eq!(found.way, Way::Clear);
    cluster.stop();

    standby.set("primary_conninfo=''");
    standby.start();
    let found = of(&standby, SERVER, &database).await;
    assert!(!found.is_primary);
    assert!(found.fsync && found.schema.is_ok());
}

/// As docs/operate/postgresql.md says; for this one database.
#[tokio::test]
async fn a_role_without_large_objects() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    for function in [
        "lo_creat(integer)",
        "lo_create(oid)",
        "lo_from_bytea(oid, bytea)",
    ] {
        let revoke = format!("REVOKE EXECUTE ON FUNCTION pg_catalog.{function} FROM PUBLIC");
        cluster.sql(&home.database, &revoke);
    }
    assert!(
        !of(cluster, SERVER, &home.database)
            .await
            .may_make_large_objects
    );
    let made = cluster.sql_as(SERVER, &home.database, "SELECT lo_create(0)");
    assert!(made.unwrap_err().contains("permission denied"));
    home.open().await;
}
