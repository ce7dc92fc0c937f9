use std::sync::Arc;

use cardveil_core::audit::Kind;
use cardveil_core::card::Environment;
use cardveil_core::flow::*;
use cardveil_core::port::{Admin as _, Audit as _};
use cardveil_core::vault::Vault;
use cardveil_core::verb::{Commit, RaiseEpoch, RecordEvent};
use cardveil_seal::{FileRoot, Keyring, SeededEntropy};
use cardveil_testkit::sample::{self, START};
use cardveil_testkit::{ManualClock, Memory};

async fn signed(entries: u32) -> (Arc<Memory>, Service) {
    let chance = Arc::new(SeededEntropy::new(1));
    let folder = tempfile::tempdir().unwrap();
    let root = FileRoot::create(&folder.path().join("root.key"), &*chance).unwrap();
    let keys = Keyring::generate(&root, "sandbox", &*chance).unwrap();
    let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
    let vault = Vault::new(keyring, Environment::Sandbox, Arc::clone(&chance) as _);
    let store = Arc::new(Memory::default());
    let clock = Arc::new(ManualClock::at(START));
    let service = Service::new(Arc::clone(&store) as _, Arc::new(vault), clock, chance);
    add(&store, entries).await;
    assert_eq!(service.sign_log().await.unwrap(), Signing::Done);
    (store, service)
}

async fn add(store: &Memory, entries: u32) {
    for _ in 0..entries {
        let event = sample::event(Kind::CardAdded, START);
        store.commit(RecordEvent(event)).await.unwrap();
    }
}

#[tokio::test]
async fn a_log_is_signed_when_there_is_something_new() {
    let (store, service) = signed(3).await;
    assert_eq!(service.sign_log().await.unwrap(), Signing::Nothing);
    add(&store, 1).await;
    assert_eq!(service.sign_log().await.unwrap(), Signing::Done);
    assert_eq!(service.vault().alarms(), 0);
}

/// By somebody who has the database and no key: all hashes fit, and the checkpoint is gone.
#[tokio::test]
async fn what_was_signed_and_then_written_anew_is_not_signed_again() {
    for cut in [2, 4] {
        let (store, service) = signed(3).await;
        store.cut_log(cut);
        for _ in 0..5 {
            let other = sample::event(Kind::MerchantAdded, START);
            store.commit(RecordEvent(other)).await.unwrap();
        }
        for alarms in 1..=2 {
            let signing = service.sign_log().await.unwrap();
            assert_eq!(signing, Signing::Rewritten { place: 3 });
            assert_eq!(service.vault().alarms(), alarms);
        }
        let last = store.chain_end().await.unwrap().unwrap().event().unwrap();
        assert_eq!(last.kind, Kind::VaultTampered);
        // Nor is it once somebody has raised the epoch for it.
        let raised = sample::event(Kind::EpochRaised, START);
        store.commit(RaiseEpoch(raised)).await.unwrap();
        let signing = service.sign_log().await.unwrap();
        assert_eq!(signing, Signing::Rewritten { place: 3 });
    }
}

/// A value that was erased takes nothing back that was signed.
#[tokio::test]
async fn a_log_is_signed_on_when_values_of_what_was_signed_were_erased() {
    let (store, service) = signed(3).await;
    store.erase_personal();
    add(&store, 1).await;
    assert_eq!(service.sign_log().await.unwrap(), Signing::Done);
    assert_eq!(service.vault().alarms(), 0);
}

#[tokio::test]
async fn a_database_of_another_epoch_may_end_before_what_was_signed() {
    let (store, service) = signed(3).await;
    store.cut_log(2);
    let epoch = store.epoch().await.unwrap();
    let event = sample::event(Kind::EpochRaised, START);
    store.commit(RaiseEpoch(event)).await.unwrap();
    let anew = Signing::Anew { place: 3, epoch };
    assert_eq!(service.sign_log().await.unwrap(), anew);
    assert_eq!(service.vault().alarms(), 0);
    add(&store, 1).await;
    assert_eq!(service.sign_log().await.unwrap(), Signing::Done);
}
