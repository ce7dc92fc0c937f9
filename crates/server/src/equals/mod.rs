//! The Equals Money dialect (`/v2`): "Retrieve an access token for card data and digital wallet
//! operations" and the pages around it (docs/reference/compatibility).
//!
//! `Authorization: ApiKey {key}` or the bare key: 401 without, 403 with a wrong one or from a strange
//! address. Errors are problems. What a caller may not know of is 404.

pub(crate) mod cards;
mod ip_addresses;
mod mfa;
mod pin;
pub(crate) mod wallet;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::{Extension, Json};
use cardveil_core::Secret;
use cardveil_core::audit::refused::Denied;
use cardveil_core::card::CardRef;
use cardveil_core::flow::{Asked, IssueRefusal, Presented};
use cardveil_core::id::{AccountId, CardId, PersonId};
use cardveil_core::merchant::{Barred, Lack, MerchantState, Need, judge};
use cardveil_core::token::Operation;
use http::{HeaderMap, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

pub(crate) use mfa::{factor, purpose, session_problem};

use crate::api::admission::Admitted;
use crate::api::admission::Refused;
use crate::api::extract::{self, Header, OFFSET_MAX, Query};
use crate::api::problem::{Code, Problem};
use crate::api::surface::{Permission, Surface};
use crate::http::app::{App, Shared};
use crate::http::call::Call;

pub(crate) fn routes(surface: Surface) -> Surface {
    let surface = surface
        .route(Permission::Equals(Need::ReadCards), routes!(access_token))
        .route(
            Permission::Equals(Need::ReadCards),
            routes!(mfa::create_mfa_session),
        )
        .route(
            Permission::Equals(Need::ManageIpAddresses),
            routes!(
                ip_addresses::list_ip_addresses,
                ip_addresses::add_ip_address
            ),
        )
        .route(
            Permission::Equals(Need::ManageIpAddresses),
            routes!(ip_addresses::remove_ip_address),
        );
    webhooks::routes(wallet::routes(pin::routes(cards::routes(surface))))
}

#[derive(Serialize, ToSchema)]
struct AccessToken {
    /// The token: one card, one operation, five minutes.
    token: String,
}

/// Retrieve an access token for card data and digital wallet operations
///
/// Returns an access token for showing a card's sensitive data or for verifying the ability to add
/// it to a digital wallet. It expires after 5 minutes.
#[utoipa::path(
    get, path = "/v2/cards/{cardId}/access-token", tag = "Equals Money", operation_id = "getClientToken",
    params(
        ("cardId" = String, Path, format = "uuid", max_length = 36, description = "The ID of the card to work with.", example = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd"),
        ("accountId" = String, Query, description = "The ID of the account to work with.", example = "F50091"),
        ("personId" = Option<String>, Query, format = "uuid", max_length = 36, description = "The ID of the person to work with.", example = "775596ae-2624-40af-a9dc-9756110a4a04"),
        ("sessionId" = Option<String>, Query, description = "The MFA session id, where the policy asks for a second factor; or your own reference, where it is delegated to you.", example = "c92e2960-b745-4b38-8e77-898b2f9ad9bb"),
        ("token" = Option<String>, Query, description = "The security token e.g. MFA code.", example = "123456"),
        ("operationName" = Option<String>, Query, pattern = "^(VIEW_CARD|ADD_CARD_TO_WALLET)?$", description = "The operation for which a client token is requested: `VIEW_CARD` (default) or `ADD_CARD_TO_WALLET`.", example = "VIEW_CARD"),
    ),
    responses(
        (status = 200, description = "OK", body = AccessToken),
        (status = 400, description = "`invalid_request`", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`credential_required`", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`credential_refused`, `scope_missing`, `pci_not_enabled`, `card_not_viewable`, `mfa_required` or `mfa_refused`", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`", body = crate::api::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn access_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<AccessToken>, Problem> {
    let card_id = extract::path(card_id).and_then(|text| CardId::parse(&text).ok());
    let card_id = card_id.ok_or_else(|| Problem::invalid("cardId", "must be a UUID"))?;
    let query = Query::parse(query.as_deref());
    let account = account(&query)?;
    let person = query.one("personId")?.map(PersonId::parse).transpose();
    let person = person.map_err(|_| Problem::invalid("personId", "must be a UUID"))?;
    let operation = match query.one("operationName")? {
        None => Operation::ViewCard,
        Some(name) => Operation::parse(name).ok_or_else(|| {
            Problem::invalid("operationName", "must be VIEW_CARD or ADD_CARD_TO_WALLET")
        })?,
    };
    let session = query.one("sessionId")?.map(ToOwned::to_owned);
    let code = query.one("token")?.map(|code| Secret::new(code.into()));
    let asked = Asked {
        card: CardRef::Id(card_id),
        account: Some(account),
        person,
        operation,
        fields: None,
        bound_to: None,
        embed: None,
        named: None,
        mfa: Presented::Given {
            session,
            code: code.map(Arc::new),
        },
    };
    let issued = app
        .service
        .issue(&admitted.caller, admitted.epoch, &asked)
        .await?
        .map_err(problem_of)?;
    app.metrics.tokens_issued.increment();
    Ok(Json(AccessToken {
        token: issued.token.expose().to_owned(),
    }))
}

/// What is said of an embed that a token cannot be bound to.
pub(crate) const EMBED: &str = "must be an embed of yours that is in use";

/// What a merchant's own reference to a second factor is made of.
pub(crate) const REFERENCE: &str = "must be 1 to 64 letters, digits, _, -, . or :, and not what \
                                     programs write for nothing (undefined, null, 0)";

/// The account that a call is about. The contract takes any text for one (`accountId`), so a
/// text that cannot be an account's is an account that is not there.
fn account(query: &Query) -> Result<AccountId, Problem> {
    let text = query
        .given("accountId")?
        .ok_or_else(|| Problem::invalid("accountId", "required"))?;
    AccountId::parse(text).map_err(|_| Problem::new(Code::NotFound))
}

/// Which page of a list: `limit`, 1 to 1000 and 100 by default, and `offset` (Equals,
/// get-card-details).
fn page(query: &Query) -> Result<(usize, usize), Problem> {
    let limit = query.number("limit", 1..=1_000)?.unwrap_or(100);
    let offset = query.number("offset", 0..=OFFSET_MAX)?.unwrap_or(0);
    Ok((limit, offset))
}

/// What to do where a budget asks for a second factor.
const ASKED_OFTEN: &str = "The card or its person was asked for often. Open an MFA session and send \
     its id with the person's code.";

/// What an issue's refusal is to callers who get problems.
pub(crate) fn problem_of(refusal: IssueRefusal) -> Problem {
    match refusal {
        IssueRefusal::PciDisabled => Problem::new(Code::PciNotEnabled),
        IssueRefusal::UnknownCard => Problem::new(Code::NotFound),
        IssueRefusal::CardState(state) => Problem::detail(
            Code::CardNotViewable,
            format!(
                "The card is {}. Bring it into use first, or choose another.",
                state.as_str()
            ),
        ),
        IssueRefusal::FieldUnavailable => Problem::new(Code::FieldUnavailable),
        IssueRefusal::NoFields => Problem::invalid("fields", "this operation releases none"),
        IssueRefusal::UnknownEmbed => Problem::invalid("embed", EMBED),
        IssueRefusal::NameReused => Problem::new(Code::IdempotencyMismatch),
        IssueRefusal::MfaRequired | IssueRefusal::MfaUnsupported => Problem::new(Code::MfaRequired),
        IssueRefusal::MfaReference => Problem::invalid("sessionId", REFERENCE),
        IssueRefusal::MfaRefused => Problem::new(Code::MfaRefused),
        IssueRefusal::BudgetNeedsFactor { .. } => Problem::detail(Code::MfaRequired, ASKED_OFTEN),
        IssueRefusal::BudgetExhausted { retry_after_secs } => Problem::too_often(retry_after_secs),
    }
}

/// Admits a call.
pub(crate) async fn admit(
    app: &App,
    call: &Call,
    headers: &HeaderMap,
    need: Need,
) -> Result<Admitted, Refused<Problem>> {
    let refused = || Refused::stranger(Problem::new(Code::CredentialRefused), Denied::KeyMissing);
    let value = match extract::header(headers, header::AUTHORIZATION.as_str()) {
        Header::Missing => {
            let answer = Problem::credential_required("ApiKey");
            return Err(Refused::stranger(answer, Denied::KeyMissing));
        }
        Header::Malformed => return Err(refused()),
        Header::Value(value) => value,
    };
    let api_key = match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("ApiKey") => key.trim(),
        Some(_) => return Err(refused()),
        None => value,
    };
    admit_key(app, call, api_key, need).await
}

/// Admits a call by its Api-Key: the rules of every API but KeySecure's.
pub(crate) async fn admit_key(
    app: &App,
    call: &Call,
    api_key: &str,
    need: Need,
) -> Result<Admitted, Refused<Problem>> {
    let refused = || Problem::new(Code::CredentialRefused);
    let Some(admission) = app.service.admission(api_key).await? else {
        return Err(Refused::stranger(refused(), Denied::KeyUnknown));
    };
    let refuse = |denied| Refused::holder(refused(), denied, &admission.credential);
    let shown = call.certificate.as_deref();
    if !admission.credential.allows_certificate(shown) {
        return Err(refuse(Denied::Certificate));
    }
    match admission.credential.usable(app.service.now()) {
        Ok(()) => {}
        Err(Barred::Disabled) => return Err(refuse(Denied::KeyDisabled)),
        Err(Barred::Expired) => return Err(refuse(Denied::KeyExpired)),
    }
    let allowed = |ip: &IpAddr| admission.credential.allows_ip(*ip);
    let Some(ip) = call.ip.filter(allowed) else {
        return Err(refuse(Denied::Address));
    };
    let merchant = match &admission.merchant {
        Some(merchant) => match merchant.state {
            MerchantState::Active => merchant.clone(),
            MerchantState::Suspended => return Err(refuse(Denied::MerchantSuspended)),
            MerchantState::Closed => return Err(refuse(Denied::MerchantClosed)),
        },
        None => return Err(refuse(Denied::MerchantClosed)),
    };
    if let Err(lack) = judge(&merchant, &admission.credential, need) {
        let answer = Problem::new(match lack {
            Lack::Scope => Code::ScopeMissing,
            Lack::Permission => Code::PciNotEnabled,
        });
        return Err(Refused::holder(
            answer,
            Denied::Scope,
            &admission.credential,
        ));
    }
    Ok(Admitted::new(admission, merchant, call.origin(ip)))
}
