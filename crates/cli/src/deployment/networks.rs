//! Networks from which credentials may call, and that let in more than was meant.

use cardveil_core::merchant::Credential;
use cardveil_core::merchant::allowlist::is_wide;
use ipnet::IpNet;

/// What to narrow of one credential: what is wide, and what a proxy stands in.
pub(crate) fn wide(known: &Credential, proxies: &[IpNet]) -> Vec<String> {
    let id = &known.id;
    let calls_from = known.allowed_ips.nets();
    let overlap = |net: &IpNet| {
        let proxy = proxies
            .iter()
            .find(|proxy| proxy.contains(net) || net.contains(*proxy));
        proxy.map(|proxy| {
            format!(
                "{id} may call from {net}, where the trusted proxy {proxy} is, which is never the caller: \
                 `credential set {id} --allow-ip` with the addresses of the callers alone"
            )
        })
    };
    let too_wide = |net: &&IpNet| is_wide(**net);
    let calls = calls_from.iter().filter(too_wide).map(|net| {
        format!(
            "{id} may call from {net}: name narrower networks (`credential set {id} --allow-ip`)"
        )
    });
    let adds = known
        .ip_ceiling
        .iter()
        .flatten()
        .filter(too_wide)
        .map(|net| {
            format!(
                "{id} may let itself call from {net}: a narrower `credential set {id} --ip-ceiling`"
            )
        });
    let overlaps = calls_from
        .iter()
        .filter(|net| !is_wide(**net))
        .filter_map(overlap);
    calls.chain(overlaps).chain(adds).collect()
}

#[cfg(test)]
mod tests {
    use cardveil_core::merchant::allowlist::Allowlist;
    use cardveil_testkit::sample::{self, START};

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn found(calls_from: &[&str], ceiling: &[&str], proxies: &[&str]) -> Vec<String> {
        let known = Credential {
            allowed_ips: Allowlist::of(nets(calls_from), START),
            ip_ceiling: Some(nets(ceiling)),
            ..sample::credential(1)
        };
        wide(&known, &nets(proxies))
    }

    #[test]
    fn a_wide_network_is_named() {
        for net in ["0.0.0.0/0", "::/0", "10.0.0.0/15", "2001::/31"] {
            let listed = found(&[net], &[], &[]);
            assert!(
                listed[0].contains(&format!("crd_1 may call from {net}")),
                "{listed:?}"
            );
            let within = found(&["203.0.113.7/32"], &[net], &[]);
            assert!(within[0].contains("--ip-ceiling"), "{within:?}");
            assert_eq!((listed.len(), within.len()), (1, 1));
        }
        let narrow = ["10.1.0.0/16", "2001:db8::/32", "203.0.113.7/32"];
        assert_eq!(
            found(&narrow, &narrow, &["192.0.2.1/32"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_network_with_a_trusted_proxy_in_it_is_named() {
        let proxies = ["10.1.2.0/24", "2001:db8:1::1/128"];
        for net in ["10.1.2.3/32", "10.1.0.0/16", "2001:db8:1::/48"] {
            let told = found(&["203.0.113.7/32", net], &[], &proxies);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].contains(net) && told[0].contains("trusted proxy"),
                "{told:?}"
            );
        }
        // Once, though it is wide, too.
        assert_eq!(found(&["0.0.0.0/0"], &[], &proxies).len(), 1);
    }
}
