//! Digital wallet tokens in the native API, and the simulator that plays the network in a sandbox.
//!
//! **Invariant:** a live deployment has no simulator: there, tokens come from the network alone.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::{Extension, Json};
use cardveil_core::card::Environment;
use cardveil_core::flow::WalletScope;
use cardveil_core::id::{CardId, DeviceId, WalletTokenId};
use cardveil_core::merchant::Need;
use cardveil_core::port::{WalletFilter, WalletPage};
use cardveil_core::wallet::{
    Decision, Device, DeviceType, State as TokenState, Step, Wallet, WalletToken,
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Native;
use super::params::OfToken;
use crate::api::admission::Admitted;
use crate::api::extract::{self, Query};
use crate::api::params::list;
use crate::api::problem::{Code, Problem};
use crate::api::surface::Surface;
use crate::http::app::{App, Shared};

pub(super) fn routes(surface: Surface) -> Surface {
    const READ: Native = Native(Need::ReadCards);
    const WRITE: Native = Native(Need::WriteCards);
    surface
        .route(READ, routes!(list_tokens))
        .route(READ, routes!(show_token))
        .route(WRITE, routes!(move_token))
        .route(WRITE, routes!(simulate))
        .route(WRITE, routes!(verify))
}

#[derive(Serialize, ToSchema)]
struct WalletTokenPage {
    wallet_tokens: Vec<WalletTokenView>,
    /// Send it as `after` for the next page; null on the last one.
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct WalletTokenView {
    #[schema(format = "uuid", example = "5c1a9a55-7d59-4c11-9a9e-8cb3a1c0f5d2")]
    id: String,
    #[schema(format = "uuid", example = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd")]
    card_id: String,
    /// `APPLE_PAY`, `ANDROID_PAY` or `SAMSUNG_PAY`.
    #[schema(example = "APPLE_PAY")]
    wallet: &'static str,
    /// `MOBILE_PHONE`, `TABLET` or `WATCH`.
    #[schema(example = "MOBILE_PHONE")]
    device_type: &'static str,
    #[schema(example = "device-1")]
    device_id: String,
    /// `REQUESTED`, `ACTIVE`, `SUSPENDED`, `TERMINATED` or `REQUEST_DECLINED`.
    #[schema(example = "ACTIVE")]
    state: &'static str,
    /// `DECISION_RED`, `DECISION_YELLOW`, `DECISION_GREEN`, `REJECTED` or `PROVISIONED`.
    #[schema(example = "PROVISIONED")]
    fulfilment: &'static str,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
}

impl From<WalletToken> for WalletTokenView {
    fn from(token: WalletToken) -> Self {
        Self {
            id: token.id.to_string(),
            card_id: token.card.to_string(),
            wallet: token.device.wallet.as_str(),
            device_type: token.device.device_type.as_str(),
            device_id: token.device.device_id.to_string(),
            state: token.state.as_str(),
            fulfilment: token.fulfilment.as_str(),
            created_at: token.created_at.to_string(),
            updated_at: token.updated_at.to_string(),
        }
    }
}

/// List digital wallet tokens
///
/// In the order in which they were asked for. A filter with several values, between commas, finds
/// what has any of them.
#[utoipa::path(
    get, path = "/v1/wallet-tokens", tag = "Native", operation_id = "listWalletTokens",
    params(
        ("card_id" = Option<String>, Query, format = "uuid", description = "Of this card."),
        ("state" = Option<String>, Query, pattern = "^((REQUESTED|ACTIVE|SUSPENDED|TERMINATED|REQUEST_DECLINED)(,(REQUESTED|ACTIVE|SUSPENDED|TERMINATED|REQUEST_DECLINED))*)?$", description = "`REQUESTED`, `ACTIVE`, `SUSPENDED`, `TERMINATED`, `REQUEST_DECLINED`.", example = "ACTIVE"),
        ("wallet" = Option<String>, Query, pattern = "^((APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY)(,(APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY))*)?$", description = "`APPLE_PAY`, `ANDROID_PAY`, `SAMSUNG_PAY`.", example = "APPLE_PAY"),
        ("device_type" = Option<String>, Query, pattern = "^((MOBILE_PHONE|TABLET|WATCH)(,(MOBILE_PHONE|TABLET|WATCH))*)?$", description = "`MOBILE_PHONE`, `TABLET`, `WATCH`."),
        ("device_id" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{0,64}$", description = "On this device."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 when left out."),
        ("after" = Option<String>, Query, description = "The `next` of the page before."),
    ),
    responses(
        (status = 200, description = "A page.", body = WalletTokenPage),
    )
)]
async fn list_tokens(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    RawQuery(query): RawQuery,
) -> Result<Json<WalletTokenPage>, Problem> {
    let query = Query::parse(query.as_deref());
    let limit = query.number("limit", 1..=100)?.unwrap_or(20);
    let after = query.one("after")?.map(WalletTokenId::parse).transpose();
    let page = WalletPage {
        after: after.map_err(|_| Problem::invalid("after", "must be the next of a page"))?,
        offset: 0,
        // One more, to know whether there is a next page.
        limit: limit + 1,
    };
    let filter = filter(&query)?;
    let list = app.service.wallet_tokens(&admitted.caller, &filter, page);
    let mut found = app.list(&admitted.caller, list).await??;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|l| l.token.id.to_string());
    Ok(Json(WalletTokenPage {
        wallet_tokens: found.into_iter().map(|l| l.token.into()).collect(),
        next,
    }))
}

fn filter(query: &Query) -> Result<WalletFilter, Problem> {
    let card = query.given("card_id")?.map(CardId::parse).transpose();
    let device_id = query.one("device_id")?.map(DeviceId::parse).transpose();
    Ok(WalletFilter {
        card: card.map_err(|_| Problem::invalid("card_id", "must be a UUID"))?,
        states: list(
            query,
            "state",
            "must be REQUESTED, ACTIVE, SUSPENDED, TERMINATED or REQUEST_DECLINED",
            TokenState::parse,
        )?,
        wallets: list(
            query,
            "wallet",
            "must be APPLE_PAY, ANDROID_PAY or SAMSUNG_PAY",
            Wallet::parse,
        )?,
        device_types: list(
            query,
            "device_type",
            "must be MOBILE_PHONE, TABLET or WATCH",
            DeviceType::parse,
        )?,
        device_id: device_id.map_err(|_| {
            Problem::invalid("device_id", "must be 1 to 64 letters, digits, _ or -")
        })?,
        ..WalletFilter::default()
    })
}

/// Show a digital wallet token
#[utoipa::path(
    get, path = "/v1/wallet-tokens/{id}", tag = "Native", operation_id = "showWalletToken",
    params(OfToken),
    responses(
        (status = 200, description = "The token.", body = WalletTokenView),
        (status = 404, description = "`not_found`: no such token that this credential may know of"),
    )
)]
async fn show_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<WalletTokenView>, Problem> {
    let found = app.service.wallet_token(&admitted.caller, token_id(id)?);
    let found = found.await?.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Json(found.token.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WalletTokenTransition)]
struct MoveRequest {
    /// `ACTIVE`, `SUSPENDED` or `TERMINATED`.
    #[schema(pattern = "^(ACTIVE|SUSPENDED|TERMINATED)$", example = "SUSPENDED")]
    state: String,
}

/// Change a digital wallet token's state
///
/// `REQUESTED` to any of the three, `ACTIVE` and `SUSPENDED` to each other, both to `TERMINATED`.
/// A state that the token has already is answered and changes nothing.
#[utoipa::path(
    post, path = "/v1/wallet-tokens/{id}/transitions", tag = "Native", operation_id = "moveWalletToken",
    params(OfToken),
    request_body = MoveRequest,
    responses(
        (status = 200, description = "The token as it is now.", body = WalletTokenView),
        (status = 404, description = "`not_found`: no such token that this credential may know of"),
        (status = 409, description = "`wallet_token_final` or `wallet_token_limit`"),
    )
)]
async fn move_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<WalletTokenView>, Problem> {
    let id = token_id(id)?;
    let body: MoveRequest = extract::json(request).await?;
    let step = TokenState::parse(&body.state).and_then(Step::to);
    let step =
        step.ok_or_else(|| Problem::invalid("state", "must be ACTIVE, SUSPENDED or TERMINATED"))?;
    step_token(&app, &admitted, id, step).await
}

async fn step_token(
    app: &App,
    admitted: &Admitted,
    id: WalletTokenId,
    step: Step,
) -> Result<Json<WalletTokenView>, Problem> {
    let scope = WalletScope::default();
    let moved = app
        .service
        .move_wallet_token(&admitted.caller, &scope, id, step)
        .await??;
    Ok(Json(moved.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SimulatedRequest {
    /// The card's id (a UUID).
    #[schema(format = "uuid", example = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd")]
    card_id: String,
    /// `APPLE_PAY`, `ANDROID_PAY` or `SAMSUNG_PAY`.
    #[schema(
        pattern = "^(APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY)$",
        example = "APPLE_PAY"
    )]
    wallet: String,
    /// `MOBILE_PHONE`, `TABLET` or `WATCH`.
    #[schema(pattern = "^(MOBILE_PHONE|TABLET|WATCH)$", example = "MOBILE_PHONE")]
    device_type: String,
    /// 1 to 64 letters, digits, `_` or `-`.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{1,64}$",
        example = "device-1",
        min_length = 1,
        max_length = 64
    )]
    device_id: String,
    /// The network's decision: `green`, `yellow` or `red`.
    #[schema(pattern = "^(green|yellow|red)$", example = "green")]
    decision: String,
}

/// Play a device's request for a token, and the network's decision (sandbox)
///
/// `green` makes an active token, `yellow` one that waits for the cardholder to be verified, `red`
/// a declined one. A card that is not in use, that has 25 active and suspended tokens, or that is
/// on the device already is declined whatever the decision. A live deployment answers 501.
#[utoipa::path(
    post, path = "/v1/simulator/wallet-tokens", tag = "Native", operation_id = "simulateWalletToken",
    request_body = SimulatedRequest,
    responses(
        (status = 201, description = "The token.", body = WalletTokenView),
        (status = 404, description = "`not_found`: no such card that this credential may change"),
        (status = 501, description = "`not_implemented`: this deployment is live"),
    )
)]
async fn simulate(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    request: Request,
) -> Result<(StatusCode, Json<WalletTokenView>), Problem> {
    in_a_sandbox(app.service.vault().environment())?;
    let body: SimulatedRequest = extract::json(request).await?;
    let card =
        CardId::parse(&body.card_id).map_err(|_| Problem::invalid("card_id", "must be a UUID"))?;
    let decision = Decision::parse(&body.decision)
        .ok_or_else(|| Problem::invalid("decision", "must be green, yellow or red"))?;
    let device = device(&body.wallet, &body.device_type, &body.device_id)?;
    let token = app
        .service
        .simulate_wallet_token(&admitted.caller, card, device, decision)
        .await??;
    Ok((StatusCode::CREATED, Json(token.into())))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SimulatedVerification {
    /// Whether the cardholder was verified.
    #[schema(example = true)]
    passed: bool,
}

/// Play the verification of a cardholder whose token is `REQUESTED` (sandbox)
///
/// Passed, the token is `ACTIVE`, unless the card has 25 already; failed, it is `REQUEST_DECLINED`.
#[utoipa::path(
    post, path = "/v1/simulator/wallet-tokens/{id}/verify", tag = "Native", operation_id = "simulateWalletVerification",
    params(OfToken),
    request_body = SimulatedVerification,
    responses(
        (status = 200, description = "The token as it is now.", body = WalletTokenView),
        (status = 404, description = "`not_found`: no such token that this credential may change"),
        (status = 409, description = "`wallet_token_final`: the token is not `REQUESTED`"),
        (status = 501, description = "`not_implemented`: this deployment is live"),
    )
)]
async fn verify(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<WalletTokenView>, Problem> {
    in_a_sandbox(app.service.vault().environment())?;
    let id = token_id(id)?;
    let body: SimulatedVerification = extract::json(request).await?;
    let step = if body.passed {
        Step::Verified
    } else {
        Step::NotVerified
    };
    step_token(&app, &admitted, id, step).await
}

/// In a live deployment nobody plays the network.
fn in_a_sandbox(environment: Environment) -> Result<(), Problem> {
    match environment {
        Environment::Sandbox => Ok(()),
        Environment::Live => Err(Problem::detail(
            Code::NotImplemented,
            "The simulator plays the network in a sandbox only. Use a sandbox deployment.",
        )),
    }
}

fn token_id(id: Result<Path<String>, PathRejection>) -> Result<WalletTokenId, Problem> {
    let id = extract::path(id).and_then(|text| WalletTokenId::parse(&text).ok());
    id.ok_or_else(|| Problem::invalid("id", "must be a UUID"))
}

/// A device of a body's members.
fn device(wallet: &str, device_type: &str, device_id: &str) -> Result<Device, Problem> {
    let known = "must be APPLE_PAY, ANDROID_PAY or SAMSUNG_PAY";
    let types = "must be MOBILE_PHONE, TABLET or WATCH";
    Ok(Device {
        wallet: Wallet::parse(wallet).ok_or_else(|| Problem::invalid("wallet", known))?,
        device_type: DeviceType::parse(device_type)
            .ok_or_else(|| Problem::invalid("device_type", types))?,
        device_id: DeviceId::parse(device_id).map_err(|_| {
            Problem::invalid("device_id", "must be 1 to 64 letters, digits, _ or -")
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_deployment_has_no_simulator() {
        assert!(in_a_sandbox(Environment::Sandbox).is_ok());
        let refused = in_a_sandbox(Environment::Live).unwrap_err();
        assert!(format!("{refused:?}").contains("NotImplemented"));
    }
}
