//! Equals' cards: list, read, rename, move (`/v2/cards`; "About card states", "Manage cards",
//! "Update cards"). The object is theirs, member by member; what we do not keep has one fixed
//! value.
//!
//! **Invariant:** no answer here holds a card number. An expiry is opened for the answer alone, and
//! only for a merchant that may have card data.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::{Extension, Json};
use cardveil_core::card::{Card, CardRef, Expiry, Kind, Label, State as CardState};
use cardveil_core::clock::Time;
use cardveil_core::flow::{MERCHANT_MOVES, Sought, Step};
use cardveil_core::id::{CardId, PersonId};
use cardveil_core::merchant::Need;
use cardveil_core::port::{CardFilter, Order, Paging};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Equals;
use super::params::{OfAccount, OfCard, OfPerson};
use crate::api::admission::Admitted;
use crate::api::extract::{self, Query};
use crate::api::params::parse_reason;
use crate::api::problem::{Code, Problem};
use crate::api::surface::Surface;
use crate::http::app::{App, Shared};

/// How many characters Equals' `name` has at most.
const NAME_CHARS_MAX: usize = 21;
const DAY_MS: i64 = 86_400_000;

pub(super) fn routes(surface: Surface) -> Surface {
    surface
        .route(Equals(Need::ReadCards), routes!(list))
        .route(Equals(Need::ReadCards), routes!(read))
        .route(Equals(Need::WriteCards), routes!(update))
        .route(Equals(Need::WriteCards), routes!(transition))
}

/// The states of Equals' cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum EqualsState {
    Unactivated,
    Active,
    Replaced,
    Suspended,
    Terminated,
}

impl EqualsState {
    const fn of(state: CardState) -> Self {
        match state {
            CardState::Pending | CardState::Unactivated => Self::Unactivated,
            CardState::Active => Self::Active,
            CardState::Suspended => Self::Suspended,
            CardState::Replaced => Self::Replaced,
            CardState::Terminated | CardState::Failed => Self::Terminated,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "UNACTIVATED" => Self::Unactivated,
            "ACTIVE" => Self::Active,
            "REPLACED" => Self::Replaced,
            "SUSPENDED" => Self::Suspended,
            "TERMINATED" => Self::Terminated,
            _ => return None,
        })
    }

    /// The state that a card is to go to.
    const fn target(self) -> CardState {
        match self {
            Self::Unactivated => CardState::Unactivated,
            Self::Active => CardState::Active,
            Self::Replaced => CardState::Replaced,
            Self::Suspended => CardState::Suspended,
            Self::Terminated => CardState::Terminated,
        }
    }
}

/// A card as Equals shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EqualsCard {
    /// A UUID.
    id: String,
    /// What people call it; at most 21 characters.
    #[schema(max_length = 21)]
    name: String,
    person_id: String,
    account_id: String,
    state: EqualsState,
    /// `VIRTUAL_PAN` or `PHYSICAL_COMBO`.
    card_type: &'static str,
    last_four: String,
    /// Not kept: null.
    card_product_token: Option<String>,
    /// Not kept: null.
    fulfillment_status: Option<String>,
    /// `MMYY`; null for a merchant that may not have card data.
    #[schema(example = "1230")]
    expiration: Option<String>,
    /// Whether it has a PIN.
    pin_is_set: bool,
    /// Not kept: null.
    recipient_address: Option<String>,
    /// Not kept: null.
    user_token_id: Option<String>,
    /// `PEOPLE`.
    card_owner_type: &'static str,
    /// Not kept: null.
    card_group_id: Option<String>,
    /// What it is sold as.
    card_product_id: Option<String>,
    /// The state again for a physical card; null for a virtual one.
    physical_card_state: Option<EqualsState>,
    /// The id again for a physical card; null for a virtual one.
    physical_card_id: Option<String>,
    /// Not kept: false.
    force_change_pin: bool,
    /// Not kept: null.
    card_personalization: Option<String>,
    /// Not kept: null.
    care_of_line: Option<String>,
    /// Not kept: null.
    budget_card_phone_number: Option<String>,
    /// Not kept: null.
    budget_card_phone_number_person_id: Option<String>,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    updated_at: String,
    /// Always empty.
    meta: Vec<String>,
}

/// A page of cards.
#[derive(Serialize, ToSchema)]
struct EqualsCards {
    /// How many there are in all.
    count: u64,
    /// As asked.
    limit: usize,
    /// As asked.
    offset: usize,
    /// The cards.
    rows: Vec<EqualsCard>,
}

/// What a card is to be called.
#[derive(Deserialize, ToSchema)]
struct CardUpdate {
    /// 1 to 21 printable characters, without a card number.
    #[schema(min_length = 1, max_length = 21, example = "Petrol")]
    name: String,
}

/// Where a card is to go.
#[derive(Deserialize, ToSchema)]
struct CardTransition {
    /// `ACTIVE`, `SUSPENDED`, `REPLACED`, `TERMINATED` or `UNACTIVATED`.
    #[schema(
        pattern = "^(UNACTIVATED|ACTIVE|REPLACED|SUSPENDED|TERMINATED)$",
        example = "SUSPENDED"
    )]
    state: String,
    /// 1 to 255 printable characters, without a card number.
    #[schema(max_length = 255, example = "Lost by its holder")]
    reason: Option<String>,
}

/// List cards
#[utoipa::path(
    get, path = "/v2/cards", tag = "Equals Money", operation_id = "listCards",
    params(
        OfAccount,
        OfPerson,
        ("state" = Option<String>, Query, pattern = "^((UNACTIVATED|ACTIVE|REPLACED|SUSPENDED|TERMINATED)(,(UNACTIVATED|ACTIVE|REPLACED|SUSPENDED|TERMINATED))*)?$", description = "A comma-separated list of `UNACTIVATED`, `ACTIVE`, `REPLACED`, `SUSPENDED`, `TERMINATED`.", example = "ACTIVE,SUSPENDED"),
        ("orderBy" = Option<String>, Query, pattern = "^(asc|desc)?$", description = "By creation: `asc` (default) or `desc`.", example = "desc"),
        ("startDate" = Option<String>, Query, description = "Created then or later: a date (from its first moment, UTC) or an RFC 3339 time.", example = "2026-01-01"),
        ("endDate" = Option<String>, Query, description = "Created then or earlier: a date (to its last moment, UTC) or an RFC 3339 time.", example = "2026-12-31"),
        ("search" = Option<String>, Query, max_length = 64, pattern = "^[^\\x00]*$", description = "Part of the name, or the last four digits.", example = "1111"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "At most so many; 100 by default.", example = 100),
        ("offset" = Option<u32>, Query, minimum = 0, maximum = 999_999_999, description = "Skip so many.", example = 0),
    ),
    responses(
        (status = 200, description = "OK", body = EqualsCards),
        (status = 404, description = "`not_found`: the text cannot be an account's"),
    )
)]
async fn list(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    RawQuery(query): RawQuery,
) -> Result<Json<EqualsCards>, Problem> {
    let query = Query::parse(query.as_deref());
    let (filter, paging) = (filter(&query)?, paging(&query)?);
    let caller = &admitted.caller;
    let list = async {
        let page = app.service.list_cards(caller, filter, paging).await?;
        let mut rows = Vec::with_capacity(page.cards.len());
        for card in &page.cards {
            if caller.may(Need::ExportCards).is_err() {
                rows.push(shown(card, None));
            } else if let Some(expiry) = app.service.listed_expiry(card).await? {
                rows.push(shown(card, Some(&expiry)));
            }
        }
        Ok::<_, Problem>(EqualsCards {
            // Whoever sees nothing has none to count.
            count: page.count.unwrap_or(0),
            limit: paging.limit,
            offset: paging.offset,
            rows,
        })
    };
    Ok(Json(app.list(&admitted.caller, list).await??))
}

/// Retrieve a card
#[utoipa::path(
    get, path = "/v2/cards/{cardId}", tag = "Equals Money", operation_id = "getCard",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    responses(
        (status = 200, description = "OK", body = EqualsCard),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
    )
)]
async fn read(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<EqualsCard>, Problem> {
    let sought = sought(card_id, query.as_deref())?;
    let found = app.service.find_card(&admitted.caller, &sought).await?;
    let card = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Json(show(&app, &admitted, &card).await?))
}

/// Update a card
#[utoipa::path(
    put, path = "/v2/cards/{cardId}", tag = "Equals Money", operation_id = "updateCard",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    request_body = CardUpdate,
    responses(
        (status = 200, description = "The card as it is now.", body = EqualsCard),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
    )
)]
async fn update(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Json<EqualsCard>, Problem> {
    let sought = sought(card_id, query.as_deref())?;
    let CardUpdate { name } = extract::json(request).await?;
    if !(1..=NAME_CHARS_MAX).contains(&name.chars().count()) {
        return Err(Problem::invalid("name", "must be 1 to 21 characters"));
    }
    let label = Label::parse(&name).map_err(|wrong| Problem::invalid("name", wrong))?;
    let changed = app
        .service
        .relabel_card(&admitted.caller, &sought, label)
        .await?;
    let card = changed?;
    Ok(Json(show(&app, &admitted, &card).await?))
}

/// Move a card to another state
#[utoipa::path(
    post, path = "/v2/cards/{cardId}/transition", tag = "Equals Money", operation_id = "transitionCard",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    request_body = CardTransition,
    responses(
        (status = 200, description = "The card as it is now.", body = EqualsCard),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
        (status = 409, description = "`transition_refused`: the card's state does not lead there"),
    )
)]
async fn transition(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Json<EqualsCard>, Problem> {
    let sought = sought(card_id, query.as_deref())?;
    let CardTransition { state, reason } = extract::json(request).await?;
    let state = EqualsState::parse(&state).ok_or_else(|| Problem::invalid("state", STATES))?;
    let step = Step {
        to: state.target(),
        from: Some(MERCHANT_MOVES),
        reason: parse_reason(reason.as_deref())?,
    };
    let changed = app
        .service
        .move_card(&admitted.caller, &sought, step)
        .await?;
    let card = changed?;
    Ok(Json(show(&app, &admitted, &card).await?))
}

const STATES: &str = "must be of UNACTIVATED, ACTIVE, REPLACED, SUSPENDED, TERMINATED";

async fn show(app: &App, admitted: &Admitted, card: &Card) -> Result<EqualsCard, Problem> {
    // It is sealed, so it is card data on the merchant's server.
    if admitted.caller.may(Need::ExportCards).is_err() {
        return Ok(shown(card, None));
    }
    let expiry = app.service.expiry(card).await?;
    Ok(shown(card, Some(&expiry)))
}

fn shown(card: &Card, expiry: Option<&Expiry>) -> EqualsCard {
    let expiration = expiry.map(|expiry| {
        let year: String = expiry.year().chars().skip(2).collect();
        format!("{}{year}", expiry.month())
    });
    let state = EqualsState::of(card.state);
    let (card_type, physical) = match card.kind {
        Kind::Virtual => ("VIRTUAL_PAN", false),
        Kind::Physical => ("PHYSICAL_COMBO", true),
    };
    EqualsCard {
        id: card.id.to_string(),
        name: card.label.chars().take(NAME_CHARS_MAX).collect(),
        person_id: card.person.to_string(),
        account_id: card.account.to_string(),
        state,
        card_type,
        last_four: card.last_four.as_str().to_owned(),
        card_product_token: None,
        fulfillment_status: None,
        expiration,
        pin_is_set: card.sealed.pin.is_some(),
        recipient_address: None,
        user_token_id: None,
        card_owner_type: "PEOPLE",
        card_group_id: None,
        card_product_id: card.attributes.product.clone(),
        physical_card_state: physical.then_some(state),
        physical_card_id: physical.then(|| card.id.to_string()),
        force_change_pin: false,
        card_personalization: None,
        care_of_line: None,
        budget_card_phone_number: None,
        budget_card_phone_number_person_id: None,
        created_at: card.created_at.to_string(),
        updated_at: card.updated_at.to_string(),
        meta: Vec::new(),
    }
}

pub(super) fn sought(
    card_id: Result<Path<String>, PathRejection>,
    query: Option<&str>,
) -> Result<Sought, Problem> {
    let card_id = extract::path(card_id).and_then(|text| CardId::parse(&text).ok());
    let card_id = card_id.ok_or_else(|| Problem::invalid("cardId", "must be a UUID"))?;
    let query = Query::parse(query);
    Ok(Sought {
        card: CardRef::Id(card_id),
        account: Some(super::account(&query)?),
        person: person(&query)?,
        holder_no: None,
    })
}

fn person(query: &Query) -> Result<Option<PersonId>, Problem> {
    let person = query.one("personId")?.map(PersonId::parse).transpose();
    person.map_err(|_| Problem::invalid("personId", "must be a UUID"))
}

fn filter(query: &Query) -> Result<CardFilter, Problem> {
    Ok(CardFilter {
        account: Some(super::account(query)?),
        person: person(query)?,
        states: states(query.one("state")?)?,
        created_from: moment(query, "startDate", 0)?,
        created_to: moment(query, "endDate", DAY_MS - 1)?,
        search: query.search()?,
        ..CardFilter::default()
    })
}

/// The states of the domain that are shown as one of these.
fn states(list: Option<&str>) -> Result<Vec<CardState>, Problem> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let asked = list
        .split(',')
        .map(|name| EqualsState::parse(name.trim()))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Problem::invalid("state", STATES))?;
    let shown_so = |state: &CardState| asked.contains(&EqualsState::of(*state));
    Ok(CardState::ALL.into_iter().filter(shown_so).collect())
}

/// A time, or a date as the moment `in_day_ms` after its first.
fn moment(query: &Query, name: &str, in_day_ms: i64) -> Result<Option<Time>, Problem> {
    let Some(text) = query.one(name)? else {
        return Ok(None);
    };
    let day = || {
        let first = Time::parse_rfc3339(&format!("{text}T00:00:00Z"))?;
        Some(Time::from_millis(first.millis().saturating_add(in_day_ms)))
    };
    let moment = match text.len() {
        10 => day(),
        _ => Time::parse_rfc3339(text),
    };
    let wrong = || Problem::invalid(name, "must be YYYY-MM-DD or an RFC 3339 time");
    Ok(Some(moment.ok_or_else(wrong)?))
}

fn paging(query: &Query) -> Result<Paging, Problem> {
    let order = match query.one("orderBy")? {
        None | Some("asc") => Order::OldestFirst,
        Some("desc") => Order::NewestFirst,
        Some(_) => return Err(Problem::invalid("orderBy", "must be asc or desc")),
    };
    let (limit, offset) = super::page(query)?;
    Ok(Paging {
        order,
        offset,
        limit,
        count: true,
        ..Paging::default()
    })
}
