//! A caller's connection, which fails when the caller does not take what is written to it: hyper
//! bounds how long a request may take to come, and would wait for ever for its answer to go.
//!
//! **Invariant:** it lies beneath TLS, so that what counts as taken has left this process.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a caller may take nothing of what waits for it.
const TAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a caller may take over all that waits for it, however little it takes at a time.
const TAKE_ALL_TIMEOUT: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Impatient<T> {
    io: T,
    /// Since a write first had to wait, until all is taken.
    waiting: Option<Waiting>,
}

struct Waiting {
    /// When all must be taken.
    until: Instant,
    /// Ends when something must be taken.
    timer: Pin<Box<Sleep>>,
}

impl Waiting {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            until: now + TAKE_ALL_TIMEOUT,
            timer: Box::pin(tokio::time::sleep_until(now + TAKE_TIMEOUT)),
        }
    }

    /// Something was taken.
    fn go_on(&mut self) {
        let next = (Instant::now() + TAKE_TIMEOUT).min(self.until);
        self.timer.as_mut().reset(next);
    }
}

impl<T> Impatient<T> {
    pub(super) const fn new(io: T) -> Self {
        Self { io, waiting: None }
    }

    /// What a write, or the end of all writes, came to.
    fn bounded<V>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<V>>,
    ) -> Poll<io::Result<V>> {
        if polled.is_pending() {
            let waiting = self.waiting.get_or_insert_with(Waiting::begin);
            ready!(waiting.timer.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.go_on();
        }
        polled
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Impatient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Impatient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.bounded(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.bounded(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Whoever writes flushes once it has written all: hyper, and TLS.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        ready!(self.bounded(cx, polled))?;
        self.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bounded(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// The server's side, and the caller's, which takes nothing by itself.
    fn connection() -> (Impatient<DuplexStream>, DuplexStream) {
        let (server, caller) = tokio::io::duplex(8);
        (Impatient::new(server), caller)
    }

    /// Writes and flushes so many bytes; how it ended, and when.
    async fn answer(server: &mut Impatient<DuplexStream>, bytes: usize) -> (bool, Duration) {
        let begun = Instant::now();
        let mut written = server.write_all(&vec![0; bytes]).await;
        if written.is_ok() {
            written = server.flush().await;
        }
        let failed = written.map_err(|error| error.kind());
        assert!(matches!(failed, Ok(()) | Err(io::ErrorKind::TimedOut)));
        (failed.is_ok(), begun.elapsed())
    }

    /// Takes a byte so often, until there is none to come.
    async fn take(mut caller: DuplexStream, every: Duration) {
        let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
        loop {
            ticks.tick().await;
            if !matches!(caller.read(&mut [0]).await, Ok(1)) {
                return;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_waited_for_so_long() {
        let (mut server, caller) = connection();
        assert_eq!(answer(&mut server, 9).await, (false, TAKE_TIMEOUT));
        drop(caller);
    }

    #[tokio::test(start_paused = true)]
    async fn what_need_not_wait_has_no_bound() {
        let (mut server, mut caller) = connection();
        for _ in 0..9 {
            assert_eq!(answer(&mut server, 8).await, (true, Duration::ZERO));
            tokio::time::advance(TAKE_ALL_TIMEOUT).await;
            caller.read_exact(&mut [0; 8]).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_at_a_time_is_waited_for_so_long() {
        let (mut server, caller) = connection();
        tokio::spawn(take(caller, Duration::from_millis(19_999)));
        assert_eq!(answer(&mut server, 99).await, (false, TAKE_ALL_TIMEOUT));
    }

    /// 8 bytes are under way when nobody takes any, so of the first 24 it waits for 16 to be taken.
    #[tokio::test(start_paused = true)]
    async fn who_takes_all_of_each_answer_in_time_is_served_on() {
        let (mut server, caller) = connection();
        let every = Duration::from_secs(3);
        tokio::spawn(take(caller, every));
        assert_eq!(answer(&mut server, 24).await, (true, every * 16));
        for _ in 0..9 {
            assert_eq!(answer(&mut server, 16).await, (true, every * 16));
        }
    }
}
