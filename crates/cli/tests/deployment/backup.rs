//! `cardveil backup` and `cardveil restore` on the real binary.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use cardveil_seal::hpke::holder::Holder;
use serde_json::Value;

use crate::http::Connection;
use crate::world::{Server, World, binary, opened, said, string, text};

fn stop(mut server: Server) {
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.0.wait().unwrap().success());
}

fn good(run: &Output) -> Value {
    assert!(run.status.success(), "{}", text(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

fn backup(world: &World, name: &str) -> PathBuf {
    let file = world.dir.path().join(name);
    let report = good(&world.run(&["backup", file.to_str().unwrap(), "--json"]));
    assert_eq!(string(&report, "/file"), file.to_str().unwrap());
    file
}

fn restore(world: &World, file: &Path, more: &[&str]) -> Output {
    let mut args = vec!["restore", file.to_str().unwrap(), "--json"];
    args.extend_from_slice(more);
    world.run(&args)
}

/// An error with a hint, and not a word on stdout.
fn refused(run: &Output, what: &str) {
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stdout));
    // With --json or without.
    let words = text(&run.stderr);
    let words = if words.starts_with('{') {
        said(run)
    } else {
        words
    };
    assert!(words.contains(what), "{words}");
    assert!(words.contains("hint: "), "{words}");
    assert!(run.stdout.is_empty());
}

fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Gets a card by a token of its own, as a cardholder does.
fn shows(world: &World) {
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    let holder = Holder::generate().unwrap();
    let token = world.issue(&mut merchant, 0).unwrap();
    let answer = world
        .redeem(&mut client, &token, &holder, &["pan"])
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(opened(&answer, &holder)["pan"], "4111111111111111");
}

/// The fence that was there, none at all, one of another database, and one that was set back
/// together with it, which notices nothing.
#[test]
fn a_token_that_was_redeemed_after_the_backup_is_refused_after_the_restore() {
    for case in ["there", "absent", "foreign", "set back"] {
        let world = World::new(1);
        let server = world.serve();
        let mut merchant = Connection::open(world.merchant_at).unwrap();
        let mut client = Connection::open(world.client_at).unwrap();
        let token = world.issue(&mut merchant, 0).unwrap();
        let untouched = world.issue(&mut merchant, 0).unwrap();
        let file = backup(&world, "while-it-serves.backup");
        let fence = world.dir.path().join("fence/cardveil.fence");
        let seen = std::fs::read(&fence).unwrap();
        let first = Holder::generate().unwrap();
        let answer = world.redeem(&mut client, &token, &first, &["pan"]).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let raised: Value = good(&world.run(&["epoch", "show"]));
        stop(server);

        let data = world.dir.path().join("data");
        std::fs::remove_dir_all(&data).unwrap();
        match case {
            "there" => {}
            "absent" => std::fs::remove_file(&fence).unwrap(),
            "set back" => std::fs::write(&fence, &seen).unwrap(),
            _ => {
                let other = World::new(0);
                let theirs = other.dir.path().join("fence/cardveil.fence");
                std::fs::copy(theirs, &fence).map(drop).unwrap();
            }
        }
        let report = good(&restore(&world, &file, &[]));
        assert_eq!(report.pointer("/holds/cards"), Some(&1.into()), "{case}");
        assert_eq!(report.pointer("/holds/open_tokens"), Some(&2.into()));
        assert_eq!(report["epoch_before"], raised);
        let epochs = ["epoch_before", "epoch_after"].map(|name| report[name].as_u64().unwrap());
        assert!(epochs[0] < epochs[1], "{case}: {epochs:?}");
        assert!(report["kept"].is_null());
        assert_eq!(names(&data), ["cardveil.db"], "nothing is left beside it");
        let verified = good(&world.run(&["audit", "verify", "--json"]));
        assert_eq!(verified["ok"], true, "{verified}");

        let server = world.serve();
        let mut client = Connection::open(world.client_at).unwrap();
        let thief = Holder::generate().unwrap();
        for (token, holder) in [(&token, &thief), (&token, &first), (&untouched, &first)] {
            let answer = world.redeem(&mut client, token, holder, &["pan"]).unwrap();
            assert_eq!(answer.status, 403, "{case}: {}", answer.body);
        }
        shows(&world);
        stop(server);
        let kinds: Vec<_> = world.audit().iter().map(|e| string(e, "/kind")).collect();
        assert!(kinds.iter().any(|kind| kind == "backup.restored"), "{case}");
        assert!(kinds.iter().any(|kind| kind == "epoch.raised"), "{case}");
    }
}

#[test]
fn a_backup_is_on_record_and_overwrites_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(1);
    let file = backup(&world, "one.backup");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    let sealed = text(&bytes);
    for clear in [
        "SQLite format",
        "4111111111111111",
        "server.started",
        "mer_",
    ] {
        assert!(!sealed.contains(clear), "{clear}");
    }
    let last = world.audit().pop().unwrap();
    assert_eq!(string(&last, "/kind"), "backup.made");
    refused(
        &world.run(&["backup", file.to_str().unwrap()]),
        "exists already",
    );
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let left = names(world.dir.path());
    assert!(
        !left.iter().any(|name| name.contains("partial")),
        "{left:?}"
    );
    let left = names(&world.dir.path().join("data"));
    assert!(!left.iter().any(|name| name.contains("copy")), "{left:?}");
}

#[test]
fn what_somebody_put_in_the_way_of_a_backup_is_not_written_to() {
    let world = World::new(1);
    let at = |name: &str| world.dir.path().join(name);
    let file = at("one.backup");
    let partial = at("one.backup.partial");
    let run = || world.run(&["backup", file.to_str().unwrap()]);
    std::fs::write(at("theirs"), "kept").unwrap();
    std::os::unix::fs::symlink(at("theirs"), &partial).unwrap();
    refused(&run(), "is not what a backup or restore has left");
    std::fs::remove_file(&partial).unwrap();
    std::fs::hard_link(at("theirs"), &partial).unwrap();
    refused(&run(), "is not what a backup or restore has left");
    assert_eq!(std::fs::read_to_string(at("theirs")).unwrap(), "kept");
    assert!(!file.exists());

    std::fs::remove_file(&partial).unwrap();
    std::fs::write(&partial, "left over").unwrap();
    std::fs::set_permissions(&partial, Permissions::from_mode(0o666)).unwrap();
    assert!(run().status.success());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_database_is_replaced_only_when_told_and_never_under_a_server() {
    let world = World::new(1);
    let file = backup(&world, "one.backup");
    refused(&restore(&world, &file, &[]), "there is a database");
    let server = world.serve();
    refused(&restore(&world, &file, &["--replace"]), "is in use");
    shows(&world);
    stop(server);
    let report = good(&restore(&world, &file, &["--replace"]));
    let kept = string(&report, "/kept");
    assert!(kept.contains("before-restore"), "{kept}");
    assert!(Path::new(&kept).exists());
    let _server = world.serve();
    shows(&world);
}

#[test]
fn what_is_no_whole_backup_of_this_deployment_is_refused() {
    let (world, other) = (World::new(1), World::new(1));
    let file = backup(&world, "good.backup");
    let bytes = std::fs::read(&file).unwrap();
    let data = world.dir.path().join("data");
    std::fs::remove_dir_all(&data).unwrap();
    let with = |bytes: &[u8], what: &str| {
        let wrong = world.dir.path().join("wrong.backup");
        std::fs::write(&wrong, bytes).unwrap();
        refused(&restore(&world, &wrong, &[]), what);
        assert!(names(&data).is_empty(), "nothing was put in place");
    };
    with(&bytes[..bytes.len() - 1], "damaged");
    with(&bytes[..bytes.len() / 2], "damaged");
    with(&bytes[..100], "cut short");
    with(b"no backup", "not a sealed file");
    let mut edited = bytes.clone();
    let middle = bytes.len() / 2;
    edited[middle] ^= 1;
    with(&edited, "damaged");
    // Two chunks in each other's place: 65,536 bytes and a tag each, behind the beginning.
    let chunk = 65_536 + 16;
    let number = |at: usize, length: usize| {
        let bytes = &bytes[at..at + length];
        bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte))
    };
    let header = "cardveil-sealed-1\n".len() + 4 + number(18, 4);
    let body = header + 2 + number(header, 2);
    assert!(bytes.len() > 2 * chunk, "{}", bytes.len());
    let mut swapped = bytes.clone();
    let (ahead, behind) = swapped.split_at_mut(body + chunk);
    let length = chunk.min(behind.len());
    ahead[body..body + length].swap_with_slice(&mut behind[..length]);
    with(&swapped, "damaged");
    let header = text(&bytes[..300]);
    let at = header.find("made_at").unwrap() + "made_at\":\"20".len();
    let mut dated = bytes.clone();
    dated[at] ^= 1;
    with(&dated, "its key does not open");

    let elsewhere = other.dir.path().join("theirs.backup");
    std::fs::copy(&file, &elsewhere).unwrap();
    let run = restore(&other, &elsewhere, &["--replace"]);
    refused(&run, "was made under the root key");
    let live = std::fs::read_to_string(world.dir.path().join("cardveil.toml")).unwrap();
    let live = live.replace("\"sandbox\"", "\"live\"");
    std::fs::write(world.dir.path().join("cardveil.toml"), live).unwrap();
    refused(&restore(&world, &file, &[]), "is a backup of sandbox");
}

/// Wherever the kill falls, what is there is whole, and the next run goes through.
#[test]
fn a_killed_backup_or_restore_leaves_nothing_half() {
    let world = World::new(3);
    let whole = backup(&world, "whole.backup");
    let database = world.dir.path().join("data/cardveil.db");
    let scratch = |name: &str| world.dir.path().join(name);
    for round in 0..12_u32 {
        let file = scratch(&format!("{round}.backup"));
        let waits_for = [scratch("data/cardveil.db.copy"), {
            let mut partial = file.clone().into_os_string();
            partial.push(".partial");
            partial.into()
        }];
        kill_when(
            &world,
            &["backup", file.to_str().unwrap()],
            &waits_for[(round % 2) as usize],
            round,
        );
        if file.exists() {
            let report = restore(&world, &file, &["--replace"]);
            assert!(report.status.success(), "{}", text(&report.stderr));
        }
        kill_when(
            &world,
            &["restore", whole.to_str().unwrap(), "--replace"],
            &scratch("data/cardveil.db.restoring"),
            round,
        );
        assert!(database.exists());
        let verified = good(&world.run(&["audit", "verify", "--json"]));
        assert_eq!(verified["ok"], true, "{verified}");
        assert_eq!(world.audit()[0]["seq"], 1);
    }
    backup(&world, "after.backup");
    good(&restore(&world, &whole, &["--replace"]));
    let _server = world.serve();
    shows(&world);
}

/// Kills a command some time after a file has come to be, if it has not ended before.
fn kill_when(world: &World, args: &[&str], file: &Path, round: u32) {
    let mut child = binary(world.dir.path())
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !file.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    for _ in 0..round * 200 {
        std::thread::yield_now();
    }
    let _ = child.kill();
    child.wait().unwrap();
}

/// Writes something else for the root key's line of the configuration.
fn configure(world: &World, root: &str) {
    let config = world.dir.path().join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let keys = written.find("[keys]").unwrap() + "[keys]\n".len();
    let end = written[keys..]
        .find("\n[")
        .map_or(written.len(), |at| keys + at + 1);
    let written = format!("{}{root}\n{}", &written[..keys], &written[end..]);
    std::fs::write(config, written).unwrap();
}

/// The file was destroyed, as the command advises: the key is the same, and has another name.
#[test]
fn a_backup_of_before_the_root_key_was_split_is_restored_from_its_shares() {
    let world = World::new(1);
    let file = backup(&world, "of-the-file.backup");
    let split = ["key", "split", "--shares", "3", "--threshold", "2", "--out"];
    let paper = world.dir.path().join("paper");
    let split = world.run(&[&split[..], &[paper.to_str().unwrap()]].concat());
    assert!(split.status.success(), "{}", text(&split.stderr));
    std::fs::remove_file(world.dir.path().join("keys/root.key")).unwrap();
    configure(
        &world,
        "root = { shares = [\"paper/share-3\", \"paper/share-1\"] }",
    );
    good(&restore(&world, &file, &["--replace"]));
    let server = world.serve();
    shows(&world);
    stop(server);
}

#[test]
fn a_backup_during_a_change_of_the_root_key_is_under_the_new_one() {
    let world = World::new(1);
    configure(
        &world,
        "root = \"keys/root.key\"\nnext_root = \"keys/next.key\"",
    );
    let before = world.run(&["key", "create-root"]);
    assert!(before.status.success(), "{}", text(&before.stderr));
    let early = backup(&world, "before.backup");
    let moved = world.run(&["key", "rotate", "--root"]);
    assert!(moved.status.success(), "{}", text(&moved.stderr));
    let late = backup(&world, "during.backup");
    let old = world.dir.path().join("keys/root.key");
    let away = world.dir.path().join("away.key");
    std::fs::rename(&old, &away).unwrap();
    configure(&world, "root = \"keys/next.key\"");
    good(&restore(&world, &late, &["--replace"]));
    refused(
        &restore(&world, &early, &["--replace"]),
        "was made under the root key",
    );
    std::fs::rename(&away, &old).unwrap();
    configure(&world, "root = \"keys/root.key\"");
    good(&restore(&world, &early, &["--replace"]));
    let server = world.serve();
    shows(&world);
    stop(server);
}

/// Its service could not open what root would put in place.
#[test]
fn root_restores_no_database_of_another_account() {
    let world = World::new(1);
    let file = backup(&world, "a.backup");
    let database = world.dir.path().join("data/cardveil.db");
    let before = std::fs::read(&database).unwrap();
    // Only root can give files away; another account has none that are not its own.
    if std::os::unix::fs::chown(&database, Some(65_534), None).is_ok() {
        refused(&restore(&world, &file, &["--replace"]), "is not root's");
        assert_eq!(std::fs::read(&database).unwrap(), before);
        // Nor where it was lost.
        std::fs::remove_file(&database).unwrap();
        let folder = database.parent().unwrap();
        std::os::unix::fs::chown(folder, Some(65_534), None).unwrap();
        refused(&restore(&world, &file, &[]), "is not root's");
    }
}
