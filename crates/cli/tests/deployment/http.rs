//! The smallest HTTP/1.1 client that does: one connection, one request at a time. A call gives
//! `None` when the connection fails, which is what a killed server looks like.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

pub(crate) struct Connection(BufReader<Box<dyn Stream>>);

/// What goes both ways: TCP, or TLS over it.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub(crate) fn get(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Option<Answer> {
    Connection::open(at)?.send("GET", path, headers, "")
}

impl Connection {
    pub(crate) fn open(at: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(at).ok()?;
        // Far over what any answer takes: a test must end even if the server hangs.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self::over(stream))
    }

    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self(BufReader::new(Box::new(stream)))
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut lines = String::new();
        for (name, value) in headers {
            lines.extend([
                name, ": ", value, "
",
            ]);
        }
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{lines}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.write(request.as_bytes())?;
        self.read()
    }

    /// A part of a request.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.0.get_mut().write_all(bytes).ok()?;
        self.0.get_mut().flush().ok()
    }

    pub(crate) fn read(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some(Answer {
            status,
            body: String::from_utf8(body).ok()?,
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
