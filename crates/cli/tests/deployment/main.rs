//! The real binary: the command line, the documented calls, kill -9 under load, and the search for
//! clear card data in everything that it leaves behind.

#![cfg(test)]

mod audit;
mod backup;
mod canary;
#[path = "../../../store/tests/postgres/cluster.rs"]
#[expect(dead_code, reason = "the store's tests need all of it")]
mod cluster;
mod command_line;
mod commands;
mod crash;
mod exit_codes;
mod http;
mod import;
mod keys;
mod log;
mod memory;
mod mfa;
#[path = "../../../store/tests/postgres/pooler.rs"]
mod pooler;
mod postgres;
mod probe;
mod published;
mod settings;
mod sinks;
mod tls;
mod verbs;
mod webhooks;
mod world;
