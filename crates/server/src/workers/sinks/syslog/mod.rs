//! A sink that is a syslog receiver: TLS (RFC 5425), TCP (RFC 6587), or the local daemon's socket.
//! Messages have their length before them and a line feed at their end, which is counted: a
//! receiver that knows lines alone and is told nothing of that swallows none. [`Framing::Newline`]
//! spares it the length.
//!
//! Syslog has no acknowledgement, but TCP's end is one. Each piece has a connection of its own: its
//! entries, then the end of the stream. A receiver sees that end once it has read all before it,
//! and ends its side; if it dies, or closes with something unread, its kernel answers with a reset
//! or not at all (RFC 2525 2.17). So the receiver's orderly end after ours says that it has read
//! the piece, and then the place moves. Anything else, and the piece is sent again: doubles, known
//! by their `seq`, and no gap. Keeping a connection, and counting as taken what a while has passed
//! over, would lose what a receiver that hung had in its kernel's buffer when it died.
//!
//! What can be lost is what the receiver had read and lost itself. Over TLS, an end without
//! `close_notify` counts too, as rsyslog's `gtls` sends none.
//!
//! The local socket is a datagram's, which Debian's rsyslog and journald listen on: it tells
//! nothing after a message is in its queue.
//!
//! **Invariant:** [`Output::take`] returns well only after the receiver's orderly end.
//!
//! To add a transport: a variant of [`Receiver`], and its way in `send`.

mod message;
mod receiver;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cardveil_core::audit::chain::Chained;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixDatagram};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use self::message::Sender;
pub use self::receiver::{Framing, Host, Identity, Malformed, Receiver};
use super::{Held, Output, Stuck};

/// How long a piece may take, all in all: no longer than the sink is surely ours, half of its
/// lease.
const PATIENCE: Duration = Duration::from_secs(5);

/// A receiver that takes entries.
pub(super) struct SyslogOutput {
    receiver: Receiver,
    sender: Sender,
    /// Made when it is first needed, and anew after a failure: the authorities may have been
    /// mended.
    tls: Option<TlsConnector>,
}

impl SyslogOutput {
    pub(super) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            sender: Sender::here(),
            tls: None,
        }
    }

    async fn send(&mut self, entries: &[Chained]) -> io::Result<()> {
        match &self.receiver {
            Receiver::Tls {
                host,
                identity,
                framing,
            } => {
                let connector = match &self.tls {
                    Some(known) => known.clone(),
                    None => made(identity).await?,
                };
                self.tls = Some(connector.clone());
                over_tls(host, &connector, &self.sender.frames(entries, *framing)).await
            }
            Receiver::Tcp { host, framing } => {
                over_tcp(host, &self.sender.frames(entries, *framing)).await
            }
            Receiver::Unix(path) => to_daemon(path, entries, &self.sender).await,
        }
    }
}

#[async_trait]
impl Output for SyslogOutput {
    async fn ready(&mut self) -> Result<Option<Held>, Stuck> {
        Ok(None)
    }

    async fn take(&mut self, entries: Arc<Vec<Chained>>) -> Result<(), Stuck> {
        let sent = tokio::time::timeout(PATIENCE, self.send(&entries)).await;
        let why = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not take what is sent, or does not end the connection".to_owned(),
        };
        self.tls = None;
        Err(Stuck(format!("{}: {why}", self.receiver)))
    }

    fn close(&mut self) {}
}

/// It reads files, so this is not done on the runtime's own threads.
async fn made(identity: &Identity) -> io::Result<TlsConnector> {
    let identity = identity.clone();
    let made = tokio::task::spawn_blocking(move || identity.connector()).await;
    made.map_err(io::Error::other)?.map_err(io::Error::other)
}

async fn connect(host: &Host) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host.name(), host.port())).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn over_tcp(host: &Host, frames: &[u8]) -> io::Result<()> {
    let mut tcp = connect(host).await?;
    tcp.write_all(frames).await?;
    not_ended(&tcp)?;
    tcp.shutdown().await?;
    ended(tcp).await
}

async fn over_tls(host: &Host, connector: &TlsConnector, frames: &[u8]) -> io::Result<()> {
    let name = ServerName::try_from(host.name().to_owned()).map_err(io::Error::other)?;
    let tcp = connect(host).await?;
    let mut tls = connector.connect(name, tcp).await?;
    tls.write_all(frames).await?;
    tls.flush().await?;
    // `close_notify` (RFC 5425 4.4), and the end of the stream.
    tls.shutdown().await?;
    silent_end(&mut tls).await?;
    ended(tls.into_inner().0).await
}

/// A side that ended before ours says nothing of what was read.
fn not_ended(tcp: &TcpStream) -> io::Result<()> {
    match tcp.try_read(&mut [0; 1]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
        Ok(0) => Err(early()),
        Ok(_) => Err(talks()),
    }
}

/// Waits for the end of a receiver's side, after ours.
async fn ended(mut tcp: TcpStream) -> io::Result<()> {
    silent_end(&mut tcp).await?;
    // Its end can have crossed ours, before it had all. Then our end is not acknowledged yet; when
    // it is, the connection is over on both sides and has no peer any more.
    if let Some(error) = tcp.take_error()? {
        return Err(error);
    }
    match tcp.peer_addr() {
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(early()),
    }
}

/// Reads to the end, before which there is nothing: receivers do not talk (RFC 6587 3.1).
async fn silent_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    match stream.read(&mut [0; 1]).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(talks()),
        // TLS without `close_notify`. An end is told apart from a reset here, too.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
    }
}

fn early() -> io::Error {
    io::Error::other("it ended the connection before it had everything")
}

fn talks() -> io::Error {
    io::Error::other("it answers, and a syslog receiver does not")
}

async fn to_daemon(path: &Path, entries: &[Chained], sender: &Sender) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    for entry in entries {
        let message = sender.local(entry);
        // It waits while the daemon's queue is full.
        socket.send(message.as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = TcpStream::connect(listener.local_addr().unwrap()).await;
        (own.unwrap(), listener.accept().await.unwrap().0)
    }

    #[test]
    fn a_piece_ends_while_the_sink_is_ours() {
        assert!(PATIENCE <= super::super::LEASE / 2);
    }

    #[tokio::test]
    async fn only_an_orderly_end_after_ours_says_that_all_was_read() {
        // It read everything.
        let (mut own, mut peer) = pair().await;
        own.write_all(b"entries").await.unwrap();
        own.shutdown().await.unwrap();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        drop(peer);
        ended(own).await.unwrap();

        // It closed with something unread.
        let (mut own, peer) = pair().await;
        own.write_all(b"entries").await.unwrap();
        own.shutdown().await.unwrap();
        peer.readable().await.unwrap();
        drop(peer);
        let error = ended(own).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);

        // It ended its side, and may never read ours.
        let (mut own, mut peer) = pair().await;
        own.write_all(b"entries").await.unwrap();
        peer.shutdown().await.unwrap();
        own.readable().await.unwrap();
        assert!(not_ended(&own).unwrap_err().to_string().contains("ended"));

        // Its end is here, and ours has not come to it: the moment in which the two can cross.
        assert!(ended(own).await.unwrap_err().to_string().contains("ended"));

        // It is no syslog receiver.
        let (mut own, mut peer) = pair().await;
        own.shutdown().await.unwrap();
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n")
            .await
            .unwrap();
        assert!(
            ended(own)
                .await
                .unwrap_err()
                .to_string()
                .contains("answers")
        );
    }
}
