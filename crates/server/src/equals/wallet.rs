//! Digital wallets in the Equals Money dialect: the list of tokens, their transitions, and the
//! place of the three provisioning calls (Equals, "Digital wallets").
//!
//! Provisioning asks the network for an encrypted payload. No network is connected yet, so these
//! calls check everything that they document and then say so (501). To connect one: a port for it
//! in `cardveil_core::port`, and the answer in place of [`provisioning_is_not_here`].

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::{Extension, Json};
use cardveil_core::card::LastFour;
use cardveil_core::flow::WalletScope;
use cardveil_core::id::{AccountId, CardId, DeviceId, PersonId, WalletTokenId};
use cardveil_core::merchant::Need;
use cardveil_core::port::{ListedToken, WalletFilter, WalletPage};
use cardveil_core::wallet::{DeviceType, State as TokenState, Step, Wallet};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Equals;
use super::params::{OfAccount, OfCard, OfPerson};
use crate::api::admission::Admitted;
use crate::api::extract::{self, Query};
use crate::api::params::list;
use crate::api::problem::{Code, Problem};
use crate::api::surface::Surface;
use crate::http::app::{App, Shared};

pub(super) fn routes(surface: Surface) -> Surface {
    const READ: Equals = Equals(Need::ReadCards);
    const WRITE: Equals = Equals(Need::WriteCards);
    const PROVISION: Equals = Equals(Need::ProvisionWallets);
    surface
        .route(READ, routes!(find_tokens))
        .route(WRITE, routes!(transition))
        .route(PROVISION, routes!(apple))
        .route(PROVISION, routes!(google))
        .route(PROVISION, routes!(samsung))
}

#[derive(Serialize, ToSchema)]
struct TokenRows {
    /// How many match in all.
    #[schema(example = 1)]
    count: usize,
    rows: Vec<TokenRow>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenRow {
    /// The digital wallet token.
    #[schema(format = "uuid", example = "5c1a9a55-7d59-4c11-9a9e-8cb3a1c0f5d2")]
    token: String,
    #[schema(example = "device-1")]
    device_id: String,
    #[schema(format = "uuid", example = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd")]
    card_id: String,
    #[schema(example = "Travel card")]
    card_name: String,
    #[schema(example = "1111")]
    last_four: String,
}

impl From<ListedToken> for TokenRow {
    fn from(listed: ListedToken) -> Self {
        Self {
            token: listed.token.id.to_string(),
            device_id: listed.token.device.device_id.to_string(),
            card_id: listed.token.card.to_string(),
            card_name: listed.label,
            last_four: listed.last_four.as_str().to_owned(),
        }
    }
}

/// Find digital wallet tokens
///
/// In the order in which they were asked for. A filter with several values, between commas, finds
/// what has any of them.
#[utoipa::path(
    get, path = "/v2/cards/tokens", tag = "Equals Money", operation_id = "findDigitalWalletTokens",
    params(
        OfAccount,
        OfPerson,
        ("tokenState" = Option<String>, Query, pattern = "^((REQUESTED|ACTIVE|SUSPENDED|TERMINATED|REQUEST_DECLINED)(,(REQUESTED|ACTIVE|SUSPENDED|TERMINATED|REQUEST_DECLINED))*)?$", description = "`REQUESTED`, `ACTIVE`, `SUSPENDED`, `TERMINATED`, `REQUEST_DECLINED`. The guide calls it `state`, which works too.", example = "ACTIVE"),
        ("tokenType" = Option<String>, Query, pattern = "^((APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY)(,(APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY))*)?$", description = "`APPLE_PAY`, `ANDROID_PAY`, `SAMSUNG_PAY`. The guide calls it `type`, which works too.", example = "APPLE_PAY"),
        ("deviceType" = Option<String>, Query, pattern = "^((MOBILE_PHONE|TABLET|WATCH)(,(MOBILE_PHONE|TABLET|WATCH))*)?$", description = "`MOBILE_PHONE`, `TABLET`, `WATCH`.", example = "MOBILE_PHONE"),
        ("deviceId" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]{0,64}$", description = "The wallet's name for the device.", example = "device-1"),
        ("search" = Option<String>, Query, pattern = "^([0-9]{4}(,[0-9]{4})*)?$", description = "The last four digits of cards.", example = "1111"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most so many; 100 when left out."),
        ("offset" = Option<u32>, Query, minimum = 0, maximum = 999_999_999, description = "Leave out so many; 0 when left out."),
    ),
    responses(
        (status = 200, description = "OK", body = TokenRows),
        (status = 404, description = "`not_found`: the text cannot be an account's"),
    )
)]
async fn find_tokens(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    RawQuery(query): RawQuery,
) -> Result<Json<TokenRows>, Problem> {
    let query = Query::parse(query.as_deref());
    let (account, person) = account_and_person(&query)?;
    let device_id = query.one("deviceId")?.map(DeviceId::parse).transpose();
    let filter = WalletFilter {
        account: Some(account),
        person,
        last_fours: list(&query, "search", "must be last four digits", |text| {
            LastFour::try_from(text.to_owned()).ok()
        })?,
        states: renamed(
            &query,
            ("tokenState", "state"),
            "must be REQUESTED, ACTIVE, SUSPENDED, TERMINATED or REQUEST_DECLINED",
            TokenState::parse,
        )?,
        wallets: renamed(
            &query,
            ("tokenType", "type"),
            "must be APPLE_PAY, ANDROID_PAY or SAMSUNG_PAY",
            Wallet::parse,
        )?,
        device_types: list(
            &query,
            "deviceType",
            "must be MOBILE_PHONE, TABLET or WATCH",
            DeviceType::parse,
        )?,
        device_id: device_id
            .map_err(|_| Problem::invalid("deviceId", "must be 1 to 64 letters, digits, _ or -"))?,
        ..WalletFilter::default()
    };
    let (limit, offset) = super::page(&query)?;
    let page = WalletPage {
        after: None,
        offset,
        limit,
    };
    let caller = &admitted.caller;
    let list = async {
        let tokens = app.service.wallet_tokens(caller, &filter, page).await?;
        let count = app.service.wallet_tokens_count(caller, &filter).await?;
        Ok::<_, Problem>((tokens, count))
    };
    let (tokens, count) = app.list(&admitted.caller, list).await??;
    Ok(Json(TokenRows {
        count,
        rows: tokens.into_iter().map(TokenRow::from).collect(),
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransitionRequest {
    /// `ACTIVE`, `SUSPENDED` or `TERMINATED`.
    #[schema(pattern = "^(ACTIVE|SUSPENDED|TERMINATED)$", example = "SUSPENDED")]
    state: String,
    /// The digital wallet token.
    #[schema(format = "uuid", example = "5c1a9a55-7d59-4c11-9a9e-8cb3a1c0f5d2")]
    digital_wallet_token: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TransitionAnswer {
    #[schema(example = "SUSPENDED")]
    state: &'static str,
    #[schema(format = "uuid", example = "5c1a9a55-7d59-4c11-9a9e-8cb3a1c0f5d2")]
    digital_wallet_token: String,
    /// `DECISION_RED`, `DECISION_YELLOW`, `DECISION_GREEN`, `REJECTED` or `PROVISIONED`.
    #[schema(example = "PROVISIONED")]
    fulfillment_status: &'static str,
}

/// Update a digital wallet token's state
#[utoipa::path(
    post, path = "/v2/cards/{cardId}/digital-wallet-token-transitions", tag = "Equals Money", operation_id = "transitionDigitalWalletToken",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    request_body = TransitionRequest,
    responses(
        (status = 201, description = "It is so now.", body = TransitionAnswer),
        (status = 404, description = "`not_found`: no such token of this card that this credential may know of"),
        (status = 409, description = "`wallet_token_final` or `wallet_token_limit`"),
    )
)]
async fn transition(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<(StatusCode, Json<TransitionAnswer>), Problem> {
    let scope = scope(card_id, query.as_deref())?;
    let body: TransitionRequest = extract::json(request).await?;
    let step = TokenState::parse(&body.state).and_then(Step::to);
    let step =
        step.ok_or_else(|| Problem::invalid("state", "must be ACTIVE, SUSPENDED or TERMINATED"))?;
    let id = WalletTokenId::parse(&body.digital_wallet_token)
        .map_err(|_| Problem::invalid("digitalWalletToken", "must be a UUID"))?;
    let moved = app
        .service
        .move_wallet_token(&admitted.caller, &scope, id, step)
        .await??;
    Ok((
        StatusCode::CREATED,
        Json(TransitionAnswer {
            state: moved.state.as_str(),
            digital_wallet_token: moved.id.to_string(),
            fulfillment_status: moved.fulfilment.as_str(),
        }),
    ))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AppleRequest {
    /// `MOBILE_PHONE`, `TABLET` or `WATCH`.
    #[schema(pattern = "^(MOBILE_PHONE|TABLET|WATCH)$", example = "MOBILE_PHONE")]
    device_type: String,
    #[schema(min_length = 1, max_length = 50, example = "1.4.2")]
    provisioning_app_version: String,
    /// Apple's leaf and sub-CA certificates, in Base64.
    #[schema(min_items = 2, max_items = 2)]
    certificates: Vec<String>,
    /// Apple's nonce.
    #[schema(min_length = 1)]
    nonce: String,
    /// The signature of the nonce.
    #[schema(min_length = 1)]
    nonce_signature: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeviceRequest {
    /// `MOBILE_PHONE`, `TABLET` or `WATCH`.
    #[schema(pattern = "^(MOBILE_PHONE|TABLET|WATCH)$", example = "MOBILE_PHONE")]
    device_type: String,
    #[schema(min_length = 1, max_length = 50, example = "1.4.2")]
    provisioning_app_version: String,
    /// The wallet's name for the device.
    #[schema(min_length = 1, max_length = 24, example = "device-1")]
    device_id: String,
    /// The wallet's name for its user.
    #[schema(min_length = 1, max_length = 50, example = "user-1")]
    wallet_user_id: String,
}

/// Create an Apple digital wallet token
///
/// Checks the request and answers 501: no network is connected for provisioning yet.
#[utoipa::path(
    post, path = "/v2/cards/{cardId}/apple-wallet", tag = "Equals Money", operation_id = "provisionAppleWallet",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    request_body = AppleRequest,
    responses(
        (status = 200, description = "The payload, from a version that a card network is connected to; this one answers 501."),
        (status = 501, description = "`not_implemented`"),
    )
)]
async fn apple(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<StatusCode, Problem> {
    let scope = scope(card_id, query.as_deref())?;
    let body: AppleRequest = extract::json(request).await?;
    device_type(&body.device_type)?;
    text("provisioningAppVersion", &body.provisioning_app_version, 50)?;
    if body.certificates.len() != 2 || body.certificates.iter().any(String::is_empty) {
        let what = "must be two: the leaf and the sub-CA certificate";
        return Err(Problem::invalid("certificates", what));
    }
    text("nonce", &body.nonce, usize::MAX)?;
    text("nonceSignature", &body.nonce_signature, usize::MAX)?;
    provisioning_is_not_here(&app, &admitted, &scope).await
}

/// Create a Google digital wallet token
///
/// Checks the request and answers 501: no network is connected for provisioning yet.
#[utoipa::path(
    post, path = "/v2/cards/{cardId}/google-wallet", tag = "Equals Money", operation_id = "provisionGoogleWallet",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    request_body = DeviceRequest,
    responses(
        (status = 200, description = "The payload, from a version that a card network is connected to; this one answers 501."),
        (status = 501, description = "`not_implemented`"),
    )
)]
async fn google(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<StatusCode, Problem> {
    let scope = scope(card_id, query.as_deref())?;
    check_device(&extract::json(request).await?)?;
    provisioning_is_not_here(&app, &admitted, &scope).await
}

/// Create a Samsung digital wallet token
///
/// Checks the request and answers 501: no network is connected for provisioning yet.
#[utoipa::path(
    post, path = "/v2/cards/{cardId}/samsung-wallet", tag = "Equals Money", operation_id = "provisionSamsungWallet",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    request_body = DeviceRequest,
    responses(
        (status = 201, description = "The payload, from a version that a card network is connected to; this one answers 501."),
        (status = 501, description = "`not_implemented`"),
    )
)]
async fn samsung(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<StatusCode, Problem> {
    let scope = scope(card_id, query.as_deref())?;
    check_device(&extract::json(request).await?)?;
    provisioning_is_not_here(&app, &admitted, &scope).await
}

fn check_device(body: &DeviceRequest) -> Result<(), Problem> {
    device_type(&body.device_type)?;
    text("provisioningAppVersion", &body.provisioning_app_version, 50)?;
    text("deviceId", &body.device_id, 24)?;
    text("walletUserId", &body.wallet_user_id, 50)
}

fn device_type(text: &str) -> Result<DeviceType, Problem> {
    let what = "must be MOBILE_PHONE, TABLET or WATCH";
    DeviceType::parse(text).ok_or_else(|| Problem::invalid("deviceType", what))
}

fn text(name: &str, text: &str, max: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    if length == 0 || length > max || text.chars().any(char::is_control) {
        return Err(Problem::invalid(name, "missing, too long or not printable"));
    }
    Ok(())
}

async fn provisioning_is_not_here(
    app: &App,
    admitted: &Admitted,
    scope: &WalletScope,
) -> Result<StatusCode, Problem> {
    let card = match scope.card {
        Some(card) => {
            app.service
                .wallet_card(&admitted.caller, scope, card)
                .await?
        }
        None => None,
    };
    match card {
        None => Err(Problem::new(Code::NotFound)),
        Some(_) => Err(Problem::new(Code::NotImplemented)),
    }
}

fn scope(
    card_id: Result<Path<String>, PathRejection>,
    query: Option<&str>,
) -> Result<WalletScope, Problem> {
    let card = extract::path(card_id).and_then(|text| CardId::parse(&text).ok());
    let card = card.ok_or_else(|| Problem::invalid("cardId", "must be a UUID"))?;
    let (account, person) = account_and_person(&Query::parse(query))?;
    Ok(WalletScope {
        card: Some(card),
        account: Some(account),
        person,
    })
}

fn account_and_person(query: &Query) -> Result<(AccountId, Option<PersonId>), Problem> {
    let account = super::account(query)?;
    let person = query.one("personId")?.map(PersonId::parse).transpose();
    let person = person.map_err(|_| Problem::invalid("personId", "must be a UUID"))?;
    Ok((account, person))
}

/// A list by the name of the reference or by that of the guide, but not by both.
fn renamed<T>(
    query: &Query,
    (reference, guide): (&str, &str),
    what: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Vec<T>>, Problem> {
    let by_reference = list(query, reference, what, &parse)?;
    let by_guide = list(query, guide, what, &parse)?;
    match (by_reference, by_guide) {
        (Some(_), Some(_)) => Err(Problem::invalid(guide, "given by its other name too")),
        (given, None) | (None, given) => Ok(given),
    }
}
