//! As much of HTTP/1.1 as the answers of servers that we know need: a head, a `Content-Length`, a
//! body. Reading an answer must cost a small part of making it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::Context as _;

/// An answer, in the buffer that it was read into.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a str,
    pub(crate) body: &'a [u8],
}

/// The answer at the start of `bytes`, once it is there whole.
pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Option<Answer<'_>>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, rest) = bytes.split_at(end);
    let head = std::str::from_utf8(head).context("a head that is not ASCII")?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let status = status.context("a head without a status")?;
    let length = header(head, "content-length").context("an answer without Content-Length")?;
    let length: usize = length.parse().context("Content-Length")?;
    Ok(rest
        .get(4..4 + length)
        .map(|body| Answer { status, head, body }))
}

/// A header's value, named in any letters.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    headers(head).find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
}

/// All headers.
pub(crate) fn headers(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(": "))
}

/// One request on a connection of its own; gives the answer's bytes.
pub(crate) fn once(address: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
    while parse(&bytes)?.is_none() {
        let read = stream.read(&mut chunk)?;
        anyhow::ensure!(read > 0, "the connection ended within an answer");
        bytes.extend(chunk.iter().take(read));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\ndate: x: y\r\n\r\nhello";

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        for cut in 0..BYTES.len() {
            assert!(parse(&BYTES[..cut]).unwrap().is_none(), "{cut}");
        }
        let answer = parse(BYTES).unwrap().unwrap();
        assert_eq!((answer.status, answer.body), (201, &b"hello"[..]));
        assert_eq!(header(answer.head, "date"), Some("x: y"));
        assert_eq!(header(answer.head, "server"), None);
    }

    #[test]
    fn what_cannot_be_bounded_is_an_error() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
