//! The native API's webhooks: subscriptions whose messages are Standard Webhooks.

#![expect(
    clippy::option_option,
    reason = "left out, null and a value are three different things to a PATCH"
)]

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use cardveil_core::audit::Topic;
use cardveil_core::flow::{NewSubscription, SubscriptionChange};
use cardveil_core::hook::{Form, Subscription};
use cardveil_core::id::{AccountId, SubscriptionId};
use cardveil_core::merchant::Need;
use cardveil_seal::Secret;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Native;
use crate::api::admission::Admitted;
use crate::api::extract::{self, Query};
use crate::api::problem::Problem;
use crate::api::schema::TopicSet;
use crate::api::surface::Surface;
use crate::api::webhooks::{self, OfSubscription, endpoint, own, present};
use crate::http::app::Shared;

pub(super) fn routes(surface: Surface) -> Surface {
    let manage = Native(Need::ManageWebhooks);
    surface
        .route(manage, routes!(create, list))
        .route(manage, routes!(read, change, remove))
}

/// What a webhook is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookInput, example = json!({"url": "https://partner.example/hooks", "topics": ["card.state"]}))]
struct NewWebhook {
    /// Where messages go.
    #[schema(format = "uri", max_length = 512)]
    url: String,
    /// What it is told of: `card.state`, `wallet_token.state`, `reveal.conflict`, `mfa.code`.
    #[schema(value_type = TopicSet)]
    topics: Vec<String>,
    /// Only of this account's cards.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    account_id: Option<String>,
    /// Whether it is told at once; true by default.
    enabled: Option<bool>,
    /// `whsec_` and the Base64 of 24 to 64 bytes; made when left out.
    #[schema(max_length = 94)]
    secret: Option<String>,
}

/// What to change; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookChange, example = json!({"enabled": false}))]
struct WebhookChange {
    /// Where messages go.
    #[schema(format = "uri", max_length = 512)]
    url: Option<String>,
    /// What it is told of.
    #[schema(value_type = Option<TopicSet>)]
    topics: Option<Vec<String>>,
    /// Only of this account's cards; null for all.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    account_id: Option<Option<String>>,
    /// Whether it is told.
    enabled: Option<bool>,
    /// `whsec_` and the Base64 of 24 to 64 bytes.
    #[schema(max_length = 94)]
    secret: Option<String>,
}

/// A webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
struct Webhook {
    id: String,
    url: String,
    topics: Vec<&'static str>,
    account_id: Option<String>,
    enabled: bool,
    created_at: String,
    updated_at: String,
    /// What signs, when we made it: shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
struct Webhooks {
    /// Those of this page, by their ids.
    webhooks: Vec<Webhook>,
    /// Give it as `after` for the next page; null at the end.
    next: Option<String>,
}

impl From<&Subscription> for Webhook {
    fn from(known: &Subscription) -> Self {
        Self {
            id: known.id.to_string(),
            url: known.url.as_str().to_owned(),
            topics: known.topics.iter().copied().map(Topic::as_str).collect(),
            account_id: known.account.as_ref().map(ToString::to_string),
            enabled: known.enabled,
            created_at: known.created_at.to_string(),
            updated_at: known.updated_at.to_string(),
            secret: None,
        }
    }
}

/// Add a webhook
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "Native", operation_id = "addWebhook",
    request_body = NewWebhook,
    responses(
        (status = 201, description = "The webhook, and its secret if it was made.", body = Webhook),
    )
)]
async fn create(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    request: Request,
) -> Result<Response, Problem> {
    let asked: NewWebhook = extract::json(request).await?;
    let new = NewSubscription {
        merchant: admitted.caller.merchant.id.clone(),
        account: asked.account_id.as_deref().map(account).transpose()?,
        form: Form::Standard,
        url: endpoint(&app, &asked.url)?,
        topics: topics(&asked.topics)?,
        enabled: asked.enabled.unwrap_or(true),
        secret: asked.secret.map(secret),
        authorization: None,
    };
    let added = app.service.subscribe_as(&admitted.caller, new).await?;
    let added = added.map_err(webhooks::problem_of)?;
    let made = added.made.as_ref();
    let view = Webhook {
        secret: made.map(|secret| String::from_utf8_lossy(secret.expose()).into_owned()),
        ..Webhook::from(&added.subscription)
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// List the webhooks
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "Native", operation_id = "webhooks",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 100, description = "How many; 20 by default."),
        ("after" = Option<String>, Query, description = "The `next` of the page before."),
    ),
    responses(
        (status = 200, description = "A page of the webhooks.", body = Webhooks),
    )
)]
async fn list(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Webhooks>, Problem> {
    let query = Query::parse(query.as_deref());
    let limit = query.number("limit", 1..=100)?.unwrap_or(20);
    let after = query.one("after")?.map(SubscriptionId::parse).transpose();
    let after = after.map_err(|_| Problem::invalid("after", "must be the next of a page"))?;
    let mut all = webhooks::all(&app, &admitted, Form::Standard).await?;
    // By id, so that a place stays good when what it names is removed.
    all.sort_by_key(|known| known.id);
    let mut rest = all.iter().filter(|known| Some(known.id) > after);
    let webhooks: Vec<_> = rest.by_ref().take(limit).map(Webhook::from).collect();
    let more = rest.next().is_some();
    Ok(Json(Webhooks {
        next: webhooks.last().filter(|_| more).map(|last| last.id.clone()),
        webhooks,
    }))
}

/// Read a webhook
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "Native", operation_id = "webhook",
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
    let known = own(&app, &admitted, Form::Standard, id).await?;
    Ok(Json(Webhook::from(&known)))
}

/// Change a webhook
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", tag = "Native", operation_id = "changeWebhook",
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
    let known = own(&app, &admitted, Form::Standard, id).await?;
    let asked: WebhookChange = extract::json(request).await?;
    let asked = SubscriptionChange {
        account: asked
            .account_id
            .map(|given| given.as_deref().map(account).transpose())
            .transpose()?,
        url: asked
            .url
            .as_deref()
            .map(|text| endpoint(&app, text))
            .transpose()?,
        topics: asked.topics.as_deref().map(topics).transpose()?,
        enabled: asked.enabled,
        secret: asked.secret.map(|text| Some(secret(text))),
        authorization: None,
    };
    let set = app
        .service
        .set_subscription_as(&admitted.caller, known.id, asked)
        .await?;
    let set = set.map_err(webhooks::problem_of)?;
    Ok(Json(Webhook::from(&set)))
}

/// Remove a webhook, with what waits for it
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "Native", operation_id = "removeWebhook",
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
    webhooks::remove(&app, &admitted, Form::Standard, id).await
}

fn topics(names: &[String]) -> Result<Vec<Topic>, Problem> {
    let unknown = || {
        let all = "must be of card.state, wallet_token.state, reveal.conflict, mfa.code";
        Problem::invalid("topics", all)
    };
    let parsed = names.iter().map(|name| Topic::parse(name));
    parsed.collect::<Option<Vec<_>>>().ok_or_else(unknown)
}

fn secret(text: String) -> Secret {
    Secret::new(text.into_bytes())
}

fn account(text: &str) -> Result<AccountId, Problem> {
    AccountId::parse(text)
        .map_err(|_| Problem::invalid("account_id", "must be 1 to 64 letters, digits, _ or -"))
}
