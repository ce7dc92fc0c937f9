//! The scripts that pages load by their address. Built from `web/`, committed, and the same for
//! everyone.
//!
//! Each one is at two addresses: `/sdk/v1/`, which moves with every release of major version 1, and
//! the exact version's, whose bytes never change.
//!
//! To add a script: its line in [`FILES`]. Routes, manifest and integrity come from there.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};

use crate::problem::{Code, Problem};

/// Names the moving addresses.
pub(crate) const MAJOR: &str = "v1";
/// Names the addresses that never change.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a moving address may be kept: a release reaches every page within it.
pub(super) const MOVING: &str = "public, max-age=300";
pub(super) const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// How a page loads a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// By `import` or `<script type="module">`.
    Module,
    /// By `<script>`.
    Classic,
}

/// A script that pages load by its address.
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) text: &'static str,
    /// Why it is there (PCI DSS 6.4.3).
    pub(crate) purpose: &'static str,
}

macro_rules! file {
    ($name:literal, $form:ident, $purpose:literal) => {
        File {
            name: $name,
            form: Form::$form,
            text: include_str!(concat!("../../../../web/dist/", $name)),
            purpose: $purpose,
        }
    };
}

/// All of them.
#[rustfmt::skip]
pub(crate) const FILES: &[File] = &[
    file!("cardveil.js", Module, "Puts the card's frame into the shop's page and carries the token to it. It never holds card data."),
    file!("cardveil.iife.js", Classic, "The same as cardveil.js, for pages without modules: it defines window.Cardveil."),
    file!("doctor.js", Module, "Finds out why a frame does not come; a page's developer asks for it. It never holds card data."),
    file!("marqeta.js", Classic, "Stands in for Marqeta.js: it defines window.marqeta for pages that were written for that. It never holds card data."),
    file!("pure.js", Module, "The same as cardveil.js, but that it defines no element by itself."),
];

/// A script
///
/// Of the SDK. The addresses of `v1` follow the releases of this major version; those of the exact
/// version never change, so they suit `integrity` attributes. What each script is for and its integrity
/// value are in `/sdk/v1/manifest.json`.
#[utoipa::path(
    get, path = "/sdk/{version}/{file}", tag = "Client", operation_id = "sdk",
    params(
        ("version" = String, Path, description = "`v1`, or the exact version that this server runs.", example = "v1"),
        ("file" = String, Path, description = "Its name.", example = "cardveil.js"),
    ),
    responses(
        (status = 200, description = "The script.", content_type = "text/javascript"),
        (status = 404, description = "`not_found`: another version than this server's, or no such script.", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn script(
    address: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Ok(Path((version, name))) = address else {
        return Err(Problem::new(Code::NotFound));
    };
    let cache = match version.as_str() {
        MAJOR => MOVING,
        VERSION => IMMUTABLE,
        _ => return Err(other_version()),
    };
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or_else(no_such_file)?;
    Ok(public("text/javascript; charset=utf-8", cache, file.text))
}

fn other_version() -> Problem {
    const DETAIL: &str = concat!(
        "This server has version ",
        env!("CARGO_PKG_VERSION"),
        " alone: load /sdk/",
        env!("CARGO_PKG_VERSION"),
        "/ with the integrity value of /sdk/v1/manifest.json, or /sdk/v1/, which follows its releases."
    );
    Problem::detail(Code::NotFound, DETAIL)
}

fn no_such_file() -> Problem {
    let names: Vec<_> = FILES.iter().map(|file| file.name).collect();
    let names = names.join(", ");
    Problem::detail(Code::NotFound, format!("The scripts are {names}."))
}

/// Any page may load it, also one that is isolated (COEP) or asks for integrity (which needs CORS).
pub(super) fn public(
    content_type: &'static str,
    cache: &'static str,
    body: impl IntoResponse,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
    ];
    (headers, body).into_response()
}
