//! Get Token: the login that all other calls of this dialect need.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Envelope, Language, Refusal, success};
use crate::api::admission::Admitted;
use crate::http::app::Shared;

#[derive(Serialize, ToSchema)]
struct LoginToken {
    /// The Access-Token, good for two hours.
    access_token: String,
    /// When it ends: Unix time in milliseconds.
    expired_time: i64,
}

/// Get Token
///
/// Gives the login token that all other calls of this dialect need.
#[utoipa::path(
    get, path = "/open-api/v1/merchant/token", tag = "KeySecure",
    responses(
        (status = 200, description = "`code` 0 and the token, or the code of what is wrong.", body = Envelope<LoginToken>),
    )
)]
pub(super) async fn login_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    headers: HeaderMap,
) -> Response {
    match app
        .service
        .grant_access(&admitted.caller, admitted.epoch)
        .await
    {
        Ok((token, expires_at)) => success(
            Language::of(&headers),
            LoginToken {
                access_token: String::from_utf8_lossy(token.expose()).into_owned(),
                expired_time: expires_at.millis(),
            },
        ),
        Err(fault) => Refusal::fault(&fault, Language::of(&headers)).into_response(),
    }
}
