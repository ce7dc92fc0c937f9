//! `cardveil mfa`, as an operator uses it: from an enrolment to its end.

use std::fs::File;
use std::io::Read as _;
use std::process::{Output, Stdio};

use cardveil_seal::{Secret, totp};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::published::now_ms;
use crate::world::{World, binary, string, text};

const PERSON: &str = "775596ae-2624-40af-a9dc-9756110a4a04";

fn mfa(world: &World, verb: &str, more: &[&str]) -> Output {
    world.run(&args(world, verb, more))
}

fn args<'a>(world: &'a World, verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["mfa", verb, "--merchant", &world.merchant];
    args.extend(["--person", PERSON]);
    args.extend(more);
    args
}

fn shown(world: &World) -> serde_json::Value {
    let args = args(world, "show", &["--json"]);
    world.json(&args)
}

/// RFC 4648 section 6, which is how apps are given a secret.
fn base32(text: &str) -> Secret {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = alphabet.iter().position(|known| *known == letter).unwrap();
        bits = (bits << 5) | u32::try_from(value).unwrap();
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    Secret::new(bytes)
}

/// The present code of an app with this secret.
pub(crate) fn code(secret: &str) -> String {
    let now: u64 = now_ms().parse().unwrap();
    let code = totp::code(&base32(secret), now / 1_000 / totp::STEP_SECS);
    text(code.expose())
}

#[test]
fn an_app_is_enrolled_confirmed_shown_reset_and_taken_away() {
    let world = World::new(1);
    let unknown = mfa(&world, "show", &[]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("hint: "));

    let args_json = args(&world, "enrol", &["--json"]);
    let run = world.run(&args_json);
    assert_eq!(text(&run.stderr), "", "the JSON is all that it says");
    let enrolled: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let secret = string(&enrolled, "/secret");
    let uri = string(&enrolled, "/uri");
    assert!(
        uri.starts_with("otpauth://totp/Shop:") && uri.contains(&secret),
        "{uri}"
    );
    assert_eq!(shown(&world)["app"], "unconfirmed");

    let wrong = mfa(&world, "confirm", &["--code", "12345"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("the code is not the app's"));
    let confirmed = world.feed(
        &args(&world, "confirm", &[]),
        &format!("{}\n", code(&secret)),
    );
    assert!(confirmed.status.success(), "{}", text(&confirmed.stderr));
    let expected = json!({
        "merchant": world.merchant, "person": PERSON, "app": "confirmed", "locked": false,
        "wrong_codes": 1, "paused_until": null,
    });
    assert_eq!(shown(&world), expected);
    let again = mfa(&world, "confirm", &["--code", &code(&secret)]);
    assert_eq!(again.status.code(), Some(1), "it is confirmed already");

    for verb in ["reset", "remove"] {
        let run = mfa(&world, verb, &[]);
        assert!(run.status.success(), "{verb}: {}", text(&run.stderr));
    }
    assert_eq!(shown(&world)["wrong_codes"], 0);
    assert_eq!(shown(&world)["app"], "none");
    let kinds: Vec<_> = world
        .audit()
        .iter()
        .map(|entry| string(entry, "/kind"))
        .filter(|kind| kind.starts_with("mfa."))
        .collect();
    assert_eq!(
        kinds,
        [
            "mfa.enrolled",
            "mfa.refused",
            "mfa.confirmed",
            "mfa.reset",
            "mfa.removed"
        ]
    );
    let audit = serde_json::to_string(&world.audit()).unwrap();
    assert!(!audit.contains(&secret));
}

/// What `cardveil mfa enrol` says on a terminal.
fn on_a_terminal(world: &World, more: &[&str]) -> (String, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap());
    let child = binary(world.dir.path())
        .args(args(world, "enrol", more))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(theirs.unwrap())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    // Linux ends a terminal that nobody has open any more with an error (EIO).
    let _ = File::from(ours).read_to_end(&mut said);
    let run = child.wait_with_output().unwrap();
    assert!(run.status.success());
    (text(&said), text(&run.stdout))
}

#[test]
fn a_qr_code_is_drawn_on_a_terminal_and_nowhere_else() {
    let world = World::new(0);
    let (said, printed) = on_a_terminal(&world, &[]);
    assert!(said.contains('█'), "{said}");
    assert!(said.contains("\x1b[38;5;16;48;5;231m"), "{said}");
    assert!(printed.starts_with("otpauth://"), "{printed}");
    assert_eq!(printed.lines().count(), 1);
    let (said, printed) = on_a_terminal(&world, &["--json"]);
    assert_eq!(said, "");
    assert!(printed.starts_with('{'), "{printed}");
    let piped = mfa(&world, "enrol", &[]);
    assert!(!text(&piped.stderr).contains('█'));
    assert!(text(&piped.stdout).starts_with("otpauth://"));
}
