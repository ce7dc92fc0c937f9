//! The Equals Money dialect (`/v2`): "Retrieve an access token for card data and digital wallet
//! operations" and the pages around it (docs/reference/compatibility).
//!
//! `Authorization: ApiKey {key}` or the bare key: 401 without, 403 with a wrong one or from a
//! strange address. Errors are problems. What a caller may not know of is 404.

pub(crate) mod cards;
mod ip_addresses;
mod mfa;
mod params;
mod pin;
pub(crate) mod wallet;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::{Extension, Json};
use cardveil_core::Secret;
use cardveil_core::audit::refused::Denied;
use cardveil_core::card::CardRef;
use cardveil_core::flow::{Asked, Presented};
use cardveil_core::id::{AccountId, CardId, PersonId};
use cardveil_core::merchant::Need;
use cardveil_core::token::Operation;
use http::{HeaderMap, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::path::Operation as Described;
use utoipa_axum::routes;

use self::params::{OfAccount, OfCard, OfPerson, SecondFactor};
use crate::api::admission::Refused;
use crate::api::admission::{Admitted, admit_key};
use crate::api::extract::{self, Header, OFFSET_MAX, Query};
use crate::api::openapi;
use crate::api::permission::{Barrier, Entrant, Permission, scheme};
use crate::api::problem::{Code, Problem};
use crate::api::surface::Surface;
use crate::http::app::Shared;
use crate::http::call::Call;
use crate::http::limit::{Limiter, TooOften};

pub(crate) fn routes(surface: Surface) -> Surface {
    let surface = surface
        .route(Equals(Need::ReadCards), routes!(access_token))
        .route(Equals(Need::ReadCards), routes!(mfa::create_mfa_session))
        .route(
            Equals(Need::ManageIpAddresses),
            routes!(
                ip_addresses::list_ip_addresses,
                ip_addresses::add_ip_address
            ),
        )
        .route(
            Equals(Need::ManageIpAddresses),
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
        OfCard,
        OfAccount,
        OfPerson,
        SecondFactor,
        ("operationName" = Option<String>, Query, pattern = "^(VIEW_CARD|ADD_CARD_TO_WALLET)?$", description = "The operation for which a client token is requested: `VIEW_CARD` (default) or `ADD_CARD_TO_WALLET`.", example = "VIEW_CARD"),
    ),
    responses(
        (status = 200, description = "OK", body = AccessToken),
        (status = 403, description = "`credential_refused`, `scope_missing`, `pci_not_enabled`, `card_not_viewable`, `mfa_required` or `mfa_refused`"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`"),
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
        .await??;
    app.metrics.tokens_issued.increment();
    Ok(Json(AccessToken {
        token: issued.token.expose().to_owned(),
    }))
}

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

/// A merchant's server by Equals' rules: `Authorization`, address, and what it needs.
#[derive(Clone, Copy)]
struct Equals(Need);

impl Permission for Equals {
    const API: &'static str = "equals";

    type Wording = ();

    fn describe(self, operation: &mut Described) {
        operation.security = Some(scheme("CommonAuth"));
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

/// Admits a call.
async fn admit(call: &Call, headers: &HeaderMap, need: Need) -> Result<Admitted, Refused<Problem>> {
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
    admit_key(call, api_key, need).await
}
