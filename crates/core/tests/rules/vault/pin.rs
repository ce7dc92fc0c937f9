use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_core::card::{Environment, InvalidPin, Pin, PinLength, SealedCvv};
use cardveil_core::vault::Vault;
use cardveil_seal::{FileRoot, Key, Keyring, Secret, SeededEntropy, contract_ecb};
use cardveil_testkit::sample;

fn vault() -> Vault {
    let chance = Arc::new(SeededEntropy::new(3));
    let folder = tempfile::tempdir().unwrap();
    let root = FileRoot::create(&folder.path().join("root.key"), &*chance).unwrap();
    let wrapped = Keyring::generate(&root, "sandbox", &*chance).unwrap();
    let keyring = Keyring::open(&root, "sandbox", &wrapped).unwrap();
    Vault::new(keyring, Environment::Sandbox, chance)
}

fn pin() -> Pin {
    Pin::parse(b"2580", PinLength::Four).unwrap()
}

#[test]
fn a_pin_opens_for_its_own_card_and_no_other() {
    let vault = vault();
    let mut card = sample::card(1);
    card.sealed.pin = None;
    assert!(vault.open_pin(&card).unwrap().is_none());
    let sealed = vault.seal_pin(&card, &pin()).unwrap();
    assert!(!sealed.pin.windows(4).any(|window| window == b"2580"));
    card.sealed.pin = Some(sealed.clone());
    let opened = vault.open_pin(&card).unwrap().unwrap();
    assert_eq!(opened.expose(), b"2580");
    let mut other = sample::card(2);
    other.sealed.pin = Some(sealed.clone());
    assert!(vault.open_pin(&other).is_err());
    let mut foreign = card.clone();
    foreign.merchant = sample::merchant(2).id;
    assert!(vault.open_pin(&foreign).is_err());
    // What was sealed as one kind of secret opens as no other.
    card.sealed.cvv = Some(SealedCvv {
        dek: sealed.dek,
        cvv: sealed.pin,
    });
    let credential = sample::credential(1);
    let proof = vault.proves_possession(&card, &credential, ("AAAA", "0001"));
    assert!(proof.is_err());
}

/// Two sealings of one PIN share nothing that would show that they are of the same.
#[test]
fn the_same_pin_is_sealed_differently_each_time() {
    let vault = vault();
    let card = sample::card(1);
    let [first, second] = [(), ()].map(|()| vault.seal_pin(&card, &pin()).unwrap());
    assert_ne!(first.pin, second.pin);
    assert_ne!(first.dek, second.dek);
}

#[test]
fn a_pin_is_read_under_the_credentials_own_secret() {
    let vault = vault();
    let mut credential = sample::credential(1);
    let (id, merchant) = (&credential.id, &credential.merchant);
    credential.sealed_secret = vault.seal_secret(id, merchant, &[b's'; 32]).unwrap();
    let encrypted = |pin: &[u8], key: u8| {
        let key = Key::from_slice(&[key; 32]).unwrap();
        let clear = Secret::new(pin.to_vec());
        BASE64_STANDARD.encode(contract_ecb::encrypt_unauthenticated(&key, &clear).unwrap())
    };
    let read = |text: &str| vault.read_pin(&credential, text).unwrap();
    let good = read(&encrypted(b"258036", b's')).unwrap();
    assert_eq!(good.expose(), b"258036");
    let weak = read(&encrypted(b"111258", b's'));
    assert_eq!(weak.err(), Some(InvalidPin::Weak));
    for text in [
        &*encrypted(b"2580", b's'),
        &*encrypted(b"258036", b't'),
        "AAAA",
        "?",
        "",
    ] {
        assert_eq!(read(text).err(), Some(InvalidPin::Form), "{text}");
    }
}
