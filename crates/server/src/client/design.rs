//! The pictures of the designs that a card's face can wear.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};

use crate::api::extract;
use crate::api::problem::{Code, Problem};
use crate::http::app::Shared;
use crate::http::design::Design;
use crate::http::static_file::IMMUTABLE;

/// A picture of a design
///
/// One that the operator registered, for the frame. Its address is the beginning of its SHA-256, so
/// it never changes.
#[utoipa::path(
    get, path = "/embed/designs/{picture}", tag = "Client", operation_id = "design",
    params(("picture" = String, Path, description = "As the frame is told.", example = "8f434346648f6b96.svg")),
    responses(
        (status = 200, description = "The picture: SVG, PNG, JPEG, WebP or AVIF.", content_type = "image/*"),
        (status = 404, description = "`not_found`"),
    )
)]
pub(super) async fn design(
    State(app): Shared,
    file: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let file = extract::path(file);
    let found = file.and_then(|file| {
        let mut pictures = app.settings.designs.iter().flat_map(Design::art);
        pictures.find(|art| art.is_called(&file))
    });
    let art = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(art.content_type()),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE)),
    ];
    let mut response = (headers, art.bytes().clone()).into_response();
    if let Some(policy) = art.policy() {
        response.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(policy),
        );
    }
    Ok(response)
}
