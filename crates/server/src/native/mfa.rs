//! Second factors: sessions, and enrolling people's authenticator apps.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use cardveil_core::Secret;
use cardveil_core::flow::OpenSession;
use cardveil_core::id::PersonId;
use cardveil_core::mfa::{FactorChange, FactorRefused};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::card_ref;
use super::params::OfPerson;
use crate::api::admission::Admitted;
use crate::api::extract;
use crate::api::params::{factor, purpose};
use crate::api::problem::{Code, Problem};
use crate::http::app::{App, Shared};

/// For which card and for what.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NativeMfaSessionInput, example = json!({"card_no": "C202605220001", "operation": "VIEW_CARD", "factor": "TOTP"}))]
struct NewSession {
    /// The card by its order number. Either this or `card_id`.
    card_no: Option<String>,
    /// The card by its id (a UUID). Either this or `card_no`.
    card_id: Option<String>,
    /// The operation that it will be used for: `VIEW_CARD` (default), `ADD_CARD_TO_WALLET`, or, in
    /// the Equals API, `VIEW_PIN` or `SET_PIN`.
    operation: Option<String>,
    /// `TOTP`, an authenticator app; or `OTP`, a code that your webhook delivers. Left out, it is
    /// the strongest that the person has and that counts.
    factor: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
#[schema(as = MfaSessionCreated, example = json!({
    "session_id": "c92e2960-b745-4b38-8e77-898b2f9ad9bb", "factor": "TOTP", "expires_at": "2026-11-22T10:05:00.000Z",
}))]
pub(super) struct Created {
    /// What goes into `mfa.session_id`.
    session_id: String,
    /// What the person must prove.
    factor: &'static str,
    /// The first moment at which no code passes it any more (RFC 3339).
    expires_at: String,
}

/// Create an MFA session
///
/// For the card's cardholder and one operation. Its id and the cardholder's code go to
/// `POST /v1/client-tokens` as `mfa`. It gives one client token, ends after five minutes, and ends
/// at the fifth wrong code.
#[utoipa::path(
    post, path = "/v1/mfa/sessions", tag = "Native", operation_id = "createNativeMfaSession",
    request_body = NewSession,
    responses(
        (status = 201, description = "The session.", body = Created),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
        (status = 409, description = "`factor_unavailable`: no confirmed authenticator app, it is locked, it does not count, or the person has a stronger one"),
        (status = 429, description = "`rate_limited`: too many calls, or too many sessions or wrong codes of this person"),
    )
)]
pub(super) async fn create_session(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    request: Request,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let body: NewSession = extract::json(request).await?;
    let asked = OpenSession {
        card: card_ref(body.card_no.as_deref(), body.card_id.as_deref())?,
        account: None,
        person: None,
        purpose: purpose("operation", body.operation.as_deref())?,
        factor: factor(body.factor.as_deref())?,
    };
    let session = app.service.open_session(&admitted.caller, &asked).await??;
    let created = Created {
        session_id: session.id.to_string(),
        factor: session.factor.as_str(),
        expires_at: session.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// An enrolment, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = TotpEnrolled, example = json!({
    "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "uri": "otpauth://totp/Saltmarsh:775596ae-2624-40af-a9dc-9756110a4a04?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Saltmarsh&algorithm=SHA1&digits=6&period=30",
}))]
pub(super) struct Enrolled {
    /// The secret in Base32, for typing into an authenticator app.
    secret: String,
    /// The same for a QR code. It is never called: show it and forget it.
    uri: String,
}

/// Enrol a person's authenticator app
///
/// In the place of the one before, if there was one. It proves nothing until its first code is
/// confirmed. The answer is the only one that ever holds the secret.
#[utoipa::path(
    put, path = "/v1/people/{person_id}/totp", tag = "Native", operation_id = "enrolTotp",
    params(OfPerson),
    responses(
        (status = 201, description = "The secret.", body = Enrolled),
        (status = 404, description = "`not_found`: nobody with a card of yours that this credential may know of"),
    )
)]
pub(super) async fn enrol_totp(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    person: Result<Path<String>, PathRejection>,
) -> Result<(StatusCode, Json<Enrolled>), Problem> {
    let person = managed(&app, &admitted, person).await?;
    let caller = &admitted.caller;
    let enrolled = app
        .service
        .enrol(&caller.merchant, person, None, &caller.source)
        .await?
        .map_err(factor_problem)?;
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let enrolled = Enrolled {
        secret: text(&enrolled.secret),
        uri: text(&enrolled.uri),
    };
    Ok((StatusCode::CREATED, Json(enrolled)))
}

/// The app's first code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TotpConfirmation, example = json!({"code": "123456"}))]
struct Confirmation {
    /// Six digits.
    code: String,
}

/// Confirm a person's authenticator app
///
/// With its first code, after which it can pass sessions. The code is used up by it.
#[utoipa::path(
    post, path = "/v1/people/{person_id}/totp/confirm", tag = "Native", operation_id = "confirmTotp",
    params(OfPerson),
    request_body = Confirmation,
    responses(
        (status = 204, description = "It is confirmed."),
        (status = 403, description = "`credential_refused`, `scope_missing`, or `mfa_refused`: the code is wrong"),
        (status = 404, description = "`not_found`: nobody with a card of yours that this credential may know of"),
        (status = 409, description = "`factor_unavailable`: no app waits for its first code, or it is locked"),
    )
)]
pub(super) async fn confirm_totp(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    person: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let person = managed(&app, &admitted, person).await?;
    let body: Confirmation = extract::json(request).await?;
    let code = Secret::new(body.code.into_bytes());
    let caller = &admitted.caller;
    app.service
        .confirm(&caller.merchant.id, person, &code, &caller.source)
        .await?
        .map_err(factor_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a person's authenticator app
///
/// Wrong codes that were counted stay counted.
#[utoipa::path(
    delete, path = "/v1/people/{person_id}/totp", tag = "Native", operation_id = "removeTotp",
    params(OfPerson),
    responses(
        (status = 204, description = "It is gone, and its sessions pass no more."),
        (status = 404, description = "`not_found`: nobody with a card of yours that this credential may know of"),
        (status = 409, description = "`factor_unavailable`: there is none"),
    )
)]
pub(super) async fn remove_totp(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    person: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let person = managed(&app, &admitted, person).await?;
    let caller = &admitted.caller;
    app.service
        .change_factor(
            &caller.merchant.id,
            person,
            FactorChange::Remove,
            &caller.source,
        )
        .await?
        .map_err(factor_problem)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The person of the path, whom the credential may manage.
async fn managed(
    app: &App,
    admitted: &Admitted,
    person: Result<Path<String>, PathRejection>,
) -> Result<PersonId, Problem> {
    let person = extract::path(person).and_then(|text| PersonId::parse(&text).ok());
    let person = person.ok_or_else(|| Problem::invalid("person_id", "must be a UUID"))?;
    let credential = &admitted.caller.credential;
    if app.service.may_manage(credential, person).await? {
        Ok(person)
    } else {
        Err(Problem::new(Code::NotFound))
    }
}

fn factor_problem(refused: FactorRefused) -> Problem {
    match refused {
        FactorRefused::Unavailable => Problem::new(Code::FactorUnavailable),
        FactorRefused::WrongCode => Problem::new(Code::MfaRefused),
    }
}
