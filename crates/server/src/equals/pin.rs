//! A card's PIN (Equals: "Retrieve a PIN", "Update a card's PIN"). Clear PINs cross the merchant's
//! server here in both directions, because the contract has no other way: so both calls are for
//! merchants alone that may have clear card data.
//!
//! **Invariant:** no answer is made of a PIN whose record is not durable.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::{Extension, Json};
use cardveil_core::Secret;
use cardveil_core::card::{InvalidPin, Pin, Verification};
use cardveil_core::flow::{AskedPin, NewPin, PinRefusal, Presented};
use cardveil_core::merchant::Need;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::Equals;
use super::cards;
use super::params::{OfAccount, OfCard, OfPerson, SecondFactor};
use crate::api::admission::Admitted;
use crate::api::extract::{self, Object, Query};
use crate::api::problem::{Code, Problem};
use crate::api::refusals::{ASKED_OFTEN, REFERENCE};
use crate::api::surface::Surface;
use crate::http::app::Shared;

const METHOD: &str = "cardholderVerificationMethod";
const METHODS: &str = "must be BIOMETRIC_FACE, BIOMETRIC_FINGERPRINT, LOGIN or OTP";

pub(super) fn routes(surface: Surface) -> Surface {
    surface
        .route(Equals(Need::ReadPins), routes!(read))
        .route(Equals(Need::SetPins), routes!(update))
}

/// A card's PIN.
#[derive(Serialize, ToSchema)]
struct CardPin {
    /// Four digits; null when the card has no PIN, or one of another length.
    #[schema(pattern = "^[0-9]{4}$", example = "2580")]
    pin: Option<String>,
}

/// A PIN that was set.
#[derive(Serialize, ToSchema)]
struct CardPinUpdated {
    /// Always true.
    success: bool,
    /// The PIN that the card has now.
    #[schema(pattern = "^[0-9]{4}$", example = "2580")]
    pin: Option<String>,
}

/// What PIN a card is to have.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CardPinUpdate {
    /// Four digits, of which no three in a row are the same or sequential. Generated when left out.
    #[schema(pattern = "^[0-9]{4}$", example = "2580")]
    pin: Option<String>,
    /// How you have verified the cardholder.
    #[schema(
        pattern = "^(BIOMETRIC_FACE|BIOMETRIC_FINGERPRINT|LOGIN|OTP)$",
        example = "OTP"
    )]
    cardholder_verification_method: Option<String>,
    /// The second factor, where the policy asks for one.
    #[schema(value_type = Option<GivenMfa>)]
    mfa: Option<Object<GivenMfa>>,
}

/// A second factor.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CardPinMfa)]
struct GivenMfa {
    /// The MFA session id; or your own reference, where the second factor is delegated to you.
    #[schema(example = "c92e2960-b745-4b38-8e77-898b2f9ad9bb")]
    session_id: Option<String>,
    /// The security token e.g. MFA code.
    #[schema(example = "123456")]
    token: Option<String>,
}

/// Retrieve a PIN
///
/// The PIN crosses your server in the clear, so the call is for merchants that may have clear card
/// data. Every PIN that is told is on record, with the verification method that you state.
#[utoipa::path(
    get, path = "/v2/cards/{cardId}/pin", tag = "Equals Money", operation_id = "getCardPin",
    params(
        OfCard,
        OfAccount,
        ("personId" = String, Query, format = "uuid", max_length = 36, description = "The ID of the cardholder.", example = "775596ae-2624-40af-a9dc-9756110a4a04"),
        ("cardholderVerificationMethod" = String, Query, pattern = "^(BIOMETRIC_FACE|BIOMETRIC_FINGERPRINT|LOGIN|OTP)$", description = "How you have verified the cardholder: `BIOMETRIC_FACE`, `BIOMETRIC_FINGERPRINT`, `LOGIN` or `OTP`.", example = "OTP"),
        SecondFactor,
    ),
    responses(
        (status = 200, description = "OK", body = CardPin),
        (status = 403, description = "`credential_refused`, `scope_missing`, `pci_not_enabled`, `card_not_viewable`, `mfa_required` or `mfa_refused`"),
        (status = 404, description = "`not_found`: no such card of this person that this credential may know of"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`"),
    )
)]
async fn read(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<CardPin>, Problem> {
    let sought = cards::sought(card_id, query.as_deref())?;
    let query = Query::parse(query.as_deref());
    if sought.person.is_none() {
        return Err(Problem::invalid("personId", "required"));
    }
    let method = query
        .one(METHOD)?
        .ok_or_else(|| Problem::invalid(METHOD, "required"))?;
    let session = query.one("sessionId")?.map(ToOwned::to_owned);
    let code = query.one("token")?.map(ToOwned::to_owned);
    let asked = AskedPin {
        sought,
        verification: Some(verification(method)?),
        mfa: presented(session, code),
    };
    let told = app.service.show_pin(&admitted.caller, &asked).await?;
    let pin = told.map_err(|refusal| problem(refusal, Code::CardNotViewable))?;
    if pin.is_some() {
        app.metrics.pins_released.increment();
    }
    Ok(Json(CardPin {
        pin: pin.as_ref().map(text),
    }))
}

/// Update a card's PIN
///
/// Sets the PIN of a card in use: yours, or one that is generated. It crosses your server in the
/// clear, so the call is for merchants that may have clear card data.
#[utoipa::path(
    put, path = "/v2/cards/{cardId}/pin", tag = "Equals Money", operation_id = "updateCardPin",
    params(
        OfCard,
        OfAccount,
        OfPerson,
    ),
    request_body = CardPinUpdate,
    responses(
        (status = 200, description = "The PIN that the card has now.", body = CardPinUpdated),
        (status = 400, description = "`invalid_request` or `weak_pin`"),
        (status = 403, description = "`credential_refused`, `scope_missing`, `pci_not_enabled`, `mfa_required` or `mfa_refused`"),
        (status = 404, description = "`not_found`: no such card that this credential may know of"),
        (status = 409, description = "`transition_refused`: the card is not in use"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`"),
    )
)]
async fn update(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Json<CardPinUpdated>, Problem> {
    let sought = cards::sought(card_id, query.as_deref())?;
    let body: CardPinUpdate = extract::json(request).await?;
    let method = body.cardholder_verification_method.as_deref();
    let (session, code) = body
        .mfa
        .map_or((None, None), |Object(mfa)| (mfa.session_id, mfa.token));
    let asked = AskedPin {
        sought,
        verification: method.map(verification).transpose()?,
        mfa: presented(session, code),
    };
    let chosen = body.pin.map(|pin| Secret::new(pin.into_bytes()));
    let new = chosen.as_ref().map_or(NewPin::Generated, NewPin::Clear);
    let set = app.service.set_pin(&admitted.caller, &asked, new).await?;
    let pin = set.map_err(|refusal| problem(refusal, Code::TransitionRefused))?;
    Ok(Json(CardPinUpdated {
        success: true,
        pin: Some(text(&pin)),
    }))
}

fn verification(name: &str) -> Result<Verification, Problem> {
    Verification::parse(name).ok_or_else(|| Problem::invalid(METHOD, METHODS))
}

/// Empty ones count as left out.
fn presented(session: Option<String>, code: Option<String>) -> Presented {
    let code = code.filter(|code| !code.is_empty());
    Presented::Given {
        session: session.filter(|session| !session.is_empty()),
        code: code.map(|code| Arc::new(Secret::new(code.into_bytes()))),
    }
}

/// The digits for the answer.
fn text(pin: &Pin) -> String {
    String::from_utf8_lossy(pin.expose()).into_owned()
}

/// What a refusal is here; `not_in_use` is the code for a card that is not.
fn problem(refusal: PinRefusal, not_in_use: Code) -> Problem {
    match refusal {
        PinRefusal::NotPermitted => Problem::new(Code::PciNotEnabled),
        PinRefusal::UnknownCard => Problem::new(Code::NotFound),
        PinRefusal::CardState(state) => Problem::detail(
            not_in_use,
            format!(
                "The card is {}. A PIN is set and told of a card in use.",
                state.as_str()
            ),
        ),
        // Cannot be: this contract sets PINs of cards of any kind.
        PinRefusal::NotPhysical => Problem::new(not_in_use),
        PinRefusal::Invalid(InvalidPin::Form) => Problem::invalid("pin", "must be 4 digits"),
        PinRefusal::Invalid(InvalidPin::Weak) => Problem::new(Code::WeakPin),
        PinRefusal::MfaRequired | PinRefusal::MfaUnsupported => Problem::new(Code::MfaRequired),
        PinRefusal::MfaReference => Problem::invalid("sessionId", REFERENCE),
        PinRefusal::MfaRefused => Problem::new(Code::MfaRefused),
        PinRefusal::BudgetNeedsFactor { .. } => Problem::detail(Code::MfaRequired, ASKED_OFTEN),
        PinRefusal::BudgetExhausted { retry_after_secs } => Problem::too_often(retry_after_secs),
    }
}
