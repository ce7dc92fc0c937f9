//! `cardveil audit verify`, over the log and over copies of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::http::Connection;
use crate::world::{World, string, text};

/// A deployment whose server has run and ended, so that its log is signed.
fn served() -> World {
    let world = World::new(2);
    let mut server = world.serve();
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.0.wait().unwrap().success());
    world
}

fn export(world: &World, name: &str) -> PathBuf {
    let run = world.run(&["audit", "export"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let path = world.dir.path().join(name);
    std::fs::write(&path, run.stdout).unwrap();
    path
}

fn report(run: &Output) -> Value {
    serde_json::from_slice(&run.stdout).unwrap_or_else(|_| panic!("{}", text(&run.stderr)))
}

fn key(world: &World) -> String {
    string(&world.json(&["audit", "key", "--json"]), "/0/x")
}

/// What is found in a file that stands alone: no deployment, the public key.
fn verify_file(world: &World, lines: &[String]) -> Value {
    let path = world.dir.path().join("tampered.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let key = key(world);
    let run = Command::new(env!("CARGO_BIN_EXE_cardveil"))
        .current_dir("/")
        .args(["audit", "verify", "--json", "--key", &key, "--from"])
        .arg(path)
        .output()
        .unwrap();
    let report = report(&run);
    let ok = report["ok"].as_bool().unwrap();
    assert_eq!(run.status.code(), Some(i32::from(!ok)), "{report}");
    report
}

fn finding(world: &World, lines: &[String]) -> (i64, String) {
    let report = verify_file(world, lines);
    let seq = report.pointer("/findings/0/seq").and_then(Value::as_i64);
    (
        seq.unwrap_or_else(|| panic!("{report}")),
        string(&report, "/findings/0/flaw"),
    )
}

#[test]
fn a_log_is_found_good_and_signed() {
    let world = served();
    let run = world.run(&["audit", "verify", "--json"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let report = report(&run);
    assert_eq!(report["ok"], true);
    assert!(report["findings"].as_array().is_some_and(Vec::is_empty));
    let [chain] = &report["chains"].as_array().unwrap()[..] else {
        panic!("{report}");
    };
    assert_eq!(chain["first"], 1);
    assert_eq!(chain["place"], report["entries"]);
    let stopped = world
        .audit()
        .iter()
        .filter(|entry| entry["kind"] == "server.stopped")
        .filter_map(|entry| entry["seq"].as_i64())
        .max();
    assert_eq!(
        chain["signed_place"].as_i64(),
        stopped,
        "signed at the stop"
    );
    let words = world.run(&["audit", "verify"]);
    assert!(text(&words.stdout).contains("ok: "), "{words:?}");
    assert!(text(&words.stdout).contains("signed to place"), "{words:?}");
}

#[test]
fn a_copy_is_verified_by_the_public_key_alone() {
    let world = served();
    let copy = export(&world, "copy.jsonl");
    let copied = std::fs::read_to_string(copy).unwrap();
    let lines: Vec<_> = copied.lines().map(str::to_owned).collect();
    let good = verify_file(&world, &lines);
    assert_eq!(good["entries"].as_u64(), Some(lines.len() as u64));
    let part = verify_file(&world, &lines[3..]);
    assert_eq!(part.pointer("/chains/0/first"), Some(&4.into()));

    let with = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        edit(&mut lines);
        finding(&world, &lines)
    };
    let edited = (3, "edited".to_owned());
    // In what is stored, the quotes are escaped.
    let success = "\"outcome\":\"success\"";
    let readable = with(&|lines| {
        assert!(lines[2].contains(success));
        lines[2] = lines[2].replace(success, "\"outcome\":\"failure\"");
    });
    assert_eq!(readable, edited, "what is read, and not what is stored");
    let both = with(&|lines| lines[2] = lines[2].replace("success", "failure"));
    assert_eq!(both, edited);
    let removed = with(&|lines| drop(lines.remove(2)));
    assert_eq!(removed, (4, "missing".to_owned()));
    let swapped = with(&|lines| lines.swap(2, 4));
    assert_eq!(swapped, (5, "missing".to_owned()));
    // A sink may be told of an entry twice; of another in its place it is not told.
    let mut twice = lines.clone();
    twice.insert(5, lines[2].clone());
    let report = verify_file(&world, &twice);
    assert_eq!(
        (&report["ok"], &report["doubles"]),
        (&true.into(), &1.into())
    );
    twice[5] = lines[2].replace("success", "failure");
    assert_eq!(finding(&world, &twice), (3, "out_of_place".to_owned()));

    let none = world.dir.path().join("none.jsonl");
    std::fs::write(&none, "{\"seq\":1}\n").unwrap();
    let run = world.run(&["audit", "verify", "--from", none.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stderr).contains("hint: "), "{run:?}");
}

#[test]
fn a_checkpoint_of_another_deployment_is_refused() {
    let (world, other) = (served(), World::new(0));
    let copy = export(&world, "copy.jsonl");
    let path = copy.to_str().unwrap();
    let begins_with_a_hyphen = format!("-{}", "A".repeat(42));
    for key in [key(&other), begins_with_a_hyphen] {
        let run = world.run(&["audit", "verify", "--json", "--from", path, "--key", &key]);
        assert_eq!(run.status.code(), Some(1));
        let report = report(&run);
        assert_eq!(string(&report, "/findings/0/flaw"), "unsigned");
    }
}

/// A copy has what it takes to verify personal values elsewhere, and is whole without them.
#[test]
fn personal_values_of_a_copy_are_verified_and_may_be_erased() {
    let world = served();
    let copied = std::fs::read_to_string(export(&world, "copy.jsonl")).unwrap();
    let mut lines: Vec<_> = copied.lines().map(str::to_owned).collect();
    let by_operator = |line: &String| line.contains("\"actor\":{\"operator\":\"");
    let at = lines.iter().position(by_operator).unwrap();
    let mut record: Value = serde_json::from_str(&lines[at]).unwrap();
    let operator = string(&record, "/actor/operator");
    assert!(!string(&record, "/stored").contains(&operator));
    assert!(string(&record, "/personal").contains(&operator));

    let edited = lines[at].replace(&operator, "somebody else");
    let whole = std::mem::replace(&mut lines[at], edited);
    let seq = record["seq"].as_i64().unwrap();
    assert_eq!(finding(&world, &lines), (seq, "personal".to_owned()));

    record.as_object_mut().unwrap().remove("personal");
    record["actor"]["operator"] = Value::Null;
    record["erased"] = vec!["operator"].into();
    lines[at] = record.to_string();
    let report = verify_file(&world, &lines);
    assert_eq!(
        (&report["ok"], &report["erased"]),
        (&true.into(), &1.into())
    );
    assert_ne!(lines[at], whole);
}

/// What a copy of the log has seen cannot be taken back.
#[test]
fn a_log_that_was_cut_short_is_found_by_a_copy() {
    let world = served();
    let data = world.dir.path().join("data/cardveil.db");
    let before = std::fs::read(&data).unwrap();
    let short = export(&world, "short.jsonl");
    let long = export(&world, "long.jsonl");
    let against = |copy: &PathBuf| {
        let copy = copy.to_str().unwrap();
        let run = world.run(&["audit", "verify", "--json", "--against", copy]);
        (run.status.code(), report(&run))
    };
    for copy in [&short, &long] {
        let (code, report) = against(copy);
        assert_eq!(code, Some(0), "{report}");
        let lines = std::fs::read_to_string(copy).unwrap().lines().count();
        assert_eq!(report["compared"].as_u64(), Some(lines as u64));
    }
    std::fs::write(&data, before).unwrap();
    let (code, report) = against(&long);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(string(&report, "/findings/0/flaw"), "different");
    let seq = report.pointer("/findings/0/seq").and_then(Value::as_i64);
    let lines = std::fs::read_to_string(&short).unwrap().lines().count();
    assert_eq!(
        seq.and_then(|seq| usize::try_from(seq).ok()),
        Some(lines + 1),
        "where the copy goes on"
    );
    assert!(string(&report, "/findings/0/file").ends_with("long.jsonl"));
}

/// What a copy tells is told beside what the log itself tells.
#[test]
fn a_log_that_is_broken_is_compared_too() {
    let world = served();
    let copy = export(&world, "copy.jsonl");
    let third = std::fs::read_to_string(&copy).unwrap();
    let third: Value = serde_json::from_str(third.lines().nth(2).unwrap()).unwrap();
    let stored = string(&third, "/stored");
    let copy = copy.to_str().unwrap();
    let data = world.dir.path().join("data/cardveil.db");
    let mut bytes = std::fs::read(&data).unwrap();
    let windows = bytes.windows(stored.len());
    let found: Vec<_> = (0..)
        .zip(windows)
        .filter(|(_, window)| *window == stored.as_bytes())
        .collect();
    let [(at, _)] = found[..] else {
        panic!("it is there once")
    };
    let outcome = stored.find("success").unwrap();
    bytes[at + outcome] = b'S';
    std::fs::write(&data, bytes).unwrap();
    let run = world.run(&["audit", "verify", "--json", "--against", copy]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    let report = report(&run);
    assert_eq!(string(&report, "/findings/0/flaw"), "edited");
    assert_eq!(string(&report, "/findings/1/flaw"), "different");
    assert_eq!(report.pointer("/findings/1/seq"), Some(&3.into()));
    let run = world.run(&["audit", "verify", "--against", "nowhere.jsonl"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(text(&run.stdout).contains("NOT WHAT WAS WRITTEN"));
    assert!(text(&run.stderr).contains("cannot read"), "{run:?}");
}

/// A stranger's hand in the database, which has nothing of this program.
fn edit(database: &Path, sql: &str) {
    let edit = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])";
    let mut python = Command::new("python3");
    python.args(["-c", edit]).arg(database).arg(sql);
    assert!(python.status().unwrap().success());
}

/// That every row has had a MAC is not taken back by who takes it off the keys, or takes the key,
/// and takes it off the log too.
#[test]
fn no_hand_goes_back_to_before_rows_had_macs() {
    let keys = [
        "UPDATE wrapped_key SET complete_at = NULL, mac = NULL, row_version = NULL WHERE class = 10",
        "DELETE FROM wrapped_key WHERE class = 10",
        "DELETE FROM wrapped_key WHERE class <> 1",
        "DELETE FROM wrapped_key",
    ];
    for edit_keys in keys {
        let world = World::new(1);
        let show = ["card", "show", "C0", "--merchant", &world.merchant];
        assert!(world.run(&show).status.success());
        edit(
            &world.dir.path().join("data/cardveil.db"),
            &format!(
                "{edit_keys}; DELETE FROM row_change WHERE kind IN ('wrapped_key', 'card');
                 DROP TRIGGER audit_is_not_deleted;
                 DELETE FROM audit WHERE event LIKE '%rows.complete%' OR event LIKE '%class keys%';
                 UPDATE card SET account = 'F00001', mac = NULL, row_version = NULL;"
            ),
        );
        let run = world.run(&show);
        assert!(!run.status.success(), "{}", text(&run.stdout));
        let said = text(&run.stderr);
        assert!(said.contains("somebody writes to the database"), "{said}");
    }
}

/// Each ends well, or says what to do; nobody is told of a hand in the database.
#[test]
fn programs_that_begin_together_make_one_set_of_keys() {
    use std::os::unix::fs::DirBuilderExt as _;

    let world = World::new(0);
    for folder in ["data", "fence"] {
        let folder = world.dir.path().join(folder);
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .unwrap();
    }
    let add = || world.run(&["merchant", "add", "--name", "M"]);
    let runs = std::thread::scope(|scope| {
        let runs = [(); 3].map(|()| scope.spawn(add));
        runs.map(|run| run.join().unwrap())
    });
    assert!(runs.iter().any(|run| run.status.success()), "{runs:?}");
    for run in runs.iter().filter(|run| !run.status.success()) {
        let said = text(&run.stderr);
        assert!(
            said.contains("another program has made the class keys"),
            "{said}"
        );
    }
    let verified = world.run(&["audit", "verify", "--rows"]);
    assert!(verified.status.success(), "{verified:?}");
}

/// A thousand junk rows hide none that was altered, and neither does an entry of the log that cannot
/// be read. What is shown of it is what stands there.
#[test]
fn an_altered_row_is_told_whatever_else_was_altered() {
    let world = World::new(1);
    let cards = world.json(&["card", "list", "--merchant", &world.merchant, "--json"]);
    let id = string(&cards, "/0/card_id");
    // A time that passes for a card number.
    let made_at = "1796061478873";
    edit(
        &world.dir.path().join("data/cardveil.db"),
        &format!(
            "WITH RECURSIVE junk (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM junk WHERE i < 1100)
                 INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at)
                 SELECT printf('emb_%022d', i), '{merchant}', '[]', 0, 1, 0 FROM junk;
             DROP TRIGGER audit_is_not_changed; UPDATE audit SET event = 'x' WHERE seq = 2;
             UPDATE card SET label = '{long}', no = '{short}', created_at = {made_at}",
            merchant = world.merchant,
            long = "long ".repeat(1_000),
            short = "500000000009",
        ),
    );
    let found = report(&world.run(&["audit", "verify", "--rows", "--json"]));
    assert_eq!(found.pointer("/findings/0/seq"), Some(&2.into()));
    let altered = found["rows"]["altered"].as_array().unwrap();
    // The merchant too: the entry that tells of its version is not what was written.
    assert_eq!(altered.len(), 1_102);
    assert!(altered.contains(&format!("card {id}").into()));
    let stands = world.json(&["audit", "row", "card", &id, "--json"]);
    assert_eq!(stands["created_at"], made_at);
    assert_eq!(stands["no"], "?", "there are card numbers of twelve digits");
    assert_eq!(string(&stands, "/label").len(), 503);
}

/// Whoever takes all class keys, and the log, has a server that makes new ones: rows get no MACs by
/// that, and what is put back of the keys counts for nothing.
#[test]
fn new_class_keys_give_no_row_a_mac() {
    let world = World::new(2);
    let database = world.dir.path().join("data/cardveil.db");
    let strip = "UPDATE card SET account = 'F00001', mac = NULL, row_version = NULL;
         UPDATE merchant SET mac = NULL, row_version = NULL";
    edit(
        &database,
        &format!(
            "{strip}; DELETE FROM row_change; DROP TRIGGER audit_is_not_deleted; DELETE FROM audit;
             CREATE TABLE taken AS SELECT * FROM wrapped_key; DELETE FROM wrapped_key;
             CREATE TRIGGER back AFTER INSERT ON audit BEGIN
                 UPDATE wrapped_key SET wrapped = (SELECT wrapped FROM taken
                     WHERE taken.class = wrapped_key.class) WHERE class <> 10; END"
        ),
    );
    let show = ["card", "show", "C0", "--merchant", &world.merchant];
    for _ in 0..2 {
        let run = world.run(&show);
        assert!(!run.status.success(), "{}", text(&run.stdout));
    }
    edit(
        &database,
        "DROP TRIGGER back; UPDATE wrapped_key SET wrapped = (SELECT wrapped FROM taken
             WHERE taken.class = wrapped_key.class)",
    );
    let run = world.run(&show);
    assert!(!run.status.success(), "{}", text(&run.stdout));
}

/// Where two have one root key: the key of the other's rows would make its rows right here.
#[test]
fn no_key_of_another_deployment_is_taken() {
    let (world, other) = (World::new(1), World::new(0));
    let of = |world: &World, path: &str| world.dir.path().join(path);
    std::fs::copy(of(&world, "keys/root.key"), of(&other, "keys/root.key")).unwrap();
    for folder in ["data", "fence"] {
        let folder = of(&other, folder);
        for file in std::fs::read_dir(folder).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    let begun = other.run(&["merchant", "add", "--name", "M"]);
    assert!(begun.status.success(), "{begun:?}");
    let show = ["card", "show", "C0", "--merchant", &world.merchant];
    for (version, why) in [(1, "were not made together"), (2, "do not open here")] {
        let database = of(&world, "data/cardveil.db");
        let theirs = of(&other, "data/cardveil.db");
        let own = std::fs::read(&database).unwrap();
        edit(
            &database,
            &format!(
                "ATTACH '{}' AS other;
                 INSERT OR REPLACE INTO wrapped_key SELECT * FROM other.wrapped_key WHERE class = 10;
                 INSERT OR REPLACE INTO row_change SELECT * FROM other.row_change
                     WHERE kind = 'wrapped_key';
                 UPDATE wrapped_key SET version = {version} WHERE class = 10;",
                theirs.display()
            ),
        );
        let run = world.run(&show);
        assert!(!run.status.success(), "{}", text(&run.stdout));
        assert!(text(&run.stderr).contains(why), "{run:?}");
        std::fs::write(&database, own).unwrap();
    }
}

/// The name of a request leads to the token that it was given, and to no other.
#[test]
fn a_name_that_a_hand_points_at_another_s_token_gives_none() {
    let world = World::new(2);
    let _server = world.serve();
    let issue = |card: &str, name: &str| {
        let bearer = format!("Bearer {}", world.api_key);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", name),
        ];
        let body = format!("{{\"card_no\":\"{card}\"}}");
        let mut connection = Connection::open(world.merchant_at).unwrap();
        connection
            .send("POST", "/v1/client-tokens", &headers, &body)
            .unwrap()
    };
    assert_eq!(issue("C0", "mine-0000").status, 201);
    assert_eq!(issue("C1", "other-000").status, 201);
    assert_eq!(issue("C0", "mine-0000").status, 201);
    let of = |column: &str| {
        format!(
            "{column} = (SELECT name.{column} FROM name JOIN token USING (hash)
                 JOIN card ON card.id = token.card WHERE card.no = 'C1')"
        )
    };
    let columns = ["seed", "issued_secs", "hash"].map(of);
    edit(
        &world.dir.path().join("data/cardveil.db"),
        &format!("UPDATE name SET {}", columns.join(", ")),
    );
    let answer = issue("C0", "mine-0000");
    assert_eq!(answer.status, 422, "{}", answer.body);
}

/// What an operator sees of a row that somebody altered, and how it is put right: it is refused at
/// once, it is on record, it is told by whoever goes through all rows, and it counts again when it
/// was looked at.
#[test]
fn an_altered_card_is_refused_told_and_put_right() {
    let world = World::new(2);
    let database = world.dir.path().join("data/cardveil.db");
    let sql = |sql: &str| edit(&database, sql);
    let cards = world.json(&["card", "list", "--merchant", &world.merchant, "--json"]);
    let no = |at: usize| string(&cards, &format!("/{at}/card_no"));
    let id = string(&cards, "/0/card_id");
    let show = ["card", "show", &no(0), "--merchant", &world.merchant];
    assert!(world.run(&show).status.success());
    // One cardholder's order number on another's card.
    sql(&format!(
        "UPDATE card SET no = 'swap' WHERE no = '{one}';
         UPDATE card SET no = '{one}' WHERE no = '{other}';
         UPDATE card SET no = '{other}' WHERE no = 'swap'",
        one = no(0),
        other = no(1)
    ));
    assert!(!world.run(&show).status.success());
    let verify = || report(&world.run(&["audit", "verify", "--rows", "--json"]));
    let found = verify();
    assert_eq!(found["ok"], false);
    assert_eq!(found["rows"]["all_have_a_mac"], true);
    let altered = found["rows"]["altered"].as_array().unwrap();
    assert_eq!(altered.len(), 2, "{found}");
    assert!(altered.contains(&format!("card {id}").into()), "{found}");
    let alarms = world.audit();
    let alarms = alarms
        .iter()
        .filter(|entry| entry["kind"] == "vault.tampered");
    assert!(alarms.count() >= 2);
    // What is put back by hand is right as it was.
    sql(&format!(
        "UPDATE card SET no = 'swap' WHERE no = '{one}';
         UPDATE card SET no = '{one}' WHERE no = '{other}';
         UPDATE card SET no = '{other}' WHERE no = 'swap'",
        one = no(0),
        other = no(1)
    ));
    assert_eq!(verify()["ok"], true);
    // What cannot be is looked at, put right, and taken as it is.
    sql(&format!(
        "UPDATE card SET mac = NULL WHERE no = '{}'",
        no(0)
    ));
    assert!(!world.run(&show).status.success());
    sql(&format!(
        "UPDATE card SET label = '4111 1111 1111 1111' WHERE no = '{}'",
        no(0)
    ));
    let stands = world.json(&["audit", "row", "card", &id, "--json"]);
    assert_eq!(stands["no"], no(0).as_str(), "{stands}");
    assert_eq!(stands["merchant"], world.merchant.as_str());
    assert_eq!(stands["mac"], "not right");
    assert_eq!(stands["label"], "?", "nobody's number is shown");
    assert_eq!(stands["row_version"], stands["version_on_record"]);
    let accept = ["audit", "accept", "card", &id, "--yes", "--json"];
    let refused = world.run(&accept);
    assert!(!refused.status.success(), "lists would show it");
    assert!(text(&refused.stderr).contains("stand in label"));
    sql(&format!(
        "UPDATE card SET label = '' WHERE no = '{}'",
        no(0)
    ));
    let taken = world.json(&accept);
    assert_eq!(taken["taken"], "as it is");
    assert!(world.run(&show).status.success());
    assert_eq!(verify()["ok"], true);
    sql(&format!("DELETE FROM card WHERE no = '{}'", no(1)));
    assert_eq!(verify()["rows"]["altered"].as_array().unwrap().len(), 1);
    let other = string(&cards, "/1/card_id");
    let gone = world.json(&["audit", "row", "card", &other, "--json"]);
    assert_eq!(gone["mac"], "the row is gone", "{gone}");
    let tail = world.run(&["audit", "tail", "-n", "1", "--json"]);
    let tail = String::from_utf8(tail.stdout).unwrap();
    assert!(
        tail.contains("audit.read"),
        "reading it is on record: {tail}"
    );
    assert!(!world.run(&["audit", "row", "card", "C0"]).status.success());
    let taken = world.json(&["audit", "accept", "card", &other, "--yes", "--json"]);
    assert_eq!(taken["taken"], "as gone");
    assert_eq!(verify()["ok"], true);
    // Whoever takes the version off the record too is found by the log.
    let person = "0190c3f2-2222-7000-8000-000000000001";
    let enrol = ["mfa", "enrol", "--merchant", &world.merchant];
    world.json(&[&enrol[..], &["--person", person, "--json"]].concat());
    assert_eq!(verify()["ok"], true);
    sql("DELETE FROM row_change WHERE kind = 'merchant'");
    sql("DELETE FROM mfa_person; DELETE FROM row_change WHERE kind = 'mfa_person'");
    let lost = verify();
    assert_eq!(
        lost["rows"]["versions_lost"].as_array().unwrap().len(),
        2,
        "{lost}"
    );
}
