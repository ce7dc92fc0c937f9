//! Where a call comes from. `X-Forwarded-For` is believed only when the peer is a configured proxy,
//! and then only as far back as the chain of configured proxies goes, so that no caller can set its
//! own address (ASVS 4.1.3).

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The address of the caller: the last hop that is not a trusted proxy.
pub(crate) fn of_caller(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip));
    let mut caller = peer.to_canonical();
    if !is_trusted(caller) {
        return caller;
    }
    // Several fields are one list, in order (RFC 9110 section 5.3).
    let fields = headers
        .get_all("x-forwarded-for")
        .iter()
        .collect::<Vec<_>>();
    for field in fields.into_iter().rev() {
        // What a proxy wrote is ASCII; from anything else on, nothing further back can be believed.
        let Ok(text) = field.to_str() else {
            return caller;
        };
        for hop in text.split(',').rev() {
            let Ok(ip) = hop.trim().parse::<IpAddr>() else {
                return caller;
            };
            caller = ip.to_canonical();
            if !is_trusted(caller) {
                return caller;
            }
        }
    }
    caller
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn caller(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in forwarded {
            headers.append(
                "x-forwarded-for",
                HeaderValue::from_bytes(field.as_bytes()).unwrap(),
            );
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        of_caller(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_caller_cannot_set_its_own_address() {
        assert_eq!(caller("203.0.113.9", &["127.0.0.1"]), "203.0.113.9");
        assert_eq!(caller("203.0.113.9", &[]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_is_believed_for_the_hop_that_it_saw() {
        assert_eq!(caller("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            caller("10.0.0.1", &["127.0.0.1, 203.0.113.9"]),
            "203.0.113.9"
        );
        assert_eq!(
            caller("10.0.0.1", &["127.0.0.1, 203.0.113.9, 10.0.0.2"]),
            "203.0.113.9"
        );
        assert_eq!(
            caller("10.0.0.1", &["127.0.0.1", "203.0.113.9", "10.0.0.2"]),
            "203.0.113.9"
        );
        assert_eq!(caller("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(caller("fd00::1", &["::ffff:203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_cannot_be_read_ends_the_chain() {
        assert_eq!(caller("10.0.0.1", &["203.0.113.9, unknown"]), "10.0.0.1");
        assert_eq!(
            caller("10.0.0.1", &["203.0.113.9, \u{e9}, 10.0.0.2"]),
            "10.0.0.1"
        );
        assert_eq!(caller("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(caller("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }
}
