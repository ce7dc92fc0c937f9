//! The reference page: the description of all listeners, rendered for people by Redoc, which is
//! built into the program and fetches nothing from anywhere else.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderValue};

use crate::http::app::Shared;
use crate::http::static_file::{JAVASCRIPT, StaticFile, built};

/// `{client}` is where the client listener is.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>Cardveil: API reference</title>
<style>
body { margin: 0; background: #fff; color: #1b1f2a; font: 16px/1.5 system-ui, sans-serif }
a[href*="redocly.com"] { display: none !important }
#reference .redoc-markdown tr { background: none }
#reference :is(h5, h5 span, h5 ~ span) { color: inherit }
#reference .react-tabs__tab--selected { color: #1b1f2a }
@media (prefers-color-scheme: dark) {
  body { background: #14161c; color: #e8eaf0 }
  #reference .api-content :is(svg, polygon) { fill: #b3b9c6 }
  #reference td div > span { color: inherit }
}
</style>
</head>
<body>
<main id="reference" data-client="{client}"><noscript>This page needs JavaScript. The description itself is at <a href="/openapi.json">/openapi.json</a>.</noscript></main>
<script src="/reference/redoc.js"></script>
<script src="/reference/start.js"></script>
</body>
</html>
"#;
static REDOC: StaticFile = built!("redoc.js");
static START: StaticFile = built!("reference.js");

/// Its address does not change with its bytes.
const REVALIDATED: &str = "no-cache";

/// Redoc writes its styles into the page; scripts and data come from this listener alone.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The description of all listeners, for people
#[utoipa::path(
    get, path = "/reference", tag = "Admin", operation_id = "reference",
    responses((status = 200, description = "A page.", content_type = "text/html"))
)]
pub(super) async fn page(State(app): Shared) -> Response {
    let page = PAGE.replace("{client}", &app.settings.client_origin);
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response()
}

/// The library that renders it
#[utoipa::path(
    get, path = "/reference/redoc.js", tag = "Admin", operation_id = "referenceLibrary",
    responses((status = 200, description = "A script.", content_type = "text/javascript"))
)]
pub(super) async fn library(request: HeaderMap) -> Response {
    REDOC.answer(&request, JAVASCRIPT, REVALIDATED)
}

/// What draws it, with a call for each operation
#[utoipa::path(
    get, path = "/reference/start.js", tag = "Admin", operation_id = "referenceStart",
    responses((status = 200, description = "A script.", content_type = "text/javascript"))
)]
pub(super) async fn start(request: HeaderMap) -> Response {
    START.answer(&request, JAVASCRIPT, REVALIDATED)
}
