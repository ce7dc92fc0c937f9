//! `POST /client/v1/events`: what a frame says of a redemption. Claims, and recorded as such.

use axum::Extension;
use axum::extract::{Request, State};
use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::flow::Report;
use cardveil_core::id::RedemptionId;
use cardveil_core::token::RETENTION;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::admission::Holder;
use crate::api::extract;
use crate::api::params::FIELD_NAMES;
use crate::api::problem::{Code, Problem};
use crate::http::app::Shared;

/// What a frame says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventRequest {
    /// The redemption.
    #[schema(
        pattern = "^rdm_[A-Za-z0-9_-]{1,40}$",
        example = "rdm_5TP3Y9F2mCk0eXrQ1hVbNa"
    )]
    redemption: String,
    /// Its token.
    token: String,
    /// `displayed`, `copied`, `hidden` or `expired`.
    #[schema(pattern = "^(displayed|copied|hidden|expired)$", example = "displayed")]
    event: String,
    /// Of `pan`, `expiry`, `cvv`, `name`; all that were released when left out.
    #[schema(pattern = "^(pan|expiry|cvv|name)$", example = "pan")]
    field: Option<String>,
    /// `true` where the browser has looked and nothing hid the frame; `false` or left out where it
    /// cannot tell.
    #[schema(nullable = false)]
    visible: Option<bool>,
}

/// Report what became of released fields
///
/// A release that no `displayed` confirms within its window is recorded as unconfirmed.
#[utoipa::path(
    post, path = "/client/v1/events", tag = "Client", operation_id = "reportEvent",
    request_body = EventRequest,
    responses(
        (status = 204, description = "It is on record."),
        (status = 403, description = "`token_refused`; `origin_refused`; `caller_unknown`, where a proxy does not tell from which address the call comes"),
    )
)]
pub(super) async fn event(
    State(app): Shared,
    Extension(holder): Extension<Holder>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let body: EventRequest = extract::json(request).await?;
    let kind = match body.event.as_str() {
        "displayed" => Kind::RevealDisplayed,
        "copied" => Kind::RevealCopied,
        "hidden" => Kind::RevealHidden,
        "expired" => Kind::RevealExpired,
        _ => {
            let what = "must be displayed, copied, hidden or expired";
            return Err(Problem::invalid("event", what));
        }
    };
    let field = match body.field.as_deref() {
        None => None,
        Some(name) => {
            Some(Field::parse(name).ok_or_else(|| Problem::invalid("field", FIELD_NAMES))?)
        }
    };
    let redemption = RedemptionId::parse(&body.redemption)
        .map_err(|_| Problem::invalid("redemption", "must be a redemption id, rdm_ and a word"))?;
    let token = super::token(&app, &holder, &body.token, RETENTION).await?;
    let report = Report {
        token,
        redemption,
        kind,
        field,
        seen: body.visible == Some(true),
        origin: holder.origin.clone(),
    };
    match app.service.report(&report).await? {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(_) => Err(Problem::new(Code::TokenRefused)),
    }
}
