//! What goes on beside requests: webhooks on their way, the audit log on its way to its sinks,
//! refused calls on their way into the log; and what is fetched from a deployment.

pub mod courier;
pub mod fetch;
pub mod refused;
pub(crate) mod sharing;
pub mod sinks;
