//! The real binary: the command line, the documented calls, kill -9 under load, and the search for
//! clear card data in everything that it leaves behind.

#![cfg(test)]

mod audit;
mod backup;
mod canary;
mod command_line;
mod crash;
mod http;
mod keys;
mod mfa;
mod probe;
mod seeds;
mod tls;
mod verbs;
mod webhooks;
mod world;
