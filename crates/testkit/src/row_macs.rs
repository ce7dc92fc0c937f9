//! Keys for the MACs of rows, the same in each test.

use std::sync::Arc;

use cardveil_core::card::Environment;
use cardveil_core::clock::Time;
use cardveil_core::keys::{ClassKey, State};
use cardveil_core::port::{Class, Keys};
use cardveil_core::vault::Vault;
use cardveil_seal::{FileRoot, Keyring, SeededEntropy};

use crate::sample::START;

/// What the chance of the keys begins from.
const KEYS: u64 = 25;

/// Has a store refuse rows without a right MAC, as one does whose rows all have one.
///
/// # Panics
///
/// If no temporary file can be written.
pub fn guard_rows(store: &dyn Keys) {
    open(store, KEYS, None, Some(START));
}

/// The same under keys that no other store knows.
///
/// # Panics
///
/// If no temporary file can be written.
pub fn guard_rows_otherwise(store: &dyn Keys) {
    open(store, KEYS + 1, None, Some(START));
}

/// Has a store know the same key, made at this time, while not every row has a MAC.
///
/// # Panics
///
/// If no temporary file can be written.
pub fn know_row_key(store: &dyn Keys, created_at: Time) {
    open(store, KEYS, Some(created_at), None);
}

#[expect(clippy::expect_used, reason = "this is for tests")]
fn open(store: &dyn Keys, keys: u64, created_at: Option<Time>, complete_at: Option<Time>) {
    let entropy = SeededEntropy::new(keys);
    let folder = tempfile::tempdir().expect("a folder");
    let root = FileRoot::create(&folder.path().join("root"), &entropy).expect("a root key");
    let mut keys = Keyring::generate(&root, "sandbox", &entropy).expect("class keys");
    let of_rows = Keyring::first(&root, "sandbox", Class::Row, &entropy).expect("a class key");
    keys.push(of_rows.clone());
    let keyring = Keyring::open(&root, "sandbox", &keys).expect("a keyring");
    let vault = Vault::new(keyring, Environment::Sandbox, Arc::new(entropy));
    let macs = store.row_macs();
    macs.open(Arc::new(vault));
    macs.learn(&[ClassKey {
        key: of_rows,
        created_at,
        state: State::Active,
        complete_at,
    }]);
}
