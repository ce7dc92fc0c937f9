//! The smallest HTTP/1.1 client that does: one connection, one request at a time, and a time limit.
//! What does not come back whole did not come back, which is what a killed server looks like.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Far over what an answer takes, and longer than a server is ever stopped.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Connection(BufReader<TcpStream>);

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Nothing more is answered on this connection.
    pub(crate) is_last: bool,
}

/// Where browsers would find the frames of all nodes.
pub(crate) const ORIGIN: &str = "http://127.0.0.1:7420";

impl Connection {
    pub(crate) fn open(at: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(at).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    /// Sends a request, to be [`Connection::receive`]d.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        authorization: &str,
        body: &Value,
    ) -> Option<()> {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             origin: {ORIGIN}\r\n{authorization}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).ok()
    }

    pub(crate) fn receive(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut length = 0;
        let mut is_last = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
            if name.eq_ignore_ascii_case("connection") {
                is_last = value.trim().eq_ignore_ascii_case("close");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Some(Answer {
            status,
            body,
            is_last,
        })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).ok()? == 0 {
            return None;
        }
        Some(line.trim_end().to_owned())
    }
}
