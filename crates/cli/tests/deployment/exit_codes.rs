//! Exit codes, for each command those of the table in `docs/reference/command-line.md`. That each
//! ends with 0 is in `commands.rs`; 3, and the findings of `doctor`, `probe` and `audit verify`,
//! are with these commands.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::commands::{DOCS, documented};
use crate::world::{World, binary, said, text};

const PERSON: &str = "775596ae-2624-40af-a9dc-9756110a4a04";
const UUID: &str = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd";
/// Their files are not those of a configuration, or they read none.
const OTHERS: [&str; 7] = [
    "init",
    "demo",
    "probe",
    "openapi",
    "help",
    "completions",
    "man",
];

/// The codes that the docs give to each command.
fn codes() -> BTreeMap<String, BTreeSet<i32>> {
    let table = DOCS.split("## Commands").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let codes = row.split('|').nth(2).unwrap().split_whitespace();
        let codes = codes.map(|code| code.parse().unwrap()).collect();
        (row.split_once('`').unwrap().0.to_owned(), codes)
    })
    .collect()
}

/// Arguments of the right form.
fn args_of(command: &str) -> Vec<&str> {
    let merchant = ["--merchant", "mer_1"];
    let person = ["--merchant", "mer_1", "--person", PERSON];
    let more: &[&str] = match command {
        "merchant add" => &["--name", "A"],
        "merchant show" => &["mer_1"],
        "embed show" => &["emb_1"],
        "credential show" | "credential rotate" => &["crd_1"],
        "merchant set" => &["mer_1", "--state", "active"],
        "embed set" => &["emb_1", "--enabled", "true"],
        "credential set" => &["crd_1", "--enabled", "true"],
        "credential add" => &["--merchant", "mer_1", "--allow-ip", "127.0.0.1"],
        "embed add" | "card add" | "token revoke" => &merchant,
        "card import" => &["-", "--form", "csv", "--merchant", "mer_1"],
        "card show" | "card remove" => &["C1", "--merchant", "mer_1"],
        "card set" => &["C1", "--merchant", "mer_1", "--state", "active"],
        "mfa enrol" | "mfa show" | "mfa reset" | "mfa remove" | "budget show" | "budget reset" => {
            &person
        }
        "mfa confirm" => &[
            "--merchant",
            "mer_1",
            "--person",
            PERSON,
            "--code",
            "123456",
        ],
        "wallet-token set" => &[UUID, "--merchant", "mer_1", "--state", "ACTIVE"],
        "audit row" | "audit accept" => &["merchant", "mer_1"],
        "key rotate" => &["--class", "pan"],
        "key retire" => &["--class", "pan", "--version", "1"],
        "key import-cvk" => &["--expiry", "yymm"],
        "key split" => &["--shares", "3", "--threshold", "2", "--out", "shares"],
        "webhook add" => &["--merchant", "mer_1", "--url", "https://a.example/"],
        "webhook show" | "webhook set" | "webhook remove" | "webhook replay" => &[UUID],
        "backup" | "restore" => &["file"],
        _ => &[],
    };
    command.split(' ').chain(more.iter().copied()).collect()
}

#[test]
fn wrong_usage_is_2_whatever_the_command() {
    let world = World::new(0);
    for (command, codes) in codes() {
        assert!(codes.contains(&2) && codes.contains(&0), "{command}");
        let mut args: Vec<_> = command.split(' ').collect();
        args.extend(["--surprise", "--json"]);
        let run = world.run(&args);
        assert_eq!(run.status.code(), Some(2), "{command}");
        assert!(
            said(&run).contains("--surprise"),
            "{command}: {}",
            said(&run)
        );
    }
}

#[test]
fn a_failure_is_1_whatever_the_command() {
    let world = World::new(0);
    for (command, codes) in codes() {
        if OTHERS.contains(&command.as_str()) {
            continue;
        }
        assert!(codes.contains(&1), "{command}");
        let mut args = args_of(&command);
        args.extend(["--config", "none.toml"]);
        let run = world.run(&args);
        let told = text(&run.stderr) + &text(&run.stdout);
        assert_eq!(run.status.code(), Some(1), "{command}: {told}");
        assert!(told.contains("cannot read none.toml"), "{command}: {told}");
    }
    let file = world.dir.path().join("cardveil.toml");
    let file = file.to_str().unwrap();
    for args in [
        &["init", "--dir", world.dir.path().to_str().unwrap()][..],
        &["demo", "--dir", file],
        &["man", file],
    ] {
        assert!(codes()[args[0]].contains(&1));
        let run = world.run(args);
        assert_eq!(
            run.status.code(),
            Some(1),
            "{args:?}: {}",
            text(&run.stderr)
        );
    }
}

/// Each of them would be a try of the PIN.
#[test]
fn a_refused_pin_is_4_whatever_the_command() {
    let world = World::new(0);
    let dir = world.dir.path();
    std::fs::create_dir(dir.join("tokens")).unwrap();
    let conf = format!("directories.tokendir = {}\n", dir.join("tokens").display());
    std::fs::write(dir.join("softhsm2.conf"), conf).unwrap();
    let token = Command::new("softhsm2-util")
        .env("SOFTHSM2_CONF", dir.join("softhsm2.conf"))
        .args(["--init-token", "--free", "--label", "cards"])
        .args(["--so-pin", "31415926", "--pin", "27182818"])
        .output()
        .unwrap();
    assert!(token.status.success(), "{token:?}");
    let pin = dir.join("keys/pin");
    std::fs::write(&pin, "00000000\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&pin, mode).unwrap();
    let module = "{ pkcs11 = { module = \"/usr/lib/softhsm/libsofthsm2.so\", token_label = \"cards\", \
                  key_label = \"root\", pin_file = \"keys/pin\" } }";
    let mut tried = 0;
    for (command, codes) in codes() {
        // These open no root key, or tell that it does not open among other things.
        if OTHERS.contains(&command.as_str()) || !codes.contains(&4) {
            continue;
        }
        // Of this command it is the next root that opens.
        let which = if command == "key create-root" {
            "CARDVEIL_KEYS_NEXT_ROOT"
        } else {
            "CARDVEIL_KEYS_ROOT"
        };
        let mut args = args_of(&command);
        if command == "restore" {
            args.push("--replace");
        }
        let run = binary(dir)
            .args(&args)
            .env(which, module)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let told = text(&run.stderr);
        assert_eq!(run.status.code(), Some(4), "{command}: {told}");
        assert!(!told.contains("00000000"), "{command}: {told}");
        tried += 1;
    }
    assert_eq!(
        tried,
        documented().len() - OTHERS.len() - 4,
        "all but migrate, doctor, healthcheck, split"
    );
}
