//! Which key makes the MACs of rows, and what is said of one that nobody here can check.

use std::sync::Arc;
use std::time::Duration;

use cardveil_core::card::Environment;
use cardveil_core::keys::{ClassKey, NOTICE};
use cardveil_core::port::Class;
use cardveil_core::vault::{RowMacs, Vault};
use cardveil_seal::{Birth, FileRoot, Keyring, SeededEntropy, WrappedKey};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::START;

/// Version 1 made at the start, and version 2 an hour later.
struct World {
    clock: Arc<ManualClock>,
    macs: RowMacs,
    keys: [ClassKey; 2],
}

const HOUR: Duration = Duration::from_secs(3_600);

impl World {
    /// With the first so many versions open.
    fn new(open: usize) -> Self {
        Self::saying(open, false)
    }

    /// And the class keys saying that every row has a MAC, or not.
    fn saying(open: usize, says: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(7);
        let root = FileRoot::create(&folder.path().join("root"), &entropy).unwrap();
        let mut wrapped = Keyring::generate(&root, "sandbox", &entropy).unwrap();
        let one = Keyring::first(&root, "sandbox", Class::Row, &entropy).unwrap();
        wrapped.push(one.clone());
        let keyring = Keyring::open(&root, "sandbox", &wrapped).unwrap();
        let two = keyring.rotate(&root, Class::Row, &entropy).unwrap();
        wrapped.extend([two.clone()].into_iter().take(open - 1));
        if says {
            let birth = Birth::generate(&entropy);
            let bind = |key: &WrappedKey| key.bound_to(birth, &root, "sandbox", &entropy);
            wrapped = wrapped.iter().map(|key| bind(key).unwrap()).collect();
        }
        let keyring = Keyring::open(&root, "sandbox", &wrapped).unwrap();
        let vault = Vault::new(keyring, Environment::Sandbox, Arc::new(entropy));
        let clock = Arc::new(ManualClock::at(START));
        let macs = RowMacs::new(clock.clone());
        macs.open(Arc::new(vault));
        Self {
            clock,
            macs,
            keys: [
                ClassKey::new(one, START),
                ClassKey::new(two, START.plus(HOUR)),
            ],
        }
    }
}

#[test]
fn a_key_makes_macs_once_every_server_has_had_the_time_to_notice_it() {
    let world = World::new(2);
    world.macs.learn(&world.keys[..1]);
    assert_eq!(world.macs.version(), None);
    world.clock.set(START.plus(NOTICE));
    assert_eq!(world.macs.version(), Some(1));
    world.clock.set(START.plus(HOUR));
    world.macs.learn(&world.keys);
    assert_eq!(world.macs.version(), Some(1));
    let before = world.macs.make(b"a row").unwrap();
    world.clock.advance(NOTICE);
    assert_eq!(world.macs.version(), Some(2));
    let after = world.macs.make(b"a row").unwrap();
    assert_ne!(before, after);
    for mac in [before, after] {
        assert_eq!(world.macs.check(b"a row", Some(&mac)), Some(true));
        assert_eq!(world.macs.check(b"another", Some(&mac)), Some(false));
    }
}

#[test]
fn numbers_are_indexed_by_a_key_once_every_server_has_had_the_time_to_notice_it() {
    let world = World::new(1);
    assert_eq!(world.macs.index_version(), None);
    let mut keys = world.keys.clone();
    for key in &mut keys {
        key.key.class = Class::Index;
    }
    world.macs.learn(&keys[..1]);
    assert_eq!(world.macs.index_version(), Some(1), "there is no other");
    world.clock.set(START.plus(HOUR));
    world.macs.learn(&keys);
    assert_eq!(world.macs.index_version(), Some(1));
    world.clock.advance(NOTICE);
    assert_eq!(world.macs.index_version(), Some(2));
    world.macs.learn(&keys[1..]);
    assert_eq!(world.macs.index_version(), Some(2));
}

#[test]
fn a_row_without_a_mac_is_taken_until_all_have_one_and_never_again() {
    let world = World::new(1);
    world.macs.learn(&world.keys[..1]);
    assert_eq!(world.macs.check(b"a row", None), Some(true));
    let mut complete = world.keys[0].clone();
    complete.complete_at = Some(START);
    world.macs.learn(&[complete]);
    assert_eq!(world.macs.check(b"a row", None), Some(false));
    // Rows that say otherwise afterwards, or are gone, change nothing.
    world.macs.learn(&world.keys[..1]);
    world.macs.learn(&[]);
    assert_eq!(world.macs.check(b"a row", None), Some(false));
    assert_eq!(world.macs.version(), Some(1));
}

#[test]
fn a_row_without_a_mac_is_refused_where_one_class_key_says_that_all_have_one() {
    let world = World::saying(1, true);
    world.macs.learn(&world.keys[..1]);
    assert_eq!(world.macs.check(b"a row", None), Some(false));
}

#[test]
fn a_mac_under_a_key_that_does_not_open_here_is_neither_right_nor_wrong() {
    let (one, both) = (World::new(1), World::new(2));
    both.macs.learn(&both.keys);
    both.clock.set(START.plus(HOUR + NOTICE));
    let mac = both.macs.make(b"a row").unwrap();
    // It is known that there is such a key.
    one.macs.learn(&one.keys);
    assert_eq!(one.macs.check(b"a row", Some(&mac)), None);
    // It is known that there is none.
    one.macs.learn(&one.keys[..1]);
    assert_eq!(one.macs.check(b"a row", Some(&mac)), Some(false));
    // It was known, too long ago.
    one.clock.advance(NOTICE);
    assert_eq!(one.macs.check(b"a row", Some(&mac)), None);
}

/// One in two hundred ids passes for a card number: it is told and kept back as any other.
#[test]
fn a_row_is_kept_back_whatever_its_id_looks_like() {
    let macs = World::saying(1, true).macs;
    let id = "41111111-1111-4111-8000-000000000000";
    macs.note("card", id.to_owned());
    macs.keep_back("card", id.to_owned());
    assert_eq!(macs.all_altered(), [("card", id.to_owned())]);
    assert!(macs.keeps_back("card", id));
    macs.forget("card", id);
    assert!(!macs.keeps_back("card", id) && macs.all_altered().is_empty());
    for written in ["4111 1111 1111 1111", "crd_4111111111111111", "\u{1b}[2J"] {
        assert!(macs.note("credential", written.to_owned()));
        assert_eq!(macs.all_altered(), [("credential", "?".to_owned())]);
        macs.forget("credential", written);
    }
}
