//! Secrets stay opaque, and entropy is what it says.

#![cfg(test)]

use std::collections::HashSet;

use cardveil_seal::{Entropy, Error, Key, Secret, SeededEntropy, SystemEntropy};

#[test]
fn debug_is_opaque() {
    assert_eq!(
        format!("{:?}", Secret::new(b"4111111111111111".to_vec())),
        "Secret(..)"
    );
    assert_eq!(format!("{:#?}", Key::generate(&SystemEntropy)), "Key(..)");
}

#[test]
fn a_secret_is_its_bytes_whatever_the_capacity_was() {
    let mut roomy = Vec::with_capacity(1024);
    roomy.extend_from_slice(b"123");
    let secret = Secret::new(roomy);
    assert_eq!(secret.expose(), b"123");
    assert!(secret.ct_eq(b"123"));
    assert!(!secret.ct_eq(b"124"));
    assert!(!secret.ct_eq(b"1234"));
    assert!(Secret::new(Vec::new()).ct_eq(b""));
}

#[test]
fn a_key_is_32_bytes() {
    for len in [0, 16, 31, 33, 64] {
        assert!(
            matches!(Key::from_slice(&vec![1; len]), Err(Error::KeyLength)),
            "{len}"
        );
    }
    let key = Key::from_slice(&[1; 32]).unwrap();
    assert_eq!(key.expose(), &[1; 32]);
    assert!(key.ct_eq(&[1; 32]) && !key.ct_eq(&[2; 32]) && !key.ct_eq(&[1; 31]));
}

#[test]
fn keys_come_from_the_entropy() {
    let key = |seed| Key::generate(&SeededEntropy::new(seed));
    assert!(key(1).ct_eq(key(1).expose()));
    assert!(!key(1).ct_eq(key(2).expose()));
    let drawn: HashSet<_> = (0..1000)
        .map(|_| *Key::generate(&SystemEntropy).expose())
        .collect();
    assert_eq!(drawn.len(), 1000);
}

#[test]
fn seeded_entropy_repeats_and_never_gives_a_block_twice() {
    let draw = |entropy: &SeededEntropy, len| {
        let mut bytes = vec![0; len];
        entropy.fill(&mut bytes);
        bytes
    };
    let (a, b) = (SeededEntropy::new(7), SeededEntropy::new(7));
    let mut seen = HashSet::new();
    for len in [12, 32, 33, 100, 0, 64] {
        let bytes = draw(&a, len);
        assert_eq!(bytes, draw(&b, len));
        for block in bytes.chunks(32) {
            assert!(seen.insert(block.to_vec()));
        }
    }
    assert_eq!(seen.len(), 10);
}

#[test]
fn seeded_entropy_is_shared_between_threads_without_repeating() {
    let entropy = SeededEntropy::new(7);
    let drawn: Vec<[u8; 32]> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..250)
                        .map(|_| {
                            let mut block = [0; 32];
                            entropy.fill(&mut block);
                            block
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 1000);
}
