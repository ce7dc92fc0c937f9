//! One limit over several servers on one store. Exchanges are made by hand and the clock is turned
//! by hand.

use std::sync::Arc;
use std::time::Duration;

use cardveil_core::port::{Count, Counters as _, Heard, NodeId, Told};
use cardveil_server::{ListenerKind, Sharing};
use cardveil_testkit::Fault;
use serde_json::json;

use super::{limited, login, world};
use crate::actors::{Merchant, post};
use crate::world::{KEY, World};

/// A server and its part in the exchange, which has begun.
struct Node {
    world: World,
    sharing: Sharing,
}

impl Node {
    async fn new(world: World) -> Self {
        let mut sharing = Sharing::new(Arc::clone(&world.app));
        assert!(sharing.exchange().await);
        Self { world, sharing }
    }

    async fn code(&self, key: &str) -> String {
        login(&Merchant::new(&self.world, key)).await.code().1
    }

    async fn exchange(&mut self) {
        assert!(self.sharing.exchange().await);
    }
}

async fn pair(world: World) -> (Node, Node) {
    let other = world.beside();
    (Node::new(world).await, Node::new(other).await)
}

#[tokio::test]
async fn what_one_server_has_admitted_the_other_counts() {
    let (mut one, mut two) = pair(world(3, 0).await).await;
    for _ in 0..3 {
        assert_eq!(one.code(KEY).await, "0");
    }
    assert_eq!(one.code(KEY).await, "1009");
    one.exchange().await;
    two.exchange().await;
    assert_eq!(two.code(KEY).await, "1009", "it never called this one");
    two.exchange().await;
    one.exchange().await;
    one.world.clock.advance(Duration::from_millis(333));
    assert_eq!(two.code(KEY).await, "1009");
    one.world.clock.advance(Duration::from_millis(1));
    assert_eq!(two.code(KEY).await, "0", "nothing was counted twice");
    assert_eq!(one.code(KEY).await, "0", "the other has not told yet");
}

/// The bound: a burst each before they have told each other, and then no more than the rate.
#[tokio::test]
async fn what_was_admitted_too_much_is_waited_for() {
    let (mut one, mut two) = pair(world(4, 0).await).await;
    for node in [&one, &two] {
        for _ in 0..4 {
            assert_eq!(node.code(KEY).await, "0");
        }
        assert_eq!(node.code(KEY).await, "1009");
    }
    one.exchange().await;
    two.exchange().await;
    one.exchange().await;
    // Eight calls at four a second: the next is due when all but three are made up for.
    let mut waited = 0;
    while one.code(KEY).await == "1009" {
        assert_eq!(two.code(KEY).await, "1009");
        one.world.clock.advance(Duration::from_millis(50));
        waited += 50;
        one.exchange().await;
        two.exchange().await;
    }
    assert_eq!(waited, 1_250);
}

#[tokio::test]
async fn addresses_are_counted_over_all_servers_too() {
    let (mut one, mut two) = pair(limited(0, 2, 2).await).await;
    let statuses = async |world: &World| {
        let stranger = world.stranger();
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let asked = stranger.send(ListenerKind::Client, post("/client/v1/redeem", &json!({})));
            statuses.push(asked.await.status);
        }
        statuses
    };
    assert_eq!(statuses(&one.world).await, [400, 400]);
    assert_eq!(one.code("cvk_test_guessed").await, "1008");
    assert_eq!(one.code("cvk_test_guessed").await, "1008");
    one.exchange().await;
    two.exchange().await;
    assert_eq!(statuses(&two.world).await, [429, 429]);
    assert_eq!(two.code("cvk_test_guessed").await, "1009");
    assert_eq!(two.code(KEY).await, "0");
}

/// Without the store the limits are each server's own, and never none.
#[tokio::test]
async fn without_the_store_each_server_keeps_its_own_limits() {
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        let (mut one, mut two) = pair(world(2, 0).await).await;
        assert_eq!(one.code(KEY).await, "0");
        one.world.store.fail_next(fault);
        one.exchange().await;
        let failed = "cardveil_limit_exchanges_failed_total";
        assert_eq!(one.world.counted(failed).await, 1);
        two.world.store.fail_next(fault);
        two.exchange().await;
        for node in [&one, &two] {
            while node.code(KEY).await == "0" {}
            assert_eq!(node.code(KEY).await, "1009");
        }
        // It begins anew, and what was counted meanwhile stays each server's own.
        one.world.clock.advance(Duration::from_secs(1));
        one.exchange().await;
        two.exchange().await;
        assert_eq!(one.code(KEY).await, "0");
        assert_eq!(one.code(KEY).await, "0");
        one.exchange().await;
        two.exchange().await;
        assert_eq!(two.code(KEY).await, "1009");
        assert_eq!(one.world.counted(failed).await, 1);
    }
}

/// A server that was stopped for a while neither tells nor counts what is over.
#[tokio::test]
async fn what_is_late_is_not_counted() {
    for (late_ms, expected) in [(1_000, "1009"), (1_001, "1008")] {
        let (mut one, mut two) = pair(limited(0, 0, 2).await).await;
        assert_eq!(one.code("cvk_test_guessed").await, "1008");
        assert_eq!(one.code("cvk_test_guessed").await, "1008");
        one.exchange().await;
        two.world.clock.advance(Duration::from_millis(late_ms));
        two.exchange().await;
        assert_eq!(two.code("cvk_test_guessed").await, expected, "{late_ms}");
    }
    for (late_ms, expected) in [(1_000, "1009"), (1_001, "1008")] {
        let (mut one, mut two) = pair(limited(0, 0, 2).await).await;
        assert_eq!(one.code("cvk_test_guessed").await, "1008");
        assert_eq!(one.code("cvk_test_guessed").await, "1008");
        for _ in 0..2 {
            one.world.clock.advance(Duration::from_millis(late_ms / 2));
            two.exchange().await;
        }
        one.world.clock.advance(Duration::from_millis(late_ms % 2));
        one.exchange().await;
        two.exchange().await;
        assert_eq!(two.code("cvk_test_guessed").await, expected, "{late_ms}");
    }
}

/// A server that starts hears of nothing that was before it: all at once it would be too much.
#[tokio::test]
async fn a_new_server_begins_with_what_comes() {
    let (mut one, _two) = pair(world(2, 0).await).await;
    assert_eq!(one.code(KEY).await, "0");
    assert_eq!(one.code(KEY).await, "0");
    one.exchange().await;
    let mut new = Node::new(one.world.beside()).await;
    assert_eq!(new.code(KEY).await, "0");
    one.world.clock.advance(Duration::from_secs(1));
    new.exchange().await;
    assert_eq!(one.code(KEY).await, "0");
    one.exchange().await;
    new.exchange().await;
    assert_eq!(new.code(KEY).await, "0");
    assert_eq!(new.code(KEY).await, "1009");
}

/// What a node of another version tells does no harm.
#[tokio::test]
async fn what_is_not_understood_is_passed_over() {
    let mut one = Node::new(limited(2, 2, 2).await).await;
    let count = |limit: &str, caller: &str, calls| Count {
        limit: limit.into(),
        caller: caller.into(),
        calls,
    };
    let told = Told {
        node: NodeId([9; 16]),
        round: 1,
        counts: vec![
            count("of tomorrow", "crd_1", 9),
            count("address", "nowhere", 9),
            count("refused", "", 9),
            count("credential", "crd_of_nobody", u32::MAX),
            count("credential", "crd_of_nobody", u32::MAX),
        ],
    };
    let store = &one.world.store;
    store.exchange(told, &Heard::new()).await.unwrap();
    one.exchange().await;
    assert_eq!(one.code(KEY).await, "0");
    assert_eq!(one.code("cvk_test_guessed").await, "1008");
}
