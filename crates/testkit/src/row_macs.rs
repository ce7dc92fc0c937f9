//! Keys for the MACs of rows, the same in each test.

use std::sync::Arc;

use cardveil_core::card::Environment;
use cardveil_core::keys::{ClassKey, State};
use cardveil_core::port::{Class, Keys};
use cardveil_core::vault::Vault;
use cardveil_seal::{FileRoot, Keyring, SeededEntropy, WrappedKey};

use crate::sample::START;

/// Has a store refuse rows without a right MAC, as one does whose rows all have one.
///
/// # Panics
///
/// If no temporary file can be written.
#[expect(clippy::expect_used, reason = "this is for tests")]
pub fn guard_rows(store: &dyn Keys) {
    let entropy = SeededEntropy::new(25);
    let folder = tempfile::tempdir().expect("a folder");
    let root = FileRoot::create(&folder.path().join("root"), &entropy).expect("a root key");
    let mut keys = Keyring::generate(&root, "sandbox", &entropy).expect("class keys");
    let of_rows = Keyring::first(&root, "sandbox", Class::Row, &entropy).expect("a class key");
    keys.push(of_rows.clone());
    let keyring = Keyring::open(&root, "sandbox", &keys).expect("a keyring");
    let vault = Vault::new(keyring, Environment::Sandbox, Arc::new(entropy));
    let macs = store.row_macs();
    macs.open(Arc::new(vault));
    macs.learn(&[complete(of_rows)]);
}

const fn complete(key: WrappedKey) -> ClassKey {
    ClassKey {
        key,
        created_at: None,
        state: State::Active,
        complete_at: Some(START),
    }
}
