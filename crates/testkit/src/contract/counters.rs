//! What every store must do with what nodes tell each other. A store of one node has nobody to tell
//! anything, and says so.

use cardveil_core::port::{Count, Heard, NodeId, ROUNDS_KEPT, Store, Told};

fn told(node: u8, round: i64, calls: u32) -> Told {
    let count = Count {
        limit: "credential".into(),
        caller: "crd_1".into(),
        calls,
    };
    Told {
        node: NodeId([node; 16]),
        round,
        counts: (calls > 0).then_some(count).into_iter().collect(),
    }
}

fn heard(rounds: &[(u8, i64)]) -> Heard {
    let rounds = rounds.iter();
    rounds
        .map(|(node, round)| (NodeId([*node; 16]), *round))
        .collect()
}

async fn exchange(store: &dyn Store, told: Told, rounds: &[(u8, i64)]) -> Option<Vec<Told>> {
    store.exchange(told, &heard(rounds)).await.unwrap()
}

/// Each node hears what each of the others has told, once, and nothing of its own.
pub(super) async fn what_a_node_tells_is_heard_once(store: &dyn Store) {
    let Some(first) = exchange(store, told(1, 1, 7), &[]).await else {
        return;
    };
    assert_eq!(first, []);
    let second = exchange(store, told(2, 1, 5), &[]).await;
    assert_eq!(second, Some(vec![told(1, 1, 7)]));
    let again = exchange(store, told(2, 2, 0), &[(1, 1)]).await;
    assert_eq!(again, Some(vec![]));
    assert_eq!(
        exchange(store, told(1, 2, 3), &[]).await,
        Some(vec![told(2, 1, 5)])
    );
    let third = exchange(store, told(3, 1, 0), &[(1, 1)]).await;
    assert_eq!(third, Some(vec![told(1, 2, 3), told(2, 1, 5)]));
    assert_eq!(
        exchange(store, told(1, 3, 0), &[(2, 1)]).await,
        Some(vec![])
    );
}

/// A node that nobody listens to fills nothing; the rounds of others stay.
pub(super) async fn only_the_last_rounds_of_a_node_are_kept(store: &dyn Store) {
    if exchange(store, told(1, 1, 1), &[]).await.is_none() {
        return;
    }
    let last = ROUNDS_KEPT + 3;
    for round in 1..=last {
        exchange(store, told(2, round, 1), &[(1, 1)]).await;
    }
    let kept: Vec<_> = (4..=last).map(|round| told(2, round, 1)).collect();
    assert_eq!(exchange(store, told(1, 2, 0), &[]).await, Some(kept));
    let mut others = exchange(store, told(3, 1, 0), &[(2, last - 1)])
        .await
        .unwrap();
    assert_eq!(others.pop(), Some(told(2, last, 1)));
    assert_eq!(others, [told(1, 1, 1)]);
    // A node that has stopped telling takes its rounds back, too.
    exchange(store, told(2, last + ROUNDS_KEPT, 0), &[]).await;
    assert_eq!(exchange(store, told(1, 3, 0), &[]).await, Some(vec![]));
}
