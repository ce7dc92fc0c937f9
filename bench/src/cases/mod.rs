//! What is measured.

pub(crate) mod cards;
pub(crate) mod cluster;
pub(crate) mod http;
pub(crate) mod peers;
pub(crate) mod store;
