//! Rate limits: a credential's calls, a browser's by address, and by address the calls that are not
//! admitted. Kept in this process, which tells the other nodes what it has admitted and counts what
//! they have ([`share`]). What must hold to the last call over all nodes is a budget, in the store.
//!
//! Answers tell where their caller stands in the fields `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10), and refusals also in `Retry-After`.
//!
//! **Invariant:** the memory of it is bounded (P8). A caller is forgotten as soon as its limit is
//! whole again, looked for at least once every [`TIDY_CALLS`] calls; so there are never more
//! callers in memory than that and those whose limits are not whole.

mod share;

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cardveil_core::port::Count;
use cardveil_core::{Service, Time};
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore as _;
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use self::share::{Debts, Pending};

/// After so many calls the callers whose limits are whole again are forgotten.
const TIDY_CALLS: u32 = 65_536;

/// The most time that passes between two readings of the clock: in this all limits are whole again.
/// What a clock jumps beyond it counts for nothing; governor's times end after 584 years, and then
/// it panics.
const STEP_MAX: Duration = Duration::from_secs(3_600);
/// How much time ever passes: far before governor's end, so that what it adds has room.
const PASSED_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// How often callers may call; `None` means without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls a second of one credential, with a burst of as many.
    pub credential_per_second: Option<NonZeroU32>,
    /// Calls a minute of one browser's address (IPv6: its /64) with tokens that we made, and as
    /// many without one. With a burst of as many.
    pub client_per_minute: Option<NonZeroU32>,
    /// Calls a minute to the merchant listener from one address that are not admitted: an unknown
    /// Api-Key, a strange address, a wrong clock. With a burst of as many.
    pub refused_per_minute: Option<NonZeroU32>,
    /// Refused calls a minute of one network (IPv4: a /24, IPv6: a /48), at each of the merchant
    /// and the client listener. With a burst of as many.
    pub network_per_minute: Option<NonZeroU32>,
    /// Refused calls a minute of everybody, at each of the two. With a burst of as many.
    pub all_per_minute: Option<NonZeroU32>,
    /// Calls a minute of one address to public routes of the client listener. With a burst of as
    /// many.
    pub public_per_minute: Option<NonZeroU32>,
    /// How many connections one may hold.
    pub connections: Connections,
}

/// How many connections one may hold; `None` means as many as the listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// One address (IPv6: its /64).
    pub address: Option<NonZeroU32>,
    /// One trusted proxy, where the PROXY protocol does not tell for whom.
    pub proxy: Option<NonZeroU32>,
}

impl Limits {
    /// Nothing is limited.
    pub const fn none() -> Self {
        Self {
            credential_per_second: None,
            client_per_minute: None,
            refused_per_minute: None,
            network_per_minute: None,
            all_per_minute: None,
            public_per_minute: None,
            connections: Connections {
                address: None,
                proxy: None,
            },
        }
    }
}

/// Limits of calls that are refused: of an address, of its network, and of everybody. They are
/// asked in this order, so that what one network is refused for fills nobody else's.
struct RefusalLimits {
    address: Option<Keyed<IpAddr>>,
    network: Option<Keyed<IpAddr>>,
    all: Option<Keyed<IpAddr>>,
}

impl RefusalLimits {
    fn each(&self) -> impl Iterator<Item = &Keyed<IpAddr>> {
        [&self.address, &self.network, &self.all]
            .into_iter()
            .flatten()
    }
}

pub(crate) struct Limiter {
    credentials: Option<Keyed<String>>,
    clients: Option<Keyed<IpAddr>>,
    public: Option<Keyed<IpAddr>>,
    /// At the merchant listener: calls that are not admitted.
    refused: RefusalLimits,
    /// At the client listener: calls without a token that we made.
    strangers: RefusalLimits,
    /// What the other nodes are yet to be told.
    pub(crate) pending: Pending,
}

/// Where a caller stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whose limit it is, for people.
    name: &'static str,
    quota: u32,
    window_secs: u64,
    remaining: u32,
    /// After how many seconds there is more: all of it, or for who has none left the next call.
    reset_secs: u64,
}

impl Standing {
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        let Self {
            name,
            quota,
            window_secs,
            remaining,
            reset_secs,
        } = self;
        for (field, value) in [
            (
                "ratelimit-policy",
                format!("\"{name}\";q={quota};w={window_secs}"),
            ),
            (
                "ratelimit",
                format!("\"{name}\";r={remaining};t={reset_secs}"),
            ),
        ] {
            // Names and numbers are always a header's value.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(field), value);
            }
        }
    }
}

/// Too often: come back when there is more.
#[derive(Clone, Copy)]
pub(crate) struct TooOften(Standing);

impl TooOften {
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        self.0.tell(headers);
        headers.insert(header::RETRY_AFTER, self.0.reset_secs.into());
    }
}

/// Where the caller stands, if it has a limit.
pub(crate) type Checked = Result<Option<Standing>, TooOften>;

impl Limiter {
    pub(crate) fn new(limits: Limits, service: &Service) -> Self {
        let clock = Stopwatch::new(service.clone());
        let minutely = |name, rate: Option<NonZeroU32>| {
            rate.map(|rate| Keyed::new(name, Quota::per_minute(rate), clock.clone()))
        };
        Self {
            credentials: limits
                .credential_per_second
                .map(|rate| Keyed::new("credential", Quota::per_second(rate), clock.clone())),
            clients: minutely("address", limits.client_per_minute),
            public: minutely("public", limits.public_per_minute),
            refused: RefusalLimits {
                address: minutely("refused", limits.refused_per_minute),
                network: minutely("refused-network", limits.network_per_minute),
                all: minutely("refused-all", limits.all_per_minute),
            },
            strangers: RefusalLimits {
                address: minutely("stranger", limits.client_per_minute),
                network: minutely("stranger-network", limits.network_per_minute),
                all: minutely("stranger-all", limits.all_per_minute),
            },
            pending: Pending::default(),
        }
    }

    pub(crate) fn credential(&self, id: &str) -> Checked {
        self.check(self.credentials.as_ref(), &id.to_owned())
    }

    /// Counts a call with a token that we made.
    pub(crate) fn client(&self, ip: IpAddr) -> Checked {
        self.check(self.clients.as_ref(), &site(ip))
    }

    /// Counts a call to a public route.
    pub(crate) fn public(&self, ip: IpAddr) -> Checked {
        self.check(self.public.as_ref(), &site(ip))
    }

    /// Counts a call to the merchant listener that is not admitted.
    pub(crate) fn refused(&self, ip: Option<IpAddr>) -> Result<(), TooOften> {
        self.check_refusal(&self.refused, ip)
    }

    /// Counts a call to the client listener without a token that we made.
    pub(crate) fn stranger(&self, ip: Option<IpAddr>) -> Result<(), TooOften> {
        self.check_refusal(&self.strangers, ip)
    }

    fn check_refusal(&self, limits: &RefusalLimits, ip: Option<IpAddr>) -> Result<(), TooOften> {
        if let Some(ip) = ip {
            self.check(limits.address.as_ref(), &site(ip))?;
            self.check(limits.network.as_ref(), &network(ip))?;
        }
        self.check(limits.all.as_ref(), &EVERYBODY)?;
        Ok(())
    }

    fn by_address(&self) -> impl Iterator<Item = &Keyed<IpAddr>> {
        let calls = [&self.clients, &self.public].into_iter().flatten();
        calls
            .chain(self.refused.each())
            .chain(self.strangers.each())
    }

    fn check<K: Hash + Eq + Clone + ToString>(
        &self,
        limiter: Option<&Keyed<K>>,
        caller: &K,
    ) -> Checked {
        let Some(limiter) = limiter else {
            return Ok(None);
        };
        let standing = limiter.check(caller)?;
        self.pending.add(limiter.name, || caller.to_string());
        Ok(Some(standing))
    }

    /// Counts what another node has admitted. Names that a newer node knows are passed over.
    pub(crate) fn count(&self, count: &Count) {
        let caller = &*count.caller;
        if let Some(limiter) = of_name(self.credentials.as_ref(), &count.limit) {
            limiter.count(&caller.to_owned(), count.calls);
        }
        let named = self
            .by_address()
            .find(|limiter| limiter.name == &*count.limit);
        if let Some(limiter) = named
            && let Ok(ip) = caller.parse()
        {
            limiter.count(&ip, count.calls);
        }
    }

    /// Forgets callers whose limits are whole again.
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.credentials {
            limiter.tidy();
        }
        self.by_address().for_each(Keyed::tidy);
    }
}

fn of_name<'a, K: Hash + Eq + Clone>(
    limiter: Option<&'a Keyed<K>>,
    name: &str,
) -> Option<&'a Keyed<K>> {
    limiter.filter(|limiter| limiter.name == name)
}

/// One limit for each caller.
struct Keyed<K: Hash + Eq + Clone> {
    name: &'static str,
    quota: Quota,
    debts: Debts<K>,
    limiter: RateLimiter<K, Debts<K>, Stopwatch, StateInformationMiddleware>,
    clock: Stopwatch,
    /// From when on the limiter counts time.
    start: Nanos,
    calls: AtomicU32,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(name: &'static str, quota: Quota, clock: Stopwatch) -> Self {
        let debts = Debts::default();
        Self {
            name,
            quota,
            start: clock.now(),
            limiter: RateLimiter::new(quota, debts.clone(), clock.clone()),
            debts,
            clock,
            calls: AtomicU32::new(0),
        }
    }

    /// Counts calls that were admitted elsewhere, whether or not they would have been here.
    fn count(&self, caller: &K, calls: u32) {
        self.tidy_at_times();
        let now = self.clock.now().saturating_sub(self.start);
        let each = Nanos::from(self.quota.replenish_interval()).as_u64();
        let more = each.saturating_mul(calls.into());
        let counted = self.debts.measure_and_replace(caller, |whole_at| {
            let from = whole_at.map_or(now, |whole_at| whole_at.max(now));
            let whole_at = Nanos::new(from.as_u64().saturating_add(more));
            Ok::<_, std::convert::Infallible>(((), whole_at))
        });
        match counted {
            Ok(()) => {}
        }
    }

    fn check(&self, caller: &K) -> Result<Standing, TooOften> {
        self.tidy_at_times();
        match self.limiter.check_key(caller) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = self.quota.burst_size().get().saturating_sub(remaining);
                Ok(self.standing(remaining, self.quota.replenish_interval() * used))
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(TooOften(self.standing(0, wait)))
            }
        }
    }

    fn standing(&self, remaining: u32, reset: Duration) -> Standing {
        Standing {
            name: self.name,
            quota: self.quota.burst_size().get(),
            window_secs: whole_secs(self.quota.burst_size_replenished_in()),
            remaining,
            reset_secs: whole_secs(reset),
        }
    }

    fn tidy_at_times(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) == TIDY_CALLS {
            self.tidy();
        }
    }

    fn tidy(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// The time that has passed by the injected clock (P9). When that clock is set back, this one goes
/// on from where it is: nobody's limit is renewed by it, and nobody waits for it to catch up. When
/// that clock jumps ahead, by whatever, this one goes on by [`STEP_MAX`].
#[derive(Clone)]
pub(crate) struct Stopwatch {
    service: Service,
    read: Arc<Mutex<Reading>>,
}

struct Reading {
    last: Time,
    passed: Duration,
}

impl Stopwatch {
    pub(crate) fn new(service: Service) -> Self {
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
        let since = Duration::from_millis(u64::try_from(since).unwrap_or_default());
        read.last = now;
        read.passed = PASSED_MAX.min(read.passed + since.min(STEP_MAX));
        Nanos::from(read.passed)
    }
}

/// Rounded up.
const fn whole_secs(duration: Duration) -> u64 {
    duration.as_secs() + (duration.subsec_nanos() > 0) as u64
}

/// Under which everybody's refusals are counted.
const EVERYBODY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// One household's IPv6 addresses share their first 64 bits.
pub(crate) fn site(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// What one customer of a provider gets: an IPv6 /48; and of IPv4, of which people get less, a /24.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use cardveil_core::card::Environment;
    use cardveil_core::vault::Vault;
    use cardveil_seal::{FileRoot, Keyring, SeededEntropy};
    use cardveil_testkit::{ManualClock, Memory, sample};

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
            client_per_minute: NonZeroU32::new(60),
            ..Limits::none()
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
