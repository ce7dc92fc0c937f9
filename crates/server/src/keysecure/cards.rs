//! Cards: `card/list`, `card/{card_no}/detail`, `card/status/update`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State as AxumState};
use axum::response::{IntoResponse, Response};
use cardveil_core::card::{Card, CardRef, Kind, Network, State};
use cardveil_core::flow::{CardRefusal, Sought, Step};
use cardveil_core::merchant::Sight;
use cardveil_core::port::{CardFilter, Order, Paging};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;
use super::form::{self, Form, Wrong};
use super::zone::{BadRange, Zone};
use super::{Envelope, Language, Refusal, success};
use crate::api::admission::Admitted;
use crate::http::app::{App, Shared};
use crate::http::lists::Busy;

/// The largest page number; with the largest size no offset overflows.
const PAGE_MAX: usize = 1_000_000;

/// What `card/list` takes.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes what the handler reads member by member"
)]
pub(super) struct CardListRequest {
    /// `yyyy-MM-dd` or `yyyy-MM-dd HH:mm:ss`, in `Timezone`.
    #[schema(example = "2026-01-01")]
    start_time: String,
    /// The same; after `start_time` and at most 90 days from it. A day counts to its end.
    #[schema(example = "2026-01-31")]
    end_time: String,
    /// Of this holder.
    cardholder_no: Option<String>,
    /// That you named so.
    card_unique_no: Option<String>,
    /// With this order number.
    card_no: Option<String>,
    /// From 0, which is left out for.
    #[schema(minimum = 0, maximum = 1_000_000)]
    page: Option<u32>,
    /// 10 when left out.
    #[schema(minimum = 1, maximum = 100)]
    size: Option<u32>,
}

/// What `card/status/update` takes.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes what the handler reads member by member"
)]
pub(super) struct CardStatusRequest {
    /// Card order number.
    #[schema(example = "C202605220001")]
    card_no: String,
    /// `Frozen`, `Activated` or `Delete`.
    #[schema(example = "Frozen")]
    status: String,
}

/// A card as lists show it.
#[derive(Serialize, ToSchema)]
pub(super) struct CardRow {
    /// Card order number.
    card_no: String,
    /// What you named it; empty when you did not.
    card_unique_no: String,
    /// Its holder's number; empty when there is none.
    cardholder_no: String,
    /// `Virtual` or `Physical`.
    card_type: &'static str,
    /// The last four digits.
    card_last_no: String,
    /// The scheme.
    organization: &'static str,
    /// `Pending`, `ToActivate`, `Activated`, `Fail`, `Frozen` or `Delete`.
    status: &'static str,
    /// Since when, as `yyyy-MM-dd HH:mm:ss` in `Timezone`.
    time: String,
}

/// A page of cards.
#[derive(Serialize, ToSchema)]
pub(super) struct CardList {
    /// The cards, the newest first.
    list: Vec<CardRow>,
}

/// A card with all that is told of it.
#[derive(Serialize, ToSchema)]
pub(super) struct CardDetail {
    #[serde(flatten)]
    card: CardRow,
    /// What people call it.
    card_name: String,
    /// The name of what it is sold as.
    package_name_en: String,
    /// The same.
    package_name_cn: String,
    /// Fees are not kept here: always empty.
    fee_detail: NoFees,
}

/// Fees are not kept here: an object without members.
#[derive(Serialize, ToSchema)]
pub(super) struct NoFees {}

/// That it was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    /// True.
    result: bool,
}

pub(super) const DONE: Done = Done { result: true };

impl CardRow {
    fn of(card: &Card, zone: Zone) -> Self {
        Self {
            card_no: card.no.as_str().to_owned(),
            card_unique_no: card.attributes.unique_no.clone().unwrap_or_default(),
            cardholder_no: card.attributes.holder_no.clone().unwrap_or_default(),
            card_type: match card.kind {
                Kind::Virtual => "Virtual",
                Kind::Physical => "Physical",
            },
            card_last_no: card.last_four.as_str().to_owned(),
            organization: organization(card.network),
            status: status(card.state),
            time: zone.show(card.created_at),
        }
    }
}

const fn organization(network: Network) -> &'static str {
    match network {
        Network::Visa => "VISA",
        Network::Mastercard => "MASTERCARD",
        Network::Amex => "AMEX",
        Network::Discover => "DISCOVER",
        Network::Diners => "DINERS",
        Network::Jcb => "JCB",
        Network::Unionpay => "UNIONPAY",
        Network::Other => "OTHER",
    }
}

/// This dialect's name of a state. It has none for a card that another replaced: it is gone.
pub(super) const fn status(state: State) -> &'static str {
    match state {
        State::Pending => "Pending",
        State::Unactivated => "ToActivate",
        State::Active => "Activated",
        State::Suspended => "Frozen",
        State::Replaced | State::Terminated => "Delete",
        State::Failed => "Fail",
    }
}

/// Card list
///
/// The cards that were added within a time, the newest first.
#[utoipa::path(
    post, path = "/open-api/v1/card/list", tag = "KeySecure", operation_id = "keysecure_card_list",
    params(
        ("Timezone" = Option<String>, Header, description = "A distance from UTC: `UTC+8` (default), `UTC-05:30`.", example = "UTC+8"),
    ),
    request_body = CardListRequest,
    responses(
        (status = 200, description = "`code` 0 and the cards, or the code of what is wrong: 1004, 1009, 1019, 1020.", body = Envelope<CardList>),
    )
)]
pub(super) async fn card_list(
    AxumState(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let language = Language::of(&headers);
    let asked = asked(&admitted, (&headers, language), request).await;
    let (zone, filter, paging) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.into_response(),
    };
    let list = app.service.store().list_cards(&filter, paging);
    match app.list(&admitted.caller, list).await {
        Ok(Ok(found)) => {
            let rows = found.cards.iter().map(|card| CardRow::of(card, zone));
            let list = rows.collect();
            success(language, CardList { list })
        }
        Ok(Err(error)) => Refusal::fault(&error.into(), language).into_response(),
        Err(Busy) => Refusal::too_often(Busy::RETRY_AFTER_SECS, language).into_response(),
    }
}

async fn asked(
    admitted: &Admitted,
    (headers, language): (&HeaderMap, Language),
    request: Request,
) -> Result<(Zone, CardFilter, Paging), Refusal> {
    let zone = zone(headers, language)?;
    let form = Form::read(request, language).await?;
    let (start, end) = (form.required("start_time")?, form.required("end_time")?);
    let range = zone.range(start, end).map_err(|bad| match bad {
        BadRange::Start => form.wrong("start_time", Wrong::Moment),
        BadRange::End => form.wrong("end_time", Wrong::Moment),
        BadRange::Order => Refusal::new(Code::EndNotAfterStart, language),
        BadRange::TooLong => Refusal::new(Code::RangeTooLong, language),
    })?;
    let page = form.number("page", (0, PAGE_MAX), (0, Wrong::Page))?;
    let size = form.number("size", (1, 100), (10, Wrong::Size))?;
    let caller = &admitted.caller;
    let filter = CardFilter {
        merchant: Some(caller.merchant.id.clone()),
        sight: match caller.credential.sight() {
            Sight::Own(person) => Some(person),
            // Who sees nothing was not admitted.
            Sight::Any | Sight::Nothing => None,
        },
        created_from: Some(range.from),
        created_to: Some(range.to),
        holder_no: form.short("cardholder_no")?,
        unique_no: form.short("card_unique_no")?,
        no: form.card_no()?,
        ..CardFilter::default()
    };
    let paging = Paging {
        order: Order::NewestFirst,
        by_time: true,
        offset: page.saturating_mul(size),
        limit: size,
        ..Paging::default()
    };
    Ok((zone, filter, paging))
}

/// Card detail
///
/// A card, without anything that PCI DSS calls sensitive.
#[utoipa::path(
    get, path = "/open-api/v1/card/{card_no}/detail", tag = "KeySecure", operation_id = "keysecure_card_detail",
    params(
        super::OfCard,
        ("Timezone" = Option<String>, Header, description = "A distance from UTC: `UTC+8` (default), `UTC-05:30`.", example = "UTC+8"),
    ),
    responses(
        (status = 200, description = "`code` 0 and the card, or the code of what is wrong: 1004, 4001.", body = Envelope<CardDetail>),
    )
)]
pub(super) async fn card_detail(
    AxumState(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_no: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let language = Language::of(&headers);
    let shown = detail(&app, &admitted, (&headers, language), card_no).await;
    shown.map_or_else(IntoResponse::into_response, |card| success(language, card))
}

async fn detail(
    app: &App,
    admitted: &Admitted,
    (headers, language): (&HeaderMap, Language),
    card_no: Result<Path<String>, PathRejection>,
) -> Result<CardDetail, Refusal> {
    let zone = zone(headers, language)?;
    let sought = Sought::of(CardRef::No(form::card_no(card_no, language)?));
    let found = app.service.find_card(&admitted.caller, &sought).await;
    let found = found.map_err(|fault| Refusal::fault(&fault, language))?;
    let card = found.ok_or_else(|| Refusal::new(Code::CardNotExist, language))?;
    let package = card.attributes.product.clone().unwrap_or_default();
    Ok(CardDetail {
        card: CardRow::of(&card, zone),
        card_name: card.label,
        package_name_en: package.clone(),
        package_name_cn: package,
        fee_detail: NoFees {},
    })
}

/// Card status update
///
/// Freezes a card in use, takes a frozen one back into use, or ends one for good.
#[utoipa::path(
    post, path = "/open-api/v1/card/status/update", tag = "KeySecure", operation_id = "keysecure_card_status_update",
    request_body = CardStatusRequest,
    responses(
        (status = 200, description = "`code` 0 and `result`, or the code of what is wrong: 1004, 4001, 4005.", body = Envelope<Done>),
    )
)]
pub(super) async fn card_status_update(
    AxumState(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let language = Language::of(&headers);
    let updated = update(&app, &admitted, language, request).await;
    updated.map_or_else(IntoResponse::into_response, |done| success(language, done))
}

async fn update(
    app: &App,
    admitted: &Admitted,
    language: Language,
    request: Request,
) -> Result<Done, Refusal> {
    let form = Form::read(request, language).await?;
    let card = CardRef::No(form.required_card_no()?);
    // What may be asked for, and from which states. An unactivated card comes into use by
    // card/active.
    let (to, from): (State, &'static [State]) = match form.required("status")? {
        "Frozen" => (State::Suspended, &[State::Active]),
        "Activated" => (State::Active, &[State::Suspended]),
        "Delete" => (
            State::Terminated,
            &[State::Unactivated, State::Active, State::Suspended],
        ),
        _ => return Err(form.wrong("status", Wrong::Status)),
    };
    let step = Step {
        to,
        from: Some(from),
        reason: None,
    };
    let sought = Sought::of(card);
    let moved = app.service.move_card(&admitted.caller, &sought, step).await;
    match moved.map_err(|fault| Refusal::fault(&fault, language))? {
        Ok(_) => Ok(DONE),
        Err(CardRefusal::State(_)) => Err(Refusal::new(Code::CardStatus, language)),
        // It has no word for a card that is seen and out of reach.
        Err(CardRefusal::UnknownCard | CardRefusal::OutOfReach) => {
            Err(Refusal::new(Code::CardNotExist, language))
        }
    }
}

fn zone(headers: &HeaderMap, language: Language) -> Result<Zone, Refusal> {
    Zone::of(headers).ok_or_else(|| Refusal::invalid("Timezone", Wrong::Zone, language))
}
