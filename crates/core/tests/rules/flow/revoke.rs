use std::sync::Arc;

use cardveil_core::audit::Kind;
use cardveil_core::card::Environment;
use cardveil_core::flow::*;
use cardveil_core::port::{Admin as _, Audit as _, Selection};
use cardveil_core::vault::Vault;
use cardveil_core::verb::Commit;
use cardveil_seal::{FileRoot, Keyring, SeededEntropy};
use cardveil_testkit::sample::{self, START};
use cardveil_testkit::{ManualClock, Memory};

#[tokio::test]
async fn more_tokens_than_one_commit_takes_are_all_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let entropy = SeededEntropy::new(1);
    let root = FileRoot::create(&folder.path().join("root"), &entropy).unwrap();
    let keys = Keyring::generate(&root, "sandbox", &entropy).unwrap();
    let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
    let entropy = Arc::new(entropy);
    let vault = Vault::new(keyring, Environment::Sandbox, entropy.clone());
    let store = Arc::new(Memory::default());
    let epoch = store.epoch().await.unwrap();
    let clock = Arc::new(ManualClock::at(START));
    let service = Service::new(store.clone(), Arc::new(vault), clock, entropy);
    let all = Selection::Card(sample::card(1).id);
    let by = sample::operator();
    for (round, count) in [(1, 2 * REVOKED_TOGETHER), (2, 2 * REVOKED_TOGETHER + 1)] {
        for n in 0..count {
            let mut issue = sample::issue(round, START, epoch);
            let [low, high, ..] = n.to_le_bytes();
            issue.record.key.hash.0[..2].copy_from_slice(&[low, high]);
            store.commit(issue).await.unwrap();
        }
        assert_eq!(service.revoke(&all, &by).await.unwrap(), count);
        assert_eq!(service.revoke(&all, &by).await.unwrap(), 0);
    }
    let log = store.entries(0, 10_000).await.unwrap();
    let revoked = log.iter().filter(|it| it.event.kind == Kind::TokenRevoked);
    assert_eq!(revoked.count(), 4 * REVOKED_TOGETHER + 1);
}
