//! Connections, and what surrounds every request on them: the listeners and their TLS, addresses,
//! headers, the access log, figures, limits.

pub(crate) mod address;
pub(crate) mod headers;
pub(crate) mod limit;
pub mod listener;
pub(crate) mod lists;
pub mod log;
pub(crate) mod metrics;
pub(crate) mod outward;
pub(crate) mod panics;
pub(crate) mod stack;
pub(crate) mod static_file;
pub mod tls;
