//! From where a credential may call: its networks, and the rules by which it changes them itself.
//!
//! A request and the credential's row in, a decision with its audit event out; stores apply it inside
//! one commit ([`crate::port::Allowlists`]).
//!
//! **Invariant:** nobody locks itself out: a change that a credential makes leaves the address from
//! which it was asked allowed.
//!
//! **Invariant:** a credential adds nothing beyond the operator's ceiling
//! ([`Credential::ip_ceiling`]). Operators at the command line may write any list.

use std::net::IpAddr;

use cardveil_seal::sha256;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::audit::settings::changes;
use crate::audit::{Detail, Event, Kind, Source, Target};
use crate::clock::Time;
use crate::id::{CredentialId, NetworkId};
use crate::merchant::Credential;

/// Networks that a credential may have by its own doing (P8).
pub const NETWORKS_MAX: usize = 100;

/// A network from which a credential may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The network; one address has the full prefix.
    pub net: IpNet,
    /// What people call it; a [`Description`](crate::text::Description).
    pub description: String,
    /// Since when.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

impl Network {
    /// Its id within the credential. Derived, so that the same network always has the same.
    pub fn id(&self, credential: &CredentialId) -> NetworkId {
        let net = self.net.to_string();
        // No id holds a zero byte, so the parts cannot run into each other.
        NetworkId::derived(sha256(&[
            b"cardveil/allowed-network/v1\0",
            credential.as_str().as_bytes(),
            b"\0",
            net.as_bytes(),
        ]))
    }
}

/// The networks of a credential. Empty means nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Allowlist(Vec<Network>);

impl Allowlist {
    /// These networks, as they were written at `at`, in this order and each once.
    pub fn of(nets: impl IntoIterator<Item = IpNet>, at: Time) -> Self {
        let mut list = Self::default();
        for net in nets {
            if !list.0.iter().any(|known| known.net == net) {
                list.0.push(Network {
                    net,
                    description: String::new(),
                    created_at: at,
                    updated_at: at,
                });
            }
        }
        list
    }

    /// These networks in the place of the ones before. Those that stay keep what people call them, and
    /// since when they are there.
    #[must_use]
    pub fn replaced(&self, nets: impl IntoIterator<Item = IpNet>, at: Time) -> Self {
        let mut list = Self::of(nets, at);
        for network in &mut list.0 {
            if let Some(known) = self.0.iter().find(|known| known.net == network.net) {
                *network = known.clone();
            }
        }
        list
    }

    /// Whether calls may come from `ip`. An IPv4 address inside IPv6 counts as the IPv4 one.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.net.contains(&ip))
    }

    /// The networks in the order in which they came.
    pub fn networks(&self) -> &[Network] {
        &self.0
    }

    /// The networks alone.
    pub fn nets(&self) -> Vec<IpNet> {
        self.0.iter().map(|network| network.net).collect()
    }
}

/// Reads one address, or a network as address and prefix, the way in which calls are compared with it.
/// `None` when it is neither, or one from which no caller should be let in: wider than /16 (IPv6:
/// /32), unspecified, multicast or reserved.
pub fn parse_net(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip.to_canonical()),
        Err(_) => text.parse::<IpNet>().ok()?.trunc(),
    };
    let sound = match net {
        IpNet::V4(net) => {
            let [first, ..] = net.network().octets();
            first != 0 && first < 224
        }
        // Callers from inside `::ffff:0:0/96` count as IPv4 ones, so such a network lets nobody in.
        IpNet::V6(net) => {
            let ip = net.network();
            let mapped = ip.to_ipv4_mapped().is_some();
            !ip.is_unspecified() && !ip.is_multicast() && !mapped
        }
    };
    (sound && !is_wide(net)).then_some(net)
}

/// Whether it is wider than anybody's own network: than /16, or for IPv6 /32, which is what a provider gets.
pub fn is_wide(net: IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() < 16,
        IpNet::V6(net) => net.prefix_len() < 32,
    }
}

/// A change that a credential makes to its own list.
#[derive(Clone, Debug)]
pub struct AllowlistChange {
    /// Whose list.
    pub credential: CredentialId,
    /// What to do.
    pub wish: Wish,
    /// From where it is asked; must be allowed afterwards too.
    pub from: Option<IpAddr>,
    /// When.
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Adds a network.
    Add {
        /// As [`parse_net`] reads it.
        net: IpNet,
        /// What people call it; a [`Description`](crate::text::Description).
        description: String,
    },
    /// Takes a network away.
    Remove(NetworkId),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowlistChanged {
    /// It was done, to this network.
    Done(Network),
    /// It was refused. Nothing was written.
    Refused(Refusal),
}

/// Why a list stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The credential has no such network.
    Unknown,
    /// The network is in the list.
    Exists,
    /// The list has as many as it may.
    Full,
    /// Nothing would be left.
    Last,
    /// The caller's own address would not be allowed any more.
    LockOut,
    /// It is not within what the operator lets the credential add.
    Ceiling,
}

/// What was decided, and what must be durable before anyone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decided {
    /// To be written first, in one commit.
    pub write: Option<(Box<Credential>, Event)>,
    /// To be told then.
    pub verdict: AllowlistChanged,
}

impl AllowlistChange {
    /// Decides over the credential as it is.
    pub fn decide(&self, credential: Option<&Credential>) -> Decided {
        let applied = match (credential, &self.wish) {
            (None, _) => Err(Refusal::Unknown),
            (Some(credential), Wish::Add { net, description }) => {
                self.add(credential, *net, description)
            }
            (Some(credential), Wish::Remove(id)) => self.remove(credential, *id),
        };
        match applied {
            Ok((next, network, event)) => Decided {
                write: Some((Box::new(next), event)),
                verdict: AllowlistChanged::Done(network),
            },
            Err(refusal) => Decided {
                write: None,
                verdict: AllowlistChanged::Refused(refusal),
            },
        }
    }

    fn add(&self, credential: &Credential, net: IpNet, description: &str) -> Applied {
        let list = &credential.allowed_ips.0;
        if list.iter().any(|network| network.net == net) {
            return Err(Refusal::Exists);
        }
        if list.len() >= NETWORKS_MAX {
            return Err(Refusal::Full);
        }
        if let Some(ceiling) = &credential.ip_ceiling
            && !ceiling.iter().any(|within| within.contains(&net))
        {
            return Err(Refusal::Ceiling);
        }
        let network = Network {
            net,
            description: description.to_owned(),
            created_at: self.at,
            updated_at: self.at,
        };
        let mut grown = credential.clone();
        grown.allowed_ips.0.push(network.clone());
        let event = self.event((credential, &grown), format!("allows {net}"));
        Ok((grown, network, event))
    }

    fn remove(&self, credential: &Credential, id: NetworkId) -> Applied {
        let list = &credential.allowed_ips.0;
        let place = list
            .iter()
            .position(|network| network.id(&credential.id) == id)
            .ok_or(Refusal::Unknown)?;
        if list.len() == 1 {
            return Err(Refusal::Last);
        }
        let mut next = credential.clone();
        let network = next.allowed_ips.0.remove(place);
        if self.from.is_some_and(|ip| !next.allowed_ips.contains(ip)) {
            return Err(Refusal::LockOut);
        }
        let note = format!("no longer allows {}", network.net);
        let event = self.event((credential, &next), note);
        Ok((next, network, event))
    }

    fn event(&self, (before, after): (&Credential, &Credential), note: String) -> Event {
        let target = Target {
            credential: Some(after.id.clone()),
            ..Target::default()
        };
        let merchant = Some(after.merchant.clone());
        Event {
            detail: Detail {
                note: Some(note.into()),
                changes: changes(Some(before), Some(after)),
                ..Detail::default()
            },
            ..self
                .source
                .event(self.at, Kind::CredentialChanged, merchant, target)
        }
    }
}

/// The credential's next form, the network that it is about, and the event.
type Applied = Result<(Credential, Network, Event), Refusal>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::sample::{self, START};

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
        let list = Allowlist(vec![
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
        ]);
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
}
