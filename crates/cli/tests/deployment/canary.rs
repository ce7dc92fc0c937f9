//! The canary: known card numbers, tokens and keys are sought in every byte that a deployment leaves
//! behind (P3, P4).

use std::path::{Path, PathBuf};

use cardveil_seal::hpke::holder::Holder;
use serde_json::json;

use crate::http::{self, Connection};
use crate::world::{World, opened, text};

#[test]
fn no_file_holds_a_clear_card_number_or_a_token() {
    let world = World::new(3);
    let mut canaries = vec![
        ("card number", "4111111111111111".to_owned()),
        ("name", "A CARDHOLDER".to_owned()),
        ("Api-Key", world.api_key.clone()),
        ("apiSecret", world.api_secret.clone()),
        ("CVV as JSON", "\"cvv\":\"123\"".to_owned()),
    ];
    let mut server = world.serve();
    let holder = Holder::generate().unwrap();
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    for n in 0..3 {
        let token = world.issue(&mut merchant, n).unwrap();
        let answer = world
            .redeem(&mut client, &token, &holder, &["pan", "cvv", "name"])
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(opened(&answer, &holder)["cvv"], "123");
        let thief = Holder::generate().unwrap();
        assert_eq!(
            world
                .redeem(&mut client, &token, &thief, &["pan"])
                .unwrap()
                .status,
            403
        );
        misplace(&world, &token);
        canaries.push(("token", token));
    }
    let refused = world.import(
        "jsonl",
        &format!(
            "{}\n",
            json!({ "card_no": "C9", "pan": "4111111111111111" })
        ),
    );
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        !text(&refused.stderr).contains("4111111111111111"),
        "{}",
        text(&refused.stderr)
    );
    // While it serves, with a WAL full of commits; and after it has been killed.
    search(world.dir.path(), &canaries);
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    search(world.dir.path(), &canaries);
    let files = files(world.dir.path());
    for expected in [
        "cardveil.db",
        "cardveil.db-wal",
        "server.log",
        "cardveil.fence",
        "root.key",
    ] {
        let found = files.iter().any(|file| file.ends_with(expected));
        assert!(found, "{expected} was not searched: {files:?}");
    }
}

/// The search would find it.
#[test]
fn a_planted_canary_is_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("trace"), b"\0\x01pan=4111111111111111\xff").unwrap();
    let canaries = [("card number", "4111111111111111".to_owned())];
    let found = std::panic::catch_unwind(|| search(dir.path(), &canaries));
    assert!(found.is_err());
}

/// What callers with a bug do: secrets in addresses, in headers, in bodies of the wrong form.
fn misplace(world: &World, token: &str) {
    let pan = "4111111111111111";
    for path in [
        format!("/v2/cards/{pan}/access-token?accountId={token}&token={pan}"),
        format!("/open-api/v1/merchant/client/{pan}/token?{token}"),
        format!("/{token}/{pan}"),
    ] {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("api-key", pan),
            ("user-agent", token),
        ];
        assert!(http::get(world.merchant_at, &path, &headers).is_some());
        assert!(http::get(world.client_at, &path, &headers).is_some());
        assert!(http::get(world.admin_at, &path, &headers).is_some());
    }
    let mut client = Connection::open(world.client_at).unwrap();
    let headers = [("content-type", "application/json")];
    for body in [
        format!("{{\"{token}\":\"{pan}\"}}"),
        format!("{token} {pan}"),
    ] {
        let answer = client
            .send("POST", "/client/v1/redeem", &headers, &body)
            .unwrap();
        assert_eq!(answer.status, 400);
        assert!(!answer.body.contains(pan), "{}", answer.body);
    }
}

fn search(dir: &Path, canaries: &[(&str, String)]) {
    for file in files(dir) {
        let bytes = std::fs::read(&file).unwrap();
        for (what, canary) in canaries {
            let wide: Vec<u8> = canary.bytes().flat_map(|byte| [byte, 0]).collect();
            for needle in [canary.as_bytes(), &wide] {
                let found = bytes.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "{} holds a {what}", file.display());
            }
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
