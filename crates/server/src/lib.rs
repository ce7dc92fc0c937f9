//! Cardveil's HTTP: the two dialects, the native API, the client API, the frames, and the listeners
//! that carry them.
//!
//! A dialect is a thin translation: headers, names, codes and status on the outside, the flows of
//! `cardveil-core` inside. A handler reads top-down: admitted by its route's permission, it
//! parses, calls one flow and translates the answer.
//!
//! **Invariant:** no route exists without a permission (P5): `api::surface::Surface` takes routes
//! with one only, and the permission *is* the check that runs before the handler.
//!
//! **Invariant:** nothing here logs a query string, a body, a header's value or a browser's address
//! (P3, P4): the access log writes the fields of [`log::Line`] and no others.
//!
//! To add a code to a dialect: its enum of codes, then follow the compiler to its one `match`.
//! To add a route: a handler with its `utoipa::path`, and a line in that module's `surface`.

mod admin;
mod api;
mod client;
mod equals;
mod http;
mod keysecure;
pub mod mount;
mod native;
mod workers;

pub use client::manifest;
pub use mount::document;
pub use workers::sharing::Sharing;
pub use workers::{courier, fetch, refused, sinks};

pub use self::http::ListenerKind;
pub use self::http::address::Peer;
pub use self::http::app::{App, Settings};
pub use self::http::design::{ART_BYTES_MAX, Art, Design, DesignName, Ink, InvalidDesign, Look};
pub use self::http::font::{FONT_BYTES_MAX, Font, FontStyle, InvalidFont};
pub use self::http::limit::{Connections, Limits};
pub use self::http::listener::{self, Listener};
pub use self::http::metrics::Metrics;
pub use self::http::stack::before_rest;
pub use self::http::{log, tls};
