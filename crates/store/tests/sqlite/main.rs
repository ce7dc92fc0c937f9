//! The SQLite store: the contract suite, and what only a file can show.

mod contract;
mod home;
