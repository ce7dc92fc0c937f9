//! The scripts that pages load by their address. Built from `web/`, committed, and the same for
//! everyone.
//!
//! Each one is at two addresses: `/sdk/v1/`, which moves with every release of major version 1, and
//! the exact version's, whose bytes never change.
//!
//! To add a script: its line in [`SCRIPTS`]. Routes, manifest and integrity come from there.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use http::HeaderMap;

use crate::api::problem::{Code, Problem};
use crate::http::static_file::{self, IMMUTABLE, JAVASCRIPT, MOVING, StaticFile, built};

/// Names the moving addresses.
pub(crate) const MAJOR: &str = "v1";
/// Names the addresses that never change.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a page loads a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// By `import` or `<script type="module">`.
    Module,
    /// By `<script>`.
    Classic,
}

/// A script that pages load by its address.
pub(crate) struct Script {
    pub(crate) file: StaticFile,
    pub(crate) form: Form,
    /// Why it is there (PCI DSS 6.4.3).
    pub(crate) purpose: &'static str,
}

macro_rules! script {
    ($name:literal, $form:ident, $purpose:literal) => {
        Script {
            file: built!($name),
            form: Form::$form,
            purpose: $purpose,
        }
    };
}

/// All of them.
#[rustfmt::skip]
pub(crate) static SCRIPTS: [Script; 5] = [
    script!("cardveil.js", Module, "Puts the card's frame into the shop's page and carries the token to it. It never holds card data."),
    script!("cardveil.iife.js", Classic, "The same as cardveil.js, for pages without modules: it defines window.Cardveil."),
    script!("doctor.js", Module, "Finds out why a frame does not come; a page's developer asks for it. It never holds card data."),
    script!("marqeta.js", Classic, "Stands in for Marqeta.js: it defines window.marqeta for pages that were written for that. It never holds card data."),
    script!("pure.js", Module, "The same as cardveil.js, but that it defines no element by itself."),
];

/// A script
///
/// Of the SDK. The addresses of `v1` follow the releases of this major version; those of the exact
/// version never change, so they suit `integrity` attributes. What each script is for and its
/// integrity value are in `/sdk/v1/manifest.json`.
#[utoipa::path(
    get, path = "/sdk/{version}/{file}", tag = "Client", operation_id = "sdk",
    params(
        ("version" = String, Path, description = "`v1`, or the exact version that this server runs.", example = "v1"),
        ("file" = String, Path, description = "Its name.", example = "cardveil.js"),
    ),
    responses(
        (status = 200, description = "The script.", content_type = "text/javascript"),
        (status = 404, description = "`not_found`: another version than this server's, or no such script."),
    )
)]
pub(super) async fn script(
    address: Result<Path<(String, String)>, PathRejection>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(Path((version, name))) = address else {
        return Err(Problem::new(Code::NotFound));
    };
    let cache = match version.as_str() {
        MAJOR => MOVING,
        VERSION => IMMUTABLE,
        _ => return Err(other_version()),
    };
    let found = SCRIPTS.iter().find(|found| found.file.name == name);
    let file = &found.ok_or_else(no_such_file)?.file;
    let answer = file.answer(&request, JAVASCRIPT, cache);
    Ok(static_file::for_any_page(answer))
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
    let names: Vec<_> = SCRIPTS.iter().map(|found| found.file.name).collect();
    let names = names.join(", ");
    Problem::detail(Code::NotFound, format!("The scripts are {names}."))
}
