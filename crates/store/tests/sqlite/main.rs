//! The SQLite store: the contract suite, and what only a file can show.

#![expect(
    clippy::unwrap_used,
    reason = "clippy takes it for granted only in functions that are tests"
)]

mod altered;
mod backup;
mod chain;
mod contract;
mod fence;
mod file;
mod home;
mod mfa;
mod processes;
mod upgrade;
