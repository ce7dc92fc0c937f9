//! Chance that repeats itself, for tests and the load generator.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Entropy, sha256};

/// The same bytes for the same seed, for tests: block `n` is SHA-256(seed, n as u64).
///
/// Thread-safe, and each block is given out once; with several threads, who gets which block is up
/// to the scheduler.
pub struct SeededEntropy {
    seed: [u8; 32],
    next_block: AtomicU64,
}

impl SeededEntropy {
    /// Starts the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed: sha256(&[b"cardveil/seeded-entropy", &seed.to_be_bytes()]),
            next_block: AtomicU64::new(0),
        }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let number = self.next_block.fetch_add(1, Ordering::Relaxed);
            let block = sha256(&[&self.seed, &number.to_be_bytes()]);
            for (byte, random) in chunk.iter_mut().zip(block) {
                *byte = random;
            }
        }
    }
}
