//! `private/info`: a card's clear data for the merchant's own server. The one way on which clear
//! card data leaves to anyone but a cardholder's key (P3), because the contract defines it, and
//! only for merchants and credentials that may have it ([`Need::ExportCards`], which the gate asks
//! for). No other dialect has it.
//!
//! [`Need::ExportCards`]: cardveil_core::merchant::Need::ExportCards
//!
//! The answer is encrypted in the vault; here it is text already.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use cardveil_core::card::CardRef;
use cardveil_core::flow::ExportRefusal;
use http::HeaderMap;

use super::code::Code;
use super::{Envelope, Language, Refusal, form, success};
use crate::api::admission::Admitted;
use crate::http::app::Shared;

/// Card private information
///
/// Gives a card's clear data, encrypted under the apiSecret of the credential that asks: the Base64
/// of AES-256/ECB/PKCS5Padding of
/// `{"card_no","card_unique_no","cvv","pan","exp_year","exp_month"}`, all of them strings; `cvv` is
/// empty for a card without one. Every answer is on record as a release. Prefer the client token,
/// which keeps your servers out of PCI scope.
#[utoipa::path(
    get, path = "/open-api/v1/card/{card_no}/private/info", tag = "KeySecure",
    params(
        super::OfCard,
    ),
    responses(
        (status = 200, description = "`code` 0 and the ciphertext, or the code of what is wrong.", body = Envelope<String>,
            example = json!({"code": 0, "msg": "Success", "data": "V2l0aCB0aGUgc2VjcmV0IG9mIHlvdXIgY3JlZGVudGlhbA=="})),
    )
)]
pub(super) async fn private_info(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_no: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let language = Language::of(&headers);
    let refuse = |code| Refusal::new(code, language).into_response();
    let card_no = match form::card_no(card_no, language) {
        Ok(card_no) => card_no,
        Err(refusal) => return refusal.into_response(),
    };
    match app
        .service
        .export(&admitted.caller, &CardRef::No(card_no))
        .await
    {
        Ok(Ok(ciphertext)) => {
            app.metrics.cards_exported.increment();
            success(language, ciphertext)
        }
        Ok(Err(ExportRefusal::Budget { retry_after_secs })) => {
            Refusal::too_often(retry_after_secs, language).into_response()
        }
        Ok(Err(refusal)) => refuse(code_of(refusal)),
        Err(fault) => Refusal::fault(&fault, language).into_response(),
    }
}

const fn code_of(refusal: ExportRefusal) -> Code {
    match refusal {
        ExportRefusal::NotPermitted => Code::PciNotEnabled,
        ExportRefusal::MfaUnsupported => Code::ModeNotSupported,
        ExportRefusal::UnknownCard => Code::CardNotExist,
        ExportRefusal::CardState(_) => Code::CardStatus,
        ExportRefusal::Budget { .. } => Code::TooFrequent,
    }
}
