//! Cardveil's domain: types that make wrong states impossible, the flows, and the ports they need.
//!
//! The crates are `seal <- core <- {store, server} <- cli`. This crate knows no runtime, no HTTP and
//! no SQL: time, chance and storage come in through [`Clock`], [`Entropy`] and [`port`].
//!
//! **Invariant:** no type in [`port`] can carry a clear card number, a token or a key; only their
//! sealed or hashed forms cross to a store. Clear card data exists in [`vault`] alone, between
//! opening the envelope and sealing the answer (promise P3).
//!
//! **Invariant:** every change of state is a value that already holds its audit event (see
//! [`token::Decision`] and the ports' arguments), so forgetting to audit does not compile (P2).
//!
//! To add an operation: a variant in [`token::Operation`], its rules in [`token`], a flow in
//! [`flow`], and a case in the contract suite. To add a field to the card: [`card::Field`], then
//! follow the compiler.

pub mod audit;
pub mod budget;
pub mod card;
pub mod clock;
pub mod flow;
pub mod hook;
pub mod id;
pub mod keys;
pub mod merchant;
pub mod mfa;
pub mod port;
pub mod term;
pub mod text;
pub mod token;
pub mod vault;
pub mod verb;
pub mod wallet;

pub use cardveil_seal::{Entropy, HolderKey, Secret, sha384};
pub use clock::{Clock, Time};
pub use flow::Service;
