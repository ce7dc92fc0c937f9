//! MFA sessions. The published pages name a `sessionId` and a `token` in three operations and no
//! operation that gives them; this is the one (docs/reference/decisions/equals.md). Its names are
//! in the dialect's way.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use cardveil_core::card::CardRef;
use cardveil_core::flow::OpenSession;
use cardveil_core::id::{AccountId, CardId, PersonId};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::admission::Admitted;
use crate::api::extract;
use crate::api::params::{factor, purpose};
use crate::api::problem::Problem;
use crate::http::app::Shared;

/// For whom and for what.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MfaSessionRequest, example = json!({
    "accountId": "F50091", "personId": "775596ae-2624-40af-a9dc-9756110a4a04",
    "cardId": "e9293471-5eb3-4dbc-916c-dbaf9e2deefd", "operationName": "VIEW_CARD", "factor": "TOTP",
}))]
struct NewSession {
    /// The ID of the account to work with.
    #[schema(required, value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    account_id: Option<String>,
    /// The ID of the person who proves the factor: the cardholder.
    #[schema(required, value_type = String, format = "uuid")]
    person_id: Option<String>,
    /// The ID of the card that it will be used for.
    #[schema(required, value_type = String, format = "uuid")]
    card_id: Option<String>,
    /// The operation that it will be used for: `VIEW_CARD` (default), `ADD_CARD_TO_WALLET`,
    /// `VIEW_PIN` or `SET_PIN`.
    #[schema(pattern = "^(VIEW_CARD|ADD_CARD_TO_WALLET|VIEW_PIN|SET_PIN)$")]
    operation_name: Option<String>,
    /// `TOTP`, an authenticator app; or `OTP`, a code that your webhook delivers. Left out, it is
    /// the strongest that the person has and that counts.
    #[schema(pattern = "^(TOTP|OTP)$")]
    factor: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MfaSession, example = json!({
    "sessionId": "c92e2960-b745-4b38-8e77-898b2f9ad9bb", "factor": "TOTP", "expiresAt": "2026-11-22T10:05:00.000Z",
}))]
pub(super) struct Created {
    /// What goes into `sessionId`, with the code as `token`.
    #[schema(format = "uuid")]
    session_id: String,
    /// What the person must prove.
    factor: &'static str,
    /// The first moment at which no code passes it any more: five minutes after its opening.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Create an MFA session
///
/// A session is for one card, person and operation. Its id goes to the access token operation, or
/// to those of a card's PIN, as `sessionId`, with the person's code as `token`. It passes once,
/// ends after five minutes, and ends at the fifth wrong code.
#[utoipa::path(
    post, path = "/v2/mfa/sessions", tag = "Equals Money", operation_id = "createMfaSession",
    request_body = NewSession,
    responses(
        (status = 201, description = "The session.", body = Created),
        (status = 404, description = "`not_found`: no such card of this account and person that this credential may know of"),
        (status = 409, description = "`factor_unavailable`: no confirmed authenticator app, it is locked, it does not count, or the person has a stronger one"),
        (status = 429, description = "`rate_limited`: too many calls, or too many sessions or wrong codes of this person"),
    )
)]
pub(super) async fn create_mfa_session(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    request: Request,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let asked = asked(&extract::json(request).await?)?;
    let session = app.service.open_session(&admitted.caller, &asked).await??;
    let created = Created {
        session_id: session.id.to_string(),
        factor: session.factor.as_str(),
        expires_at: session.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

fn asked(body: &NewSession) -> Result<OpenSession, Problem> {
    let account = AccountId::parse(given("accountId", body.account_id.as_deref())?)
        .map_err(|_| Problem::invalid("accountId", "must be 1 to 64 letters, digits, _ or -"))?;
    let person = PersonId::parse(given("personId", body.person_id.as_deref())?)
        .map_err(|_| Problem::invalid("personId", "must be a UUID"))?;
    let card = CardId::parse(given("cardId", body.card_id.as_deref())?)
        .map_err(|_| Problem::invalid("cardId", "must be a UUID"))?;
    let purpose = purpose("operationName", body.operation_name.as_deref())?;
    let factor = factor(body.factor.as_deref())?;
    Ok(OpenSession {
        card: CardRef::Id(card),
        account: Some(account),
        person: Some(person),
        purpose,
        factor,
    })
}

fn given<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Problem> {
    value.ok_or_else(|| Problem::invalid(name, "required"))
}
