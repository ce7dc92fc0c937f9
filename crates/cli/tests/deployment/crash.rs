//! Kill -9 under load (P1, P2).
//!
//! What counts as a failure: a token whose card two keys have got, before and after any number of
//! kills; an answer without its audit record; a token that its own key cannot fetch again after a
//! lost answer; an epoch that a kill alone has raised.
//! What does not: a request without an answer, whose outcome nobody knows until it is asked again.
//! What is nondeterministic: where the kill falls. That is the point; the rounds make up for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardveil_seal::hpke::holder::Holder;

use crate::http::Connection;
use crate::world::{World, opened, string};

/// `make verify LONG=1` kills a thousand times, over both stores.
const KILLS: usize = 40;
const CLIENTS: usize = 4;

/// What one token has been through.
#[derive(Default, Clone)]
struct History {
    /// For each of the two keys: whether it has ever got the card.
    got: [bool; 2],
}

#[test]
fn no_token_goes_to_a_second_key_however_often_the_server_is_killed() {
    let world = Arc::new(World::new(4));
    let holders = Arc::new([Holder::generate().unwrap(), Holder::generate().unwrap()]);
    let mut all: HashMap<String, History> = HashMap::new();
    let mut waits = waits();
    let (mut unknown, mut fetched_again) = (0, 0);
    for _ in 0..KILLS {
        let mut server = world.serve();
        let stop = Arc::new(AtomicBool::new(false));
        let round = Arc::new(Mutex::new(Vec::new()));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let (world, holders) = (Arc::clone(&world), Arc::clone(&holders));
                let (stop, round) = (Arc::clone(&stop), Arc::clone(&round));
                std::thread::spawn(move || load(&world, &holders, n, &stop, &round))
            })
            .collect();
        // The length of the load is what is varied, so it has to be waited for.
        std::thread::sleep(waits.next().unwrap());
        server.0.kill().unwrap();
        server.0.wait().unwrap();
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
        // Every token of the round is tried again by both keys, at once after the restart.
        let _server = world.serve();
        let mut connection = Connection::open(world.client_at).unwrap();
        for (token, mut history, lost) in round.lock().unwrap().drain(..) {
            for (n, holder) in holders.iter().enumerate() {
                let answer = world
                    .redeem(&mut connection, &token, holder, &["pan"])
                    .unwrap();
                if answer.status == 200 {
                    assert_eq!(opened(&answer, holder)["pan"], "4111111111111111");
                    fetched_again += usize::from(lost || history.got[n]);
                    history.got[n] = true;
                } else {
                    assert_eq!(answer.status, 403, "{}", answer.body);
                    assert!(!history.got[n], "its own key was refused what it had got");
                }
            }
            unknown += usize::from(lost);
            assert_ne!(
                history.got,
                [true, true],
                "two keys have got one token's card"
            );
            assert_ne!(history.got, [false, false], "a live token was lost");
            all.insert(token, history);
        }
    }
    check_audit(&world, &all);
    assert!(
        all.len() > KILLS,
        "the load was too thin: {} tokens",
        all.len()
    );
    println!(
        "{} tokens, {unknown} lost answers, {fetched_again} fetched again",
        all.len()
    );
}

/// Issues tokens and lets two keys race for each, until the server is gone.
fn load(
    world: &World,
    holders: &[Holder; 2],
    n: usize,
    stop: &AtomicBool,
    round: &Mutex<Vec<(String, History, bool)>>,
) {
    let (Some(mut merchant), Some(mut client)) = (
        Connection::open(world.merchant_at),
        Connection::open(world.client_at),
    ) else {
        return;
    };
    while !stop.load(Ordering::SeqCst) {
        let Some(token) = world.issue(&mut merchant, n % 4) else {
            return;
        };
        let mut history = History::default();
        let mut lost = false;
        for key in [n % 2, (n + 1) % 2] {
            match world.redeem(&mut client, &token, &holders[key], &["pan"]) {
                Some(answer) => history.got[key] = answer.status == 200,
                None => lost = true,
            }
        }
        assert_ne!(
            history.got,
            [true, true],
            "two keys have got one token's card"
        );
        round.lock().unwrap().push((token, history, lost));
    }
}

/// The log tells the same story: each release that was seen is in it, and per token one key only.
fn check_audit(world: &World, all: &HashMap<String, History>) {
    let entries = world.audit();
    let mut released: HashMap<String, Vec<String>> = HashMap::new();
    for entry in &entries {
        let kind = entry["kind"].as_str().unwrap();
        if kind == "reveal.released" || kind == "reveal.repeated" {
            let token = string(entry, "/target/token");
            let holder = string(entry, "/actor/holder");
            let holders = released.entry(token).or_default();
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
    }
    for token in all.keys() {
        let hash = hash_of(token);
        let holders = released
            .get(&hash)
            .unwrap_or_else(|| panic!("a release without a record"));
        assert_eq!(holders.len(), 1, "the log shows one token with two keys");
    }
    let raised = entries
        .iter()
        .filter(|entry| entry["kind"] == "epoch.raised")
        .count();
    assert_eq!(raised, 0, "a kill is no restore");
}

fn hash_of(token: &str) -> String {
    use cardveil_core::card::Environment;
    use cardveil_core::token::Unchecked;
    Unchecked::parse(token, Environment::Sandbox)
        .unwrap()
        .key()
        .hash
        .to_string()
}

/// Different every time within a round's reach: 5 to 60 ms, by a small linear congruence.
fn waits() -> impl Iterator<Item = Duration> {
    let mut state: u64 = 20_261_122;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros(5_000 + (state >> 33) % 55_000)
    })
}
