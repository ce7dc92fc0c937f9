use std::net::IpAddr;

use cardveil_core::clock::Time;
use cardveil_core::merchant::Credential;
use cardveil_core::merchant::allowlist::*;
use cardveil_testkit::sample::{self, START};
use ipnet::IpNet;
use proptest::prelude::*;

const OFFICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

fn change(wish: Wish) -> AllowlistChange {
    AllowlistChange {
        credential: sample::credential(1).id,
        wish,
        from: Some(OFFICE),
        at: START,
        source: sample::operator(),
    }
}

fn credential(nets: &[&str]) -> Credential {
    Credential {
        allowed_ips: Allowlist::of(nets.iter().map(|net| net.parse().unwrap()), START),
        ..sample::credential(1)
    }
}

fn add(credential: &Credential, net: &str) -> AllowlistChanged {
    let net = parse_net(net).unwrap();
    let description = "office".to_owned();
    change(Wish::Add { net, description })
        .decide(Some(credential))
        .verdict
}

fn remove(credential: &Credential, place: usize) -> AllowlistChanged {
    let id = credential.allowed_ips.networks()[place].id(&credential.id);
    change(Wish::Remove(id)).decide(Some(credential)).verdict
}

#[test]
fn addresses_and_networks_are_read_as_calls_are_compared() {
    for (text, net) in [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("127.0.0.1", "127.0.0.1/32"),
    ] {
        assert_eq!(parse_net(text).unwrap().to_string(), net, "{text}");
    }
}

#[test]
fn a_network_that_stays_in_a_new_list_keeps_its_description() {
    let list = [
        Network {
            net: parse_net("203.0.113.7").unwrap(),
            description: "the office".to_owned(),
            created_at: START,
            updated_at: START,
        },
        Network {
            net: parse_net("10.1.0.0/16").unwrap(),
            description: "the old one".to_owned(),
            created_at: START,
            updated_at: START,
        },
    ];
    let list: Allowlist = serde_json::from_value(serde_json::to_value(list).unwrap()).unwrap();
    let later = Time::from_millis(START.millis() + 1);
    let nets = ["192.0.2.1", "203.0.113.7", "192.0.2.1"].map(|net| parse_net(net).unwrap());
    let next = list.replaced(nets, later);
    let told: Vec<_> = next
        .networks()
        .iter()
        .map(|known| {
            (
                known.net.to_string(),
                known.description.as_str(),
                known.created_at,
            )
        })
        .collect();
    let expected = [
        ("192.0.2.1/32".to_owned(), "", later),
        ("203.0.113.7/32".to_owned(), "the office", START),
    ];
    assert_eq!(told, expected);
}

#[test]
fn absurd_networks_are_none() {
    for text in [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0",
        "::",
        "10.0.0.0/8",
        "10.0.0.0/15",
        "2001::/31",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "::ffff:203.0.113.0/120",
        "",
        "office",
        "203.0.113.7/33",
        "203.0.113.7 ",
        "203.0.113",
    ] {
        assert_eq!(parse_net(text), None, "{text}");
    }
}

#[test]
fn a_network_is_in_the_list_once_and_a_list_has_its_end() {
    let one = credential(&["203.0.113.7/32"]);
    assert!(matches!(
        add(&one, "198.51.100.0/24"),
        AllowlistChanged::Done(_)
    ));
    let refused = AllowlistChanged::Refused(Refusal::Exists);
    assert_eq!(add(&one, "203.0.113.7"), refused);
    let full: Vec<_> = (0..NETWORKS_MAX)
        .map(|n| format!("203.0.113.{n}/32"))
        .collect();
    let full: Vec<_> = full.iter().map(String::as_str).collect();
    let most = credential(&full[1..]);
    assert!(matches!(
        add(&most, "203.0.113.0"),
        AllowlistChanged::Done(_)
    ));
    let refused = AllowlistChanged::Refused(Refusal::Full);
    assert_eq!(add(&credential(&full), "198.51.100.0/24"), refused);
}

#[test]
fn a_credential_adds_nothing_beyond_the_operators_ceiling() {
    let under = |ceiling: Option<&[&str]>| Credential {
        ip_ceiling: ceiling.map(|nets| nets.iter().map(|net| net.parse().unwrap()).collect()),
        ..credential(&["203.0.113.7/32"])
    };
    let refused = AllowlistChanged::Refused(Refusal::Ceiling);
    let within = under(Some(&["198.51.100.0/24", "2001:db8::/48"]));
    for net in ["198.51.100.0/24", "198.51.100.9", "2001:db8:0:1::/64"] {
        assert!(
            matches!(add(&within, net), AllowlistChanged::Done(_)),
            "{net}"
        );
    }
    for net in [
        "198.51.0.0/16",
        "198.51.101.1",
        "2001:db8::/47",
        "192.0.2.1",
    ] {
        assert_eq!(add(&within, net), refused, "{net}");
    }
    assert_eq!(add(&under(Some(&[])), "203.0.113.8"), refused);
    let before = under(None);
    assert!(matches!(
        add(&before, "192.0.2.1"),
        AllowlistChanged::Done(_)
    ));
}

#[test]
fn nobody_locks_itself_out() {
    let last = AllowlistChanged::Refused(Refusal::Last);
    assert_eq!(remove(&credential(&["198.51.100.0/24"]), 0), last);
    let two = credential(&["203.0.113.7/32", "198.51.100.0/24"]);
    let out = AllowlistChanged::Refused(Refusal::LockOut);
    assert_eq!(remove(&two, 0), out);
    assert!(matches!(remove(&two, 1), AllowlistChanged::Done(_)));
    let wider = credential(&["203.0.113.7/32", "203.0.113.0/24"]);
    assert!(matches!(remove(&wider, 0), AllowlistChanged::Done(_)));
}

#[test]
fn an_id_is_of_one_credentials_network() {
    let one = credential(&["203.0.113.7/32"]);
    let network = &one.allowed_ips.networks()[0];
    assert_eq!(network.id(&one.id), network.id(&one.id));
    assert_ne!(network.id(&one.id), network.id(&sample::credential(2).id));
    let text = network.id(&one.id).to_string();
    assert!(text.len() == 36 && text.as_bytes()[14] == b'8', "{text}");
}

proptest! {
    /// Whatever is asked, the caller stays in, the list stays bounded, and the event names what
    /// changed.
    #[test]
    fn the_caller_stays_in(wishes in proptest::collection::vec((any::<bool>(), 0_u8..8), 0..60)) {
        let mut credential = credential(&["203.0.113.7/32"]);
        for (adds, n) in wishes {
            let net: IpNet = if n == 0 {
                "203.0.113.0/24".parse().unwrap()
            } else {
                format!("203.0.113.{n}/32").parse().unwrap()
            };
            let wish = if adds {
                Wish::Add { net, description: String::new() }
            } else {
                let networks = credential.allowed_ips.networks();
                let network = networks[usize::from(n) % networks.len()].clone();
                Wish::Remove(network.id(&credential.id))
            };
            if let Some((next, event)) = change(wish).decide(Some(&credential)).write {
                prop_assert_ne!(&next.allowed_ips, &credential.allowed_ips);
                prop_assert!(event.detail.note.unwrap().contains("allows 203.0.113."));
                credential = *next;
            }
            prop_assert!(credential.allowed_ips.contains(OFFICE));
        }
    }
}
