//! The PostgreSQL store: the contract suite, and what only a server can show.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy takes it for granted only in functions that are tests"
)]

mod altered;
mod cluster;
mod contract;
mod failover;
mod fit;
mod home;
mod import;
mod lives;
mod lookups;
mod lost;
mod nodes;
mod pooler;
mod proxy;
mod restore;
mod rotation;
mod server;
mod survey;
mod tls;
