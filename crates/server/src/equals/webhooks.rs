//! Equals' webhooks (EM: create-webhooks, about-event-types; openapi/webhooks): a merchant's
//! subscriptions, one event type each. Secrets go in and never come out.
//!
//! It sees the subscriptions of Equals' form alone; those of the native API are not there.

#![expect(
    clippy::option_option,
    reason = "left out, null and a value are three different things to a PATCH"
)]

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use cardveil_core::flow::{NewSubscription, SubscriptionChange};
use cardveil_core::hook::message::EventType;
use cardveil_core::hook::{Form, Subscription};
use cardveil_core::id::AccountId;
use cardveil_core::merchant::Need;
use cardveil_seal::Secret;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Equals;
use crate::api::admission::Admitted;
use crate::api::extract::{self, Query};
use crate::api::problem::{Code, Problem};
use crate::api::surface::Surface;
use crate::api::webhooks::{self, OfSubscription, endpoint, header_value, own, present};
use crate::http::app::{App, Shared};

pub(super) fn routes(surface: Surface) -> Surface {
    let manage = Equals(Need::ManageWebhooks);
    surface
        .route(manage, routes!(create, list))
        .route(manage, routes!(read, change, remove))
        .route(manage, routes!(event_types))
        .route(manage, routes!(event_type))
}

/// What a webhook is to be.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EqualsWebhookInput, example = json!({"enabled": true, "url": "https://partner.example/hooks", "webhookEventTypeName": "CardStateUpdated", "sharedSecret": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"}))]
struct NewWebhook {
    /// Signs every message: `x-em-signature`.
    #[schema(format = "uuid", max_length = 36)]
    shared_secret: Option<String>,
    /// Whether it is told at once.
    enabled: bool,
    /// Only of this account's cards.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    account_id: Option<String>,
    /// The event type by its name. Either this or `webhookEventTypeId`.
    #[schema(pattern = "^(CardStateUpdated|DigitalWalletTokenTransition|MfaCode|RevealConflict)$")]
    webhook_event_type_name: Option<String>,
    /// The event type by its id, as `GET /v2/webhooks/event-types` lists them.
    webhook_event_type_id: Option<String>,
    /// Where messages go.
    #[schema(format = "uri", max_length = 512)]
    url: String,
    /// Sent as `Authorization` with every message.
    #[schema(max_length = 512)]
    authorization_header: Option<String>,
}

/// What to change; what is left out stays, and null takes away.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EqualsWebhookChange, example = json!({"enabled": false}))]
struct WebhookChange {
    /// Signs every message from now on.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "uuid", max_length = 36)]
    shared_secret: Option<Option<String>>,
    /// Whether it is told.
    enabled: Option<bool>,
    /// Only of this account's cards.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    account_id: Option<Option<String>>,
    /// The event type by its name.
    #[schema(pattern = "^(CardStateUpdated|DigitalWalletTokenTransition|MfaCode|RevealConflict)$")]
    webhook_event_type_name: Option<String>,
    /// The event type by its id.
    webhook_event_type_id: Option<String>,
    /// Where messages go.
    #[schema(format = "uri", max_length = 512)]
    url: Option<String>,
    /// Sent as `Authorization` with every message.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 512)]
    authorization_header: Option<Option<String>>,
}

/// A webhook, without its secrets.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EqualsWebhook)]
struct Webhook {
    id: String,
    account_id: Option<String>,
    enabled: bool,
    url: String,
    #[serde(rename = "webhookEventTypeId")]
    event_type_id: &'static str,
    #[serde(rename = "webhookEventTypeName")]
    event_type_name: &'static str,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EqualsWebhooks)]
struct Webhooks {
    count: usize,
    limit: usize,
    offset: usize,
    rows: Vec<Webhook>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EqualsEventType)]
struct EventTypeView {
    id: &'static str,
    name: &'static str,
    description: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EqualsEventTypes)]
struct EventTypes {
    count: usize,
    limit: usize,
    offset: usize,
    rows: Vec<EventTypeView>,
}

impl From<&EventType> for EventTypeView {
    fn from(kind: &EventType) -> Self {
        Self {
            id: kind.id,
            name: kind.name,
            description: kind.description,
        }
    }
}

impl From<&Subscription> for Webhook {
    fn from(known: &Subscription) -> Self {
        let topic = known.topics.first().copied();
        let kind = EventType::of(topic.unwrap_or(cardveil_core::audit::Topic::CardState));
        Self {
            id: known.id.to_string(),
            account_id: known.account.as_ref().map(ToString::to_string),
            enabled: known.enabled,
            url: known.url.as_str().to_owned(),
            event_type_id: kind.id,
            event_type_name: kind.name,
            created_at: known.created_at.to_string(),
            updated_at: known.updated_at.to_string(),
        }
    }
}

/// Create a webhook
#[utoipa::path(
    post, path = "/v2/webhooks", tag = "Equals Money", operation_id = "createWebhook",
    request_body = NewWebhook,
    responses(
        (status = 201, description = "The webhook.", body = Webhook),
    )
)]
async fn create(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked: NewWebhook = extract::json(request).await?;
    let kind = event_type_of(
        asked.webhook_event_type_name.as_deref(),
        asked.webhook_event_type_id.as_deref(),
    )?;
    let kind = kind.ok_or_else(|| Problem::invalid("webhookEventTypeName", "required"))?;
    let new = NewSubscription {
        merchant: admitted.caller.merchant.id.clone(),
        account: asked.account_id.as_deref().map(account).transpose()?,
        form: Form::Equals,
        url: endpoint(&app, &asked.url)?,
        topics: vec![kind.topic],
        enabled: asked.enabled,
        secret: asked.shared_secret.as_deref().map(shared).transpose()?,
        authorization: asked
            .authorization_header
            .as_deref()
            .map(authorization)
            .transpose()?,
    };
    let added = app.service.subscribe_as(&admitted.caller, new).await?;
    let added = added.map_err(webhooks::problem_of)?;
    let view = Webhook::from(&added.subscription);
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// List the webhooks
#[utoipa::path(
    get, path = "/v2/webhooks", tag = "Equals Money", operation_id = "listWebhooks",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "How many; 100 by default."),
        ("offset" = Option<u32>, Query, minimum = 0, maximum = 999_999_999, description = "After how many; 0 by default."),
    ),
    responses(
        (status = 200, description = "The webhooks.", body = Webhooks),
    )
)]
async fn list(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Webhooks>, Problem> {
    let (limit, offset) = super::page(&Query::parse(query.as_deref()))?;
    let all = webhooks::all(&app, &admitted, Form::Equals).await?;
    let rows = all.iter().skip(offset).take(limit).map(Webhook::from);
    Ok(Json(Webhooks {
        count: all.len(),
        limit,
        offset,
        rows: rows.collect(),
    }))
}

/// Read a webhook
#[utoipa::path(
    get, path = "/v2/webhooks/{id}", tag = "Equals Money", operation_id = "getWebhook",
    params(OfSubscription),
    responses(
        (status = 200, description = "The webhook.", body = Webhook),
    )
)]
async fn read(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Webhook>, Problem> {
    let known = own(&app, &admitted, Form::Equals, id).await?;
    Ok(Json(Webhook::from(&known)))
}

/// Change a webhook
#[utoipa::path(
    patch, path = "/v2/webhooks/{id}", tag = "Equals Money", operation_id = "updateWebhook",
    params(OfSubscription),
    request_body = WebhookChange,
    responses(
        (status = 200, description = "The webhook.", body = Webhook),
    )
)]
async fn change(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Webhook>, Problem> {
    let known = own(&app, &admitted, Form::Equals, id).await?;
    let asked: WebhookChange = extract::json(request).await?;
    let asked = checked(&app, asked)?;
    let set = app
        .service
        .set_subscription_as(&admitted.caller, known.id, asked)
        .await?;
    let set = set.map_err(webhooks::problem_of)?;
    Ok(Json(Webhook::from(&set)))
}

fn checked(app: &App, asked: WebhookChange) -> Result<SubscriptionChange, Problem> {
    let kind = event_type_of(
        asked.webhook_event_type_name.as_deref(),
        asked.webhook_event_type_id.as_deref(),
    )?;
    let url = asked.url.as_deref();
    Ok(SubscriptionChange {
        account: asked
            .account_id
            .map(|given| given.as_deref().map(account).transpose())
            .transpose()?,
        url: url.map(|text| endpoint(app, text)).transpose()?,
        topics: kind.map(|kind| vec![kind.topic]),
        enabled: asked.enabled,
        secret: asked
            .shared_secret
            .map(|given| given.as_deref().map(shared).transpose())
            .transpose()?,
        authorization: asked
            .authorization_header
            .map(|given| given.as_deref().map(authorization).transpose())
            .transpose()?,
    })
}

/// Delete a webhook, with what waits for it
#[utoipa::path(
    delete, path = "/v2/webhooks/{id}", tag = "Equals Money", operation_id = "deleteWebhook",
    params(OfSubscription),
    responses(
        (status = 204, description = "It is gone."),
    )
)]
async fn remove(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    webhooks::remove(&app, &admitted, Form::Equals, id).await
}

/// List the event types
#[utoipa::path(
    get, path = "/v2/webhooks/event-types", tag = "Equals Money", operation_id = "listWebhookEventTypes",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "How many; 100 by default."),
        ("offset" = Option<u32>, Query, minimum = 0, maximum = 999_999_999, description = "After how many; 0 by default."),
    ),
    responses(
        (status = 200, description = "The event types.", body = EventTypes),
    )
)]
async fn event_types(RawQuery(query): RawQuery) -> Result<Json<EventTypes>, Problem> {
    let (limit, offset) = super::page(&Query::parse(query.as_deref()))?;
    let rows = EventType::ALL.iter().skip(offset).take(limit);
    Ok(Json(EventTypes {
        count: EventType::ALL.len(),
        limit,
        offset,
        rows: rows.map(EventTypeView::from).collect(),
    }))
}

/// Read an event type
#[utoipa::path(
    get, path = "/v2/webhooks/event-types/{id}", tag = "Equals Money", operation_id = "getWebhookEventType",
    params(("id" = String, Path, format = "uuid", description = "The event type's id.", example = "66854098-aac7-4084-938e-bc2e62fb6a44")),
    responses(
        (status = 200, description = "The event type.", body = EventTypeView),
    )
)]
async fn event_type(
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<EventTypeView>, Problem> {
    let kind = extract::path(id).and_then(|id| EventType::with_id(&id));
    let kind = kind.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Json(EventTypeView::from(kind)))
}

fn event_type_of(
    name: Option<&str>,
    id: Option<&str>,
) -> Result<Option<&'static EventType>, Problem> {
    let found = match (name, id) {
        (None, None) => return Ok(None),
        (Some(name), None) => EventType::named(name),
        (None, Some(id)) => EventType::with_id(id),
        (Some(_), Some(_)) => {
            let both = "give either the name or the id";
            return Err(Problem::invalid("webhookEventTypeName", both));
        }
    };
    let unknown = || {
        let asked = name.or(id).unwrap_or_default();
        let why = if EventType::is_elsewhere(asked) {
            "it is told by the system that authorises payments, which this is not"
        } else {
            "there is no such event type; GET /v2/webhooks/event-types lists them"
        };
        let place = if name.is_some() {
            "webhookEventTypeName"
        } else {
            "webhookEventTypeId"
        };
        Problem::invalid(place, why)
    };
    found.ok_or_else(unknown).map(Some)
}

/// EM: create-webhooks: "uuid", at most 36 characters. Its text is the key.
fn shared(text: &str) -> Result<Secret, Problem> {
    let valid = cardveil_core::id::SessionId::parse(text).is_ok();
    let wrong = || Problem::invalid("sharedSecret", "must be a UUID");
    valid
        .then(|| Secret::new(text.as_bytes().to_vec()))
        .ok_or_else(wrong)
}

fn authorization(text: &str) -> Result<Secret, Problem> {
    header_value("authorizationHeader", text)
}

fn account(text: &str) -> Result<AccountId, Problem> {
    AccountId::parse(text)
        .map_err(|_| Problem::invalid("accountId", "must be 1 to 64 letters, digits, _ or -"))
}
