//! Databases that are not served on, and the connections to those that are.

use std::path::Path;
use std::sync::Arc;

use cardveil_core::port::{Admin, Error};
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::fit::Unfit;
use cardveil_store::postgres::schema;
use cardveil_store::postgres::survey::survey;
use cardveil_store::postgres::{Fresh, OpenError, Options, Postgres, Transport};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::START;

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::home::{Home, migrate, options, try_open};
use crate::pooler::Pooler;

/// What each of the three that look at a database says of it: `migrate`, `serve` and `doctor`.
async fn refusals(owner: &Options, server: &Options) -> [OpenError; 3] {
    let clock = Arc::new(ManualClock::at(START));
    [
        schema::migrate(owner, Some(SERVER), START, &SystemEntropy)
            .await
            .err()
            .unwrap(),
        Postgres::open(server, clock, Arc::new(SystemEntropy))
            .await
            .err()
            .unwrap(),
        survey(server).await.err().unwrap(),
    ]
}

/// In each order of handing out servers, with one alone, and with servers that wait.
#[tokio::test]
async fn a_pooler_of_transactions_is_named_pgbouncer_1067_rust_postgres_959() {
    let home = Home::new().await;
    for (mode, more) in [
        ("transaction", ""),
        ("transaction", "server_round_robin = 1"),
        ("transaction", "default_pool_size = 1"),
        (
            "transaction",
            "default_pool_size = 2\nserver_round_robin = 1",
        ),
        ("transaction", "min_pool_size = 5"),
        ("transaction", "min_pool_size = 5\nserver_round_robin = 1"),
        ("statement", ""),
    ] {
        let pooler = Pooler::start(Cluster::shared(), mode, more);
        let through = |user| {
            let connection = pooler.connection(user, &home.database);
            Options::parse(&connection, Transport::Local).unwrap()
        };
        for refused in refusals(&through(OWNER), &through(SERVER)).await {
            let is_named = matches!(refused, OpenError::Unfit(Unfit::Pooled));
            assert!(is_named, "{mode}, {more}: {refused:?}");
        }
    }
    home.open().await;
}

#[tokio::test]
async fn a_pooler_of_sessions_is_served_through() {
    let database = Cluster::shared().database();
    let pooler = Pooler::start(Cluster::shared(), "session", "");
    let through = |user| {
        let connection = pooler.connection(user, &database);
        Options::parse(&connection, Transport::Local).unwrap()
    };
    let migrated = schema::migrate(&through(OWNER), Some(SERVER), START, &SystemEntropy).await;
    assert_eq!(migrated.unwrap().from, 0);
    let clock = Arc::new(ManualClock::at(START));
    let opened = Postgres::open(&through(SERVER), clock, Arc::new(SystemEntropy)).await;
    let (store, _) = opened.unwrap();
    crate::home::with_merchant(&store).await;
    crate::home::with_token(&store, 1).await;
    assert!(survey(&through(SERVER)).await.unwrap().schema.is_ok());
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_opensips_cp_93_dataverse_8278() {
    let cluster = Cluster::shared();
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let name = format!("in_{}", encoding.to_lowercase());
        let sql = format!(
            "CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        );
        cluster.sql("postgres", &sql);
        let owner = options(cluster, OWNER, &name);
        let made = schema::migrate(&owner, Some(SERVER), START, &SystemEntropy).await;
        let refused = made.err().unwrap();
        assert!(refused.to_string().contains(encoding), "{refused}");
        let there = cluster.sql(&name, "SELECT to_regnamespace('cardveil') IS NULL");
        assert_eq!(there, "t", "nothing was made");
        // As one that was made before this was looked at.
        let dump = cluster.dump(&Home::new().await.database);
        let dump = String::from_utf8(dump).unwrap();
        cluster.restore(&name, dump.replace("'UTF8'", "'SQL_ASCII'").as_bytes());
        let refused = try_open(cluster, &name).await.err().unwrap();
        let wanted = Unfit::Encoding(encoding.to_owned());
        let OpenError::Unfit(unfit) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(unfit, wanted);
        let found = survey(&options(cluster, SERVER, &name)).await.unwrap();
        assert_eq!(found.encoding, encoding);
    }
}

async fn unfit(database: &str) -> [Unfit; 2] {
    let cluster = Cluster::shared();
    let opened = try_open(cluster, database).await.err().unwrap();
    let OpenError::Unfit(opened) = opened else {
        panic!("{opened:?}")
    };
    let found = survey(&options(cluster, SERVER, database)).await.unwrap();
    [opened, found.schema.unwrap_err()]
}

#[tokio::test]
async fn a_dump_put_back_without_its_grants_names_them_pg_restore() {
    let cluster = Cluster::shared();
    let dump = cluster.dump_with(&Home::new().await.database, &["-Fc"]);
    let database = cluster.database();
    cluster.pg_restore(&database, &dump, &["--no-privileges"]);
    for unfit in unfit(&database).await {
        let Unfit::Rights(lacking) = &unfit else {
            panic!("{unfit:?}")
        };
        assert_eq!((&*lacking.role, &*lacking.owner), (SERVER, OWNER));
        let said = unfit.to_string();
        let wanted = "the role cardveil has not been granted USAGE on schema cardveil; \
                      SELECT, INSERT on audit; ";
        assert!(said.starts_with(wanted), "{said}");
    }
    migrate(cluster, &database).await;
    assert!(try_open(cluster, &database).await.is_ok());
}

#[tokio::test]
async fn each_right_that_is_lacking_is_named() {
    let home = Home::new().await;
    let sql = |sql: &str| Cluster::shared().sql(&home.database, sql);
    for (right, on) in [
        ("USAGE", "schema cardveil"),
        ("INSERT", "audit"),
        ("UPDATE", "meta"),
        ("SELECT", "meta"),
        ("DELETE", "token"),
        ("USAGE", "card_seq_seq"),
    ] {
        let kind = if on == "card_seq_seq" {
            "SEQUENCE "
        } else {
            ""
        };
        let on_sql = match on {
            "schema cardveil" => on.to_owned(),
            table => format!("{kind}cardveil.{table}"),
        };
        sql(&format!("REVOKE {right} ON {on_sql} FROM {SERVER}"));
        for unfit in unfit(&home.database).await {
            let said = unfit.to_string();
            let wanted = format!("the role cardveil has not been granted {right} on {on}");
            assert_eq!(said, wanted);
        }
        migrate(Cluster::shared(), &home.database).await;
    }
    assert!(try_open(Cluster::shared(), &home.database).await.is_ok());
}

#[tokio::test]
async fn a_hardened_server_that_keeps_pg_control_system_to_itself_is_named() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let function = "FUNCTION pg_control_system()";
    cluster.sql(
        &home.database,
        &format!("REVOKE EXECUTE ON {function} FROM PUBLIC"),
    );
    let role = SERVER.to_owned();
    let wanted = Unfit::ControlRevoked { role };
    for unfit in unfit(&home.database).await {
        assert_eq!(unfit, wanted);
    }
    cluster.sql(
        &home.database,
        &format!("GRANT EXECUTE ON {function} TO {SERVER}"),
    );
    home.open().await;
    let empty = cluster.database();
    cluster.sql(&empty, &format!("REVOKE EXECUTE ON {function} FROM PUBLIC"));
    let owner = options(cluster, OWNER, &empty);
    let refused = schema::migrate(&owner, Some(SERVER), START, &SystemEntropy).await;
    let role = OWNER.to_owned();
    let OpenError::Unfit(unfit) = refused.err().unwrap() else {
        panic!("a fault")
    };
    assert_eq!(unfit, Unfit::ControlRevoked { role });
}

/// The first line of a file, as it is at each connection.
fn of_file(path: &Path) -> Fresh {
    let path = path.to_owned();
    Fresh::new(move || std::fs::read(&path).map_err(|error| error.to_string()))
}

#[tokio::test]
async fn a_password_that_a_vault_rotated_is_read_at_the_next_connection() {
    let mut cluster = Cluster::create();
    let at = cluster.listen("host all all 127.0.0.0/8 scram-sha-256");
    cluster.start();
    cluster.add_roles();
    let database = cluster.database();
    migrate(&cluster, &database).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let set = |password: &str| {
        let sql = format!("ALTER ROLE {SERVER} PASSWORD '{password}'");
        cluster.sql("postgres", &sql);
    };
    set("first");
    std::fs::write(&file, "first").unwrap();
    let connection = format!("host={at} user={SERVER} dbname={database}");
    let options = Options::parse(&connection, Transport::Local).unwrap();
    let options = options.with_password(of_file(&file));
    let clock = Arc::new(ManualClock::at(START));
    let (store, _) = Postgres::open(&options, clock, Arc::new(SystemEntropy))
        .await
        .unwrap();
    crate::home::with_merchant(&store).await;

    // Connections that are there stay. New ones are made with what the file holds.
    set("second");
    assert!(store.epoch().await.is_ok());
    cluster.leave(&database);
    let Err(Error::Unavailable(text)) = store.epoch().await else {
        panic!("the old password is taken")
    };
    assert!(text.contains("password authentication failed"), "{text}");
    std::fs::write(&file, "second").unwrap();
    assert!(store.epoch().await.is_ok());
    crate::home::with_token(&store, 1).await;
    std::fs::remove_file(&file).unwrap();
    cluster.leave(&database);
    let Err(Error::Unavailable(text)) = store.epoch().await else {
        panic!("without a password")
    };
    assert!(text.contains("No such file"), "{text}");
}

/// Each line of `docs/operate/postgresql.md` that says how a server is asked.
#[tokio::test]
async fn what_is_needed_of_a_server_is_what_the_docs_ask_it() {
    let home = Home::new().await;
    let page = include_str!("../../../../docs/operate/postgresql.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let [_, ask, answer, _] = cells.as_slice() else {
            return None;
        };
        Some((
            ask.strip_prefix('`')?.strip_suffix('`')?,
            answer.trim_matches('`'),
        ))
    });
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), 11);
    for (ask, answer) in rows {
        let said = Cluster::shared().sql_as(SERVER, &home.database, ask);
        assert_eq!(said.as_deref(), Ok(answer), "{ask}");
    }
}
