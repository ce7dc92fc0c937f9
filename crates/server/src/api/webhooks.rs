//! What the APIs that manage subscriptions share.

#![expect(
    clippy::option_option,
    reason = "left out, null and a value are three different things to a PATCH"
)]

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use cardveil_core::flow::SubscriptionRefusal;
use cardveil_core::hook::{Endpoint, Form, SUBSCRIPTIONS_MAX, Subscription};
use cardveil_core::id::SubscriptionId;
use cardveil_core::text::InvalidText;
use cardveil_seal::Secret;
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use crate::api::admission::Admitted;
use crate::api::extract;
use crate::api::problem::{Code, Problem};
use crate::http::app::App;
use crate::http::outward::receiver::callable;

/// How long an authorization header may be (EM: create-webhooks).
const HEADER_MAX: usize = 512;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "described here, read by name")]
pub(crate) struct OfSubscription {
    /// The subscription's id.
    #[param(format = "uuid", example = "c92e2960-b745-4b38-8e77-898b2f9ad9bb")]
    id: String,
}

/// Tells a member that is null from one that is left out.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// A URL that messages may be sent to, as far as its text tells.
pub(crate) fn endpoint(app: &App, text: &str) -> Result<Endpoint, Problem> {
    let url = Endpoint::parse(text).map_err(|why| Problem::invalid("url", why))?;
    callable(&url, app.settings.private_webhooks).map_err(|why| Problem::invalid("url", why))?;
    Ok(url)
}

/// A header's value: visible ASCII and spaces.
pub(crate) fn header_value(place: &str, text: &str) -> Result<Secret, Problem> {
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    let valid = (1..=HEADER_MAX).contains(&text.len()) && text.bytes().all(printable);
    let wrong = || Problem::invalid(place, "must be 1 to 512 visible ASCII characters");
    valid
        .then(|| Secret::new(text.as_bytes().to_vec()))
        .ok_or_else(wrong)
}

/// The merchant's subscriptions of a form.
pub(crate) async fn all(
    app: &App,
    admitted: &Admitted,
    form: Form,
) -> Result<Vec<Subscription>, Problem> {
    let merchant = &admitted.caller.merchant.id;
    let list = app.service.store().subscriptions(Some(merchant));
    let mut all = app.list(&admitted.caller, list).await??;
    all.retain(|known| known.form == form);
    Ok(all)
}

/// The merchant's subscription of a form. What is another's, or of another form, is not there.
pub(crate) async fn own(
    app: &App,
    admitted: &Admitted,
    form: Form,
    id: Result<Path<String>, PathRejection>,
) -> Result<Subscription, Problem> {
    let gone = || Problem::new(Code::NotFound);
    let id = extract::path(id).and_then(|text| SubscriptionId::parse(&text).ok());
    let merchant = &admitted.caller.merchant.id;
    let known = app
        .service
        .subscription(merchant, id.ok_or_else(gone)?)
        .await?;
    known.filter(|known| known.form == form).ok_or_else(gone)
}

/// Removes the merchant's subscription of a form.
pub(crate) async fn remove(
    app: &App,
    admitted: &Admitted,
    form: Form,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let known = own(app, admitted, form, id).await?;
    let caller = &admitted.caller;
    let removed = app
        .service
        .unsubscribe(&caller.merchant.id, known.id, &caller.source)
        .await?;
    removed.map_err(problem_of)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a refusal is to callers.
pub(crate) fn problem_of(refusal: SubscriptionRefusal) -> Problem {
    match refusal {
        SubscriptionRefusal::Unknown => Problem::new(Code::NotFound),
        SubscriptionRefusal::TooMany => Problem::detail(
            Code::InvalidRequest,
            format!("There are {SUBSCRIPTIONS_MAX} webhooks already: remove one first."),
        ),
        SubscriptionRefusal::Topics => Problem::invalid("topics", "give at least one"),
        SubscriptionRefusal::Secret => {
            Problem::invalid("secret", "must be whsec_ and the Base64 of 24 to 64 bytes")
        }
        SubscriptionRefusal::Account => Problem::invalid("accountId", InvalidText::CardNumber),
        SubscriptionRefusal::Scope => Problem::detail(
            Code::ScopeMissing,
            "One-time codes need mfa:codes beside webhooks:manage.",
        ),
        SubscriptionRefusal::ApiKey => Problem::invalid("secret", "must be an Api-Key of yours"),
    }
}
