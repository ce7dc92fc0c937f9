//! Rate limits: a credential's calls, and a browser's by address. Kept in this process.
//!
//! **Invariant:** the memory of it is bounded (P8). A caller is forgotten as soon as its limit is
//! whole again, looked for at least once every [`TIDY_CALLS`] calls; so there are never more callers
//! in memory than that and those whose limits are not whole.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cardveil_core::{Service, Time};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// After so many calls the callers whose limits are whole again are forgotten.
const TIDY_CALLS: u32 = 65_536;

/// How often callers may call; `None` means without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls a second of one credential, with a burst of as many.
    pub credential_per_second: Option<NonZeroU32>,
    /// Calls a minute of one browser's address (IPv6: its /64), with a burst of as many.
    pub client_per_minute: Option<NonZeroU32>,
}

pub(crate) struct Limiter {
    credentials: Option<Keyed<String>>,
    clients: Option<Keyed<IpAddr>>,
}

/// Too often: come back after so many seconds.
pub(crate) struct TooOften(pub(crate) u64);

impl Limiter {
    pub(crate) fn new(limits: Limits, service: &Service) -> Self {
        let clock = Stopwatch::new(service.clone());
        Self {
            credentials: limits
                .credential_per_second
                .map(|rate| Keyed::new(Quota::per_second(rate), clock.clone())),
            clients: limits
                .client_per_minute
                .map(|rate| Keyed::new(Quota::per_minute(rate), clock)),
        }
    }

    pub(crate) fn credential(&self, id: &str) -> Result<(), TooOften> {
        match &self.credentials {
            Some(limiter) => limiter.check(&id.to_owned()),
            None => Ok(()),
        }
    }

    pub(crate) fn client(&self, ip: IpAddr) -> Result<(), TooOften> {
        match &self.clients {
            Some(limiter) => limiter.check(&site(ip)),
            None => Ok(()),
        }
    }

    /// Forgets callers whose limits are whole again.
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.credentials {
            limiter.tidy();
        }
        if let Some(limiter) = &self.clients {
            limiter.tidy();
        }
    }
}

/// One limit for each caller.
struct Keyed<K: std::hash::Hash + Eq + Clone> {
    limiter: RateLimiter<K, DashMapStateStore<K>, Stopwatch, NoOpMiddleware<Nanos>>,
    clock: Stopwatch,
    calls: AtomicU32,
}

impl<K: std::hash::Hash + Eq + Clone> Keyed<K> {
    fn new(quota: Quota, clock: Stopwatch) -> Self {
        Self {
            limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            calls: AtomicU32::new(0),
        }
    }

    fn check(&self, caller: &K) -> Result<(), TooOften> {
        if self.calls.fetch_add(1, Ordering::Relaxed) == TIDY_CALLS {
            self.tidy();
        }
        self.limiter.check_key(caller).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            TooOften(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
        })
    }

    fn tidy(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// The time that has passed by the injected clock (P9). When that clock is set back, this one goes
/// on from where it is: nobody's limit is renewed by it, and nobody waits for it to catch up.
#[derive(Clone)]
struct Stopwatch {
    service: Service,
    read: Arc<Mutex<Reading>>,
}

struct Reading {
    last: Time,
    passed: Duration,
}

impl Stopwatch {
    fn new(service: Service) -> Self {
        let read = Reading {
            last: service.now(),
            passed: Duration::ZERO,
        };
        Self {
            service,
            read: Arc::new(Mutex::new(read)),
        }
    }
}

impl Clock for Stopwatch {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.service.now();
        let since = now.millis().saturating_sub(read.last.millis());
        read.last = now;
        read.passed += Duration::from_millis(u64::try_from(since).unwrap_or_default());
        Nanos::from(read.passed)
    }
}

/// One household's IPv6 addresses share their first 64 bits.
fn site(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use cardveil_core::card::Environment;
    use cardveil_core::testing::{ManualClock, Memory, sample};
    use cardveil_core::vault::Vault;
    use cardveil_seal::{FileRoot, Keyring, SeededEntropy};

    use super::*;

    fn service(clock: &Arc<ManualClock>) -> Service {
        let entropy = Arc::new(SeededEntropy::new(1));
        let folder = tempfile::tempdir().unwrap();
        let root = FileRoot::create(&folder.path().join("root"), &*entropy).unwrap();
        let keys = Keyring::generate(&root, "sandbox", &*entropy).unwrap();
        let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
        let vault = Vault::new(keyring, Environment::Sandbox, Arc::clone(&entropy) as _);
        let store = Arc::new(Memory::default());
        Service::new(store, Arc::new(vault), Arc::clone(clock) as _, entropy)
    }

    #[test]
    fn callers_whose_limits_are_whole_are_forgotten_without_being_told_to() {
        let clock = Arc::new(ManualClock::at(sample::START));
        let limits = Limits {
            credential_per_second: None,
            client_per_minute: NonZeroU32::new(60),
        };
        let limiter = Limiter::new(limits, &service(&clock));
        let clients = limiter.clients.as_ref().unwrap();
        for number in 0..200_000_u32 {
            assert!(limiter.client(Ipv4Addr::from(number).into()).is_ok());
            clock.advance(Duration::from_millis(1));
            // A limit of one call a second is whole again after a second, and then kept for one
            // more: 2,000 calls.
            assert!(clients.limiter.len() <= 65_536 + 2_001, "{number}");
        }
        clock.advance(Duration::from_secs(2));
        limiter.tidy();
        assert!(clients.limiter.is_empty());
    }
}
