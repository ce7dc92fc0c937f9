//! Connections, and what surrounds every request on them: the listeners and their TLS, addresses,
//! headers, the access log, figures, limits. Nothing here knows an API.

pub(crate) mod address;
pub(crate) mod app;
pub(crate) mod call;
pub(crate) mod chain;
pub(crate) mod design;
pub(crate) mod font;
pub(crate) mod headers;
pub(crate) mod limit;
pub mod listener;
pub(crate) mod lists;
pub mod log;
pub(crate) mod metrics;
pub(crate) mod outward;
pub(crate) mod panics;
pub(crate) mod refused;
pub(crate) mod sink_health;
pub(crate) mod stack;
pub(crate) mod static_file;
pub mod tls;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// For partners' servers.
    Merchant,
    /// For the public: browsers and phones.
    Client,
    /// For operators.
    Admin,
}

impl ListenerKind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Merchant, Self::Client, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }
}
