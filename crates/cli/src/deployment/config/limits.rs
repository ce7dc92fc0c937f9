//! `[limits]`, `[budgets]` and `[credentials]`: how much, how often and for how long.

use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::budget;
use cardveil_server::Connections;
use serde::{Deserialize, Serialize};

use super::Setting;
use crate::print::hinted;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Calls a second of one credential; 0 means without limit.
    pub(crate) credential_per_second: u32,
    /// Calls a minute of one browser's address; 0 means without limit.
    pub(crate) client_per_minute: u32,
    /// Calls a minute of one address to the merchant listener that are not admitted; 0 means
    /// without limit.
    pub(crate) refused_per_minute: u32,
    /// Refused calls a minute of one network, an IPv4 /24 or an IPv6 /48; 0 means without limit.
    pub(crate) network_per_minute: u32,
    /// Refused calls a minute of everybody; 0 means without limit.
    pub(crate) all_per_minute: u32,
    /// Calls a minute of one address for frames and scripts; 0 means without limit.
    pub(crate) public_per_minute: u32,
    /// Connections to a listener that one address may hold; 0 means without limit of its own.
    pub(crate) address_connections: u32,
    /// Connections to a listener that one trusted proxy may hold; 0 means without limit of its own.
    pub(crate) proxy_connections: u32,
}

impl Limits {
    /// For the server.
    pub(super) fn limits(&self) -> cardveil_server::Limits {
        cardveil_server::Limits {
            credential_per_second: NonZeroU32::new(self.credential_per_second),
            client_per_minute: NonZeroU32::new(self.client_per_minute),
            refused_per_minute: NonZeroU32::new(self.refused_per_minute),
            network_per_minute: NonZeroU32::new(self.network_per_minute),
            all_per_minute: NonZeroU32::new(self.all_per_minute),
            public_per_minute: NonZeroU32::new(self.public_per_minute),
            connections: Connections {
                address: NonZeroU32::new(self.address_connections),
                proxy: NonZeroU32::new(self.proxy_connections),
            },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            credential_per_second: 200,
            client_per_minute: 120,
            refused_per_minute: 60,
            network_per_minute: 600,
            all_per_minute: 6_000,
            public_per_minute: 1_200,
            address_connections: 512,
            proxy_connections: 4_096,
        }
    }
}

/// What new credentials start with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Credentials {
    /// After how many days a new one ends where nobody says; 0 means never.
    pub(crate) expire_after_days: u32,
}

impl Credentials {
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        let days = self.expire_after_days;
        (days > 0).then(|| Duration::from_secs(u64::from(days) * 86_400))
    }
}

/// How often a card, and all cards of a person, may be asked for within the window: freely, and at
/// most, with a second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Budgets {
    pub(crate) window_secs: u32,
    pub(crate) card_free: u32,
    /// 0 means without bounds.
    pub(crate) card_most: u32,
    pub(crate) person_free: u32,
    /// 0 means without bounds.
    pub(crate) person_most: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            window_secs: 86_400,
            card_free: 20,
            card_most: 50,
            person_free: 40,
            person_most: 100,
        }
    }
}

impl Budgets {
    /// For the flows.
    pub(crate) fn budgets(&self) -> anyhow::Result<budget::Budgets> {
        let window = Duration::from_secs(self.window_secs.into());
        let of = |name: &str, free, most| match most {
            0 => Ok(None),
            most => budget::Budget::new(free, most, window)
                .map(Some)
                .map_err(|error| hinted(error.to_string(), "see [budgets]"))
                .with_context(|| Setting::new(format!("budgets.{name}_most"))),
        };
        Ok(budget::Budgets {
            card: of("card", self.card_free, self.card_most)?,
            person: of("person", self.person_free, self.person_most)?,
        })
    }
}
