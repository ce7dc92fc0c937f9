//! From where a credential may call: its networks, and the rules by which it changes them itself.
//!
//! A request and the credential's row in, a decision with its audit event out; stores apply it
//! inside one commit ([`crate::verb`]).
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

use super::Credential;
use crate::audit::settings::changes;
use crate::audit::{Detail, Event, Kind, Source, Target};
use crate::clock::Time;
use crate::id::{CredentialId, NetworkId};

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

    /// These networks in the place of the ones before. Those that stay keep what people call them,
    /// and since when they are there.
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

/// Reads one address, or a network as address and prefix, the way in which calls are compared with
/// it. `None` when it is neither, or one from which no caller should be let in: wider than /16
/// (IPv6: /32), unspecified, multicast or reserved.
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

/// Whether it is wider than anybody's own network: than /16, or for IPv6 /32, which is what a
/// provider gets.
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
