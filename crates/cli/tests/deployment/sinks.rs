//! The audit log's sinks, on the real binary: what a kill leaves, and what operators see.

use std::path::PathBuf;

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
