//! `card/active`: a cardholder has got a card by post and types what is on it.
//!
//! **Invariant:** whatever is wrong with the proof, the answer is the same, and it counts: after
//! five wrong ones within a day the card answers 1009 to all, so that three digits cannot be tried
//! out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cardveil_core::card::{Activated, CardRef};
use cardveil_core::flow::{Activate, Proof};
use http::HeaderMap;
use utoipa::ToSchema;

use super::cards::{DONE, Done};
use super::code::Code;
use super::form::{Form, Wrong};
use super::{Envelope, Language, Refusal, success};
use crate::api::admission::Admitted;
use crate::http::app::{App, Shared};

/// The longest ciphertext that can hold a CVV, in Base64, with room to spare.
const CVV_CHARS_MAX: usize = 64;

/// What `card/active` takes.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "describes what the handler reads member by member"
)]
pub(super) struct CardActiveRequest {
    /// The number of the card's holder. Where it is given it must be the card's.
    cardholder_no: Option<String>,
    /// Card order number.
    #[schema(example = "C202605220001")]
    card_no: String,
    /// The CVV: Base64 of AES-256/ECB/PKCS5Padding under the apiSecret.
    #[schema(example = "q83vASNFZ4mrze8BI0VniQ==")]
    cvv: String,
    /// The last four digits of the card number.
    #[schema(example = "1111")]
    card_last_no: String,
}

/// Card active
///
/// Activates a physical card that waits for it, by its CVV and last four digits.
#[utoipa::path(
    post, path = "/open-api/v1/card/active", tag = "KeySecure", operation_id = "keysecure_card_active",
    request_body = CardActiveRequest,
    responses(
        (status = 200, description = "`code` 0 and `result`, or the code of what is wrong: 1004, 1009, 1012, 4001, 4005, 4017.", body = Envelope<Done>),
    )
)]
pub(super) async fn card_active(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let language = Language::of(&headers);
    let activated = activate(&app, &admitted, language, request).await;
    activated.map_or_else(IntoResponse::into_response, |done| success(language, done))
}

async fn activate(
    app: &App,
    admitted: &Admitted,
    language: Language,
    request: Request,
) -> Result<Done, Refusal> {
    let form = Form::read(request, language).await?;
    let holder_no = form.short("cardholder_no")?;
    let card = CardRef::No(form.required_card_no()?);
    let cvv = form.required("cvv")?;
    if cvv.len() > CVV_CHARS_MAX {
        return Err(form.wrong("cvv", Wrong::Ciphertext));
    }
    let last_four = form.required("card_last_no")?;
    if last_four.len() != 4 || !last_four.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form.wrong("card_last_no", Wrong::FourDigits));
    }
    let proof = Proof {
        card: &card,
        holder_no: holder_no.as_deref(),
        cvv,
        last_four,
    };
    let refuse = |code| Err(Refusal::new(code, language));
    let activated = app.service.activate(&admitted.caller, proof).await;
    match activated.map_err(|fault| Refusal::fault(&fault, language))? {
        Activate::NoCvv => refuse(Code::ModeNotSupported),
        Activate::Decided(Activated::Done) => Ok(DONE),
        Activate::Decided(Activated::Wrong) => Err(form.wrong("cvv", Wrong::NoMatch)),
        Activate::Decided(Activated::Blocked) => refuse(Code::TooFrequent),
        Activate::Decided(Activated::NotPhysical) => refuse(Code::NotPhysical),
        Activate::Decided(Activated::Refused(_)) => refuse(Code::CardStatus),
        Activate::Decided(Activated::Unknown) => refuse(Code::CardNotExist),
    }
}
