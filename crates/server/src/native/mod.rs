//! The native API (`/v1`): the same core with today's habits. POST, problems (RFC 9457), and
//! `Idempotency-Key`, by which a request may be sent twice and mean one token.

mod cards;
mod mfa;
mod params;
mod wallet;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cardveil_core::Secret;
use cardveil_core::audit::refused::Denied;
use cardveil_core::card::CardRef;
use cardveil_core::flow::{Asked, IssueRefusal, Named, Presented};
use cardveil_core::id::{CardId, CardNo, EmbedId};
use cardveil_core::merchant::Need;
use cardveil_core::token::{Operation, Thumbprint};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::path::Operation as Described;
use utoipa_axum::routes;

use crate::api::admission::{Admitted, Refused, admit_key};
use crate::api::extract::{self, Header, Object};
use crate::api::openapi;
use crate::api::params::fields;
use crate::api::permission::{Barrier, Entrant, Permission, scheme};
use crate::api::problem::{Code, Problem};
use crate::api::refusals::{EMBED, REFERENCE};
use crate::api::schema::FieldSet;
use crate::api::surface::Surface;
use crate::http::app::Shared;
use crate::http::call::Call;
use crate::http::limit::{Limiter, TooOften};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(crate) fn routes(surface: Surface) -> Surface {
    let surface = surface
        .route(Native(Need::ReadCards), routes!(create_client_token))
        .route(Native(Need::ReadCards), routes!(mfa::create_session))
        .route(
            Native(Need::ManageMfa),
            routes!(mfa::enrol_totp, mfa::remove_totp),
        )
        .route(Native(Need::ManageMfa), routes!(mfa::confirm_totp));
    webhooks::routes(wallet::routes(cards::routes(surface)))
}

/// What is asked.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"card_no": "C202605220001", "operation": "VIEW_CARD"}))]
struct ClientTokenInput {
    /// The card by its order number. Either this or `card_id`.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    card_no: Option<String>,
    /// The card by its id (a UUID). Either this or `card_no`.
    #[schema(format = "uuid")]
    card_id: Option<String>,
    /// `VIEW_CARD` (default) or `ADD_CARD_TO_WALLET`.
    #[schema(pattern = "^(VIEW_CARD|ADD_CARD_TO_WALLET)$")]
    operation: Option<String>,
    /// What may be released, of `pan`, `expiry`, `cvv`, `name`, as far as the card has it; all by
    /// default.
    #[schema(value_type = Option<FieldSet>)]
    fields: Option<Vec<String>>,
    /// The RFC 7638 thumbprint of the only key that may redeem it (base64url of SHA-256).
    #[schema(pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
    thumbprint: Option<String>,
    /// The only embed that it may be redeemed in: one of the merchant's own, in use.
    // Left out of the form that Idempotency-Key stands for where it is not given, as before it
    // came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^emb_[A-Za-z0-9_-]{1,40}$")]
    embed: Option<String>,
    /// What the merchant's MFA policy asks for.
    #[schema(value_type = Option<GivenMfa>)]
    mfa: Option<Object<GivenMfa>>,
}

/// A second factor.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MfaAssertion, example = json!({"session_id": "c92e2960-b745-4b38-8e77-898b2f9ad9bb", "code": "123456"}))]
struct GivenMfa {
    /// The session; or your own reference, where the policy is delegated to you.
    session_id: Option<String>,
    /// The cardholder's code.
    code: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ClientTokenCreated {
    /// The token: one card, one operation, redeemable to one key.
    token: String,
    /// When it ends (RFC 3339).
    expires_at: String,
    /// For how many seconds it is still good.
    #[schema(example = 300)]
    expires_in: u64,
}

/// Issue a client token
#[utoipa::path(
    post, path = "/v1/client-tokens", tag = "Native", operation_id = "createClientToken",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters. The same key with the same body gets the same token while that is good; with another body it gets 422.")),
    request_body = ClientTokenInput,
    responses(
        (status = 201, description = "The token.", body = ClientTokenCreated),
        (status = 403, description = "`credential_refused`, `scope_missing`, `pci_not_enabled`, `card_not_viewable`, `field_unavailable`, `mfa_required` or `mfa_refused`"),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
        (status = 422, description = "`idempotency_mismatch`"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`"),
    )
)]
async fn create_client_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    request: Request,
) -> Result<Response, Problem> {
    let key = idempotency_key(request.headers())?;
    let body: ClientTokenInput = extract::json(request).await?;
    let named = match key {
        Some(key) => {
            let request = serde_json::to_vec(&body)
                .map_err(|_| Problem::invalid("body", "it cannot be written as JSON"))?;
            Some(Named { key, request })
        }
        None => None,
    };
    let asked = asked(body, named)?;
    let issued = app
        .service
        .issue(&admitted.caller, admitted.epoch, &asked)
        .await?
        .map_err(|refusal| {
            if refusal == IssueRefusal::MfaReference {
                return Problem::invalid("mfa.session_id", REFERENCE);
            }
            refusal.into()
        })?;
    let left_ms = issued.expires_at.millis() - app.service.now().millis();
    let created = ClientTokenCreated {
        token: issued.token.expose().to_owned(),
        expires_at: issued.expires_at.to_string(),
        expires_in: u64::try_from(left_ms / 1_000).unwrap_or_default(),
    };
    let mut response = (StatusCode::CREATED, axum::Json(created)).into_response();
    if issued.replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    } else {
        app.metrics.tokens_issued.increment();
    }
    Ok(response)
}

fn asked(body: ClientTokenInput, named: Option<Named>) -> Result<Asked, Problem> {
    let card = card_ref(body.card_no.as_deref(), body.card_id.as_deref())?;
    let operation = match body.operation.as_deref() {
        None => Operation::ViewCard,
        Some(name) => Operation::parse(name).ok_or_else(|| {
            Problem::invalid("operation", "must be VIEW_CARD or ADD_CARD_TO_WALLET")
        })?,
    };
    let thumbprint = body.thumbprint.as_deref().map(|text| {
        Thumbprint::parse(text)
            .ok_or_else(|| Problem::invalid("thumbprint", "must be 32 bytes in base64url"))
    });
    let embed = body.embed.as_deref().map(EmbedId::parse).transpose();
    let embed = embed.map_err(|_| Problem::invalid("embed", EMBED))?;
    Ok(Asked {
        card,
        account: None,
        person: None,
        operation,
        fields: body.fields.map(|names| fields(&names)).transpose()?,
        bound_to: thumbprint.transpose()?,
        embed,
        named,
        mfa: presented(body.mfa),
    })
}

fn presented(mfa: Option<Object<GivenMfa>>) -> Presented {
    let given = |Object(mfa): Object<GivenMfa>| (mfa.session_id, mfa.code);
    let (session, code) = mfa.map_or((None, None), given);
    Presented::Given {
        session,
        code: code.map(|code| Arc::new(Secret::new(code.into_bytes()))),
    }
}

/// A card by one of its two names.
fn card_ref(no: Option<&str>, id: Option<&str>) -> Result<CardRef, Problem> {
    match (no, id) {
        (Some(no), None) => CardNo::parse(no)
            .map(CardRef::No)
            .map_err(|_| Problem::invalid("card_no", "must be 1 to 64 letters, digits, _ or -")),
        (None, Some(id)) => CardId::parse(id)
            .map(CardRef::Id)
            .map_err(|_| Problem::invalid("card_id", "must be a UUID")),
        (Some(_), Some(_)) | (None, None) => Err(Problem::invalid(
            "card_no",
            "give either card_no or card_id",
        )),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    match extract::header(headers, "idempotency-key") {
        Header::Missing => Ok(None),
        Header::Value(key) if key.len() <= 255 => Ok(Some(key.to_owned())),
        Header::Value(_) | Header::Malformed => Err(Problem::invalid(
            "Idempotency-Key",
            "must be one value of 1 to 255 ASCII characters",
        )),
    }
}

/// A merchant's server by the native rules: `Authorization: Bearer`, address, and what it needs.
#[derive(Clone, Copy)]
struct Native(Need);

impl Permission for Native {
    const API: &'static str = "native";

    type Wording = ();

    fn describe(self, operation: &mut Described) {
        operation.security = Some(scheme("native"));
        openapi::refuse(operation, &openapi::MERCHANT);
    }

    fn wording(_: &HeaderMap) {}

    async fn admit(self, call: &Call, headers: &HeaderMap) -> Result<Entrant, Refused<Response>> {
        let admitted = admit(call, headers, self.0).await;
        admitted
            .map(Entrant::merchant)
            .map_err(Refused::into_response)
    }

    fn count_refused(limiter: &Limiter, ip: Option<IpAddr>) -> Result<(), TooOften> {
        limiter.refused(ip)
    }

    fn refuse(why: Barrier, (): ()) -> Response {
        why.problem()
    }
}

/// Admits a call: `Authorization: Bearer {Api-Key}`.
async fn admit(call: &Call, headers: &HeaderMap, need: Need) -> Result<Admitted, Refused<Problem>> {
    let refused = |answer| Err(Refused::stranger(answer, Denied::KeyMissing));
    match extract::header(headers, header::AUTHORIZATION.as_str()) {
        Header::Missing => refused(Problem::credential_required("Bearer")),
        Header::Malformed => refused(Problem::new(Code::CredentialRefused)),
        Header::Value(value) => match value.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("Bearer") => {
                admit_key(call, key.trim(), need).await
            }
            Some(_) | None => refused(Problem::detail(
                Code::CredentialRefused,
                "Send Authorization: Bearer and the Api-Key.",
            )),
        },
    }
}
