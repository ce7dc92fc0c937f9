//! The audit log's sinks, on the real binary: what a kill leaves, and what operators see.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::http::{self, Connection};
use crate::world::{Server, World, text};

fn file(world: &World) -> PathBuf {
    world.dir.path().join("audit.jsonl")
}

fn serve(world: &World) -> Server {
    let sinks = format!(
        "[{{ name = \"siem\", file = {:?}, required = true }}]",
        file(world)
    );
    world.serve_with(&[("CARDVEIL_AUDIT_SINK", &sinks)])
}

/// Killed in the stream three times; then every entry is in the file once, in order, and verifies.
#[test]
fn a_kill_loses_no_entry_of_a_file_and_repeats_none() {
    let world = World::new(1);
    for _ in 0..3 {
        let server = serve(&world);
        let mut connection = Connection::open(world.merchant_at).unwrap();
        for _ in 0..150 {
            assert!(world.issue(&mut connection, 0).is_some());
        }
        // SIGKILL.
        drop(server);
    }
    let mut server = serve(&world);
    // The killed one's lease has to end. Nothing tells that it has but the figures.
    let caught_up = "cardveil_audit_sink_lag_entries{sink=\"siem\"} 0\n";
    while !http::get(world.admin_at, "/metrics", &[]).is_some_and(|m| m.body.contains(caught_up)) {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.0.wait().unwrap().success());

    let written = std::fs::read_to_string(file(&world)).unwrap();
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let log = world.audit();
    assert_eq!(lines[..], log[..lines.len()], "as an export has it");
    let stopped = log
        .iter()
        .rposition(|entry| entry["kind"] == "server.stopped");
    assert!(
        lines.len() > stopped.unwrap(),
        "what the end itself writes, too"
    );
    let path = file(&world);
    let run = world.run(&[
        "audit",
        "verify",
        "--json",
        "--from",
        path.to_str().unwrap(),
    ]);
    assert!(run.status.success(), "{}", text(&run.stdout));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["entries"].as_u64(), Some(lines.len() as u64));
    assert_eq!(report["doubles"], 0);

    // What operators see, with the sink in the configuration's file.
    let config = world.dir.path().join("cardveil.toml");
    let mut settings = std::fs::read_to_string(&config).unwrap();
    settings.push_str("\n[[audit.sink]]\nname = \"siem\"\nfile = \"audit.jsonl\"\n");
    std::fs::write(&config, settings).unwrap();
    let listed = world.json(&["audit", "sink", "list", "--json"]);
    assert_eq!(listed[0]["place"].as_u64(), Some(lines.len() as u64));
    assert_eq!(listed[0]["error"], Value::Null);
    assert!(
        listed[0]["lag_entries"].as_u64().unwrap() >= 1,
        "the reading"
    );
    let words = world.run(&["audit", "sink", "list"]);
    assert!(text(&words.stdout).contains("siem"), "{words:?}");
    let doctor = world.run(&["doctor"]);
    assert!(text(&doctor.stdout).contains("audit sink"), "{doctor:?}");
}

/// What a syslog receiver read, in the order in which connections ended.
struct Soc(Arc<Mutex<Vec<String>>>);

impl Soc {
    /// It reads each connection to its end, in a thread that nobody waits for.
    fn new(listener: TcpListener) -> Self {
        let got = Self(Arc::default());
        let all = Arc::clone(&got.0);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut bytes = Vec::new();
                let _ = stream.unwrap().read_to_end(&mut bytes);
                all.lock().unwrap().extend(entries(&bytes));
            }
        });
        got
    }
}

/// The entries in the whole messages among these bytes.
fn entries(bytes: &[u8]) -> Vec<String> {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let length: usize = text(&rest[..space]).parse().unwrap();
        let Some(message) = rest.get(space + 1..=space + length) else {
            break;
        };
        let message = text(message);
        entries.push(message[message.find('{').unwrap()..].to_owned());
        rest = &rest[space + 1 + length..];
    }
    entries
}

/// Killed in the stream three times; then the receiver has every entry, in order, and what a kill
/// had it read twice is known as that.
#[test]
fn a_kill_loses_no_entry_of_a_syslog_receiver() {
    let world = World::new(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let sinks = format!("[{{ name = \"soc\", syslog = \"{address}\", required = true }}]");
    let serve = || world.serve_with(&[("CARDVEIL_AUDIT_SINK", &sinks)]);
    let soc = Soc::new(listener);
    for _ in 0..3 {
        let server = serve();
        let mut connection = Connection::open(world.merchant_at).unwrap();
        for _ in 0..150 {
            assert!(world.issue(&mut connection, 0).is_some());
        }
        // SIGKILL.
        drop(server);
    }
    let mut server = serve();
    let caught_up = "cardveil_audit_sink_lag_entries{sink=\"soc\"} 0\n";
    while !http::get(world.admin_at, "/metrics", &[]).is_some_and(|m| m.body.contains(caught_up)) {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.0.wait().unwrap().success());

    let got = soc.0.lock().unwrap().clone();
    let path = file(&world);
    std::fs::write(&path, got.join("\n") + "\n").unwrap();
    let from = path.to_str().unwrap();
    let run = world.run(&["audit", "verify", "--json", "--from", from]);
    assert!(run.status.success(), "{}", text(&run.stdout));
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let log = world.audit();
    let stopped = log
        .iter()
        .rposition(|entry| entry["kind"] == "server.stopped");
    let doubles = usize::try_from(report["doubles"].as_u64().unwrap()).unwrap();
    let mut once: Vec<Value> = Vec::new();
    for line in &got {
        let entry = serde_json::from_str(line).unwrap();
        if !once.contains(&entry) {
            once.push(entry);
        }
    }
    assert_eq!(once[..], log[..once.len()], "as an export has it");
    assert_eq!(once.len() + doubles, got.len());
    assert!(
        once.len() > stopped.unwrap(),
        "what the end itself writes, too"
    );

    // What operators see, with the sink in the configuration's file.
    let config = world.dir.path().join("cardveil.toml");
    let mut settings = std::fs::read_to_string(&config).unwrap();
    let more = format!("\n[[audit.sink]]\nname = \"soc\"\nsyslog = \"{address}\"\n");
    settings.push_str(&more);
    std::fs::write(&config, settings).unwrap();
    let listed = world.json(&["audit", "sink", "list", "--json"]);
    let expected = ("syslog", address.as_str());
    let shown = (&listed[0]["kind"], &listed[0]["target"]);
    assert_eq!(
        (shown.0.as_str().unwrap(), shown.1.as_str().unwrap()),
        expected
    );
}

/// Whether a receiver keeps what it reads cannot be seen from here. It is told until somebody has
/// looked.
#[test]
fn what_nobody_said_of_a_receivers_framing_is_told_logstash_input_syslog_65_fluent_bit_10910() {
    let world = World::new(0);
    let config = world.dir.path().join("cardveil.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let sink = "[[audit.sink]]\nname = \"soc\"\nsyslog = \"tcp://127.0.0.1:9\"";
    for (framing, told) in [("framing = \"octet_counting\"", false), ("", true)] {
        std::fs::write(&config, format!("{before}\n{sink}\n{framing}\n")).unwrap();
        let found = text(&world.run(&["doctor"]).stdout);
        let line = "audit framing   soc is taken to count lengths";
        assert_eq!(found.contains(line), told, "{found}");
        drop(world.serve());
        let log = std::fs::read_to_string(world.log()).unwrap();
        assert_eq!(log.contains("is taken to count lengths"), told, "{log}");
    }
}
