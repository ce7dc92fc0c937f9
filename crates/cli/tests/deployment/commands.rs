//! Every command in its documented form: what `--json` prints, what an error looks like, and what
//! is asked before it is done. The commands are those of the table in
//! `docs/reference/command-line.md`, which a test of the binary holds against the command itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Output, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::world::{World, binary, card, said, string, text};

pub(crate) const DOCS: &str = include_str!("../../../../docs/reference/command-line.md");
const PERSON: &str = "775596ae-2624-40af-a9dc-9756110a4a04";

/// The commands of the docs.
pub(crate) fn documented() -> BTreeSet<String> {
    let table = DOCS.split("## Commands").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').unwrap().0.to_owned())
        .collect()
}

/// The commands whose stdout is no document, and why.
const OF_A_FORM_OF_THEIR_OWN: [(&str, &str); 3] = [
    ("serve", "it serves, and writes its log"),
    (
        "demo",
        "it serves: `serve_refuses_the_demos_database` reads its line",
    ),
    ("audit export", "a line of JSON an entry, whoever reads it"),
];

/// Runs commands with `--json`, and remembers which.
struct Json<'a> {
    world: &'a World,
    ran: BTreeSet<String>,
}

impl Json<'_> {
    /// What a command prints: one document, and objects on stderr.
    fn prints(&mut self, command: &str, args: &[&str], stdin: &str) -> Value {
        let run = self.run(command, args, stdin);
        assert!(run.status.success(), "{command}: {}", text(&run.stderr));
        said(&run);
        let document: Value = serde_json::from_slice(&run.stdout)
            .unwrap_or_else(|error| panic!("{command}: {error}: {}", text(&run.stdout)));
        assert!(document.is_object() || document.is_array(), "{command}");
        document
    }

    fn of_merchant(&mut self, command: &str, more: &[&str]) -> Value {
        let world = self.world;
        self.prints(
            command,
            &[&["--merchant", &world.merchant], more].concat(),
            "",
        )
    }

    fn at(&self, name: &str) -> String {
        self.world.dir.path().join(name).display().to_string()
    }

    fn run(&mut self, command: &str, args: &[&str], stdin: &str) -> Output {
        self.ran.insert(command.to_owned());
        let words = command.split(' ').chain(args.iter().copied());
        let words: Vec<_> = words.chain(["--json"]).collect();
        self.world.feed(&words, stdin)
    }
}

#[test]
fn every_command_that_prints_has_json_of_one_form() {
    let world = World::new(2);
    let mut server = world.serve();
    let mut json = Json {
        world: &world,
        ran: BTreeSet::new(),
    };
    partners(&mut json);
    cards(&mut json);
    outside(&mut json);
    keys_and_log(&mut json);
    let mut epoch = |command: &str| json.prints(command, &[], "")["epoch"].as_u64().unwrap();
    assert!(epoch("epoch show") < epoch("epoch raise"));
    json.prints("backup", &[&json.at("backup")], "");
    json.prints("help", &["keys"], "");
    json.prints("completions", &["zsh"], "");
    json.prints("man", &[&json.at("man")], "");
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    json.prints("restore", &[&json.at("backup"), "--replace"], "");

    let others = OF_A_FORM_OF_THEIR_OWN.map(|(command, _)| command.to_owned());
    let all = documented();
    let left = all.difference(&json.ran);
    let left: Vec<_> = left.filter(|command| !others.contains(command)).collect();
    assert!(left.is_empty(), "{left:?} print what nobody has read");
}

fn partners(json: &mut Json<'_>) {
    let made = json.prints("init", &["--dir", &json.at("another")], "");
    assert!(string(&made, "/config").ends_with("another/cardveil.toml"));
    json.prints("migrate", &[], "");
    assert_eq!(json.prints("healthcheck", &[], "")["ready"], true);
    assert!(json.prints("doctor", &[], "")[0]["ok"].is_boolean());

    let id = string(&json.prints("merchant add", &["--name", "B"], ""), "/id");
    json.prints("merchant list", &[], "");
    json.prints("merchant show", &[&id], "");
    let set = json.prints("merchant set", &[&id, "--name", "C"], "");
    assert_eq!(set["name"], "C", "what was changed is told as it is now");

    let added = json.of_merchant("credential add", &["--allow-ip", "127.0.0.1"]);
    let id = string(&added, "/id");
    json.prints("credential list", &[], "");
    let shown = json.prints("credential show", &[&id], "").to_string();
    assert!(!shown.contains(&string(&added, "/api_secret")), "{shown}");
    json.prints("credential rotate", &[&id], "");
    let set = json.prints("credential set", &[&id, "--enabled", "false"], "");
    assert_eq!(set["state"], "disabled");

    let origin = ["--origin", "https://shop.example"];
    let id = string(&json.of_merchant("embed add", &origin), "/id");
    json.prints("embed list", &[], "");
    json.prints("embed show", &[&id], "");
    let set = json.prints("embed set", &[&id, "--enabled", "false"], "");
    assert_eq!(set["enabled"], false);
}

fn cards(json: &mut Json<'_>) {
    let of = ["--merchant", &json.world.merchant];
    json.prints("card add", &of, &card(7).to_string());
    let import = [&["-", "--form", "jsonl"], &of[..]].concat();
    json.prints("card import", &import, &card(8).to_string());
    assert_eq!(
        json.of_merchant("card list", &[]).as_array().unwrap().len(),
        4
    );
    json.of_merchant("card show", &["C7"]);
    let set = json.of_merchant("card set", &["C7", "--state", "terminated"]);
    assert_eq!(set["state"], "terminated");
    assert_eq!(json.of_merchant("card remove", &["C7"])["removed"], "C7");

    let whose = ["--person", PERSON];
    let enrolled = json.of_merchant("mfa enrol", &whose);
    let code = crate::mfa::code(&string(&enrolled, "/secret"));
    let confirm = [&of[..], &whose, &["--code", &code]].concat();
    assert_eq!(json.prints("mfa confirm", &confirm, "")["app"], "confirmed");
    for command in [
        "mfa show",
        "mfa reset",
        "mfa remove",
        "budget show",
        "budget reset",
    ] {
        json.of_merchant(command, &whose);
    }

    assert_eq!(json.prints("wallet-token list", &[], "").to_string(), "[]");
    let unknown = [
        "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
        "--state",
        "SUSPENDED",
    ];
    let refused = json.run("wallet-token set", &[&unknown[..], &of].concat(), "");
    assert!(said(&refused).contains("hint: "), "there is none to be set");
}

fn outside(json: &mut Json<'_>) {
    let url = ["--url", "https://a.example/"];
    let id = string(&json.of_merchant("webhook add", &url), "/id");
    json.prints("webhook list", &[], "");
    json.prints("webhook show", &[&id], "");
    json.prints("webhook set", &[&id, "--topic", "card.state"], "");
    json.of_merchant("card set", &["C0", "--state", "suspended"]);
    let waiting = json.prints("webhook deliveries", &[], "");
    json.prints("webhook replay", &[&string(&waiting, "/0/id")], "");
    assert_eq!(
        json.prints("webhook remove", &[&id], "")["removed"],
        id.as_str()
    );

    json.of_merchant("token revoke", &[]);
    json.prints("manifest key", &[], "");
    let client = format!("http://{}", json.world.client_at);
    let probed = json.run("probe", &[&client, "--embed", &json.world.embed], "");
    let probed: Value = serde_json::from_slice(&probed.stdout).unwrap();
    assert!(probed["findings"].is_array());
    assert_eq!(json.prints("openapi", &[], "")["openapi"], "3.1.0");
}

fn keys_and_log(json: &mut Json<'_>) {
    json.prints("key rotate", &["--class", "pan"], "");
    json.prints("key rewrap", &[], "");
    json.prints("key list", &[], "");
    json.prints("key inventory", &[], "");
    let components = "0123456789ABCDEF0123456789ABCDEF\n0101010101010101FEFEFEFEFEFEFEFE\n";
    json.prints("key import-cvk", &["--expiry", "yymm"], components);
    json.prints("key cvks", &[], "");
    let split = [
        "--shares",
        "3",
        "--threshold",
        "2",
        "--out",
        &json.at("shares"),
    ];
    json.prints("key split", &split, "");
    json.ran.insert("key create-root".to_owned());
    let made = binary(json.world.dir.path())
        .args(["key", "create-root", "--json"])
        .env("CARDVEIL_KEYS_NEXT_ROOT", "next/root.key")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    json.prints("key retire", &["--class", "pan", "--version", "1"], "");

    assert_eq!(
        json.prints("audit tail", &["-n", "3"], "")
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(json.prints("audit verify", &[], "")["ok"], true);
    let rows = json.prints("audit verify", &["--rows"], "");
    assert_eq!(
        rows.pointer("/rows/altered"),
        Some(&Value::Array(Vec::new()))
    );
    let merchant = ["merchant", &*json.world.merchant];
    assert_eq!(json.prints("audit row", &merchant, "")["mac"], "right");
    json.prints("audit accept", &[&merchant[..], &["--yes"]].concat(), "");
    json.prints("audit key", &[], "");
    json.prints("audit sink list", &[], "");
}

#[test]
fn an_error_is_one_line_of_json_with_its_hint() {
    let world = World::new(0);
    let error = |args: &[&str]| -> Value {
        let run = world.run(args);
        assert!(!run.status.success());
        assert_eq!(text(&run.stdout), "", "{args:?}");
        serde_json::from_slice(&run.stderr).unwrap()
    };
    let missing = error(&["--json", "merchant", "show", "mer_none"]);
    assert_eq!(missing["level"], "ERROR");
    assert_eq!(missing["message"], "there is no such merchant");
    let hint = "`cardveil merchant list` shows what there is";
    assert_eq!(missing["hint"], hint);
    assert!(string(&missing, "/time").ends_with('Z'));
    // clap's words too, though the arguments could not be read as a whole.
    let wrong = error(&["merchant", "list", "--json", "--surprise"]);
    assert_eq!(wrong["message"], "unexpected argument '--surprise' found");
    assert!(string(&wrong, "/hint").contains("Usage: cardveil merchant list"));
    let lacking = error(&["merchant", "add", "--json"]);
    assert!(string(&lacking, "/message").contains("--name <NAME>"));
    // What is not data is an object a line as well.
    let run = world.run(&["key", "rotate", "--class", "pan", "--json"]);
    assert_eq!(said(&run).lines().last(), Some("next: cardveil key rewrap"));
}

/// What the docs say is asked about, each with arguments at which it would be.
fn asked<'a>(world: &'a World, webhook: &'a str) -> Vec<(&'static str, Vec<&'a str>)> {
    let of = ["--merchant", world.merchant.as_str()];
    let with = |more: &[&'a str]| [&of[..], more].concat();
    let token = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd";
    vec![
        ("mfa enrol", with(&["--person", PERSON])),
        ("mfa remove", with(&["--person", PERSON])),
        ("card set", with(&["C0", "--state", "terminated"])),
        ("card remove", with(&["C0"])),
        ("webhook remove", vec![webhook]),
        ("wallet-token set", with(&[token, "--state", "TERMINATED"])),
        ("token revoke", of.to_vec()),
        ("key retire", vec!["--class", "pan", "--version", "1"]),
        ("epoch raise", vec![]),
    ]
}

#[test]
fn what_cannot_be_undone_is_asked_about_on_a_terminal() {
    let world = World::new(1);
    let merchant = world.merchant.as_str();
    let of = ["--merchant", merchant];
    let add = ["webhook", "add", "--url", "https://a.example/", "--json"];
    let webhook = string(&world.json(&[&add[..], &of].concat()), "/id");
    let enrol = ["mfa", "enrol", "--person", PERSON, "--json"];
    let secret = string(&world.json(&[&enrol[..], &of].concat()), "/secret");
    let code = crate::mfa::code(&secret);
    let confirm = ["mfa", "confirm", "--person", PERSON, "--code", &code];
    assert!(world.run(&[&confirm[..], &of].concat()).status.success());
    assert!(
        world
            .run(&["key", "rotate", "--class", "pan"])
            .status
            .success()
    );
    assert!(world.run(&["key", "rewrap"]).status.success());
    let asked = asked(&world, &webhook);

    let before = world.audit();
    for (command, args) in &asked {
        let words: Vec<_> = command.split(' ').chain(args.iter().copied()).collect();
        for no in ["n\n", "\n", "maybe\n"] {
            let (run, screen) = on_a_terminal(&world, &words, no);
            assert_eq!(run.code(), Some(1), "{command}: {screen}");
            assert!(
                screen.contains("cannot be undone. Go on? [y/N]"),
                "{command}: {screen}"
            );
            assert!(screen.contains("nothing was done"), "{command}: {screen}");
        }
    }
    // Whoever reads the log is on record.
    assert_eq!(world.audit().len(), before.len() + 1);

    for (command, args) in &asked {
        let mut words: Vec<_> = command.split(' ').chain(args.iter().copied()).collect();
        words.push("--yes");
        let (run, screen) = on_a_terminal(&world, &words, "");
        assert!(!screen.contains("[y/N]"), "{command}: {screen}");
        // There is no token of a wallet, and what is not there is told after the question.
        assert_eq!(
            run.success(),
            *command != "wallet-token set",
            "{command}: {screen}"
        );
    }
    let (run, screen) = on_a_terminal(&world, &["epoch", "raise"], "yes\n");
    assert!(run.success(), "{screen}");
    // Where nobody can answer, it goes on.
    let run = world.run(&["epoch", "raise"]);
    assert!(run.status.success());
    assert_eq!(text(&run.stderr), "");

    let documented: BTreeSet<_> = asking().collect();
    let tried = asked.iter().map(|(command, _)| (*command).to_owned());
    // Asked before anything is looked at, and tried with PostgreSQL by nobody at a terminal.
    let tried = tried.chain(["migrate".to_owned()]);
    assert_eq!(documented, tried.collect());
}

/// The commands that the docs mark.
fn asking() -> impl Iterator<Item = String> {
    let table = DOCS.split("## Commands").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let marked = rows.filter(|row| row.split('|').next().unwrap().contains('⚠'));
    marked.map(|row| row.split_once('`').unwrap().0.to_owned())
}

/// Runs a command on a terminal where this is typed; how it ended, and what was to be seen.
fn on_a_terminal(world: &World, args: &[&str], typed: &str) -> (std::process::ExitStatus, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let open = || {
        let theirs = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap());
        Stdio::from(theirs.unwrap())
    };
    let mut child = binary(world.dir.path())
        .args(args)
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).unwrap();
    let mut screen = Vec::new();
    // Linux ends a terminal that nobody has open any more with an error (EIO).
    let _ = ours.read_to_end(&mut screen);
    (child.wait().unwrap(), text(&screen))
}

#[test]
fn the_program_completes_itself_and_has_a_page_for_each_command() {
    let world = World::new(0);
    let script = world.dir.path().join("complete.bash");
    let made = world.run(&["completions", "bash"]);
    std::fs::write(&script, made.stdout).unwrap();
    let completed = |words: &[&str]| {
        let line = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                    _cardveil cardveil \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[@]}\"";
        let run = std::process::Command::new("bash")
            .args(["-c", line, script.to_str().unwrap()])
            .args(words)
            .output()
            .unwrap();
        assert!(run.stderr.is_empty(), "{}", text(&run.stderr));
        text(&run.stdout).trim().to_owned()
    };
    assert_eq!(completed(&["cardveil", "merch"]), "merchant");
    assert_eq!(completed(&["cardveil", "key", "re"]), "rewrap retire");
    assert_eq!(completed(&["cardveil", "epoch", "raise", "--y"]), "--yes");

    let man = world.dir.path().join("man1");
    let written = world.run(&["man", man.to_str().unwrap()]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let page = |command: &str| {
        let name = format!("{}.1", command.replace(' ', "-"));
        std::fs::read_to_string(man.join(&name)).unwrap_or_else(|_| panic!("{name}"))
    };
    for command in documented() {
        let page = page(&format!("cardveil {command}"));
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
        // Of whoever writes them, a page tells nothing.
        assert!(
            !page.contains(world.dir.path().to_str().unwrap()),
            "{command}"
        );
    }
    assert!(page("cardveil").contains("Exit codes: 0 done"));
}

#[test]
fn a_page_is_there_without_the_repository() {
    let world = World::new(0);
    let tls = world.run(&["help", "postgresql", "tls", "to", "postgresql"]);
    assert!(text(&tls.stdout).starts_with("## TLS to PostgreSQL\n"));
    let add = world.run(&["help", "merchant", "add"]);
    assert!(text(&add.stdout).contains("Usage: cardveil merchant add"));
    for wrong in [&["help", "surprise"][..], &["help", "keys", "surprise"]] {
        let run = world.run(wrong);
        assert_eq!(run.status.code(), Some(2));
        assert!(
            text(&run.stderr).contains("hint: "),
            "{}",
            text(&run.stderr)
        );
    }
}

#[test]
fn what_a_demo_says_is_json_too() {
    let world = World::new(0);
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = world.run(&["demo", "--json", "--port-base", &port]);
    assert_eq!(run.status.code(), Some(1));
    assert!(said(&run).contains("hint: another demo may be running"));
    let run = world.run(&["demo", "--port-base", &port]);
    assert!(text(&run.stderr).starts_with("error: cannot listen on"));
}
