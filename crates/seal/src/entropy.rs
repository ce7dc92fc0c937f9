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
