//! The cases of the lists of allowed networks.

use super::super::sample::{self, START};
use super::{log_len, log_of, with_merchant};
use cardveil_core::audit::Kind;
use cardveil_core::id::{CredentialId, NetworkId};
use cardveil_core::merchant::Credential;
use cardveil_core::merchant::allowlist::{
    AllowlistChange, AllowlistChanged, NETWORKS_MAX, Refusal, Wish, parse_net,
};
use cardveil_core::port::Store;
use cardveil_core::verb::Commit;

async fn change(store: &dyn Store, credential: &str, wish: Wish) -> AllowlistChanged {
    let change = AllowlistChange {
        credential: CredentialId::parse(credential).unwrap(),
        wish,
        from: Some([127, 0, 0, 1].into()),
        at: START,
        source: sample::operator(),
    };
    store.commit(change).await.unwrap()
}

fn adding(net: &str) -> Wish {
    Wish::Add {
        net: parse_net(net).unwrap(),
        description: "office".to_owned(),
    }
}

async fn stored(store: &dyn Store) -> Credential {
    let admission = store.admission(&sample::credential(1).key_hash).await;
    admission.unwrap().unwrap().credential
}

/// A network that was added is seen at the next call, with its event in the same commit.
pub(super) async fn a_network_is_added_and_taken_away(store: &dyn Store) {
    with_merchant(store).await;
    let before = stored(store).await;
    let done = change(store, "crd_1", adding("203.0.113.0/24")).await;
    let AllowlistChanged::Done(network) = done else {
        panic!("{done:?}");
    };
    let now = stored(store).await;
    assert!(now.allows_ip([203, 0, 113, 9].into()));
    assert_eq!(now.allowed_ips.networks().last(), Some(&network));
    let id = network.id(&now.id);
    let done = change(store, "crd_1", Wish::Remove(id)).await;
    assert_eq!(done, AllowlistChanged::Done(network));
    assert_eq!(stored(store).await, before);
    let log = log_of(store, Kind::CredentialChanged).await;
    let notes: Vec<_> = log.iter().map(|e| e.detail.note.as_deref()).collect();
    let expected = ["allows 203.0.113.0/24", "no longer allows 203.0.113.0/24"];
    assert_eq!(notes, expected.map(Some));
    assert!(
        log.iter()
            .all(|e| e.target.credential.as_ref() == Some(&now.id))
    );
}

/// What is refused writes nothing, not even its event.
pub(super) async fn a_refused_change_of_a_list_writes_nothing(store: &dyn Store) {
    with_merchant(store).await;
    let before = (stored(store).await, log_len(store).await);
    let own = before.0.allowed_ips.networks()[0].id(&before.0.id);
    let unknown = NetworkId::from_bytes([7; 16]);
    for (credential, wish, refusal) in [
        ("crd_1", Wish::Remove(own), Refusal::Last),
        ("crd_1", Wish::Remove(unknown), Refusal::Unknown),
        ("crd_9", adding("203.0.113.0/24"), Refusal::Unknown),
    ] {
        let verdict = change(store, credential, wish).await;
        assert_eq!(verdict, AllowlistChanged::Refused(refusal));
    }
    assert_eq!((stored(store).await, log_len(store).await), before);
}

/// Of many that add at once, each is there or was told that the list is full.
pub(super) async fn a_list_of_networks_has_its_end(store: &dyn Store) {
    with_merchant(store).await;
    let nets: Vec<_> = (1..=NETWORKS_MAX)
        .map(|n| format!("203.0.113.{n}"))
        .collect();
    let changes = nets.iter().map(|net| change(store, "crd_1", adding(net)));
    let verdicts = futures_util::future::join_all(changes).await;
    let full = AllowlistChanged::Refused(Refusal::Full);
    assert_eq!(verdicts.iter().filter(|v| **v == full).count(), 1);
    let networks = stored(store).await.allowed_ips;
    assert_eq!(networks.networks().len(), NETWORKS_MAX);
}
