//! What calls leave on the stack: spilled registers, and the scratch space of ciphers. A thread of the
//! runtime keeps its stack, and nothing wipes the part that is free again, until another call happens to
//! go as deep (P3).

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How deep the calls of one poll go, in KiB; twice as deep as was seen, and unoptimised ones go deeper.
const DEPTH_KIB: usize = if cfg!(debug_assertions) { 256 } else { 32 };

/// A future that leaves nothing on the stack: after each poll, what lies below is overwritten.
pub(crate) struct Traceless<F>(Pin<Box<F>>);

impl<F> Traceless<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Box::pin(future))
    }
}

impl<F: Future> Future for Traceless<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.0.as_mut().poll(cx);
        overwrite(DEPTH_KIB);
        polled
    }
}

/// As libgcrypt's `_gcry_burn_stack` does: a frame of a KiB that is all zeros, and so on below it. The
/// black boxes make the compiler keep each frame.
#[inline(never)]
fn overwrite(kib: usize) {
    let mut frame = [0_u8; 1_024];
    black_box(&mut frame);
    if kib > 1 {
        overwrite(kib - 1);
    }
    black_box(&mut frame);
}
