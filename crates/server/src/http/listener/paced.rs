//! A connection that ends when the next request does not come: its head has a bound, and so has the
//! rest between two requests, which is longer. hyper has one bound for both, and a proxy that keeps
//! a connection for the next request would find it closed as it sends one, which it answers with
//! 502 (hyper#3828).
//!
//! **Invariant:** it lies above TLS: what a caller's TLS says without a request begins no head.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a caller may take to send its request's head: the first one from when it may begin.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection waits for. Its requests tell.
#[derive(Default)]
pub(super) struct Turns(AtomicU8);

impl Turns {
    /// A head, or its rest, is awaited.
    const AWAITED: u8 = 0;
    /// A request is answered; what is read is its body, whose bound is the gate's.
    const RUNNING: u8 = 1;
    /// An answer was made, and nothing of what follows it was awaited yet.
    const ANSWERED: u8 = 2;

    /// A head has come.
    pub(super) fn begin(&self) {
        self.0.store(Self::RUNNING, Ordering::Relaxed);
    }

    /// Its answer was made.
    pub(super) fn end(&self) {
        self.0.store(Self::ANSWERED, Ordering::Relaxed);
    }
}

/// See the module.
pub(super) struct Paced<T> {
    io: T,
    turns: Arc<Turns>,
    rest: Duration,
    /// Whether the awaited head has begun.
    begun: bool,
    /// Whether the timer counts for what is awaited.
    armed: bool,
    timer: Pin<Box<Sleep>>,
}

impl<T> Paced<T> {
    /// `rest` is how long a connection may rest between two requests.
    pub(super) fn new(io: T, turns: Arc<Turns>, rest: Duration) -> Self {
        Self {
            io,
            turns,
            rest,
            begun: true,
            armed: true,
            timer: Box::pin(tokio::time::sleep(HEAD_TIMEOUT)),
        }
    }

    /// Fails once what is awaited is late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.armed {
            self.armed = true;
            let bound = if self.begun { HEAD_TIMEOUT } else { self.rest };
            self.timer.as_mut().reset(Instant::now() + bound);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        match self.turns.0.load(Ordering::Relaxed) {
            Turns::RUNNING => return polled,
            Turns::ANSWERED => {
                self.turns.0.store(Turns::AWAITED, Ordering::Relaxed);
                (self.begun, self.armed) = (false, false);
            }
            _ => {}
        }
        if polled.is_pending() {
            return self.poll_late(cx);
        }
        if buffer.filled().len() > before && !self.begun {
            (self.begun, self.armed) = (true, false);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
