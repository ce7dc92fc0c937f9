//! The envelope: what opens where, and above all what does not.

#![cfg(test)]

mod common;

use std::fs;

use cardveil_seal::{
    Birth, Class, Dek, Entropy, Error, FileRoot, Keyring, Place, Root, SeededEntropy,
    SystemEntropy, WrappedKey,
};
use common::hex;
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

const KEKS: [Class; 4] = [Class::Pan, Class::Cvv, Class::Pin, Class::Credential];
const MACS: [Class; 2] = [Class::Index, Class::Access];
const PAN: &[u8] = b"4111111111111111";

struct Setup {
    root: FileRoot,
    keys: Vec<WrappedKey>,
    ring: Keyring,
}

impl Setup {
    fn new(environment: &str) -> Self {
        Self::seeded(environment, 1)
    }

    fn seeded(environment: &str, seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed);
        let dir = TempDir::new().unwrap();
        let root = FileRoot::create(&dir.path().join("root.key"), &entropy).unwrap();
        let keys = Keyring::generate(&root, environment, &entropy).unwrap();
        let ring = Keyring::open(&root, environment, &keys).unwrap();
        Self { root, keys, ring }
    }

    fn rotate(&mut self, class: Class) {
        self.keys
            .push(self.ring.rotate(&self.root, class, &SystemEntropy).unwrap());
        self.ring = Keyring::open(&self.root, self.ring.environment(), &self.keys).unwrap();
    }
}

const PLACE: Place<'_> = Place {
    table: "cards",
    row: b"row 1",
    merchant: "mch_1",
};

fn refused<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Refused))
}

#[test]
fn every_class_has_a_first_version() {
    let setup = Setup::new("test");
    let made: Vec<_> = setup
        .keys
        .iter()
        .map(|key| (key.class, key.version))
        .collect();
    assert_eq!(made, Class::ALL.map(|class| (class, 1)));
    assert_eq!(setup.ring.environment(), "test");
}

#[test]
fn codes_and_names_are_for_ever() {
    let all = Class::ALL.map(|class| (class.code(), class.name()));
    assert_eq!(
        all,
        [
            (1, "pan"),
            (2, "cvv"),
            (3, "pin"),
            (4, "credential"),
            (5, "index"),
            (6, "access"),
            (7, "manifest"),
            (8, "audit")
        ]
    );
    for class in Class::ALL {
        assert_eq!(Class::from_code(class.code()), Some(class));
        assert_eq!(Class::from_name(class.name()), Some(class));
        assert_eq!(class.to_string(), class.name());
    }
    assert_eq!(Class::from_code(0), None);
    assert_eq!(Class::from_name("PAN"), None);
}

#[test]
fn a_missing_class_is_told() {
    let Setup { root, keys, .. } = Setup::new("test");
    for class in Class::ALL {
        let without: Vec<_> = keys
            .iter()
            .filter(|key| key.class != class)
            .cloned()
            .collect();
        let error = Keyring::open(&root, "test", &without).err().unwrap();
        assert!(matches!(error, Error::MissingClass(told) if told == class));
    }
}

#[test]
fn a_class_that_is_gone_from_a_new_environment_is_not_made_again() {
    let root = Setup::new("test").root;
    let keys = Keyring::begin(&root, "test", &SystemEntropy).unwrap();
    assert!(Keyring::open(&root, "test", &keys).unwrap().is_bound());
    for gone in Class::ALL.into_iter().chain([Class::Row]) {
        let left: Vec<_> = keys
            .iter()
            .filter(|key| key.class != gone)
            .cloned()
            .collect();
        let error = Keyring::missing(&root, "test", &left, &SystemEntropy).err();
        assert!(matches!(error, Some(Error::MissingClass(told)) if told == gone));
    }
}

#[test]
fn an_older_environment_gets_the_classes_that_it_lacks_under_its_own_root_alone() {
    let Setup { root, keys, .. } = Setup::new("test");
    let missing = |root: &FileRoot, environment, keys: &[WrappedKey]| {
        Keyring::missing(root, environment, keys, &SystemEntropy)
    };
    let classes = |keys: &[WrappedKey]| keys.iter().map(|key| key.class).collect::<Vec<_>>();
    assert_eq!(classes(&missing(&root, "test", &[]).unwrap()), Class::ALL);
    assert!(missing(&root, "test", &keys).unwrap().is_empty());
    for class in Class::ALL {
        let mut older = keys.clone();
        older.retain(|key| key.class != class);
        let made = missing(&root, "test", &older).unwrap();
        assert_eq!(classes(&made), [class]);
        older.extend(made);
        assert!(Keyring::open(&root, "test", &older).is_ok());
    }
    let other = Setup::seeded("test", 2).root;
    assert!(refused(&missing(&other, "test", &keys[..1])));
    assert!(refused(&missing(&root, "live", &keys[..1])));
}

#[test]
fn the_current_version_signs_and_nothing_else_does() {
    let mut setup = Setup::new("test");
    let first = setup.ring.public_key(Class::Manifest).unwrap();
    let signature = setup.ring.sign(Class::Manifest, b"message").unwrap();
    first.verify(b"message", &signature).unwrap();
    assert_eq!(
        setup.ring.sign(Class::Manifest, b"message").unwrap(),
        signature
    );
    setup.rotate(Class::Manifest);
    let second = setup.ring.public_key(Class::Manifest).unwrap();
    assert_ne!(first, second);
    let signature = setup.ring.sign(Class::Manifest, b"message").unwrap();
    second.verify(b"message", &signature).unwrap();
    assert!(first.verify(b"message", &signature).is_err());
    for class in KEKS.into_iter().chain(MACS) {
        assert!(matches!(
            setup.ring.sign(class, b"message"),
            Err(Error::WrongPurpose(told)) if told == class
        ));
        assert!(setup.ring.public_key(class).is_err());
    }
    let manifest = Class::Manifest;
    assert!(setup.ring.mac(manifest, &[b"message"]).is_err());
    assert!(
        setup
            .ring
            .new_dek(manifest, &PLACE, &SystemEntropy)
            .is_err()
    );
}

#[test]
fn a_version_is_there_once() {
    let Setup { root, mut keys, .. } = Setup::new("test");
    for class in [Class::Pan, Class::Index] {
        keys.push(Keyring::first(&root, "test", class, &SystemEntropy).unwrap());
        let error = Keyring::open(&root, "test", &keys).err().unwrap();
        assert!(matches!(error, Error::DuplicateKey { class: told, version: 1 } if told == class));
        keys.pop();
    }
}

#[test]
fn class_keys_stay_in_their_environment_class_and_version() {
    let Setup { root, keys, .. } = Setup::new("test");
    assert!(refused(&Keyring::open(&root, "live", &keys)));
    for at in 0..keys.len() {
        let mut moved = keys.clone();
        moved[at].version = 2;
        assert!(refused(&Keyring::open(&root, "test", &moved)), "{at}");
        let mut moved = keys.clone();
        moved[at].class = Class::ALL[(at + 1) % Class::ALL.len()];
        assert!(refused(&Keyring::open(&root, "test", &moved)), "{at}");
    }
    let other = Setup::seeded("test", 2);
    assert!(refused(&Keyring::open(&other.root, "test", &keys)));
}

/// A key, bound to those of a birth.
fn bound(key: &WrappedKey, birth: Birth, root: &FileRoot) -> WrappedKey {
    key.bound_to(birth, root, "test", &SystemEntropy).unwrap()
}

/// Under another root and in later versions too, and never without the key of the rows.
#[test]
fn keys_that_are_bound_stay_so() {
    let Setup { root, mut keys, .. } = Setup::new("test");
    let open = |root: &FileRoot, keys: &[WrappedKey]| Keyring::open(root, "test", keys);
    let entropy = &SystemEntropy;
    keys.push(Keyring::first(&root, "test", Class::Row, entropy).unwrap());
    let before = open(&root, &keys).unwrap();
    assert!(!before.says_rows_have_macs() && !before.is_bound());
    let birth = Birth::generate(entropy);
    let mut keys: Vec<_> = keys.iter().map(|key| bound(key, birth, &root)).collect();
    let ring = open(&root, &keys).unwrap();
    assert!(ring.says_rows_have_macs() && ring.is_bound());
    keys.push(ring.rotate(&root, Class::Pan, entropy).unwrap());
    let other = Setup::seeded("test", 2).root;
    let moved = keys
        .iter()
        .map(|key| key.rewrap(&root, &other, "test", entropy).unwrap())
        .collect::<Vec<_>>();
    let ring = open(&other, &moved).unwrap();
    assert!(ring.says_rows_have_macs() && ring.is_bound());
    assert_eq!(
        ring.mac(Class::Index, &[b"same"]).unwrap(),
        before.mac(Class::Index, &[b"same"]).unwrap()
    );
    let without: Vec<_> = moved
        .into_iter()
        .filter(|key| key.class != Class::Row)
        .collect();
    let gone = |error| matches!(error, Some(Error::MissingClass(Class::Row)));
    assert!(gone(open(&other, &without).err()));
    assert!(gone(
        Keyring::missing(&other, "test", &without, entropy).err()
    ));
}

/// Those of another deployment under the same root key, and its own from before it was bound.
#[test]
fn no_key_is_taken_beside_others_than_those_of_its_birth() {
    let Setup { root, keys, .. } = Setup::new("test");
    let make = || Keyring::begin(&root, "test", &SystemEntropy).unwrap();
    let (ours, theirs) = (make(), make());
    assert!(Keyring::open(&root, "test", &ours).is_ok());
    let unbound = keys.iter().find(|key| key.class == Class::Pan).unwrap();
    for stranger in theirs.iter().chain([unbound]) {
        let name = |key: &WrappedKey| (key.class, key.version);
        let mut mixed = ours.clone();
        mixed.retain(|key| name(key) != name(stranger));
        for place in [0, mixed.len()] {
            mixed.insert(place, stranger.clone());
            let error = Keyring::open(&root, "test", &mixed).err();
            assert!(matches!(error, Some(Error::OfOtherKeys { .. })));
            mixed.remove(place);
        }
    }
    // A name of another birth that is written before a key is no birth of that key.
    let mut forged = theirs[0].clone();
    forged.wrapped[1..17].copy_from_slice(&ours[0].wrapped[1..17]);
    assert!(!forged.opens_under(&root, "test"));
}

/// Those of the version that bound keys to nothing but the MACs of rows.
#[test]
fn keys_that_say_no_birth_are_opened_and_bound() {
    let Setup { root, keys, .. } = Setup::new("test");
    let mut keys = keys;
    keys.push(Keyring::first(&root, "test", Class::Row, &SystemEntropy).unwrap());
    let says = |key: &WrappedKey| {
        let (class, version) = (key.class, key.version);
        let parts: [&[u8]; 4] = [
            b"cardveil/kek/v1",
            b"test",
            &[class.code()],
            &version.to_be_bytes(),
        ];
        let without = aad(&parts);
        let with = [&without[..], &aad(&[b"every row has a MAC"])].concat();
        let opened = root.unwrap(&key.wrapped, &without).unwrap();
        let wrapped = root.wrap(&opened, &with, &SystemEntropy).unwrap();
        WrappedKey {
            class,
            version,
            wrapped,
        }
    };
    let said: Vec<_> = keys.iter().map(says).collect();
    // Another program may have made one just before they were bound.
    let mixed = [&said[..1], &keys[1..]].concat();
    for keys in [said, mixed] {
        let ring = Keyring::open(&root, "test", &keys).unwrap();
        assert!(ring.says_rows_have_macs() && !ring.is_bound());
        let birth = Birth::generate(&SystemEntropy);
        let keys: Vec<_> = keys.iter().map(|key| bound(key, birth, &root)).collect();
        assert!(Keyring::open(&root, "test", &keys).unwrap().is_bound());
    }
}

/// Parts as they are bound: each behind its length.
fn aad(parts: &[&[u8]]) -> Vec<u8> {
    let part = |part: &&[u8]| {
        let length = u32::try_from(part.len()).unwrap();
        [&length.to_be_bytes()[..], part].concat()
    };
    parts.iter().flat_map(part).collect()
}

#[test]
fn a_new_root_takes_the_keys_over() {
    let old = Setup::new("test");
    let new = Setup::seeded("test", 2);
    let (dek, wrapped) = old
        .ring
        .new_dek(Class::Pan, &PLACE, &SystemEntropy)
        .unwrap();
    let sealed = dek.seal("pan", PAN, &SystemEntropy).unwrap();
    let moved: Vec<_> = old
        .keys
        .iter()
        .map(|key| {
            key.rewrap(&old.root, &new.root, "test", &SystemEntropy)
                .unwrap()
        })
        .collect();
    assert!(refused(&Keyring::open(&old.root, "test", &moved)));
    let ring = Keyring::open(&new.root, "test", &moved).unwrap();
    let dek = ring.open_dek(Class::Pan, &PLACE, &wrapped).unwrap();
    assert!(dek.open("pan", &sealed).unwrap().ct_eq(PAN));
    assert!(refused(&old.keys[0].rewrap(
        &old.root,
        &new.root,
        "live",
        &SystemEntropy
    )));
}

#[test]
fn the_formats_are_as_documented() {
    let mut setup = Setup::new("test");
    setup.rotate(Class::Pan);
    let (dek, wrapped) = setup
        .ring
        .new_dek(Class::Pan, &PLACE, &SystemEntropy)
        .unwrap();
    assert_eq!(wrapped.len(), 1 + 4 + 12 + 32 + 16);
    assert_eq!(wrapped[..5], [1, 0, 0, 0, 2]);
    let sealed = dek.seal("pan", PAN, &SystemEntropy).unwrap();
    assert_eq!(sealed.len(), 1 + 12 + PAN.len() + 16);
    assert_eq!(sealed[0], 1);
}

#[test]
fn the_nonce_is_what_the_entropy_gave() {
    struct Sevens;
    impl Entropy for Sevens {
        fn fill(&self, out: &mut [u8]) {
            out.fill(7);
        }
    }
    let setup = Setup::new("test");
    let (dek, wrapped) = setup.ring.new_dek(Class::Pan, &PLACE, &Sevens).unwrap();
    assert_eq!(wrapped[5..17], [7; 12]);
    assert_eq!(dek.seal("pan", PAN, &Sevens).unwrap()[1..13], [7; 12]);
}

/// Another implementation wrote these bytes from the documentation. A change that breaks this test
/// makes stored records unreadable.
#[test]
fn version_one_of_the_formats_opens_for_ever() {
    let golden: Value = serde_json::from_str(include_str!("vectors/format_v1.json")).unwrap();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("root.key");
    drop(FileRoot::create(&path, &SystemEntropy).unwrap());
    // Written over what was created, which keeps its mode.
    fs::write(
        &path,
        format!("cardveil-root-1 {}\n", golden["root"].as_str().unwrap()),
    )
    .unwrap();
    let root = FileRoot::open(&path).unwrap();
    assert_eq!(golden["root_name"], root.name());

    let class = |value: &Value| Class::from_name(value.as_str().unwrap()).unwrap();
    let keys: Vec<_> = golden["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| WrappedKey {
            class: class(&key["class"]),
            version: u32::try_from(key["version"].as_u64().unwrap()).unwrap(),
            wrapped: hex(&key["wrapped"]),
        })
        .collect();
    assert_eq!(keys.len(), 7);
    // As an installation of that time is opened today: with the classes that are younger than it.
    let environment = golden["environment"].as_str().unwrap();
    let younger = Keyring::missing(&root, environment, &keys, &SystemEntropy).unwrap();
    let keys = [keys, younger].concat();
    let ring = Keyring::open(&root, environment, &keys).unwrap();

    let record = &golden["record"];
    let text = |part: &str| record[part].as_str().unwrap();
    let row = hex(&record["row"]);
    let place = Place {
        table: text("table"),
        row: &row,
        merchant: text("merchant"),
    };
    for wrapped in ["wrapped_under_version_1", "wrapped_under_version_2"] {
        let dek = ring
            .open_dek(class(&record["class"]), &place, &hex(&record[wrapped]))
            .unwrap();
        let opened = dek.open(text("field"), &hex(&record["sealed"])).unwrap();
        assert!(opened.ct_eq(&hex(&record["plaintext"])));
    }

    let parts: Vec<_> = golden["mac"]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(hex)
        .collect();
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    let mac = ring.mac(class(&golden["mac"]["class"]), &parts).unwrap();
    assert_eq!(mac.to_vec(), hex(&golden["mac"]["mac"]));
}

#[test]
fn rotation_seals_anew_and_opens_the_old() {
    let mut setup = Setup::new("test");
    let (dek, old) = setup
        .ring
        .new_dek(Class::Pan, &PLACE, &SystemEntropy)
        .unwrap();
    let sealed = dek.seal("pan", PAN, &SystemEntropy).unwrap();
    assert!(
        setup
            .ring
            .rewrap_dek(Class::Pan, &PLACE, &old, &SystemEntropy)
            .unwrap()
            .is_none()
    );

    setup.rotate(Class::Pan);
    assert_eq!(setup.ring.current_version(Class::Pan).unwrap(), 2);
    assert_eq!(setup.ring.current_version(Class::Cvv).unwrap(), 1);
    let open = |ring: &Keyring, wrapped: &[u8]| {
        ring.open_dek(Class::Pan, &PLACE, wrapped)?
            .open("pan", &sealed)
    };
    assert!(open(&setup.ring, &old).unwrap().ct_eq(PAN));

    // The record moves to the new key; its fields stay as they are.
    let new = setup
        .ring
        .rewrap_dek(Class::Pan, &PLACE, &old, &SystemEntropy)
        .unwrap()
        .unwrap();
    assert!(open(&setup.ring, &new).unwrap().ct_eq(PAN));
    assert!(
        setup
            .ring
            .rewrap_dek(Class::Pan, &PLACE, &new, &SystemEntropy)
            .unwrap()
            .is_none()
    );

    // Once all records have moved, the old key can go.
    let keys: Vec<_> = setup
        .keys
        .iter()
        .filter(|key| (key.class, key.version) != (Class::Pan, 1))
        .cloned()
        .collect();
    let ring = Keyring::open(&setup.root, "test", &keys).unwrap();
    assert!(open(&ring, &new).unwrap().ct_eq(PAN));
    assert!(matches!(
        open(&ring, &old),
        Err(Error::UnknownVersion {
            class: Class::Pan,
            version: 1
        })
    ));
}

#[test]
fn a_claimed_version_is_authenticated() {
    let mut setup = Setup::new("test");
    let (_, mut wrapped) = setup
        .ring
        .new_dek(Class::Pan, &PLACE, &SystemEntropy)
        .unwrap();
    setup.rotate(Class::Pan);
    wrapped[4] = 2;
    assert!(refused(&setup.ring.open_dek(Class::Pan, &PLACE, &wrapped)));
    wrapped[4] = 3;
    assert!(matches!(
        setup.ring.open_dek(Class::Pan, &PLACE, &wrapped),
        Err(Error::UnknownVersion {
            class: Class::Pan,
            version: 3
        })
    ));
}

#[test]
fn each_way_to_be_wrong_has_its_error() {
    let ring = Setup::new("test").ring;
    let (dek, wrapped) = ring.new_dek(Class::Pan, &PLACE, &SystemEntropy).unwrap();
    let open_dek = |wrapped: &[u8]| ring.open_dek(Class::Pan, &PLACE, wrapped).err().unwrap();
    assert!(matches!(open_dek(&[]), Error::TooShort));
    assert!(matches!(open_dek(&[9; 65]), Error::UnknownAlgorithm));
    for len in 1..5 + 12 + 16 {
        assert!(
            matches!(open_dek(&wrapped[..len]), Error::TooShort),
            "{len}"
        );
    }
    for len in 5 + 12 + 16..wrapped.len() {
        assert!(
            matches!(open_dek(&wrapped[..len]), Error::KeyLength),
            "{len}"
        );
    }
    let open = |sealed: &[u8]| dek.open("pan", sealed).err().unwrap();
    assert!(matches!(open(&[]), Error::TooShort));
    assert!(matches!(open(&[0; 65]), Error::UnknownAlgorithm));
    assert!(matches!(open(&[1; 28]), Error::TooShort));
    assert!(matches!(open(&[1; 29]), Error::Refused));
}

#[test]
fn a_class_has_one_purpose() {
    let ring = Setup::new("test").ring;
    for class in KEKS {
        assert!(matches!(ring.mac(class, &[]), Err(Error::WrongPurpose(told)) if told == class));
        assert!(ring.verify_mac(class, &[], &[]).is_err());
    }
    let (_, wrapped) = ring.new_dek(Class::Pan, &PLACE, &SystemEntropy).unwrap();
    for class in MACS {
        let wrong = |error| matches!(error, Error::WrongPurpose(told) if told == class);
        assert!(wrong(
            ring.new_dek(class, &PLACE, &SystemEntropy).err().unwrap()
        ));
        assert!(wrong(ring.open_dek(class, &PLACE, &wrapped).err().unwrap()));
    }
}

#[test]
fn macs_differ_by_class_parts_environment_and_version() {
    let mut setup = Setup::new("test");
    let mac = |ring: &Keyring, class, parts: &[&[u8]]| ring.mac(class, parts).unwrap();
    let first = mac(&setup.ring, Class::Index, &[b"pan", PAN]);
    assert_eq!(first, mac(&setup.ring, Class::Index, &[b"pan", PAN]));
    assert_ne!(first, mac(&setup.ring, Class::Access, &[b"pan", PAN]));
    assert_ne!(
        first,
        mac(&setup.ring, Class::Index, &[b"pa", b"n4111111111111111"])
    );
    assert_ne!(first, mac(&setup.ring, Class::Index, &[b"pan", PAN, b""]));
    assert_ne!(
        first,
        mac(&Setup::seeded("live", 2).ring, Class::Index, &[b"pan", PAN])
    );

    setup.rotate(Class::Index);
    let second = mac(&setup.ring, Class::Index, &[b"pan", PAN]);
    assert_ne!(first, second);
    let all: Vec<_> = setup
        .ring
        .macs(Class::Index, &[b"pan", PAN])
        .unwrap()
        .collect();
    assert_eq!(all, [(2, second), (1, first)]);
}

#[test]
fn a_mac_of_any_version_verifies() {
    let mut setup = Setup::new("test");
    let old = setup.ring.mac(Class::Access, &[b"token"]).unwrap();
    setup.rotate(Class::Access);
    let new = setup.ring.mac(Class::Access, &[b"token"]).unwrap();
    let verifies =
        |parts: &[&[u8]], tag: &[u8]| setup.ring.verify_mac(Class::Access, parts, tag).unwrap();
    assert!(verifies(&[b"token"], &old));
    assert!(verifies(&[b"token"], &new));
    assert!(!verifies(&[b"tokem"], &old));
    assert!(!verifies(&[b"token"], &old[..16]));
    assert!(!verifies(&[b"token"], &[]));
    let mut altered = new;
    altered[31] ^= 1;
    assert!(!verifies(&[b"token"], &altered));
}

/// The planted bug: were the AAD ignored, one DEK would open its own fields under any name.
#[test]
fn the_same_dek_opens_a_field_under_its_own_name_only() {
    let ring = Setup::new("test").ring;
    let (dek, _) = ring.new_dek(Class::Pan, &PLACE, &SystemEntropy).unwrap();
    let sealed = dek.seal("pan", PAN, &SystemEntropy).unwrap();
    assert!(dek.open("pan", &sealed).unwrap().ct_eq(PAN));
    for field in ["cvv", "PAN", "pan ", "pa", ""] {
        assert!(refused(&dek.open(field, &sealed)), "{field:?}");
    }
}

/// The same key bytes everywhere, so that nothing but the AAD can tell two places apart.
#[test]
fn one_key_in_two_places_is_told_apart_by_the_aad_alone() {
    let ring = Setup::new("test").ring;
    let dek =
        |class, place: &Place<'_>| ring.new_dek(class, place, &SeededEntropy::new(9)).unwrap();
    let (home, wrapped) = dek(Class::Pan, &PLACE);
    let sealed = home.seal("pan", PAN, &SystemEntropy).unwrap();
    let (again, _) = dek(Class::Pan, &PLACE);
    assert!(
        again.open("pan", &sealed).unwrap().ct_eq(PAN),
        "the key is the same"
    );
    for place in [
        Place {
            table: "cardz",
            ..PLACE
        },
        Place {
            row: b"row 2",
            ..PLACE
        },
        Place {
            merchant: "mch_2",
            ..PLACE
        },
        // The same characters, cut elsewhere.
        Place {
            table: "cardsr",
            row: b"ow 1",
            ..PLACE
        },
        Place {
            row: b"row 1m",
            merchant: "ch_1",
            ..PLACE
        },
    ] {
        assert!(
            refused(&ring.open_dek(Class::Pan, &place, &wrapped)),
            "{place:?}"
        );
        assert!(
            refused(&dek(Class::Pan, &place).0.open("pan", &sealed)),
            "{place:?}"
        );
    }
    for class in [Class::Cvv, Class::Pin, Class::Credential] {
        assert!(
            refused(&dek(class, &PLACE).0.open("pan", &sealed)),
            "{class}"
        );
        assert!(refused(&ring.open_dek(class, &PLACE, &wrapped)), "{class}");
    }
    let live = Setup::new("live").ring;
    let (elsewhere, _) = live
        .new_dek(Class::Pan, &PLACE, &SeededEntropy::new(9))
        .unwrap();
    assert!(refused(&elsewhere.open("pan", &sealed)));
    assert!(refused(&live.open_dek(Class::Pan, &PLACE, &wrapped)));
}

#[test]
fn a_field_and_a_wrapped_key_are_never_taken_for_each_other() {
    let ring = Setup::new("test").ring;
    let (dek, wrapped) = ring.new_dek(Class::Pan, &PLACE, &SystemEntropy).unwrap();
    let without_version = [&wrapped[..1], &wrapped[5..]].concat();
    assert!(refused(&dek.open("pan", &without_version)));
}

#[test]
fn every_record_and_every_seal_is_fresh() {
    let ring = Setup::new("test").ring;
    let (dek, wrapped) = ring.new_dek(Class::Pan, &PLACE, &SystemEntropy).unwrap();
    let (other, other_wrapped) = ring.new_dek(Class::Pan, &PLACE, &SystemEntropy).unwrap();
    assert_ne!(wrapped, other_wrapped);
    let sealed = dek.seal("pan", PAN, &SystemEntropy).unwrap();
    assert_ne!(sealed, dek.seal("pan", PAN, &SystemEntropy).unwrap());
    assert!(
        refused(&other.open("pan", &sealed)),
        "a DEK of its own for each record"
    );
}

#[test]
fn no_error_tells_what_it_saw() {
    let setup = Setup::new("secret environment");
    let place = Place {
        table: "secret table",
        row: b"secret row",
        merchant: "secret merchant",
    };
    let (dek, wrapped) = setup
        .ring
        .new_dek(Class::Pan, &place, &SystemEntropy)
        .unwrap();
    let errors = [
        dek.open("secret field", &[1; 40]).err().unwrap(),
        dek.open("secret field", &[2; 40]).err().unwrap(),
        dek.open("secret field", &[]).err().unwrap(),
        setup
            .ring
            .open_dek(Class::Cvv, &place, &wrapped)
            .err()
            .unwrap(),
        setup
            .ring
            .open_dek(Class::Index, &place, &wrapped)
            .err()
            .unwrap(),
    ];
    for error in errors {
        assert!(
            !format!("{error} {error:?}").contains("secret"),
            "{error:?}"
        );
    }
}

fn reopened(ring: &Keyring, class: Class, place: &Place<'_>, wrapped: &[u8]) -> Dek {
    ring.open_dek(class, place, wrapped).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_sealed_opens_and_nothing_altered_does(
        class in prop::sample::select(&KEKS[..]),
        table in ".{0,12}",
        row in prop::collection::vec(any::<u8>(), 0..40),
        merchant in ".{0,12}",
        field in ".{0,12}",
        plaintext in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let ring = Setup::new("test").ring;
        let place = Place { table: &table, row: &row, merchant: &merchant };
        let (dek, wrapped) = ring.new_dek(class, &place, &SystemEntropy).unwrap();
        let sealed = dek.seal(&field, &plaintext, &SystemEntropy).unwrap();
        let dek = reopened(&ring, class, &place, &wrapped);
        prop_assert!(dek.open(&field, &sealed).unwrap().ct_eq(&plaintext));

        let mut altered = sealed.clone();
        altered[at.index(sealed.len())] ^= 1_u8 << bit;
        prop_assert!(dek.open(&field, &altered).is_err());
        prop_assert!(dek.open(&field, &sealed[..at.index(sealed.len())]).is_err());
        prop_assert!(dek.open(&field, &[&sealed[..], &[0]].concat()).is_err());
        let other_field = format!("{field}x");
        prop_assert!(refused(&dek.open(&other_field, &sealed)));

        let mut altered = wrapped.clone();
        altered[at.index(wrapped.len())] ^= 1_u8 << bit;
        prop_assert!(ring.open_dek(class, &place, &altered).is_err());
        let elsewhere = Place { merchant: &format!("{merchant}x"), ..place };
        prop_assert!(refused(&ring.open_dek(class, &elsewhere, &wrapped)));
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), first in 0_u8..3) {
        let ring = Setup::new("test").ring;
        let (dek, _) = ring.new_dek(Class::Pan, &PLACE, &SystemEntropy).unwrap();
        let bytes = [&[first], &bytes[..]].concat();
        prop_assert!(dek.open("pan", &bytes).is_err());
        prop_assert!(ring.open_dek(Class::Pan, &PLACE, &bytes).is_err());
    }
}

#[test]
fn the_public_halves_of_all_versions_are_told() {
    let mut setup = Setup::new("test");
    let first = setup.ring.public_key(Class::Audit).unwrap();
    assert_eq!(setup.ring.public_keys(Class::Audit).unwrap(), [first]);
    setup.rotate(Class::Audit);
    let second = setup.ring.public_key(Class::Audit).unwrap();
    let all = setup.ring.public_keys(Class::Audit).unwrap();
    assert_eq!(all, [second, first], "the current one first");
    assert_ne!(second, setup.ring.public_key(Class::Manifest).unwrap());
    assert!(setup.ring.public_keys(Class::Pan).is_err());
}
