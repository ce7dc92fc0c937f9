//! The fonts that a frame can show.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};

use crate::api::extract;
use crate::api::problem::{Code, Problem};
use crate::http::app::Shared;
use crate::http::static_file::IMMUTABLE;

/// A font
///
/// One that the operator registered, for the frame. Its address has the beginning of its SHA-256,
/// so it never changes.
#[utoipa::path(
    get, path = "/embed/fonts/{font}", tag = "Client", operation_id = "font",
    params(("font" = String, Path, description = "As the frame is told.", example = "inter-8f434346648f6b96.woff2")),
    responses(
        (status = 200, description = "The font.", content_type = "font/woff2"),
        (status = 404, description = "`not_found`"),
    )
)]
pub(super) async fn font(
    State(app): Shared,
    file: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let file = extract::path(file);
    let found = file.and_then(|file| {
        let mut fonts = app.settings.fonts.iter();
        fonts.find(|font| font.is_called(&file))
    });
    let font = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("font/woff2")),
        (header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE)),
    ];
    Ok((headers, font.bytes().clone()).into_response())
}
