//! What calls leave on the stack: spilled registers, and the scratch space of ciphers. A thread of
//! the runtime keeps its stack, and nothing wipes the part that is free again, until another call
//! happens to go as deep (P3).

use std::cell::Cell;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How deep the calls of one poll go, in KiB; they were seen to go 52 deep without link-time
/// optimisation, and unoptimised ones go deeper.
const DEPTH_KIB: usize = if cfg!(debug_assertions) { 256 } else { 96 };

/// A thread that finds no rest overwrites its stack after so many turns of its futures: to do so
/// after each would cost a twentieth of an issue.
const TURNS: u32 = 16;

thread_local! {
    /// Turns of this thread since its stack was overwritten.
    static SINCE: Cell<u32> = const { Cell::new(0) };
}

/// A future that leaves nothing on the stack: what lies below is overwritten before its thread
/// rests ([`before_rest`]), and after [`TURNS`] turns of such futures.
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
        let turns = SINCE.get() + 1;
        if turns < TURNS {
            SINCE.set(turns);
        } else {
            SINCE.set(0);
            overwrite(DEPTH_KIB);
        }
        polled
    }
}

/// What a runtime that drives `Traceless` futures does before a thread of its rests
/// (`on_thread_park`): from there, the stack of a turn is no deeper.
pub fn before_rest() {
    if SINCE.replace(0) > 0 {
        overwrite(DEPTH_KIB);
    }
}

/// As libgcrypt's `_gcry_burn_stack` does: a frame of a KiB that is all zeros, and so on below it.
/// The black boxes make the compiler keep each frame.
#[inline(never)]
fn overwrite(kib: usize) {
    let mut frame = [0_u8; 1_024];
    black_box(&mut frame);
    if kib > 1 {
        overwrite(kib - 1);
    }
    black_box(&mut frame);
}
