//! `card/pin/set`: a cardholder has chosen a PIN for a physical card in use.
//!
//! **Invariant:** whatever is wrong with the PIN, its ciphertext or its digits, the answer is the
//! same (4016).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cardveil_core::card::CardRef;
use cardveil_core::flow::{AskedPin, NewPin, PinRefusal, Presented, Sought};
use http::HeaderMap;
use utoipa::ToSchema;

use super::cards::{DONE, Done};
use super::code::Code;
use super::form::{Form, Wrong};
use super::{Envelope, Language, Refusal, success};
use crate::api::admission::Admitted;
use crate::http::app::{App, Shared};

/// The longest ciphertext that can hold a PIN, in Base64, with room to spare.
const PIN_CHARS_MAX: usize = 64;

/// What `card/pin/set` takes.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes what the handler reads member by member"
)]
pub(super) struct CardPinSetRequest {
    /// The number of the card's holder. Where it is given it must be the card's.
    cardholder_no: Option<String>,
    /// Card order number.
    #[schema(example = "C202605220001")]
    card_no: String,
    /// The PIN: Base64 of AES-256/ECB/PKCS5Padding under the apiSecret. Six digits, of which no
    /// three in a row are the same or sequential.
    #[schema(example = "q83vASNFZ4mrze8BI0VniQ==")]
    pin: String,
}

/// Set a card's PIN
///
/// Sets the PIN of a physical card in use, or another in its place.
#[utoipa::path(
    post, path = "/open-api/v1/card/pin/set", tag = "KeySecure", operation_id = "keysecure_card_pin_set",
    request_body = CardPinSetRequest,
    responses(
        (status = 200, description = "`code` 0 and `result`, or the code of what is wrong: 1004, 1009, 1012, 1013, 4001, 4005, 4016, 4017.", body = Envelope<Done>),
    )
)]
pub(super) async fn card_pin_set(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let language = Language::of(&headers);
    let done = set(&app, &admitted, language, request).await;
    done.map_or_else(IntoResponse::into_response, |done| success(language, done))
}

async fn set(
    app: &App,
    admitted: &Admitted,
    language: Language,
    request: Request,
) -> Result<Done, Refusal> {
    let form = Form::read(request, language).await?;
    let holder_no = form.short("cardholder_no")?;
    let card = CardRef::No(form.required_card_no()?);
    let pin = form.required("pin")?;
    if pin.len() > PIN_CHARS_MAX {
        return Err(form.wrong("pin", Wrong::Ciphertext));
    }
    let asked = AskedPin {
        sought: Sought {
            holder_no,
            ..Sought::of(card)
        },
        verification: None,
        mfa: Presented::Impossible,
    };
    let set = app
        .service
        .set_pin(&admitted.caller, &asked, NewPin::Encrypted(pin))
        .await
        .map_err(|fault| Refusal::fault(&fault, language))?;
    match set {
        Ok(_) => Ok(DONE),
        // This dialect has no place for a session and a code, so it comes back later.
        Err(
            PinRefusal::BudgetNeedsFactor { retry_after_secs }
            | PinRefusal::BudgetExhausted { retry_after_secs },
        ) => Err(Refusal::too_often(retry_after_secs, language)),
        Err(refusal) => Err(Refusal::new(code_of(refusal), language)),
    }
}

const fn code_of(refusal: PinRefusal) -> Code {
    match refusal {
        PinRefusal::NotPermitted => Code::PciNotEnabled,
        PinRefusal::UnknownCard => Code::CardNotExist,
        PinRefusal::NotPhysical => Code::NotPhysical,
        PinRefusal::CardState(_) => Code::CardStatus,
        PinRefusal::Invalid(_) => Code::PinInvalid,
        // This dialect carries no second factor, so a policy that asks for one bars the call.
        PinRefusal::MfaUnsupported
        | PinRefusal::MfaRequired
        | PinRefusal::MfaReference
        | PinRefusal::MfaRefused => Code::ModeNotSupported,
        PinRefusal::BudgetNeedsFactor { .. } | PinRefusal::BudgetExhausted { .. } => {
            Code::TooFrequent
        }
    }
}
