//! Where chance comes from. Injected everywhere, so that a test can repeat it (promise P9).

use aws_lc_rs::rand;

/// A source of bytes that nobody can predict.
///
/// `fill` cannot fail: a caller has no safe way to go on without chance. An implementation whose
/// source fails must panic with the reason.
pub trait Entropy: Send + Sync {
    /// Overwrites all of `out`.
    fn fill(&self, out: &mut [u8]);
}

/// AWS-LC's generator, seeded and reseeded by the operating system. One per thread inside AWS-LC,
/// so there is no lock here to wait for.
///
/// # Panics
///
/// [`Entropy::fill`] panics if the generator fails: no key, nonce or token may then be made.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(
        clippy::expect_used,
        reason = "going on without entropy would be worse than stopping"
    )]
    fn fill(&self, out: &mut [u8]) {
        rand::fill(out).expect("the system's random generator failed; no key can be made safely");
    }
}

/// The same bytes for the same seed, for tests: block `n` is SHA-256(seed, n as u64).
///
/// Thread-safe, and each block is given out once; with several threads, who gets which block is up
/// to the scheduler.
#[cfg(any(test, feature = "testing"))]
pub struct SeededEntropy {
    seed: [u8; 32],
    next_block: std::sync::atomic::AtomicU64,
}

#[cfg(any(test, feature = "testing"))]
impl SeededEntropy {
    /// Starts the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed: crate::sha256(&[b"cardveil/seeded-entropy", &seed.to_be_bytes()]),
            next_block: std::sync::atomic::AtomicU64::new(0),
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let number = self
                .next_block
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let block = crate::sha256(&[&self.seed, &number.to_be_bytes()]);
            for (byte, random) in chunk.iter_mut().zip(block) {
                *byte = random;
            }
        }
    }
}
