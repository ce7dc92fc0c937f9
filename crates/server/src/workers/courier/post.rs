//! One attempt: a POST to a receiver, within one time limit for all of it, and what came of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cardveil_core::hook::{Answer, Endpoint, Form, Message};
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::outward::receiver::{self, NoAddress, Resolve};
use crate::http::outward::{self, Driven};
use crate::http::stack::Traceless;

/// How much of an answer is read. Only `KeySecure`'s is looked at.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// Posts messages.
pub(super) struct Post {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) tls: TlsConnector,
    pub(super) allow_private: bool,
    pub(super) timeout: Duration,
}

/// Why there was no answer.
enum Failed {
    Refused,
    Broken,
}

impl From<NoAddress> for Failed {
    fn from(none: NoAddress) -> Self {
        match none {
            NoAddress::Refused => Self::Refused,
            NoAddress::Unknown => Self::Broken,
        }
    }
}

impl From<std::io::Error> for Failed {
    fn from(_: std::io::Error) -> Self {
        Self::Broken
    }
}

impl From<hyper::Error> for Failed {
    fn from(_: hyper::Error) -> Self {
        Self::Broken
    }
}

impl Post {
    pub(super) async fn send(&self, form: Form, url: &Endpoint, message: &Message) -> Answer {
        let Some(request) = request(url, message) else {
            return Answer::Unprepared;
        };
        let exchange = self.exchange(form, url, request);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Failed::Refused)) => Answer::AddressRefused,
            Ok(Err(Failed::Broken)) => Answer::Unreachable,
            Err(_) => Answer::TimedOut,
        }
    }

    async fn exchange(
        &self,
        form: Form,
        url: &Endpoint,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failed> {
        if !url.is_https() && !self.allow_private {
            return Err(Failed::Refused);
        }
        let resolver = &*self.resolver;
        let addresses = receiver::addresses(resolver, url.url(), self.allow_private).await?;
        let tcp = connect(&addresses).await?;
        if url.is_https() {
            let name = outward::server_name(url.url()).ok_or(Failed::Broken)?;
            call(form, self.tls.connect(name, tcp).await?, request).await
        } else {
            call(form, tcp, request).await
        }
    }
}

/// The first that takes the connection, of those that were checked.
async fn connect(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    // It takes addresses as they are and resolves nothing.
    let tcp = TcpStream::connect(addresses).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// `None` when a header cannot be written: an authorization with a line break in it.
fn request(endpoint: &Endpoint, message: &Message) -> Option<Request<Full<Bytes>>> {
    let (host, target) = outward::host_and_target(endpoint.url())?;
    let body = Bytes::copy_from_slice(message.body.expose());
    let mut request = Request::post(target)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .header(
            header::USER_AGENT,
            concat!("cardveil/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::new(body))
        .ok()?;
    for (name, value) in &message.headers {
        let mut value = HeaderValue::from_bytes(value.expose()).ok()?;
        value.set_sensitive(true);
        let name = HeaderName::from_static(name);
        request.headers_mut().insert(name, value);
    }
    Some(request)
}

async fn call(
    form: Form,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Failed> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let driven = tokio::spawn(Traceless::new(async move {
        // What breaks here breaks the exchange, which says so.
        let _ = connection.await;
    }));
    let _driven = Driven(driven.abort_handle());
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    if !status.is_success() {
        return Ok(Answer::Status(status.as_u16()));
    }
    match form {
        Form::Equals | Form::Standard => Ok(Answer::Accepted(status.as_u16())),
        Form::KeySecure => Ok(confirmed(status, answer.into_body()).await),
    }
}

/// `KeySecure`: "reply `{code:0}`".
async fn confirmed(status: StatusCode, body: Incoming) -> Answer {
    #[derive(Deserialize)]
    struct Reply {
        code: i64,
    }
    let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let reply = read
        .ok()
        .and_then(|body| serde_json::from_slice::<Reply>(&body.to_bytes()).ok());
    match reply {
        Some(Reply { code: 0 }) => Answer::Accepted(status.as_u16()),
        Some(Reply { code: _ }) | None => Answer::NotConfirmed(status.as_u16()),
    }
}
