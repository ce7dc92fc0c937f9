//! The canary: known card numbers, tokens and keys are sought in every byte that a deployment
//! leaves behind (P3, P4).

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_seal::hpke::holder::Holder;
use cardveil_seal::{Key, Secret, contract_ecb};
use serde_json::json;

use crate::http::{self, Connection};
use crate::world::{World, card, opened, string, text};

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

/// A PIN that was set and told in both dialects. As text between quotation marks, and, for a PIN
/// that is long enough not to be there by chance, on its own.
#[test]
fn no_file_holds_a_clear_pin() {
    const LONG: &str = "739046";
    const SHORT: &str = "2580";
    let world = World::new(0);
    let mut physical = card(0);
    physical["type"] = "physical".into();
    let imported = world.import("jsonl", &physical.to_string());
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let (api_key, api_secret) = writer(&world);
    let mut server = world.serve();
    let mut merchant = Connection::open(world.merchant_at).unwrap();

    let now = crate::published::now_ms();
    let plain = [("api-key", api_key.as_str()), ("timestamp", now.as_str())];
    let path = "/open-api/v1/merchant/token";
    let login = merchant.send("GET", path, &plain, "").unwrap().json();
    let access = string(&login, "/data/access_token");
    let key = Key::from_slice(api_secret.as_bytes()).unwrap();
    let clear = Secret::new(LONG.as_bytes().to_vec());
    let sealed = contract_ecb::encrypt_unauthenticated(&key, &clear).unwrap();
    let body = json!({"card_no": "C0", "pin": BASE64_STANDARD.encode(sealed)}).to_string();
    let headers = [plain[0], plain[1], ("access-token", access.as_str()), JSON];
    let path = "/open-api/v1/card/pin/set";
    let set = merchant.send("POST", path, &headers, &body).unwrap();
    assert_eq!(set.json()["code"], 0, "{}", set.body);
    search(world.dir.path(), &[("PIN", LONG.to_owned())]);

    let bearer = format!("ApiKey {api_key}");
    let headers = [("authorization", bearer.as_str()), JSON];
    let native = format!("Bearer {api_key}");
    let native = [("authorization", native.as_str())];
    let cards = http::get(world.merchant_at, "/v1/cards", &native)
        .unwrap()
        .json();
    let path = format!(
        "/v2/cards/{}/pin?accountId=F50091&personId={}&cardholderVerificationMethod=OTP",
        string(&cards, "/cards/0/card_id"),
        string(&card(0), "/person_id"),
    );
    let body = json!({ "pin": SHORT }).to_string();
    let set = merchant.send("PUT", &path, &headers, &body).unwrap();
    assert_eq!(set.json()["pin"], SHORT, "{}", set.body);
    let told = merchant.send("GET", &path, &headers, "").unwrap();
    assert_eq!(told.json()["pin"], SHORT, "{}", told.body);
    // What callers with a bug do.
    for path in [
        format!("{path}&pin={LONG}"),
        format!("/v2/cards/{LONG}/pin?accountId={LONG}"),
    ] {
        for body in [
            format!("{{\"pin\":{LONG}}}"),
            format!("{{\"{LONG}\":\"{LONG}\"}}"),
        ] {
            assert!(merchant.send("PUT", &path, &headers, &body).is_some());
            assert!(merchant.send("GET", &path, &headers, "").is_some());
        }
    }
    let canaries = [
        ("PIN", LONG.to_owned()),
        ("PIN as JSON", format!("\"{LONG}\"")),
        ("PIN as JSON", format!("\"{SHORT}\"")),
    ];
    search(world.dir.path(), &canaries);
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    search(world.dir.path(), &canaries);
    let kinds: Vec<_> = world
        .audit()
        .iter()
        .map(|entry| string(entry, "/kind"))
        .collect();
    for kind in ["pin.set", "pin.released"] {
        assert!(kinds.iter().any(|known| known == kind), "{kinds:?}");
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// The Api-Key and secret of a credential that may set PINs and be told them.
fn writer(world: &World) -> (String, String) {
    let id = world.merchant.as_str();
    let may = ["--read-pins", "true", "--set-pins", "true"];
    let set = world.run(&[&["merchant", "set", id][..], &may].concat());
    assert!(set.status.success(), "{set:?}");
    let keys = world.json(&[
        "credential",
        "add",
        "--merchant",
        &world.merchant,
        "--allow-ip",
        "127.0.0.1/32",
        "--scope",
        "cards:read:any",
        "--scope",
        "pins:read",
        "--scope",
        "pins:set",
        "--json",
    ]);
    (string(&keys, "/api_key"), string(&keys, "/api_secret"))
}

/// The search would find it.
#[test]
fn a_planted_canary_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let trace = b"\0\x01pan=4111111111111111\xff pin 739046, 1739046, 830571a";
    std::fs::write(dir.path().join("trace"), trace).unwrap();
    for (what, canary, expected) in [
        ("card number", "4111111111111111", true),
        ("PIN", "739046", true),
        ("PIN", "830571", false),
        ("PIN", "258036", false),
    ] {
        let canaries = [(what, canary.to_owned())];
        let found = std::panic::catch_unwind(|| search(dir.path(), &canaries));
        assert_eq!(found.is_err(), expected, "{what} {canary}");
    }
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
                let found = places(&bytes, needle).any(|at| {
                    // Six digits inside a longer number or a UUID are there by chance.
                    let end = at + needle.len();
                    let beside = [at.checked_sub(1), Some(end)].map(|at| bytes.get(at?));
                    *what != "PIN" || !beside.into_iter().flatten().any(u8::is_ascii_hexdigit)
                });
                assert!(!found, "{} holds a {what}", file.display());
            }
        }
    }
}

fn places<'a>(bytes: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = bytes.windows(needle.len()).enumerate();
    windows
        .filter(move |(_, window)| *window == needle)
        .map(|(at, _)| at)
}

pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
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
