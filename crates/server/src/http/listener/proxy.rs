//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): how a load balancer for
//! TCP tells who is at the other end of a connection. Bounded in bytes here, and in time by the
//! listener.
//!
//! **Invariant:** not a byte beyond the header is read: what follows is TLS or HTTP.

use std::io;
use std::net::IpAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::http::address::Peer;

/// The longest line of version 1, by the specification.
const LINE_BYTES_MAX: usize = 107;
/// The most that may follow the first 16 bytes of version 2: addresses, and what else proxies tell.
const REST_BYTES_MAX: usize = 4_096;

/// Reads the header from the beginning of a connection.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Peer> {
    let mut header = Vec::with_capacity(LINE_BYTES_MAX);
    // Both versions are longer than this.
    more(io, &mut header, v2::PROTOCOL_PREFIX.len()).await?;
    if header == v2::PROTOCOL_PREFIX {
        more(io, &mut header, 2).await?;
        let length = io.read_u16().await?;
        header.extend(length.to_be_bytes());
        if usize::from(length) > REST_BYTES_MAX {
            return Err(malformed());
        }
        more(io, &mut header, length.into()).await?;
    } else {
        if !header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
            return Err(malformed());
        }
        while !header.ends_with(b"\n") {
            if header.len() == LINE_BYTES_MAX {
                return Err(malformed());
            }
            more(io, &mut header, 1).await?;
        }
    }
    parse(&header).ok_or_else(malformed)
}

async fn more(
    io: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    bytes: usize,
) -> io::Result<()> {
    let read = header.len();
    header.resize(read + bytes, 0);
    io.read_exact(header.split_at_mut(read).1).await?;
    Ok(())
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "no header of the PROXY protocol",
    )
}

fn parse(header: &[u8]) -> Option<Peer> {
    let told: Option<IpAddr> = match HeaderResult::parse(header) {
        HeaderResult::V1(parsed) => match parsed.ok()?.addresses {
            v1::Addresses::Tcp4(told) => Some(told.source_address.into()),
            v1::Addresses::Tcp6(told) => Some(told.source_address.into()),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(parsed) => {
            let parsed = parsed.ok()?;
            match (parsed.command, parsed.addresses) {
                (v2::Command::Proxy, v2::Addresses::IPv4(told)) => Some(told.source_address.into()),
                (v2::Command::Proxy, v2::Addresses::IPv6(told)) => Some(told.source_address.into()),
                (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_))
                | (v2::Command::Local, _) => None,
            }
        }
    };
    Some(told.map_or(Peer::Untold, |ip| Peer::At(ip.to_canonical())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told, and what is left of the bytes.
    async fn told(bytes: &[u8]) -> Option<(Peer, Vec<u8>)> {
        let mut io = bytes;
        let told = read(&mut io).await.ok()?;
        Some((told, io.to_vec()))
    }

    fn at(ip: &str) -> Peer {
        Peer::At(ip.parse().unwrap())
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn both_versions_tell_who_is_at_the_other_end() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0xc0, 0, 0, 80];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let mapped = [&[0; 10][..], &[0xff; 2], &[203, 0, 113, 7], &[0; 20]].concat();
        let unix = [b'/'; 216];
        // Linode, AWS and others put their own beside the addresses.
        let more = [&v4[..], &[0xea, 0, 3, 1, 2, 3]].concat();
        for (header, peer) in [
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 49152 80\r\n".to_vec(),
                at("203.0.113.7"),
            ),
            (
                b"PROXY TCP6 2001:db8:: ::1 49152 80\r\n".to_vec(),
                at("2001:db8::"),
            ),
            (
                b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 80\r\n".to_vec(),
                at("203.0.113.7"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Peer::Untold),
            (
                b"PROXY UNKNOWN 203.0.113.7 10.0.0.1 1 80\r\n".to_vec(),
                Peer::Untold,
            ),
            (version_2(0x21, 0x11, &v4), at("203.0.113.7")),
            (version_2(0x21, 0x21, &v6), at("2001:db8::")),
            (version_2(0x21, 0x21, &mapped), at("203.0.113.7")),
            (version_2(0x21, 0x11, &more), at("203.0.113.7")),
            (version_2(0x20, 0x11, &v4), Peer::Untold),
            (version_2(0x20, 0x00, &[]), Peer::Untold),
            (version_2(0x21, 0x00, &[]), Peer::Untold),
            (version_2(0x21, 0x31, &unix), Peer::Untold),
        ] {
            let behind = b"GET / HTTP/1.1\r\n";
            let expected = Some((peer, behind.to_vec()));
            assert_eq!(
                told(&[&header[..], behind].concat()).await,
                expected,
                "{header:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0xc0, 0, 0, 80];
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(long.len(), 108);
        for header in [
            &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0\0",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 49152 80\n",
            b"PROXY TCP4 203.0.113.7\r\n",
            b"PROXY TCP4 2001:db8:: ::1 1 80\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 80\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 49152 80",
            b"PROXY  TCP4 203.0.113.7 10.0.0.1 49152 80\r\n",
            b"PROXYTCP4 203.0.113.7 10.0.0.1 49152 80\r\n",
            b"proxy TCP4 203.0.113.7 10.0.0.1 49152 80\r\n",
            b"",
            b"PROXY",
            long.as_bytes(),
            &version_2(0x11, 0x11, &v4),
            &version_2(0x22, 0x11, &v4),
            &version_2(0x21, 0x41, &v4),
            &version_2(0x21, 0x11, &v4[..11]),
            &version_2(0x21, 0x11, &v4)[..27],
            &version_2(0x21, 0x00, &[0; REST_BYTES_MAX + 1]),
        ] {
            assert_eq!(told(header).await, None, "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_on(
            prefix in prop::sample::select(vec![&b"PROXY "[..], v2::PROTOCOL_PREFIX, b"PROXY TCP4 ", b""]),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let whole = [prefix, &bytes].concat();
            let mut io = &whole[..];
            let read = futures_util::FutureExt::now_or_never(read(&mut io));
            prop_assert!(read.is_some());
            prop_assert!(whole.len() - io.len() <= 16 + REST_BYTES_MAX);
        }
    }
}
