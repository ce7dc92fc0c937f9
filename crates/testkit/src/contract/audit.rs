//! The audit log: append, read in order, and as a chain.

use futures_util::future::join_all;

use super::{START, after, with_merchant, with_token};
use crate::sample;
use cardveil_core::audit::Kind;
use cardveil_core::audit::chain::{Chained, Link, Verifier};
use cardveil_core::card::Field;
use cardveil_core::id::ChainId;
use cardveil_core::port::Store;
use cardveil_core::verb::{Commit, RaiseEpoch, RecordCheckpoint, RecordEvent};

/// The whole log, found good.
async fn verified(store: &dyn Store) -> Vec<Chained> {
    let log = store.chained(0, 10_000).await.unwrap();
    let mut verifier = Verifier::whole(Vec::new());
    for entry in &log {
        verifier.look(entry).unwrap();
    }
    assert_eq!(store.chain_end().await.unwrap().as_ref(), log.last());
    log
}

/// Whichever verb wrote them; and what is chained is what is read.
pub(super) async fn every_entry_is_chained_to_the_one_before(store: &dyn Store) {
    let before = verified(store).await.len();
    let (record, _) = with_token(store).await;
    let claim = sample::claim(&record, 1, &[Field::Pan], START);
    store.commit(claim).await.unwrap();
    let other = sample::claim(&record, 2, &[Field::Pan], START);
    store.commit(other).await.unwrap();
    let raised = sample::event(Kind::EpochRaised, START);
    store.commit(RaiseEpoch(raised)).await.unwrap();
    let log = verified(store).await;
    assert!(log.len() >= before + 8, "{}", log.len());
    let read = store.entries(0, 10_000).await.unwrap();
    assert_eq!(read.len(), log.len());
    for (entry, chained) in read.iter().zip(&log) {
        assert_eq!(chained.event().as_ref(), Some(&entry.event));
        assert_eq!(chained.seq, entry.seq);
        assert!(chained.stored.starts_with("{\"form\":2,"), "{chained:?}");
    }
    let first = &log[0];
    let start = Link::start(first.link.chain);
    assert_eq!(start.next(first.stored.as_bytes()), first.link);
    let pages = [
        store.chained(0, 3).await.unwrap(),
        store.chained(log[2].seq, 10_000).await.unwrap(),
    ];
    assert_eq!(pages.concat(), log, "in pages");
}

/// A claim's address, an operator's name: in the chain are commitments, beside it the values.
pub(super) async fn personal_values_stand_beside_the_chain(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let claim = sample::claim(&record, 1, &[Field::Pan], START);
    store.commit(claim).await.unwrap();
    let mut read = sample::event(Kind::AuditRead, START);
    read.actor = sample::operator().actor;
    store.commit(RecordEvent(read.clone())).await.unwrap();
    let log = verified(store).await;
    for (name, member) in [("192.0.2.7", "ip"), ("tester", "operator")] {
        let quoted = format!("\"{name}\"");
        assert!(log.iter().all(|entry| !entry.stored.contains(&quoted)));
        let named = format!("\"{member}\":[");
        let beside = |entry: &&Chained| {
            let personal = entry.personal.as_deref().unwrap_or_default();
            personal.contains(&named) && personal.contains(&quoted)
        };
        assert!(log.iter().any(|entry| beside(&entry)), "{name}");
    }
    assert_eq!(log.last().unwrap().event(), Some(read), "read with them");
    let salts: Vec<_> = log
        .iter()
        .filter_map(|entry| entry.personal.clone())
        .collect();
    assert_eq!(salts.len(), log.len());
}

/// What was signed of a log that is another's, or was one that went back in time, would look like a
/// log that was written anew.
pub(super) async fn a_checkpoint_is_of_what_the_log_holds(store: &dyn Store) {
    with_merchant(store).await;
    let first = verified(store).await[0].link;
    let end = store.chain_end().await.unwrap().unwrap().link;
    let event = || sample::event(Kind::AuditRead, START);
    for there in [first, end] {
        assert!(
            store
                .commit(RecordCheckpoint {
                    link: there,
                    event: event()
                })
                .await
                .unwrap()
        );
    }
    let log = verified(store).await;
    let elsewhere = [
        Link {
            hash: first.hash,
            ..end
        },
        Link {
            place: end.place + 3,
            ..end
        },
        Link { place: 0, ..first },
        Link {
            chain: ChainId::from_bytes([9; 16]),
            ..end
        },
    ];
    for link in elsewhere {
        assert!(
            !store
                .commit(RecordCheckpoint {
                    link,
                    event: event()
                })
                .await
                .unwrap(),
            "{link:?}"
        );
    }
    assert_eq!(verified(store).await, log, "nothing was written");
}

/// However many write at once, each entry follows another and no two the same.
pub(super) async fn entries_written_at_once_are_one_chain(store: &dyn Store) {
    with_merchant(store).await;
    let writes = (0..64).map(|_| store.commit(RecordEvent(sample::event(Kind::AuditRead, START))));
    for written in join_all(writes).await {
        written.unwrap();
    }
    assert!(verified(store).await.len() >= 64);
}

/// Append, and read in order.
pub(super) async fn the_log_is_read_in_order_and_in_pages(store: &dyn Store) {
    let start = store.last_entry().await.unwrap();
    for secs in 0..5 {
        store
            .commit(RecordEvent(sample::event(Kind::AuditRead, after(secs))))
            .await
            .unwrap();
    }
    let first = store.entries(start, 3).await.unwrap();
    assert_eq!(first.len(), 3);
    let last = first.last().unwrap().seq;
    let rest = store.entries(last, 100).await.unwrap();
    let times: Vec<_> = first
        .iter()
        .chain(&rest)
        .map(|entry| entry.event.at)
        .collect();
    assert_eq!(times, (0..5).map(after).collect::<Vec<_>>());
    assert!(
        first
            .iter()
            .chain(&rest)
            .map(|entry| entry.seq)
            .is_sorted_by(|a, b| a < b)
    );
    assert_eq!(store.last_entry().await.unwrap(), rest.last().unwrap().seq);
    assert_eq!(
        first[0].event,
        sample::event(Kind::AuditRead, after(0)),
        "as it was written"
    );
}
