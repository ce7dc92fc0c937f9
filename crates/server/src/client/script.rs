//! The SDK's scripts. Built from `web/`, committed, and the same for everyone.

use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};

const MODULE: &str = include_str!("../../../../web/dist/cardveil.js");
const CLASSIC: &str = include_str!("../../../../web/dist/cardveil.iife.js");

/// The SDK as a module
#[utoipa::path(
    get, path = "/sdk/v1/cardveil.js", tag = "Client", operation_id = "sdkModule",
    responses((status = 200, description = "An ES module.", content_type = "text/javascript"))
)]
pub(super) async fn module() -> Response {
    script(MODULE)
}

/// The SDK as a classic script
#[utoipa::path(
    get, path = "/sdk/v1/cardveil.iife.js", tag = "Client", operation_id = "sdkScript",
    responses((status = 200, description = "A script that defines `window.Cardveil`.", content_type = "text/javascript"))
)]
pub(super) async fn classic() -> Response {
    script(CLASSIC)
}

/// Any page may load it, also one that is isolated (COEP) or asks for integrity (which needs CORS).
fn script(text: &'static str) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/javascript; charset=utf-8"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
    ];
    (headers, text).into_response()
}
