//! Adapters of the ports of [`cardveil_core::port`].
//!
//! **Invariant:** no rule of the domain lives here. An adapter loads rows for the verbs of
//! [`cardveil_core::verb`] and saves what they say, all inside one transaction.
//!
//! **Invariant:** nothing is answered before what it says is durable.
//!
//! To add an adapter: a module with a type that implements
//! [`cardveil_core::port::Store`], and `cardveil_testkit::contract_suite!` over it in `tests/`. The
//! suite says what a verb does; restarts, lost power, full disks and a store that went back in time
//! are the adapter's own tests.

mod card_list;
mod left_out;
mod patience;
pub mod postgres;
mod pulse;
mod sql;
pub mod sqlite;
mod store;
mod text;

pub use self::store::Store;
