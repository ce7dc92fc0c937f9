//! What `serve` says on stderr: one shape, whoever says it.

use serde_json::Value;

use crate::http;
use crate::world::{World, text};

/// All lines. Each is an object and begins with when, how bad, and what.
fn lines(text: &str) -> Vec<Value> {
    let line = |line: &str| {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let members = parsed.as_object().unwrap();
        let first: Vec<_> = members.keys().take(3).map(String::as_str).collect();
        assert_eq!(first, ["time", "level", "message"], "{line}");
        let time = members["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        let level = members["level"].as_str().unwrap();
        assert!(["ERROR", "WARN", "INFO"].contains(&level), "{line}");
        parsed
    };
    text.lines().map(line).collect()
}

/// What `CARDVEIL_LOG` leaves out, or was written wrong, once ended the program without a word.
#[test]
fn why_it_ends_is_told_whatever_is_logged() {
    let world = World::new(0);
    let _taken = std::net::TcpListener::bind(world.admin_at).unwrap();
    for filter in ["off", "bogus", "cardveil_store=debug", "info"] {
        let serve = crate::world::binary(world.dir.path())
            .arg("serve")
            .env("CARDVEIL_LOG", filter)
            .output()
            .unwrap();
        assert_eq!(serve.status.code(), Some(1));
        let said = text(&serve.stderr);
        assert!(said.contains("another program"), "{filter}: {said}");
    }
}

#[test]
fn every_line_has_one_shape_and_the_start_says_what_runs() {
    let world = World::new(0);
    let mut server = world.serve_with(&[("CARDVEIL_LOG_PROBES", "false")]);
    for path in ["/healthz", "/nowhere", "/readyz"] {
        http::get(world.admin_at, path, &[]).unwrap();
    }
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.0.wait().unwrap().success());
    let said = std::fs::read_to_string(world.log()).unwrap();
    let said = lines(&said);
    let message = |line: &&Value| line["message"] == "cardveil serves";
    let start = said.iter().find(message).unwrap();
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(start["admin"], world.admin_at.to_string());
    assert_eq!(start["merchant"], world.merchant_at.to_string());
    assert_eq!(start["client"], world.client_at.to_string());
    assert_eq!(start["store"], "sqlite");
    assert!(start["database"].as_str().unwrap().ends_with("cardveil.db"));
    assert!(start["epoch"].is_u64(), "{start}");
    let requests = said.iter().filter(|line| line["message"] == "request");
    let asked: Vec<_> = requests.map(|line| &line["http.status"]).collect();
    assert!(
        !asked.is_empty() && asked.iter().all(|status| **status != 200),
        "{asked:?}"
    );
}

#[test]
fn an_error_at_the_start_is_a_line_with_its_hint() {
    let world = World::new(0);
    let config = world.dir.path().join("cardveil.toml");
    let text_of = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("colour = 1\n{text_of}")).unwrap();
    let run = world.run(&["serve"]);
    assert_eq!(run.status.code(), Some(1));
    let said = lines(&text(&run.stderr));
    let error = said.last().unwrap();
    assert_eq!(error["level"], "ERROR");
    assert!(
        error["message"].as_str().unwrap().contains("colour"),
        "{error}"
    );
    std::fs::write(&config, text_of).unwrap();
    let _taken = std::net::TcpListener::bind(world.admin_at).unwrap();
    let run = world.run(&["serve"]);
    let said = lines(&text(&run.stderr));
    let error = said.iter().find(|line| line["level"] == "ERROR").unwrap();
    assert!(error["hint"].as_str().unwrap().contains("port"), "{error}");
}
