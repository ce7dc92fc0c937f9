//! Rate limits: a credential's calls, and a browser's by address. Kept in this process.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How often callers may call; `None` means without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls a second of one credential, with a burst of as many.
    pub credential_per_second: Option<NonZeroU32>,
    /// Calls a minute of one browser's address (IPv6: its /64), with a burst of as many.
    pub client_per_minute: Option<NonZeroU32>,
}

pub(crate) struct Limiter {
    clock: DefaultClock,
    credentials: Option<DefaultKeyedRateLimiter<String>>,
    clients: Option<DefaultKeyedRateLimiter<IpAddr>>,
}

/// Too often: come back after so many seconds.
pub(crate) struct TooOften(pub(crate) u64);

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            clock: DefaultClock::default(),
            credentials: limits
                .credential_per_second
                .map(|rate| RateLimiter::keyed(Quota::per_second(rate))),
            clients: limits
                .client_per_minute
                .map(|rate| RateLimiter::keyed(Quota::per_minute(rate))),
        }
    }

    pub(crate) fn credential(&self, id: &str) -> Result<(), TooOften> {
        let Some(limiter) = &self.credentials else {
            return Ok(());
        };
        limiter
            .check_key(&id.to_owned())
            .map_err(|not_until| self.too_often(&not_until))
    }

    pub(crate) fn client(&self, ip: IpAddr) -> Result<(), TooOften> {
        let Some(limiter) = &self.clients else {
            return Ok(());
        };
        limiter
            .check_key(&site(ip))
            .map_err(|not_until| self.too_often(&not_until))
    }

    /// Forgets callers whose limits are whole again, so that memory stays bounded (P8).
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.credentials {
            limiter.retain_recent();
        }
        if let Some(limiter) = &self.clients {
            limiter.retain_recent();
        }
    }

    fn too_often(
        &self,
        not_until: &governor::NotUntil<<DefaultClock as Clock>::Instant>,
    ) -> TooOften {
        let wait = not_until.wait_time_from(self.clock.now());
        TooOften(wait.as_secs() + 1)
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
