//! A connection that clears what its reader has used up before the reader waits (P3).
//!
//! hyper parses a request where it was read, and rustls decrypts in place. Both keep their buffer
//! while a connection is idle, with the last request in the part that is free again, and both hand
//! that part to the next read. So there is one above TLS, for hyper's buffer, and one beneath it,
//! for that of rustls.
//!
//! **Invariant:** when a read waits, the room that it was given is all zeros.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is cleared at once. Longer pieces are cleared by one instruction that counts as one for
/// each byte.
const PIECE: usize = 1_024;

/// See the module.
pub(super) struct Cleared<T>(T);

impl<T> Cleared<T> {
    pub(super) const fn new(io: T) -> Self {
        Self(io)
    }
}

/// The compiler cannot leave it out: it does not know that what others own is not read again.
fn clear(room: &mut ReadBuf<'_>) {
    let (all, used) = (
        room.remaining(),
        room.initialized().len() - room.filled().len(),
    );
    for piece in room.initialize_unfilled_to(used).chunks_mut(PIECE) {
        piece.fill(0);
    }
    for end in (used..all).step_by(PIECE) {
        // It writes zeros to what is not initialised yet.
        room.initialize_unfilled_to(all.min(end + PIECE));
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Cleared<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.0).poll_read(cx, room);
        if polled.is_pending() {
            clear(room);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Cleared<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use tokio::io::{AsyncWriteExt as _, DuplexStream};

    use super::*;

    fn read(io: &mut Cleared<DuplexStream>, room: &mut ReadBuf<'_>) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        Pin::new(io).poll_read(&mut cx, room).is_ready()
    }

    /// As hyper hands out its room, as rustls does, and in between.
    #[tokio::test]
    async fn the_room_of_a_read_that_waits_is_zeros() {
        let (server, _caller) = tokio::io::duplex(64);
        let mut server = Cleared::new(server);
        for initialised in ["", "4111", "4111...1111!"] {
            let mut bytes = [MaybeUninit::new(b'1'); 12];
            let mut room = ReadBuf::uninit(&mut bytes);
            room.put_slice(initialised.as_bytes());
            room.clear();
            assert!(!read(&mut server, &mut room));
            assert_eq!(room.initialized(), [0; 12]);
            assert!(room.filled().is_empty());
        }
    }

    #[tokio::test]
    async fn what_came_before_and_what_comes_stays() {
        let (server, mut caller) = tokio::io::duplex(64);
        let mut server = Cleared::new(server);
        let mut bytes = [b'1'; 12];
        let mut room = ReadBuf::new(&mut bytes);
        room.put_slice(b"GET");
        assert!(!read(&mut server, &mut room));
        caller.write_all(b" /").await.unwrap();
        assert!(read(&mut server, &mut room));
        assert_eq!(room.filled(), b"GET /");
    }
}
