//! Gets what a deployment serves, as a browser asks for it: for whoever checks one from outside.
//!
//! **Invariant:** it follows no redirect, and is bounded in time and in what it reads.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

pub use crate::http::outward::NoTls;
use crate::http::outward::{self, Driven};

/// The largest body that is read.
const BODY_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// How long one answer may take, from the name's lookup to its last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What came.
#[derive(Clone, Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The URL is not one of HTTP.
    #[error("the address is not one of https or http")]
    Url,
    /// The host does not take the connection, or its name leads nowhere.
    #[error("no connection: {0}")]
    Unreachable(std::io::Error),
    /// The certificate or the TLS of the host is not good.
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    /// The connection broke, or what came is not HTTP.
    #[error("the answer broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// There is more than is read.
    #[error("the body is larger than {BODY_BYTES_MAX} bytes")]
    Body,
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
}

/// Gets what is public.
pub struct Fetcher {
    tls: TlsConnector,
}

impl Fetcher {
    /// With the system's root certificates.
    pub fn new() -> Result<Self, NoTls> {
        let tls = outward::connector(&outward::Authorities::default())?;
        Ok(Self { tls })
    }

    /// One GET. A redirect is an answer like any other.
    pub async fn get(&self, url: &Url, headers: &HeaderMap) -> Result<Got, Failed> {
        let exchange = self.exchange(url, headers);
        let ended = tokio::time::timeout(TIMEOUT, exchange).await;
        ended.unwrap_or(Err(Failed::TimedOut))
    }

    async fn exchange(&self, url: &Url, headers: &HeaderMap) -> Result<Got, Failed> {
        let request = request(url, headers).ok_or(Failed::Url)?;
        let host = url.host_str().ok_or(Failed::Url)?;
        // Of an IPv6 address, without what a URL puts around it.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().ok_or(Failed::Url)?;
        let tcp = TcpStream::connect((host, port));
        let tcp = tcp.await.map_err(Failed::Unreachable)?;
        match url.scheme() {
            "https" => {
                let name = outward::server_name(url).ok_or(Failed::Url)?;
                let tls = self.tls.connect(name, tcp).await;
                call(tls.map_err(Failed::Tls)?, request).await
            }
            "http" => call(tcp, request).await,
            _ => Err(Failed::Url),
        }
    }
}

fn request(url: &Url, headers: &HeaderMap) -> Option<Request<Empty<Bytes>>> {
    let (host, target) = outward::host_and_target(url)?;
    let mut request = Request::get(target)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        // The bytes as they are: what a proxy compresses cannot be compared.
        .header(header::ACCEPT_ENCODING, "identity")
        .header(
            header::USER_AGENT,
            concat!("cardveil-probe/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::new())
        .ok()?;
    request.headers_mut().extend(headers.clone());
    Some(request)
}

async fn call(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Got, Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let driven = tokio::spawn(async move {
        // What breaks here breaks the exchange, which says so.
        let _ = connection.await;
    });
    let _driven = Driven(driven.abort_handle());
    let answer = sender.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(broken) => Failed::Broken(*broken),
        Err(_) => Failed::Body,
    })?;
    Ok(Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.to_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What comes from a server that takes one request and answers with these bytes, then closes.
    async fn from(answer: Vec<u8>) -> Result<Got, Failed> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await.unwrap();
            // Whoever has read enough goes away.
            let _ = stream.write_all(&answer).await;
        });
        let url = Url::parse(&format!("http://{at}/x?y")).unwrap();
        let got = Fetcher::new().unwrap().get(&url, &HeaderMap::new()).await;
        server.await.unwrap();
        got
    }

    fn body_of(len: usize) -> Vec<u8> {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + len, b'x');
        answer
    }

    #[tokio::test]
    async fn a_body_has_its_bounds() {
        let got = from(body_of(BODY_BYTES_MAX)).await.unwrap();
        assert_eq!((got.status, got.body.len()), (200, BODY_BYTES_MAX));
        let more = from(body_of(BODY_BYTES_MAX + 1)).await;
        assert!(matches!(more, Err(Failed::Body)), "{more:?}");
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(BODY_BYTES_MAX * 2, b'x');
        assert!(matches!(from(endless).await, Err(Failed::Body)));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n\r\n";
        let got = from(answer.to_vec()).await.unwrap();
        assert_eq!(got.status, 302);
    }

    #[tokio::test]
    async fn what_breaks_off_is_told() {
        let mut cut = body_of(10);
        cut.pop();
        for broken in [cut, b"SSH-2.0\r\n".to_vec(), Vec::new()] {
            let got = from(broken).await;
            assert!(matches!(got, Err(Failed::Broken(_))), "{got:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for() {
        let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = Url::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
        let got = Fetcher::new().unwrap().get(&url, &HeaderMap::new()).await;
        assert!(matches!(got, Err(Failed::TimedOut)), "{got:?}");
    }

    #[tokio::test]
    async fn a_server_without_a_good_certificate_is_not_read() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        });
        let url = Url::parse(&url).unwrap();
        let got = Fetcher::new().unwrap().get(&url, &HeaderMap::new()).await;
        assert!(matches!(got, Err(Failed::Tls(_))), "{got:?}");
        server.await.unwrap();
    }
}
