//! The merchant's cards in the native API: pages by cursor, PATCH, and transitions as things that
//! are posted.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::{Extension, Json};
use cardveil_core::card::{Card, CardRef, Label, State as CardState};
use cardveil_core::flow::{MERCHANT_MOVES, Sought, Step};
use cardveil_core::id::{AccountId, CardId, PersonId};
use cardveil_core::merchant::Need;
use cardveil_core::port::{CardFilter, LOOK_AT, Order, Paging};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Native;
use super::params::OfCard;
use crate::api::admission::Admitted;
use crate::api::extract::{self, Query};
use crate::api::params::parse_reason;
use crate::api::problem::{Code, Problem};
use crate::api::surface::Surface;
use crate::http::app::Shared;

const CURSOR: &str = "cur_";

pub(super) fn routes(surface: Surface) -> Surface {
    surface
        .route(Native(Need::ReadCards), routes!(list))
        .route(Native(Need::ReadCards), routes!(read))
        .route(Native(Need::WriteCards), routes!(update))
        .route(Native(Need::WriteCards), routes!(transition))
}

/// A card. No answer holds its number.
#[derive(Serialize, ToSchema)]
#[schema(as = Card)]
struct NativeCard {
    card_id: String,
    card_no: String,
    account_id: String,
    person_id: String,
    /// `virtual` or `physical`.
    r#type: &'static str,
    /// `pending`, `unactivated`, `active`, `suspended`, `replaced`, `terminated` or `failed`.
    state: &'static str,
    network: &'static str,
    last_four: String,
    label: String,
    product: Option<String>,
    card_unique_no: Option<String>,
    cardholder_no: Option<String>,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
}

impl From<&Card> for NativeCard {
    fn from(card: &Card) -> Self {
        Self {
            card_id: card.id.to_string(),
            card_no: card.no.to_string(),
            account_id: card.account.to_string(),
            person_id: card.person.to_string(),
            r#type: card.kind.as_str(),
            state: card.state.as_str(),
            network: card.network.as_str(),
            last_four: card.last_four.as_str().to_owned(),
            label: card.label.clone(),
            product: card.attributes.product.clone(),
            card_unique_no: card.attributes.unique_no.clone(),
            cardholder_no: card.attributes.holder_no.clone(),
            created_at: card.created_at.to_string(),
            updated_at: card.updated_at.to_string(),
        }
    }
}

/// A page of cards. It may have fewer than `limit`, or none, and go on all the same: of many cards
/// it looks at some thousands.
#[derive(Serialize, ToSchema)]
#[schema(as = Cards)]
struct NativeCards {
    cards: Vec<NativeCard>,
    /// What to send as `after` for the next page; null on the last.
    next: Option<String>,
}

/// What to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CardPatch {
    /// Up to 64 printable characters, without a card number.
    #[schema(max_length = 64, example = "Petrol")]
    label: String,
}

/// Where a card is to go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CardStateInput {
    /// `active`, `suspended`, `replaced` or `terminated`.
    #[schema(
        pattern = "^(pending|unactivated|active|suspended|replaced|terminated|failed)$",
        example = "suspended"
    )]
    state: String,
    /// 1 to 255 printable characters, without a card number.
    #[schema(max_length = 255, example = "Lost by its holder")]
    reason: Option<String>,
}

/// List cards
#[utoipa::path(
    get, path = "/v1/cards", tag = "Native", operation_id = "listNativeCards",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 when left out.", example = 20),
        ("after" = Option<String>, Query, description = "`next` of the page before. Give the same filters and order with it."),
        ("order" = Option<String>, Query, pattern = "^(asc|desc)?$", description = "By creation: `asc` (default) or `desc`.", example = "desc"),
        ("state" = Option<String>, Query, pattern = "^((pending|unactivated|active|suspended|replaced|terminated|failed)(,(pending|unactivated|active|suspended|replaced|terminated|failed))*)?$", description = "A comma-separated list of states.", example = "active,suspended"),
        ("account_id" = Option<String>, Query, description = "Of this account.", example = "F50091"),
        ("person_id" = Option<String>, Query, format = "uuid", description = "Of this person.", example = "775596ae-2624-40af-a9dc-9756110a4a04"),
        ("search" = Option<String>, Query, max_length = 64, pattern = "^[^\\x00]*$", description = "The beginning of the label, whatever the case of ASCII letters, or the last four digits.", example = "1111"),
    ),
    responses(
        (status = 200, description = "The page.", body = NativeCards),
    )
)]
async fn list(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    RawQuery(query): RawQuery,
) -> Result<Json<NativeCards>, Problem> {
    let query = Query::parse(query.as_deref());
    let order = match query.one("order")? {
        None | Some("asc") => Order::OldestFirst,
        Some("desc") => Order::NewestFirst,
        Some(_) => return Err(Problem::invalid("order", "must be asc or desc")),
    };
    let paging = Paging {
        order,
        after: query.one("after")?.map(cursor).transpose()?,
        limit: query.number("limit", 1..=100)?.unwrap_or(20),
        look_at: Some(LOOK_AT),
        ..Paging::default()
    };
    let filter = filter(&query)?;
    let caller = &admitted.caller;
    let list = app.service.list_cards(caller, filter, paging);
    let page = app.list(&admitted.caller, list).await??;
    Ok(Json(NativeCards {
        cards: page.cards.iter().map(NativeCard::from).collect(),
        next: page.next.map(|place| format!("{CURSOR}{place}")),
    }))
}

/// Show a card
#[utoipa::path(
    get, path = "/v1/cards/{card_id}", tag = "Native", operation_id = "getNativeCard",
    params(
        OfCard,
    ),
    responses(
        (status = 200, description = "The card.", body = NativeCard),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
    )
)]
async fn read(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
) -> Result<Json<NativeCard>, Problem> {
    let sought = sought(card_id)?;
    let found = app.service.find_card(&admitted.caller, &sought).await?;
    let card = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Json(NativeCard::from(&card)))
}

/// Rename a card
#[utoipa::path(
    patch, path = "/v1/cards/{card_id}", tag = "Native", operation_id = "updateNativeCard",
    params(
        OfCard,
    ),
    request_body = CardPatch,
    responses(
        (status = 200, description = "The card as it is now.", body = NativeCard),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
    )
)]
async fn update(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<NativeCard>, Problem> {
    let sought = sought(card_id)?;
    let CardPatch { label } = extract::json(request).await?;
    let label = Label::parse(&label).map_err(|wrong| Problem::invalid("label", wrong))?;
    let changed = app
        .service
        .relabel_card(&admitted.caller, &sought, label)
        .await?;
    Ok(Json(NativeCard::from(&changed?)))
}

/// Move a card to another state
#[utoipa::path(
    post, path = "/v1/cards/{card_id}/transitions", tag = "Native", operation_id = "createCardTransition",
    params(
        OfCard,
    ),
    request_body = CardStateInput,
    responses(
        (status = 200, description = "The card as it is now. One that was in that state already has no new event.", body = NativeCard),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
        (status = 409, description = "`transition_refused`: the card's state does not lead there"),
    )
)]
async fn transition(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<NativeCard>, Problem> {
    let sought = sought(card_id)?;
    let CardStateInput { state, reason } = extract::json(request).await?;
    let step = Step {
        to: CardState::parse(&state).ok_or_else(|| Problem::invalid("state", STATES))?,
        from: Some(MERCHANT_MOVES),
        reason: parse_reason(reason.as_deref())?,
    };
    let changed = app
        .service
        .move_card(&admitted.caller, &sought, step)
        .await?;
    Ok(Json(NativeCard::from(&changed?)))
}

const STATES: &str =
    "must be of pending, unactivated, active, suspended, replaced, terminated, failed";

fn sought(card_id: Result<Path<String>, PathRejection>) -> Result<Sought, Problem> {
    let card_id = extract::path(card_id).and_then(|text| CardId::parse(&text).ok());
    let card_id = card_id.ok_or_else(|| Problem::invalid("card_id", "must be a UUID"))?;
    Ok(Sought::of(CardRef::Id(card_id)))
}

fn cursor(text: &str) -> Result<i64, Problem> {
    let digits = text.strip_prefix(CURSOR).filter(|digits| {
        (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Problem::invalid("after", "must be what a page before called next"))
}

fn filter(query: &Query) -> Result<CardFilter, Problem> {
    let states = query.one("state")?.map(|list| {
        let asked = list
            .split(',')
            .map(CardState::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Problem::invalid("state", STATES))?;
        // Each once, however often it was given.
        let all = CardState::ALL.into_iter();
        Ok::<Vec<_>, Problem>(all.filter(|state| asked.contains(state)).collect())
    });
    let account = query.one("account_id")?.map(AccountId::parse).transpose();
    let account = account
        .map_err(|_| Problem::invalid("account_id", "must be 1 to 64 letters, digits, _ or -"))?;
    let person = query.given("person_id")?.map(PersonId::parse).transpose();
    Ok(CardFilter {
        account,
        person: person.map_err(|_| Problem::invalid("person_id", "must be a UUID"))?,
        states: states.transpose()?.unwrap_or_default(),
        begins: query.search()?,
        ..CardFilter::default()
    })
}
