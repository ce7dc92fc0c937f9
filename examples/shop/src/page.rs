//! The files of the page. They are inside the binary, so that the demo needs nothing beside it.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::Shop;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// To add a file: a row here.
const FILES: [(&str, &str, &str); 19] = [
    ("/", HTML, include_str!("../page/index.html")),
    ("/shop.css", CSS, include_str!("../page/shop.css")),
    ("/app.css", CSS, include_str!("../page/app.css")),
    ("/wallet.css", CSS, include_str!("../page/wallet.css")),
    ("/shop.js", SCRIPT, include_str!("../page/shop.js")),
    ("/app.js", SCRIPT, include_str!("../page/app.js")),
    ("/totp.js", SCRIPT, include_str!("../page/totp.js")),
    ("/wallet.js", SCRIPT, include_str!("../page/wallet.js")),
    ("/page.js", SCRIPT, include_str!("../page/page.js")),
    ("/gallery", HTML, include_str!("../page/gallery.html")),
    ("/gallery.css", CSS, include_str!("../page/gallery.css")),
    (
        "/gallery.js",
        SCRIPT,
        include_str!("../../../web/dist/gallery.js"),
    ),
    (SPECIMEN, HTML, include_str!("../page/specimen.html")),
    (
        "/gallery/frame.css",
        CSS,
        include_str!("../../../web/dist/frame.css"),
    ),
    (
        "/gallery/specimen.js",
        SCRIPT,
        include_str!("../../../web/dist/specimen.js"),
    ),
    (
        "/gallery/tideline.svg",
        SVG,
        include_str!("../page/tideline.svg"),
    ),
    (
        "/gallery/tideline-dark.svg",
        SVG,
        include_str!("../page/tideline-dark.svg"),
    ),
    (
        "/gallery/tideline-logo.svg",
        SVG,
        include_str!("../page/tideline-logo.svg"),
    ),
    (
        "/gallery/tideline-logo-dark.svg",
        SVG,
        include_str!("../page/tideline-logo-dark.svg"),
    ),
];

/// The one page that another may frame: the gallery shows each specimen in a document of its own.
const SPECIMEN: &str = "/gallery/specimen";

pub(crate) fn routes() -> Router<Shop> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, content_type, text)| {
            router.route(
                path,
                get(move || async move { file(path, content_type, text) }),
            )
        })
}

/// Its policy names what a page that embeds Cardveil needs: the SDK's script and the frame, both of
/// the client origin.
fn file(path: &'static str, content_type: &'static str, text: &'static str) -> Response {
    let policy = if path == SPECIMEN {
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'self'"
    } else {
        "default-src 'self'; script-src 'self' http://127.0.0.1:*; \
         frame-src 'self' http://127.0.0.1:*; img-src 'self' data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            HeaderName::from_static("referrer-policy"),
            HeaderValue::from_static("no-referrer"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        ),
    ];
    (headers, text).into_response()
}
