//! Rotation with the real binary: beside a server that serves, killed and run again.
//!
//! What counts as a failure: a card that cannot be read at any moment of it; a record that is under
//! an old key when all is said to be moved; an old root key that opens anything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use cardveil_seal::hpke::holder::Holder;
use serde_json::Value;

use crate::http::Connection;
use crate::world::{World, binary, opened, text};

const CARDS: usize = 3_000;

/// How many records are under a version of a class, by `key list`.
fn records(world: &World, class: &str, version: u64) -> u64 {
    let keys = world.json(&["key", "list", "--json"]);
    let is_it = |key: &&Value| key["class"] == class && key["version"] == version;
    let found = keys.as_array().unwrap().iter().find(is_it);
    found.unwrap_or_else(|| panic!("{keys}"))["records"]
        .as_u64()
        .unwrap()
}

fn done(world: &World, args: &[&str]) -> String {
    let run = world.run(args);
    assert!(run.status.success(), "{args:?}: {}", text(&run.stderr));
    text(&run.stderr)
}

fn refused(world: &World, args: &[&str]) -> String {
    let run = world.run(args);
    assert_eq!(run.status.code(), Some(1), "{args:?}");
    text(&run.stderr)
}

/// A cardholder looks at some of the cards.
fn look(world: &World) {
    let holder = Holder::generate().unwrap();
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    for n in [0, 1, CARDS / 2, CARDS - 1] {
        let token = world.issue(&mut merchant, n).unwrap();
        let fields = ["pan", "cvv", "name"];
        let answer = world.redeem(&mut client, &token, &holder, &fields).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let clear = opened(&answer, &holder);
        assert_eq!(clear["pan"], "4111111111111111");
        assert_eq!(clear["cvv"], "123");
    }
}

/// A rewrap that has begun: it has told of its first batch.
fn begun(world: &World, args: &[&str]) -> Child {
    let mut child = binary(world.dir.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("records moved"), "{line}");
    child
}

#[test]
fn a_rotation_is_killed_twice_and_goes_on_while_a_server_reads() {
    let world = World::new(CARDS);
    let _server = world.serve();
    let all = u64::try_from(CARDS).unwrap();
    look(&world);
    done(&world, &["key", "rotate", "--class", "pan"]);
    assert_eq!(records(&world, "pan", 1), all);
    let before = refused(
        &world,
        &["key", "retire", "--class", "pan", "--version", "1"],
    );
    assert!(before.contains("hint: move them first"), "{before}");
    // At 200 a second it would take 15 seconds: it is killed long before its end.
    let slow = ["key", "rewrap", "--deks", "--per-second", "200"];
    let mut left = all;
    for _ in 0..2 {
        let mut child = begun(&world, &slow);
        look(&world);
        child.kill().unwrap();
        child.wait().unwrap();
        let now = records(&world, "pan", 1);
        assert!(0 < now && now < left, "{now} of {left}");
        assert_eq!(now + records(&world, "pan", 2), all, "none is lost");
        left = now;
        look(&world);
    }
    let said = done(
        &world,
        &["key", "rewrap", "--deks", "--per-second", "100000"],
    );
    assert!(
        said.contains(&format!("done, {left} records moved")),
        "{said}"
    );
    assert_eq!(records(&world, "pan", 1), 0);
    assert_eq!(records(&world, "pan", 2), all);
    look(&world);
    done(
        &world,
        &["key", "retire", "--class", "pan", "--version", "1"],
    );
    look(&world);
    let keys = world.json(&["key", "list", "--json"]);
    assert_eq!(keys[0]["state"], "retired");
    assert!(keys[0]["root"].is_null(), "{keys}");
    assert_eq!(keys[1]["state"], "active");
    let inventory = world.json(&["key", "inventory", "--json"]);
    assert_eq!(inventory["keys"][1]["place"], "nowhere: it was destroyed");
    let moved = |entry: &&Value| entry["kind"] == "keys.rewrapped";
    let log = world.audit();
    let sum: u64 = log
        .iter()
        .filter(moved)
        .map(|entry| {
            let note = entry["detail"]["note"].as_str().unwrap();
            note.split(' ').next().unwrap().parse::<u64>().unwrap()
        })
        .sum();
    assert_eq!(sum, all, "each record is on record once");
    let kinds = ["keys.rotated", "keys.retired"];
    for kind in kinds {
        assert_eq!(log.iter().filter(|entry| entry["kind"] == kind).count(), 1);
    }
    assert!(log.iter().all(|entry| entry["kind"] != "vault.tampered"));
}

#[test]
fn a_new_root_takes_over_and_the_old_one_opens_nothing() {
    let world = World::new(4);
    let config = world.dir.path().join("cardveil.toml");
    let missing = refused(&world, &["key", "rotate", "--root"]);
    assert!(
        missing.contains("hint: name it as keys.next_root"),
        "{missing}"
    );
    let written = std::fs::read_to_string(&config).unwrap();
    let with_next = written.replace(
        "root = \"keys/root.key\"",
        "root = \"keys/root.key\"\nnext_root = \"keys/next.key\"",
    );
    assert_ne!(with_next, written);
    std::fs::write(&config, &with_next).unwrap();
    let missing = refused(&world, &["key", "list"]);
    assert!(missing.contains("cardveil key create-root"), "{missing}");
    done(&world, &["key", "create-root"]);
    let twice = refused(&world, &["key", "create-root"]);
    assert!(twice.contains("exists already"), "{twice}");
    let mut server = world.serve();
    done(&world, &["key", "rotate", "--root"]);
    let again = done(&world, &["key", "rotate", "--root"]);
    assert!(again.contains("already"), "{again}");
    done(&world, &["key", "rotate", "--class", "cvv"]);
    look_at_two(&world);
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    // The old one alone opens nothing, the new one alone everything.
    std::fs::write(&config, &written).unwrap();
    let old = refused(&world, &["key", "list"]);
    assert!(old.contains("the class keys do not open"), "{old}");
    std::fs::remove_file(world.dir.path().join("keys/root.key")).unwrap();
    let renamed = written.replace("keys/root.key", "keys/next.key");
    std::fs::write(&config, renamed).unwrap();
    let _server = world.serve();
    look_at_two(&world);
    let inventory = world.json(&["key", "inventory", "--json"]);
    let rows = inventory["keys"].as_array().unwrap();
    assert_eq!(rows[0]["key"], "root");
    assert_eq!(rows[0]["provider"], rows[1]["provider"]);
    assert!(
        rows.iter().all(|row| row["algorithm"].is_string()),
        "{rows:?}"
    );
}

/// Cards of one number are told by it, so there are two indexes while it is rotated; and the rows
/// are what was written last at each step.
#[test]
fn the_index_key_is_rotated_while_a_server_reads() {
    const INDEX: [&str; 2] = ["--class", "index"];
    let index =
        |word: &[&'static str], more: &[&'static str]| [&["key"][..], word, &INDEX, more].concat();
    let world = World::new(4);
    let _server = world.serve();
    let verify = || done(&world, &["audit", "verify", "--rows"]);
    done(&world, &index(&["rotate"], &[]));
    assert_eq!(
        (records(&world, "index", 1), records(&world, "index", 2)),
        (4, 0)
    );
    let again = refused(&world, &index(&["rotate"], &[]));
    assert!(again.contains("still retiring"), "{again}");
    let first = ["--version", "1"];
    let early = refused(&world, &index(&["retire"], &first));
    assert!(early.contains("hint: move them first"), "{early}");
    let said = done(&world, &index(&["rewrap"], &[]));
    assert!(said.contains("index 1 -> 2: done, 4 cards moved"), "{said}");
    assert_eq!(
        (records(&world, "index", 1), records(&world, "index", 2)),
        (0, 4)
    );
    verify();
    let said = done(&world, &index(&["rewrap"], &[]));
    assert!(said.contains("done, 0 cards moved"), "{said}");
    done(&world, &index(&["retire"], &first));
    let card = crate::world::card(4);
    assert!(world.import("jsonl", &format!("{card}\n")).status.success());
    assert_eq!(
        records(&world, "index", 2),
        5,
        "a new one is under the new key"
    );
    look_at_two(&world);
    verify();
    let log = world.audit();
    let moved = |entry: &&Value| entry["kind"] == "keys.rewrapped";
    let notes = log
        .iter()
        .filter(moved)
        .map(|entry| &entry["detail"]["note"]);
    let notes: Vec<_> = notes.collect();
    assert_eq!(notes, ["4 cards indexed under version 2 from 1"]);
    assert!(log.iter().all(|entry| entry["kind"] != "vault.tampered"));
}

fn look_at_two(world: &World) {
    let holder = Holder::generate().unwrap();
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    for n in [0, 3] {
        let token = world.issue(&mut merchant, n).unwrap();
        let answer = world.redeem(&mut client, &token, &holder, &["pan"]);
        assert_eq!(answer.unwrap().status, 200);
    }
}

#[test]
fn what_cannot_be_done_with_keys_says_what_to_do() {
    let world = World::new(1);
    let said = |args: &[&str]| refused(&world, args);
    let active = said(&["key", "retire", "--class", "pan", "--version", "1"]);
    assert!(
        active.contains("cardveil key rotate --class pan"),
        "{active}"
    );
    let audit = said(&["key", "retire", "--class", "audit", "--version", "1"]);
    assert!(audit.contains("an audit key is not retired"), "{audit}");
    let unknown = said(&["key", "retire", "--class", "pan", "--version", "7"]);
    assert!(unknown.contains("cardveil key list"), "{unknown}");
    let nothing = done(&world, &["key", "rewrap"]);
    assert!(nothing.contains("nothing to move"), "{nothing}");
    let class = world.run(&["key", "rotate", "--class", "nothing"]);
    assert_eq!(class.status.code(), Some(2));
    assert!(
        text(&class.stderr).contains("pan, cvv, pin"),
        "it names them"
    );
    let table = world.run(&["key", "list"]);
    assert!(text(&table.stdout).starts_with("CLASS "), "a table");
}

/// PCI DSS 3.6.1.2, by whatever name the root key is reached.
#[test]
fn a_root_key_beside_the_data_is_refused() {
    let world = World::new(0);
    let (data, keys) = (world.dir.path().join("data"), world.dir.path().join("keys"));
    std::fs::rename(keys.join("root.key"), data.join("r.key")).unwrap();
    std::os::unix::fs::symlink(data.join("r.key"), keys.join("root.key")).unwrap();
    let said = refused(&world, &["key", "list"]);
    assert!(said.contains("is in the database's folder"), "{said}");
    let mut serve = binary(world.dir.path())
        .arg("serve")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = serve.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(!serve.wait().unwrap().success());
    assert!(said.contains("is in the database's folder"), "{said}");
}

/// From a file to shares that five people hold, of whom three are needed.
#[test]
fn a_root_key_moves_into_shares() {
    let world = World::new(4);
    let dir = world.dir.path();
    let config = dir.join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let holders = |which: &[u8]| {
        let files = which.iter().map(|n| format!("\"holder-{n}/share\""));
        format!("{{ shares = [{}] }}", files.collect::<Vec<_>>().join(", "))
    };
    let (all, old) = (holders(&[1, 2, 3, 4, 5]), "root = \"keys/root.key\"");
    let next = written.replace(old, &format!("{old}\nnext_root = {all}"));
    std::fs::write(&config, next).unwrap();
    let unsaid = refused(&world, &["key", "create-root"]);
    assert!(unsaid.contains("--threshold 3"), "{unsaid}");
    let one = refused(&world, &["key", "create-root", "--threshold", "1"]);
    assert!(one.contains("2 or more open it"), "{one}");
    done(&world, &["key", "create-root", "--threshold", "3"]);
    let twice = refused(&world, &["key", "create-root", "--threshold", "3"]);
    assert!(twice.contains("exists already"), "{twice}");
    done(&world, &["key", "rotate", "--root"]);
    std::fs::remove_file(dir.join("keys/root.key")).unwrap();
    // Three holders have come, of the five that are named.
    std::fs::write(&config, written.replace(old, &format!("root = {all}"))).unwrap();
    for away in ["holder-2", "holder-5"] {
        std::fs::rename(dir.join(away), dir.join(format!("{away}-away"))).unwrap();
    }
    {
        let _server = world.serve();
        look_at_two(&world);
    }
    let doctor = world.run(&["doctor"]);
    let found = text(&doctor.stdout);
    assert!(found.contains("holder-5/share is not here"), "{found}");
    std::fs::rename(dir.join("holder-4"), dir.join("holder-4-away")).unwrap();
    let few = refused(&world, &["key", "list"]);
    assert!(few.contains("1 more of the root key's shares"), "{few}");
    assert!(few.contains("hint: bring more"), "{few}");
    // A share of the same key by another split does not go with these.
    std::fs::rename(dir.join("holder-5-away"), dir.join("holder-5")).unwrap();
    let share = dir.join("holder-5/share");
    let text_of_it = std::fs::read_to_string(&share).unwrap();
    let (digits, at) = ("key ", text_of_it.find("key ").unwrap() + 8);
    assert!(text_of_it.contains(digits));
    let mut typed = text_of_it.clone().into_bytes();
    typed[at] = if typed[at] == b'0' { b'1' } else { b'0' };
    std::fs::write(&share, &typed).unwrap();
    let mistyped = refused(&world, &["key", "list"]);
    assert!(mistyped.contains("holder-5/share"), "{mistyped}");
    assert!(mistyped.contains("a character is wrong"), "{mistyped}");
    assert!(!mistyped.contains(&text_of_it[at..at + 4]), "{mistyped}");
    std::fs::write(&share, text_of_it).unwrap();
    let keys = world.json(&["key", "list", "--json"]);
    let root = keys[0]["root"].as_str().unwrap();
    assert!(root.starts_with("shares:"), "{root}");
}

/// A file is split where it stands: the class keys are under the same key.
#[test]
fn a_root_keys_file_is_split() {
    let world = World::new(4);
    let dir = world.dir.path();
    let split = ["key", "split", "--shares", "3", "--threshold", "2", "--out"];
    let out = dir.join("paper");
    let args = [&split[..], &[out.to_str().unwrap()]].concat();
    let said = done(&world, &args);
    assert!(said.contains("made the shares of shares:"), "{said}");
    let config = dir.join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let shares = "root = { shares = [\"paper/share-3\", \"paper/share-1\"] }";
    let renamed = written.replace("root = \"keys/root.key\"", shares);
    assert_ne!(renamed, written);
    std::fs::write(&config, renamed).unwrap();
    std::fs::remove_file(dir.join("keys/root.key")).unwrap();
    let _server = world.serve();
    look_at_two(&world);
    let again = refused(&world, &args);
    assert!(again.contains("keys.root is not a file"), "{again}");
}

/// From a file to a hardware module, which is `SoftHSM` here.
#[test]
fn a_root_key_moves_into_a_hardware_module() {
    let world = World::new(4);
    let dir = world.dir.path();
    let tokens = dir.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = format!("directories.tokendir = {}\n", tokens.display());
    std::fs::write(dir.join("softhsm2.conf"), conf).unwrap();
    let made = Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", dir.join("softhsm2.conf"))
        .args(["--init-token", "--free", "--label", "cards"])
        .args(["--so-pin", "31415926", "--pin", "27182818"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let pin = dir.join("keys/pin");
    std::fs::write(&pin, "27182818\n").unwrap();
    let config = dir.join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let module = "{ pkcs11 = { module = \"/usr/lib/softhsm/libsofthsm2.so\", token_label = \"cards\", \
                  key_label = \"root\", pin_file = \"keys/pin\" } }";
    let root = "root = \"keys/root.key\"";
    std::fs::write(
        &config,
        written.replace(root, &format!("{root}\nnext_root = {module}")),
    )
    .unwrap();
    let exposed = refused(&world, &["key", "create-root"]);
    assert!(exposed.contains("hint: chmod 600"), "{exposed}");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&pin, private).unwrap();
    let missing = refused(&world, &["key", "list"]);
    assert!(missing.contains("there is no such key"), "{missing}");
    let said = done(&world, &["key", "create-root"]);
    assert!(said.contains("made pkcs11:cards/root"), "{said}");
    done(&world, &["key", "rotate", "--root"]);
    let new = written.replace(root, &format!("root = {module}"));
    std::fs::write(&config, new).unwrap();
    std::fs::remove_file(dir.join("keys/root.key")).unwrap();
    let _server = world.serve();
    look_at_two(&world);
    // The server learns of a new class key by the module, too.
    done(&world, &["key", "rotate", "--class", "pan"]);
    done(&world, &["key", "rewrap"]);
    look_at_two(&world);
    let keys = world.json(&["key", "list", "--json"]);
    let all = keys.as_array().unwrap();
    assert!(all.iter().all(|key| key["root"] == "pkcs11:cards/root"));
    for (written, unseen) in [
        (&b"27182818 \n"[..], "ends in a blank"),
        (b"\t27182818\n", "begins with a blank"),
        (b"\xEF\xBB\xBF27182818\n", "begins with a byte-order mark"),
        (b"\xFF\xFE2\x007\x00", "begins with a byte-order mark"),
        (b"27182818\n27182818\n", "has more than one line"),
        (b"\n", "is empty"),
    ] {
        std::fs::write(&pin, written).unwrap();
        let said = refused(&world, &["key", "list"]);
        assert!(said.contains(unseen), "{said}");
        assert!(said.contains("no try of the PIN was spent"), "{said}");
        assert!(!said.contains("27182818"), "no PIN is told");
    }
    std::fs::write(&pin, "00000000\n").unwrap();
    let wrong = world.run(&["key", "list"]);
    assert_eq!(wrong.status.code(), Some(4), "it is not to be tried again");
    let wrong = text(&wrong.stderr);
    assert!(wrong.contains("the PIN is wrong"), "{wrong}");
    assert!(wrong.contains("hint: check keys.root"), "{wrong}");
    assert!(!wrong.contains("00000000"), "no PIN is told");
}

/// The components of the key that is used below, and what `openssl` says of it: the CVV2 of
/// 4111111111111111 with 12/30 as YYMM.
const COMPONENTS: &str = "0101010101010101FEFEFEFEFEFEFEFE\n0123456789ABCDEF0123456789ABCDEF\n";
const DERIVED: &str = "597";

fn import_cvk(world: &World, args: &[&str], components: &str) -> (bool, String) {
    let mut child = binary(world.dir.path())
        .args(["key", "import-cvk"])
        .args(args)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have refused its arguments, and read nothing.
    drop(stdin.write_all(components.as_bytes()));
    drop(stdin);
    let run = child.wait_with_output().unwrap();
    (run.status.success(), text(&run.stderr))
}

fn cvv_of(world: &World, n: usize) -> (u16, Value) {
    let holder = Holder::generate().unwrap();
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    let token = world.issue(&mut merchant, n).unwrap();
    let answer = world.redeem(&mut client, &token, &holder, &["cvv"]);
    let answer = answer.unwrap();
    let cvv = if answer.status == 200 {
        opened(&answer, &holder)["cvv"].clone()
    } else {
        Value::Null
    };
    (answer.status, cvv)
}

/// A CVV that is on no disk: derived for each answer, by the key that the card names.
#[test]
fn a_cvv_is_derived_and_never_stored() {
    let world = World::new(1);
    let server = world.serve();
    let wrong = COMPONENTS.replace("FEFEFE\n", "FEFEFF\n");
    for (args, components, why) in [
        (&["--expiry", "yymm"][..], wrong.as_str(), "odd parity"),
        (
            &["--expiry", "yymm"],
            "01\n",
            "component 1: a component is 32",
        ),
        (
            &["--expiry", "yymm", "--kcv", "000000"],
            COMPONENTS,
            "with the check value",
        ),
        (
            &["--expiry", "yymm", "--prefix", "37"],
            COMPONENTS,
            "American Express",
        ),
        (&[], COMPONENTS, "--expiry"),
    ] {
        let (taken, said) = import_cvk(&world, args, components);
        assert!(!taken && said.contains(why), "{said}");
        assert!(!said.contains("FEFEFE"), "{said}");
    }
    assert_eq!(
        world.json(&["key", "cvks", "--json"]),
        serde_json::json!([])
    );
    let args = ["--expiry", "yymm", "--prefix", "4111"];
    let (taken, said) = import_cvk(&world, &args, COMPONENTS);
    assert!(taken, "{said}");
    let cvks = world.json(&["key", "cvks", "--json"]);
    assert_eq!(cvks[0]["prefix"], "4111");
    assert!(said.contains(cvks[0]["kcv"].as_str().unwrap()), "{said}");

    let mut card = crate::world::card(1);
    let both = world.import("jsonl", &format!("{card}\n"));
    assert_eq!(both.status.code(), Some(3));
    let both = text(&both.stderr);
    assert!(both.contains("a card verification key gives"), "{both}");
    card.as_object_mut().unwrap().remove("cvv");
    let added = world.import("jsonl", &format!("{card}\n"));
    assert!(added.status.success(), "{}", text(&added.stderr));
    // The server has not been told: it looks when a record names a key that it does not know.
    assert_eq!(cvv_of(&world, 1), (200, DERIVED.into()));
    // What was stored before stays as it was.
    assert_eq!(cvv_of(&world, 0), (200, "123".into()));

    // Another key for the same cards, and new keys above it: the card keeps its own.
    let other = COMPONENTS.replace("0101010101010101", "1010101010101010");
    assert!(import_cvk(&world, &args, &other).0);
    done(&world, &["key", "rotate", "--class", "cvv"]);
    done(&world, &["key", "rewrap", "--deks"]);
    assert_eq!(cvv_of(&world, 1), (200, DERIVED.into()));
    let kept = refused(
        &world,
        &["key", "retire", "--class", "cvk", "--version", "1"],
    );
    assert!(kept.contains("neither rotated nor retired"), "{kept}");
    drop(server);
    let _server = world.serve();
    assert_eq!(cvv_of(&world, 1), (200, DERIVED.into()));

    let noted = |entry: &&Value| entry["detail"]["note"] == "cvv derived by cvk 1";
    let log = world.audit();
    let releases: Vec<_> = log.iter().filter(noted).collect();
    assert_eq!(releases.len(), 3, "each release says by which key");
    let all = serde_json::to_string(&log).unwrap();
    assert!(!all.contains(&format!("\"{DERIVED}\"")));
    // The key and its components are in no file, and neither is the value.
    let key = [
        "0123456789abcdeffedcba9876543210",
        "0123456789abcdef0123456789abcdef",
        "0101010101010101fefefefefefefefe",
    ];
    let mut seen = 0;
    for file in crate::canary::files(world.dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let words = String::from_utf8_lossy(&bytes).to_lowercase();
        for key in key {
            let pairs = (0..32).step_by(2).map(|at| &key[at..at + 2]);
            let raw: Vec<_> = pairs
                .map(|pair| u8::from_str_radix(pair, 16).unwrap())
                .collect();
            assert!(!bytes.windows(16).any(|window| window == raw), "{file:?}");
            assert!(!words.contains(key), "{file:?}");
        }
        seen += 1;
    }
    assert!(seen > 3, "{seen}");
}
