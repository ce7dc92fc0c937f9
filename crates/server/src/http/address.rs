//! Where a call comes from. `X-Forwarded-For` is believed only when the peer is a configured proxy,
//! and then only as far back as the chain of configured proxies goes, so that no caller can set its
//! own address (ASVS 4.1.3).
//!
//! **Invariant:** a trusted proxy is never the caller. Where the chain holds no other address, or
//! holds a hop that cannot be read, nobody knows who calls: there is no address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// At this address.
    At(IpAddr),
    /// Behind a proxy that does not tell who it is: what it asks itself, or for somebody unknown.
    Untold,
}

/// Whether an address is one of the configured proxies'.
pub(crate) fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    trusted.iter().any(|net| net.contains(&ip))
}

/// The address of the caller, where it can be known: the last hop that is not a trusted proxy.
pub(crate) fn of_caller(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    // What an unknown peer says of itself is no proxy's word.
    let Peer::At(peer) = peer else {
        return None;
    };
    if !is_trusted(peer, trusted) {
        return Some(peer.to_canonical());
    }
    // Several fields are one list, in order (RFC 9110 5.3).
    let fields = headers.get_all("x-forwarded-for").iter();
    let fields = fields.map(http::HeaderValue::as_bytes).collect::<Vec<_>>();
    // Bytes, not text: what a stranger put in front must not make the proxy's own hop unreadable.
    let hops = fields
        .into_iter()
        .rev()
        .flat_map(|field| field.rsplit(|byte| *byte == b','));
    for hop in hops {
        let ip = address(hop)?;
        if !is_trusted(ip, trusted) {
            return Some(ip);
        }
    }
    None
}

/// Reads a hop as proxies write it: an address, with or without a port; IPv6 with or without
/// brackets, but with a port only in them.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop.trim_ascii()).ok()?;
    let ip = if let Some(rest) = hop.strip_prefix('[') {
        let (ip, port) = rest.split_once(']')?;
        let sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        IpAddr::V6(ip.parse::<Ipv6Addr>().ok().filter(|_| sound)?)
    } else if let Ok(ip) = hop.parse::<IpAddr>() {
        ip
    } else {
        let (ip, port) = hop.split_once(':')?;
        IpAddr::V4(ip.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?)
    };
    Some(ip.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(peer: &str, forwarded: &[&[u8]]) -> Option<IpAddr> {
        let mut headers = HeaderMap::new();
        for field in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(field).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        of_caller(Peer::At(peer.parse().unwrap()), &headers, &trusted)
    }

    fn caller(peer: &str, forwarded: &[&str]) -> String {
        let fields = forwarded.iter().map(|field| field.as_bytes());
        let caller = of(peer, &fields.collect::<Vec<_>>());
        caller.map_or_else(|| "nobody".to_owned(), |ip| ip.to_string())
    }

    #[test]
    fn a_caller_cannot_set_its_own_address() {
        assert_eq!(caller("203.0.113.9", &["127.0.0.1"]), "203.0.113.9");
        assert_eq!(caller("203.0.113.9", &[]), "203.0.113.9");
        assert_eq!(caller("203.0.113.9", &["unknown"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_is_believed_for_the_hop_that_it_saw() {
        for fields in [
            &["203.0.113.9"][..],
            &["127.0.0.1, 203.0.113.9"],
            &["127.0.0.1, 203.0.113.9, 10.0.0.2"],
            &["127.0.0.1", "203.0.113.9", "10.0.0.2"],
        ] {
            assert_eq!(caller("10.0.0.1", fields), "203.0.113.9", "{fields:?}");
        }
        assert_eq!(caller("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(caller("fd00::1", &["::ffff:203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_a_peer_that_was_not_told_says_of_itself_is_not_believed() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        let everyone = ["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()];
        assert_eq!(of_caller(Peer::Untold, &headers, &everyone), None);
        assert_eq!(of_caller(Peer::Untold, &headers, &[]), None);
    }

    #[test]
    fn a_hop_may_have_a_port_and_brackets() {
        for (hop, ip) in [
            ("203.0.113.9:49152", "203.0.113.9"),
            ("203.0.113.9:0", "203.0.113.9"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
            ("[::ffff:10.0.0.3]:1", "nobody"),
            ("10.0.0.3:8080", "nobody"),
            ("\t203.0.113.9 ", "203.0.113.9"),
        ] {
            assert_eq!(caller("10.0.0.1", &[hop]), ip, "{hop}");
            let behind = format!("192.0.2.1, {hop},10.0.0.2:55000");
            let further = if ip == "nobody" { "192.0.2.1" } else { ip };
            assert_eq!(caller("10.0.0.1", &[&behind]), further, "{hop}");
        }
    }

    /// Each of them made the proxy the caller, which passed the allow-lists that name it.
    #[test]
    fn what_cannot_be_read_makes_nobody_the_caller() {
        for hop in [
            "unknown",
            "",
            " ",
            "_hidden",
            "203.0.113.9:",
            "203.0.113.9:65536",
            "203.0.113.9:+1",
            "203.0.113.9:1:1",
            "203.0.113",
            "0203.0.113.9",
            "2001:db8::1:",
            "[2001:db8::1",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "[203.0.113.9]:1",
            "fe80::1%eth0",
            "\"203.0.113.9\"",
            "for=203.0.113.9",
            "\u{e9}",
        ] {
            assert_eq!(caller("10.0.0.1", &[hop]), "nobody", "{hop}");
            let in_the_chain = format!("203.0.113.9, {hop}, 10.0.0.2");
            assert_eq!(caller("10.0.0.1", &[&in_the_chain]), "nobody", "{hop}");
        }
        assert_eq!(caller("10.0.0.1", &[]), "nobody");
        assert_eq!(caller("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "nobody");
    }

    /// What nginx's `$proxy_add_x_forwarded_for` makes of a field that the caller sent: its bytes,
    /// and behind them the address that nginx saw.
    #[test]
    fn what_the_caller_wrote_does_not_hide_the_hop_behind_it() {
        for written in [&b"\xff"[..], b"unknown", b"", b"10.0.0.1", b"\x80, ,"] {
            let field = [written, b", 203.0.113.9"].concat();
            let told = of("10.0.0.1", &[&field]).unwrap();
            assert_eq!(told.to_string(), "203.0.113.9", "{written:?}");
        }
        assert_eq!(of("10.0.0.1", &[b"\xff"]), None);
        assert_eq!(of("10.0.0.1", &[b"203.0.113.9, \xff"]), None);
    }

    proptest! {
        #[test]
        fn a_trusted_proxy_is_never_the_caller(
            fields in prop::collection::vec("[0-9a-f.:,\\[\\] un]{0,24}|10\\.0\\.0\\.[0-9]", 0..4)
        ) {
            let fields = fields.iter().map(String::as_bytes);
            let told = of("10.0.0.1", &fields.collect::<Vec<_>>());
            prop_assert!(told.is_none_or(|ip| !ip.to_string().starts_with("10.")));
        }
    }
}
