use std::sync::Arc;

use cardveil_core::audit::Kind;
use cardveil_core::card::Environment;
use cardveil_core::flow::Service;
use cardveil_core::port::{Audit as _, Keys as _};
use cardveil_core::vault::Vault;
use cardveil_seal::{FileRoot, Keyring, SeededEntropy};
use cardveil_testkit::sample::START;
use cardveil_testkit::{Fault, Faulty, ManualClock, Memory};

#[tokio::test]
async fn what_could_not_be_put_on_record_is_told_of_later() {
    let chance = Arc::new(SeededEntropy::new(1));
    let folder = tempfile::tempdir().unwrap();
    let root = FileRoot::create(&folder.path().join("root.key"), &*chance).unwrap();
    let keys = Keyring::generate(&root, "sandbox", &*chance).unwrap();
    let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
    let vault = Vault::new(keyring, Environment::Sandbox, Arc::clone(&chance) as _);
    let store = Arc::new(Faulty::new(Memory::default()));
    let clock = Arc::new(ManualClock::at(START));
    let service = Service::new(Arc::clone(&store) as _, Arc::new(vault), clock, chance);
    let macs = store.row_macs();
    for card in ["one", "two"] {
        macs.note("card", card.to_owned());
    }
    store.fail_next(Fault::NotPersisted);
    assert!(service.tell_altered().await.is_err());
    for _ in 0..2 {
        service.tell_altered().await.unwrap();
        let log = store.entries(0, 10).await.unwrap().into_iter();
        let told = log.filter(|entry| entry.event.kind == Kind::VaultTampered);
        let told = told.map(|entry| entry.event.target.resource.unwrap());
        let mut told: Vec<_> = told.map(String::from).collect();
        told.sort();
        assert_eq!(told, ["row: card one", "row: card two"]);
    }
}
