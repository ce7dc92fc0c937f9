//! Several servers on one PostgreSQL, made and driven as an operator would.

use std::time::{Duration, Instant};

use cardveil_seal::hpke::holder::Holder;

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::http::{self, Connection};
use crate::pooler::Pooler;
use crate::tls::Authority;
use crate::world::{World, opened, text};

#[test]
fn what_one_node_issues_another_redeems_once() {
    let cluster = Cluster::shared();
    let one = World::in_postgres(cluster, 2);
    let two = one.beside();
    let _nodes = (one.serve(), two.serve());
    let mut merchant = Connection::open(one.merchant_at).unwrap();
    let mut here = Connection::open(one.client_at).unwrap();
    let mut there = Connection::open(two.client_at).unwrap();
    let (holder, thief) = (Holder::generate().unwrap(), Holder::generate().unwrap());
    for n in 0..2 {
        let token = one.issue(&mut merchant, n).unwrap();
        let answer = two.redeem(&mut there, &token, &holder, &["pan"]).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(opened(&answer, &holder)["pan"], "4111111111111111");
        for (world, connection) in [(&one, &mut here), (&two, &mut there)] {
            let refused = world.redeem(connection, &token, &thief, &["pan"]).unwrap();
            assert_eq!(refused.status, 403, "{}", refused.body);
        }
        let again = one.redeem(&mut here, &token, &holder, &["cvv"]).unwrap();
        assert_eq!(opened(&again, &holder)["cvv"], "123");
    }
    // An operator's word on one node is obeyed by the other.
    let token = one.issue(&mut merchant, 0).unwrap();
    assert!(one.run(&["epoch", "raise"]).status.success());
    let refused = two.redeem(&mut there, &token, &holder, &["pan"]).unwrap();
    assert_eq!(refused.status, 403, "{}", refused.body);
    let verified = one.run(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
}

#[test]
fn a_server_says_what_its_database_lacks() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let dir = crate::world::folder();
    let connection = cluster.connection(SERVER, &database);
    let run = |args: &[&str]| {
        let run = crate::world::binary(dir.path()).args(args).output();
        let run = run.unwrap();
        (run.status.success(), text(&run.stderr))
    };
    let folder = dir.path().to_str().unwrap();
    let (made, said) = run(&["init", "--dir", folder, "--postgres", &connection]);
    assert!(made, "{said}");
    assert!(said.contains("migrate --owner"), "{said}");
    let (served, said) = run(&["serve"]);
    assert!(!served);
    assert!(said.contains("has no Cardveil schema"), "{said}");
    assert!(said.contains("\"hint\":\"run `cardveil migrate`"), "{said}");
    let (migrated, said) = run(&["migrate"]);
    assert!(!migrated, "the server's role owns nothing");
    assert!(said.contains("permission denied"), "{said}");
    assert!(said.contains("--owner-password-file"), "{said}");
    let (migrated, said) = run(&["migrate", "--owner", OWNER]);
    assert!(migrated, "{said}");
    let (again, said) = run(&["migrate", "--owner", OWNER]);
    assert!(again && said.contains("grants are in place"), "{said}");
    assert!(run(&["merchant", "add", "--name", "Shop"]).0);
}

/// A node 400 s ahead refused its peers' tokens, and all else was content (operators).
#[test]
fn a_clock_that_is_minutes_off_the_databases_is_refused() {
    let world = World::in_postgres(Cluster::shared(), 1);
    let library = std::fs::read_dir("/usr/lib").unwrap().find_map(|entry| {
        let library = entry.unwrap().path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    });
    let library = library.expect("faketime is installed: scripts/setup.sh");
    for (off, words) in [("+400s", "s ahead"), ("-400s", "s behind")] {
        for command in ["serve", "doctor"] {
            let ran = crate::world::binary(world.dir.path())
                .env("LD_PRELOAD", &library)
                .env("FAKETIME", off)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .arg(command)
                .output()
                .unwrap();
            assert!(!ran.status.success(), "{command} {off}");
            let said = text(&ran.stdout) + &text(&ran.stderr);
            assert!(
                said.contains(&format!("{words} of the database's")),
                "{said}"
            );
        }
    }
}

/// An operator sees the cause and the next step, whichever command meets it first.
#[test]
fn each_command_names_the_cause_and_the_next_step() {
    let cluster = Cluster::shared();
    let said = |connection: &str, args: &[&str]| {
        let dir = crate::world::folder();
        let run = |args: &[&str]| crate::world::binary(dir.path()).args(args).output();
        let folder = dir.path().to_str().unwrap();
        let made = run(&["init", "--dir", folder, "--postgres", connection]).unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let ran = run(args).unwrap();
        assert!(!ran.status.success());
        text(&ran.stdout) + &text(&ran.stderr)
    };
    let commands: [&[&str]; 3] = [&["migrate", "--owner", OWNER], &["serve"], &["doctor"]];

    let world = World::in_postgres(cluster, 1);
    let settings = std::fs::read_to_string(world.dir.path().join("cardveil.toml")).unwrap();
    let (_, database) = settings.split_once("dbname=").unwrap();
    let (database, _) = database.split_once('"').unwrap();
    let pooler = Pooler::start(cluster, "transaction", "");
    for args in commands {
        let said = said(&pooler.connection(SERVER, database), args);
        assert!(
            said.contains("a pooler hands out the server by the transaction"),
            "{said}"
        );
        assert!(said.contains("set pool_mode = session"), "{said}");
    }

    cluster.sql(database, "REVOKE USAGE ON SCHEMA cardveil FROM cardveil");
    for args in &commands[1..] {
        let said = said(&cluster.connection(SERVER, database), args);
        assert!(
            said.contains("has not been granted USAGE on schema cardveil"),
            "{said}"
        );
        assert!(
            said.contains("run `cardveil migrate --owner cardveil_owner`"),
            "{said}"
        );
    }

    let latin = "latin";
    let sql = "CREATE DATABASE latin OWNER cardveil_owner TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    cluster.sql("postgres", sql);
    for args in commands {
        let said = said(&cluster.connection(SERVER, latin), args);
        assert!(said.contains("the database's encoding is LATIN1"), "{said}");
        assert!(said.contains("ENCODING 'UTF8'"), "{said}");
    }
}

#[test]
fn a_server_whose_database_is_gone_is_not_ready_and_comes_back_by_itself() {
    let mut cluster = Cluster::create();
    cluster.start();
    cluster.add_roles();
    let world = World::in_postgres(&cluster, 1);
    let _server = world.serve();
    let ready = || {
        let answer = http::get(world.admin_at, "/readyz", &[]);
        answer.map(|answer| answer.status)
    };
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    assert!(world.issue(&mut merchant, 0).is_some());
    assert_eq!(ready(), Some(200));
    cluster.stop();
    assert_eq!(ready(), Some(503));
    cluster.start();
    assert_eq!(ready(), Some(200));
    assert!(world.issue(&mut merchant, 0).is_some());
}

/// Connections stay open, and nothing comes back: what a machine that hangs looks like, or a
/// network that drops.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test measures")]
fn a_stall_of_the_database_is_told_within_two_seconds() {
    let mut cluster = Cluster::create();
    cluster.start();
    cluster.add_roles();
    let world = World::in_postgres(&cluster, 1);
    let server = world.serve();
    let get = |path: &str| {
        let asked = Instant::now();
        let status = http::get(world.admin_at, path, &[]).map(|answer| answer.status);
        assert!(asked.elapsed() < Duration::from_secs(2), "{path}");
        status
    };
    assert_eq!(get("/readyz"), Some(200));
    cluster.stall(true);
    for _ in 0..3 {
        assert_eq!(get("/readyz"), Some(503));
        assert_eq!(get("/metrics"), Some(200));
        assert_eq!(get("/healthz"), Some(200));
    }
    let told = world.run(&["healthcheck"]);
    let said = text(&told.stderr);
    assert!(
        said.contains("it runs and is not ready: 503 unavailable"),
        "{said}"
    );
    let pid = rustix::process::Pid::from_child(&server.0);
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    signal(rustix::process::Signal::STOP);
    let told = world.run(&["healthcheck"]);
    signal(rustix::process::Signal::CONT);
    let said = text(&told.stderr);
    assert!(
        said.contains("it is stalled: it does not answer within 4 s"),
        "{said}"
    );
    cluster.stall(false);
    while get("/readyz") != Some(200) {}
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    assert!(world.issue(&mut merchant, 0).is_some());
}

#[test]
fn a_deployment_moves_out_of_sqlite() {
    let cluster = Cluster::shared();
    let world = World::new(2);
    let holder = Holder::generate().unwrap();
    let token = {
        let _server = world.serve();
        let mut merchant = Connection::open(world.merchant_at).unwrap();
        world.issue(&mut merchant, 0).unwrap()
    };
    let connection = cluster.connection(SERVER, &cluster.database());
    let config = world.dir.path().join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let mut settings: toml::Table = written.parse().unwrap();
    let store = toml::Table::from_iter([("postgres".to_owned(), connection.into())]);
    settings.insert("store".to_owned(), store.into());
    std::fs::write(&config, settings.to_string()).unwrap();
    let moved = world.run(&[
        "migrate",
        "--owner",
        OWNER,
        "--from-sqlite",
        "data/cardveil.db",
    ]);
    assert!(moved.status.success(), "{}", text(&moved.stderr));
    let said = text(&moved.stderr);
    assert!(said.contains("card                  2 rows"), "{said}");
    let server = world.serve();
    let mut client = Connection::open(world.client_at).unwrap();
    let refused = world
        .redeem(&mut client, &token, &holder, &["pan"])
        .unwrap();
    assert_eq!(refused.status, 403, "{}", refused.body);
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let token = world.issue(&mut merchant, 1).unwrap();
    let answer = world
        .redeem(&mut client, &token, &holder, &["pan"])
        .unwrap();
    assert_eq!(opened(&answer, &holder)["pan"], "4111111111111111");
    let verified = world.run(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    drop(server);
    // Somebody goes back to the file.
    std::fs::write(&config, written).unwrap();
    for command in [&["serve"][..], &["merchant", "list"]] {
        let refused = world.run(command);
        assert!(!refused.status.success());
        let said = text(&refused.stderr);
        assert!(said.contains("was moved to PostgreSQL"), "{said}");
    }
}

/// All of it: the schema, the operator's commands, a node that serves.
#[test]
fn a_deployment_on_another_machine_is_over_tls() {
    let folder = crate::world::folder();
    let authority = Authority::new(folder.path(), "authority.pem");
    let mut cluster = Cluster::create();
    let at = cluster.listen("hostssl all all 127.0.0.0/8 trust");
    let (certificate, key) = authority.signed("db.test");
    cluster.certify(&certificate, &key);
    cluster.start();
    cluster.add_roles();
    let world = World::over_tls(&cluster, "db.test", at, &authority.file);
    let _server = world.serve();
    let holder = Holder::generate().unwrap();
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    let token = world.issue(&mut merchant, 0).unwrap();
    let answer = world
        .redeem(&mut client, &token, &holder, &["pan"])
        .unwrap();
    assert_eq!(opened(&answer, &holder)["pan"], "4111111111111111");
    let connections = "SELECT count(*) >= 2, bool_and(ssl) FROM pg_stat_ssl
        JOIN pg_stat_activity USING (pid) WHERE usename = 'cardveil'";
    assert_eq!(cluster.sql("postgres", connections), "t|t");

    let doctor = text(&world.run(&["doctor"]).stdout);
    assert!(
        doctor.contains("ok    PostgreSQL, TLS TLSv1.3, to a verified server"),
        "{doctor}"
    );

    let other = Authority::new(folder.path(), "other.pem");
    let with_other = [("CARDVEIL_STORE_POSTGRES_CA", other.file.to_str().unwrap())];
    let refused = told(&world, &["epoch", "show"], &with_other);
    assert!(refused.contains("of another authority"), "{refused}");
    assert!(refused.contains("hint: "), "{refused}");
    let refused = told(&world, &["migrate", "--owner", OWNER], &with_other);
    assert!(refused.contains("of another authority"), "{refused}");
}

#[test]
fn nothing_goes_to_another_machine_in_the_clear_unless_that_is_said() {
    let world = World::in_postgres(Cluster::shared(), 0);
    // Never there: RFC 5737, and RFC 2606.
    let away = "host=db.invalid hostaddr=192.0.2.1 user=cardveil dbname=x connect_timeout=1";
    let away = ("CARDVEIL_STORE_POSTGRES", away);
    for command in [
        &["serve"] as &[&str],
        &["migrate", "--owner", OWNER],
        &["merchant", "list"],
        &["key", "list"],
        &["audit", "verify"],
    ] {
        let refused = told(&world, command, &[away]);
        assert!(
            refused.contains("192.0.2.1 is not on this machine"),
            "{refused}"
        );
        assert!(
            refused.contains("hint") && refused.contains("store.postgres_ca"),
            "{refused}"
        );
    }
    let plain = ("CARDVEIL_STORE_POSTGRES_PLAIN", "true");
    let tried = told(&world, &["merchant", "list"], &[away, plain]);
    assert!(tried.contains("cannot use the database"), "{tried}");
    let ca = ("CARDVEIL_STORE_POSTGRES_CA", "nowhere.pem");
    let refused = told(&world, &["merchant", "list"], &[away, ca]);
    assert!(refused.contains("nowhere.pem"), "{refused}");
    let refused = told(&world, &["merchant", "list"], &[away, ca, plain]);
    assert!(
        refused.contains("POSTGRES_PLAIN: store.postgres_plain: is given beside store.postgres_ca"),
        "{refused}"
    );
}

#[test]
fn doctor_looks_at_the_server_and_at_its_role() {
    let cluster = Cluster::shared();
    let world = World::in_postgres(cluster, 1);
    let doctor = world.run(&["doctor"]);
    let found = text(&doctor.stdout);
    assert!(doctor.status.success(), "{found}");
    for line in [
        "ok    PostgreSQL      1",
        "ok    PostgreSQL, TLS none needed: a unix socket",
        "ok    commits         wait for the disk, and for no standby",
        "ok    pages           whole after a crash; with checksums",
        "ok    schema          version ",
        "ok    server's role   cardveil has no more rights than it needs",
    ] {
        assert!(found.contains(line), "{line}: {found}");
    }
    let config = world.dir.path().join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let as_owner = written.replace("user=cardveil ", &format!("user={OWNER} "));
    std::fs::write(&config, as_owner).unwrap();
    let doctor = world.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let found = text(&doctor.stdout);
    let line = "MEND  server's role   cardveil_owner: it owns things in the database; ";
    assert!(found.contains(line), "{found}");
    let gone = written.replace("host=", "host=/nowhere");
    std::fs::write(&config, gone).unwrap();
    let found = text(&world.run(&["doctor"]).stdout);
    assert!(
        found.contains("MEND  PostgreSQL      cannot use the database"),
        "{found}"
    );
}

/// What a command that fails says.
fn told(world: &World, args: &[&str], variables: &[(&str, &str)]) -> String {
    let run = crate::world::binary(world.dir.path())
        .args(args)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(!run.status.success(), "{args:?}");
    text(&run.stderr)
}
