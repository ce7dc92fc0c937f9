//! What all APIs share: routes and the gate before them, problems, reading what strangers send, and
//! the description.

pub(crate) mod admission;
pub(crate) mod extract;
pub(crate) mod gate;
pub(crate) mod openapi;
pub(crate) mod params;
pub(crate) mod permission;
pub(crate) mod problem;
pub(crate) mod refusals;
pub(crate) mod schema;
pub(crate) mod surface;
pub(crate) mod webhooks;
