//! Calls that were refused at the door (PCI DSS 10.2.1.4), gathered so that nobody floods the log
//! with them: those of one cause, credential, client certificate and address (IPv6: its /64) are
//! one record a minute.
//!
//! **Invariant:** bounded. A minute is at most [`RECORDS_MAX`] records, of which the last counts
//! the rest; in memory there are at most twice as many rows, whoever calls how often from wherever.
//!
//! **Invariant:** known credentials come first: no stranger takes the place of a record of one, and
//! none of them takes more than [`PLACES_OF_ONE`] rows for its addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Actor, Detail, Event, Kind, Origin, Outcome, Source, Target};
use crate::clock::Time;
use crate::id::{CredentialId, MerchantId};
use crate::named;
use crate::term::CertificateHash;

/// How many records a minute has at most.
pub const RECORDS_MAX: usize = 100;
/// For how many addresses a credential has rows of its own; the others are one row together.
pub const PLACES_OF_ONE: usize = 10;

named! {
    /// Why a call was refused at the door. The names are stable.
    pub enum Denied {
        /// It came without an Api-Key, or with what cannot be one.
        KeyMissing = "key_missing",
        /// Nobody has this Api-Key.
        KeyUnknown = "key_unknown",
        /// The credential is disabled.
        KeyDisabled = "key_disabled",
        /// The credential has expired.
        KeyExpired = "key_expired",
        /// The credential may not be used from there.
        Address = "address",
        /// KeySecure: the call's time is not ours.
        Timestamp = "timestamp",
        /// KeySecure: it came without an Access-Token.
        AccessTokenMissing = "access_token_missing",
        /// KeySecure: the Access-Token is not good.
        AccessTokenInvalid = "access_token_invalid",
        /// The client certificate is missing, not good, or none that the credential is bound to.
        Certificate = "certificate",
        MerchantSuspended = "merchant_suspended",
        /// The merchant has gone.
        MerchantClosed = "merchant_closed",
        /// The credential, or its merchant, lacks what the call needs.
        Scope = "scope",
    }
}

/// Whose Api-Key it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keyholder {
    /// The Api-Key's.
    pub credential: CredentialId,
    /// Whose credential.
    pub merchant: MerchantId,
}

#[derive(Clone, Debug)]
pub struct RefusedCall {
    pub at: Time,
    /// Why.
    pub denied: Denied,
    /// Whose, where the Api-Key is somebody's.
    pub holder: Option<Keyholder>,
    /// From where.
    pub origin: Origin,
    /// With which client certificate, if any.
    pub certificate: Option<CertificateHash>,
    /// What was called: an API or a listener.
    pub resource: &'static str,
}

/// What a record tells of the calls that were refused alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCalls {
    /// Why; left out in the record of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Denied>,
    /// How many.
    pub calls: u64,
    /// When the first came.
    pub first_at: Time,
    /// When the last came.
    pub last_at: Time,
    /// From which address, or which /64; left out where they are several or none is known. `origin`
    /// is that of the first call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNet>,
    /// With which client certificate; left out where they are several or none was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateHash>,
}

/// The calls of one record.
#[derive(Clone, Debug)]
pub struct Gathered {
    holder: Option<Keyholder>,
    resource: &'static str,
    origin: Origin,
    calls: RefusedCalls,
}

/// What is gathered until it is taken.
#[derive(Debug, Default)]
pub struct Refusals {
    known: Vec<Gathered>,
    strangers: Vec<Gathered>,
    rest: Option<Gathered>,
}

impl Refusals {
    /// Gathers a call.
    pub fn note(&mut self, call: RefusedCall) {
        let RefusedCall {
            at,
            denied,
            holder,
            origin,
            certificate,
            resource,
        } = call;
        self.add(Gathered {
            holder,
            resource,
            calls: RefusedCalls {
                cause: Some(denied),
                calls: 1,
                first_at: at,
                last_at: at,
                from: place(&origin),
                certificate,
            },
            origin,
        });
    }

    /// Takes what is there, at most [`RECORDS_MAX`]: known credentials first, and the rest in one.
    pub fn take(&mut self) -> Vec<Gathered> {
        let mut taken = std::mem::take(&mut self.known);
        taken.append(&mut self.strangers);
        let room = if self.rest.is_none() && taken.len() <= RECORDS_MAX {
            RECORDS_MAX
        } else {
            RECORDS_MAX - 1
        };
        for more in taken.split_off(taken.len().min(room)) {
            self.count(&more);
        }
        taken.extend(self.rest.take());
        taken
    }

    /// Gathers again what could not be written.
    pub fn give_back(&mut self, gathered: Gathered) {
        if gathered.calls.cause.is_some() {
            self.add(gathered);
        } else {
            self.count(&gathered);
        }
    }

    fn add(&mut self, mut new: Gathered) {
        let rows = if new.holder.is_some() {
            &mut self.known
        } else {
            &mut self.strangers
        };
        if let Some(holder) = &new.holder {
            let own = |row: &&Gathered| row.holder.as_ref() == Some(holder);
            let is_there = rows.iter().any(|row| row.is_like(&new));
            if !is_there && rows.iter().filter(own).count() >= PLACES_OF_ONE {
                new.calls.from = None;
                new.calls.certificate = None;
            }
        }
        if let Some(row) = rows.iter_mut().find(|row| row.is_like(&new)) {
            row.calls.add(&new.calls);
        } else if rows.len() < RECORDS_MAX {
            rows.push(new);
        } else {
            self.count(&new);
        }
    }

    /// Counts it among the rest.
    fn count(&mut self, more: &Gathered) {
        if let Some(rest) = &mut self.rest {
            rest.calls.add(&more.calls);
            return;
        }
        self.rest = Some(Gathered {
            holder: None,
            resource: "calls beyond those on record",
            origin: Origin::Server,
            calls: RefusedCalls {
                cause: None,
                from: None,
                certificate: None,
                ..more.calls.clone()
            },
        });
    }
}

impl Gathered {
    /// The record, written at this moment.
    pub fn event(&self, at: Time) -> Event {
        let credential = self.holder.as_ref().map(|holder| holder.credential.clone());
        let merchant = self.holder.as_ref().map(|holder| holder.merchant.clone());
        let target = Target {
            credential: credential.clone(),
            resource: Some(self.resource.into()),
            ..Target::default()
        };
        let source = Source {
            actor: match credential {
                Some(credential) => Actor::Credential(credential),
                None if self.calls.cause.is_none() => Actor::System,
                None => Actor::Stranger,
            },
            origin: self.origin.clone(),
        };
        Event {
            outcome: Outcome::Failure,
            detail: Detail {
                refused: Some(Box::new(self.calls.clone())),
                ..Detail::default()
            },
            ..source.event(at, Kind::AccessRefused, merchant, target)
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        (&self.holder, self.resource) == (&other.holder, other.resource)
            && self.calls.is_like(&other.calls)
    }
}

impl RefusedCalls {
    fn is_like(&self, other: &Self) -> bool {
        (self.cause, self.from, self.certificate) == (other.cause, other.from, other.certificate)
    }

    fn add(&mut self, more: &Self) {
        self.calls = self.calls.saturating_add(more.calls);
        self.first_at = self.first_at.min(more.first_at);
        self.last_at = self.last_at.max(more.last_at);
    }
}

/// One address; of IPv6 the /64, which is one subscriber's.
fn place(origin: &Origin) -> Option<IpNet> {
    let Origin::Network { ip: Some(ip), .. } = origin else {
        return None;
    };
    match ip.to_canonical() {
        ip @ IpAddr::V4(_) => Some(IpNet::from(ip)),
        ip @ IpAddr::V6(_) => IpNet::new(ip, 64).ok().map(|net| net.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const START: Time = Time::from_millis(1_767_225_600_000);

    fn keyholder(n: u8) -> Keyholder {
        Keyholder {
            credential: CredentialId::parse(&format!("crd_{n}")).unwrap(),
            merchant: MerchantId::parse(&format!("mer_{n}")).unwrap(),
        }
    }

    fn call(denied: Denied, holder: Option<u8>, ip: impl Into<IpAddr>, ms: i64) -> RefusedCall {
        RefusedCall {
            at: Time::from_millis(START.millis() + ms),
            denied,
            holder: holder.map(keyholder),
            origin: Origin::Network {
                ip: Some(ip.into()),
                request: format!("r{ms}").into(),
            },
            certificate: None,
            resource: "keysecure",
        }
    }

    fn calls_of(gathered: &Gathered) -> u64 {
        gathered.calls.calls
    }

    fn stranger(n: u32) -> RefusedCall {
        call(Denied::KeyUnknown, None, n.to_be_bytes(), 0)
    }

    #[test]
    fn a_refused_call_is_on_record_with_cause_address_and_credential() {
        let mut refusals = Refusals::default();
        for ms in [5, 3, 9] {
            refusals.note(call(Denied::Address, Some(1), [192, 0, 2, 7], ms));
        }
        let taken = refusals.take();
        let [gathered] = &taken[..] else {
            panic!("{taken:?}")
        };
        let event = gathered.event(START);
        let Keyholder {
            credential,
            merchant,
        } = keyholder(1);
        assert_eq!(event.kind, Kind::AccessRefused);
        assert_eq!(event.outcome, Outcome::Failure);
        assert_eq!(event.actor, Actor::Credential(credential.clone()));
        assert_eq!(event.target.credential, Some(credential));
        assert_eq!(event.merchant, Some(merchant));
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["origin"]["network"]["request"], "r5");
        let refused = serde_json::json!({
            "cause": "address",
            "calls": 3,
            "first_at": START.millis() + 3,
            "last_at": START.millis() + 9,
            "from": "192.0.2.7/32",
        });
        assert_eq!(json["detail"]["refused"], refused);
        assert!(refusals.take().is_empty(), "taken once");
    }

    #[test]
    fn each_client_certificate_is_a_record_of_its_own_up_to_a_bound() {
        let mut refusals = Refusals::default();
        for n in 0..200 {
            refusals.note(RefusedCall {
                certificate: Some(CertificateHash([n % 100; 32])),
                ..call(Denied::Certificate, Some(1), [192, 0, 2, 7], 0)
            });
        }
        let taken = refusals.take();
        let told = |row: &Gathered| (row.calls.certificate, row.calls.calls);
        let own = (0..10).map(|n| (Some(CertificateHash([n; 32])), 2));
        let expected: Vec<_> = own.chain([(None, 180)]).collect();
        assert_eq!(taken.iter().map(told).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn calls_from_one_64_are_one_record() {
        let mut refusals = Refusals::default();
        for host in 0..1_000 {
            let ip = Ipv6Addr::from(0x2001_0db8_0000_0001_0000_0000_0000_0000 + host);
            refusals.note(call(Denied::KeyMissing, None, ip, 0));
        }
        let other = Ipv6Addr::from(0x2001_0db8_0000_0002_0000_0000_0000_0000_u128);
        refusals.note(call(Denied::KeyMissing, None, other, 0));
        let taken = refusals.take();
        let calls: Vec<_> = taken.iter().map(calls_of).collect();
        assert_eq!(calls, [1_000, 1]);
        let from = taken[0].calls.from.unwrap().to_string();
        assert_eq!(from, "2001:db8:0:1::/64");
        assert_eq!(taken[0].event(START).actor, Actor::Stranger);
    }

    #[test]
    fn nobody_floods_the_log_with_refused_calls() {
        let mut refusals = Refusals::default();
        for n in 0..50_000 {
            refusals.note(stranger(n));
        }
        assert!(refusals.strangers.len() <= RECORDS_MAX);
        // After all of them, and still on record.
        refusals.note(call(Denied::KeyDisabled, Some(1), [192, 0, 2, 7], 0));
        let taken = refusals.take();
        assert_eq!(taken.len(), RECORDS_MAX);
        assert!(taken[0].holder.is_some(), "known credentials come first");
        let calls: u64 = taken.iter().map(calls_of).sum();
        assert_eq!(calls, 50_001, "the rest is counted");
        let rest = taken.last().unwrap();
        assert_eq!(rest.calls.cause, None);
        assert_eq!(rest.event(START).actor, Actor::System);
    }

    #[test]
    fn as_many_as_fit_need_no_record_of_the_rest() {
        let of = |count: u32| {
            let mut refusals = Refusals::default();
            (0..count).for_each(|n| refusals.note(stranger(n)));
            refusals.take()
        };
        assert!(of(100).iter().all(|row| row.calls.cause.is_some()));
        let taken = of(101);
        assert_eq!(taken.len(), RECORDS_MAX);
        assert_eq!(calls_of(taken.last().unwrap()), 2);
    }

    /// A stolen and disabled key from everywhere.
    #[test]
    fn one_credential_leaves_the_records_of_the_others() {
        let mut refusals = Refusals::default();
        for n in 0..50_000_u32 {
            refusals.note(call(Denied::KeyDisabled, Some(1), n.to_be_bytes(), 0));
        }
        refusals.note(call(Denied::Address, Some(2), [192, 0, 2, 7], 0));
        let taken = refusals.take();
        assert_eq!(taken.len(), PLACES_OF_ONE + 2);
        let several = &taken[PLACES_OF_ONE];
        assert_eq!((several.calls.from, calls_of(several)), (None, 49_990));
        let calls: u64 = taken.iter().map(calls_of).sum();
        assert_eq!(calls, 50_001);
    }

    #[test]
    fn what_could_not_be_written_is_kept_within_the_same_bounds() {
        let mut refusals = Refusals::default();
        for round in 0..5 {
            for n in 0..200 {
                refusals.note(stranger(n));
            }
            let taken = refusals.take();
            assert_eq!(taken.len(), RECORDS_MAX, "{round}");
            let calls: u64 = taken.iter().map(calls_of).sum();
            assert_eq!(calls, 200 * (round + 1), "{round}");
            for row in taken {
                refusals.give_back(row);
            }
        }
    }

    #[test]
    fn causes_have_the_names_that_records_have() {
        for denied in Denied::ALL {
            assert_eq!(serde_json::to_value(denied).unwrap(), denied.as_str());
        }
    }
}
