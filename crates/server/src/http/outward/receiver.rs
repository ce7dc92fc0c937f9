//! Which addresses deliveries may go to. Receivers' URLs are chosen by partners, so a URL must not
//! make this server call what only it can reach: itself, its neighbours, or a cloud's metadata
//! (OWASP, Server-Side Request Forgery; Standard Webhooks, "Server side request forgery").
//!
//! **Invariant:** all addresses that a name leads to are checked, and the connection goes to one of
//! those very addresses: nothing is resolved a second time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use async_trait::async_trait;
use cardveil_core::hook::Endpoint;
use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 networks that are not the public Internet (IANA IPv4 Special-Purpose Address Registry), and
/// one address in it that is a cloud's own.
const REFUSED_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 31, 196, 0], 24),
    v4([192, 52, 193, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([192, 175, 48, 0], 24),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    // Azure's WireServer, which every machine there can reach.
    v4([168, 63, 129, 16], 32),
];
/// 224.0.0.0/4 (multicast), 240.0.0.0/4 (reserved) and broadcast.
const FIRST_NOT_UNICAST_V4: u8 = 224;

/// Global unicast: all else in IPv6 is local, mapped, translated, multicast or not assigned.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0], 3);
/// What is special inside of it (IANA IPv6 Special-Purpose Address Registry): protocol assignments
/// with Teredo and ORCHID, documentation, 6to4, documentation again.
const REFUSED_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0], 23),
    v6([0x2001, 0x0db8], 32),
    v6([0x2002, 0], 16),
    v6([0x3fff, 0], 20),
];

const fn v4(address: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = address;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 2], prefix: u8) -> Ipv6Net {
    let [a, b] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Whether an address is of the public Internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.octets().first() < Some(&FIRST_NOT_UNICAST_V4)
                && !REFUSED_V4.iter().any(|net| net.contains(&address))
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !REFUSED_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// Why a URL can never be called, as far as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncallable {
    /// It is not `https`.
    #[error("must be an absolute https URL")]
    Plain,
    /// Its host is an address, or this machine's own name, that is not of the public Internet.
    #[error("must lead to an address of the public Internet")]
    Private,
}

/// Whether a URL may be called, as far as its text tells: said when it is made, so that nobody
/// waits for deliveries that cannot come. What a name leads to is looked at for each delivery.
pub fn callable(endpoint: &Endpoint, allow_private: bool) -> Result<(), Uncallable> {
    if allow_private {
        return Ok(());
    }
    if !endpoint.is_https() {
        return Err(Uncallable::Plain);
    }
    let public = match endpoint.url().host() {
        Some(url::Host::Ipv4(address)) => is_public(address.into()),
        Some(url::Host::Ipv6(address)) => is_public(address.into()),
        // RFC 6761 6.3.
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
        None => false,
    };
    if public {
        Ok(())
    } else {
        Err(Uncallable::Private)
    }
}

/// Looks names up.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of a host.
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>>;
}

/// The machine's own resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Why there is no address to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAddress {
    /// One of its addresses may not be called.
    Refused,
    /// The name leads nowhere.
    Unknown,
}

/// The addresses that may be called for a URL: all of its host's, or none.
pub(crate) async fn addresses(
    resolver: &dyn Resolve,
    url: &url::Url,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, NoAddress> {
    let port = url.port_or_known_default().ok_or(NoAddress::Unknown)?;
    let found = match url.host().ok_or(NoAddress::Unknown)? {
        url::Host::Ipv4(address) => vec![SocketAddr::from((address, port))],
        url::Host::Ipv6(address) => vec![SocketAddr::from((address, port))],
        url::Host::Domain(name) => resolver
            .resolve(name, port)
            .await
            .map_err(|_| NoAddress::Unknown)?,
    };
    if found.is_empty() {
        return Err(NoAddress::Unknown);
    }
    if !allow_private && !found.iter().all(|address| is_public(address.ip())) {
        return Err(NoAddress::Refused);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver that gives other addresses each time: DNS rebinding.
    struct Given(Vec<&'static str>);

    #[async_trait]
    impl Resolve for Given {
        async fn resolve(&self, _host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
            let with_port = |address: &&str| SocketAddr::new(address.parse().unwrap(), port);
            Ok(self.0.iter().map(with_port).collect())
        }
    }

    #[test]
    fn a_url_that_is_literally_private_is_refused_when_it_is_made() {
        let told = |text: &str| callable(&Endpoint::parse(text).unwrap(), false);
        for private in [
            "https://127.0.0.1/hook",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]:8443/",
            "https://[::ffff:10.0.0.1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost:9/",
        ] {
            assert_eq!(told(private), Err(Uncallable::Private), "{private}");
            assert_eq!(callable(&Endpoint::parse(private).unwrap(), true), Ok(()));
        }
        assert_eq!(told("http://hooks.example/"), Err(Uncallable::Plain));
        for fine in [
            "https://hooks.example/",
            "https://1.1.1.1/",
            "https://notlocalhost/",
        ] {
            assert_eq!(told(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn what_is_not_the_public_internet_is_refused() {
        let refused = [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200", // Alibaba Cloud's metadata
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.1",
            "169.254.169.254", // AWS, Google Cloud, Azure: metadata
            "169.254.170.2",   // ECS task metadata
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192", // Oracle Cloud's metadata, old
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254", // AWS metadata
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in refused {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let allowed = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
        ];
        for address in allowed {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    async fn of(url: &str, resolver: &Given, private: bool) -> Result<usize, NoAddress> {
        let url = url::Url::parse(url).unwrap();
        addresses(resolver, &url, private).await.map(|a| a.len())
    }

    #[tokio::test]
    async fn every_way_to_write_an_address_is_seen_through() {
        let nobody = Given(vec![]);
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "0",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "①②⑦.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[fd00:ec2::254]",
            "169.254.169.254",
            "0xa9fea9fe",
        ] {
            let url = format!("https://{host}/latest/meta-data");
            assert_eq!(
                of(&url, &nobody, false).await,
                Err(NoAddress::Refused),
                "{host}"
            );
            assert_eq!(of(&url, &nobody, true).await, Ok(1), "{host}");
        }
    }

    #[tokio::test]
    async fn one_private_address_among_public_ones_refuses_the_name() {
        let url = "https://hooks.example/";
        let public = ["8.8.8.8", "2606:4700::1111"];
        assert_eq!(of(url, &Given(public.to_vec()), false).await, Ok(2));
        for private in ["10.0.0.1", "::1", "169.254.169.254", "::ffff:8.8.8.8"] {
            for mixed in [[public[0], private], [private, public[0]]] {
                let resolver = Given(mixed.to_vec());
                let refused = of(url, &resolver, false).await;
                assert_eq!(refused, Err(NoAddress::Refused), "{mixed:?}");
                assert_eq!(of(url, &resolver, true).await, Ok(2));
            }
        }
        let nowhere = of(url, &Given(vec![]), false).await;
        assert_eq!(nowhere, Err(NoAddress::Unknown));
    }
}
