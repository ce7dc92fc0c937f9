//! Webhooks of the real binary: whenever it is killed, every event arrives, once or more, and those
//! of a card in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Connection};
use crate::world::{World, string};

/// How often the server is killed.
const KILLS: usize = 20;
/// How many changes of state come before each.
const CHANGES: usize = 6;
const CARDS: usize = 3;
/// Far longer than anything here takes: what is not there by then is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// A message as it came.
struct Got {
    id: String,
    card: String,
    to: String,
}

/// A receiver that answers 200, and hands on what it got before it does.
fn receiver() -> (String, Receiver<Got>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let (tell, got) = channel();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A connection that the killed server has left is none.
            let Some(message) = read(&connection) else {
                continue;
            };
            if tell.send(message).is_err() {
                return;
            }
            let _ = (&connection).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (url, got)
}

fn read(connection: &TcpStream) -> Option<Got> {
    let mut reader = BufReader::new(connection);
    let (mut length, mut id) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if let Some(value) = line.strip_prefix("webhook-id: ") {
            id = value.to_owned();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["type"], "card.state");
    Some(Got {
        id,
        card: string(&body, "/data/card_id"),
        to: string(&body, "/data/to"),
    })
}

/// What was heard, without what came again.
#[derive(Default)]
struct Heard {
    ids: BTreeSet<String>,
    states: BTreeMap<String, Vec<String>>,
}

impl Heard {
    fn take(&mut self, message: Got) {
        if self.ids.insert(message.id) {
            self.states
                .entry(message.card)
                .or_default()
                .push(message.to);
        }
    }
}

/// A key that may change cards.
fn key(world: &World) -> String {
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
        "cards:write:any",
        "--json",
    ]);
    string(&keys, "/api_key")
}

/// Every card's states after its changes, in the order of the audit log.
fn recorded(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in world.audit() {
        if entry["kind"] == "card.changed" {
            let card = string(&entry, "/target/card");
            states
                .entry(card)
                .or_default()
                .push(string(&entry, "/detail/to"));
        }
    }
    states
}

#[test]
fn every_event_arrives_in_order_however_often_the_server_is_killed() {
    let world = World::new(CARDS);
    let (url, got) = receiver();
    let merchant = world.merchant.clone();
    world.json(&[
        "webhook",
        "add",
        "--merchant",
        &merchant,
        "--url",
        &url,
        "--json",
    ]);
    let bearer = format!("Bearer {}", key(&world));
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let cards: Vec<String> = {
        let _server = world.serve();
        let listed = http::get(world.merchant_at, "/v1/cards", &headers).unwrap();
        let rows = listed.json()["cards"].as_array().unwrap().clone();
        rows.iter().map(|row| string(row, "/card_id")).collect()
    };
    assert_eq!(cards.len(), CARDS);

    let mut heard = Heard::default();
    for round in 0..KILLS {
        let mut server = world.serve();
        let mut connection = Connection::open(world.merchant_at).unwrap();
        for change in 0..CHANGES {
            let card = &cards[(round + change) % CARDS];
            for to in ["suspended", "active"] {
                let path = format!("/v1/cards/{card}/transitions");
                let body = json!({ "state": to }).to_string();
                let answer = connection.send("POST", &path, &headers, &body).unwrap();
                assert!(answer.status < 300, "{}", answer.body);
            }
        }
        // At another place of the stream each time: after so many messages of this life.
        for _ in 0..round % CHANGES {
            heard.take(got.recv_timeout(PATIENCE).unwrap());
        }
        server.0.kill().unwrap();
        server.0.wait().unwrap();
    }

    let _server = world.serve();
    let expected = recorded(&world);
    let total: usize = expected.values().map(Vec::len).sum();
    assert_eq!(total, KILLS * CHANGES * 2);
    while heard.ids.len() < total {
        heard.take(got.recv_timeout(PATIENCE).expect("an event is lost"));
    }
    assert_eq!(heard.states, expected);
    let log = world.json(&["webhook", "deliveries", "--state", "failed", "--json"]);
    assert_eq!(log, json!([]));
}
