//! KeySecure's "Issue PCI Client Access Token" (docs/reference/compatibility/keysecure.md).

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use cardveil_core::card::CardRef;
use cardveil_core::flow::{Asked, IssueRefusal, Named, Presented};
use cardveil_core::token::{Operation, TTL};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::code::Code;
use super::form::Wrong;
use super::{Envelope, Language, Refusal, form, success};
use crate::api::admission::Admitted;
use crate::api::extract::{self, Header};
use crate::http::app::Shared;

#[derive(Serialize, ToSchema)]
struct ClientTokenData {
    /// One-time client token.
    client_access_token: String,
    /// Validity period in seconds.
    #[schema(example = 300)]
    expires_in: u64,
}

/// Issue PCI Client Access Token
///
/// Issues a one-time client token for use with the PCI iframe.
#[utoipa::path(
    get, path = "/open-api/v1/merchant/client/{card_no}/token", tag = "KeySecure",
    params(
        super::OfCard,
        ("Nonce" = Option<String>, Header, description = "1 to 64 letters, digits, `_` or `-`, anew for each call: a second call of the credential with it within 300 seconds is 1017."),
    ),
    responses(
        (status = 200, description = "`code` 0 and the token, or the code of what is wrong.", body = Envelope<ClientTokenData>),
    )
)]
pub(super) async fn client_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_no: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let language = Language::of(&headers);
    let refuse = |code| Refusal::new(code, language).into_response();
    if !admitted.caller.merchant.pci_enabled {
        return refuse(Code::PciNotEnabled);
    }
    let card_no = match form::card_no(card_no, language) {
        Ok(card_no) => card_no,
        Err(refusal) => return refusal.into_response(),
    };
    let named = match nonce(&headers, language) {
        Ok(named) => named,
        Err(refusal) => return refusal.into_response(),
    };
    let asked = Asked {
        card: CardRef::No(card_no),
        account: None,
        person: None,
        operation: Operation::ViewCard,
        fields: None,
        bound_to: None,
        embed: None,
        named,
        mfa: Presented::Impossible,
    };
    match app
        .service
        .issue(&admitted.caller, admitted.epoch, &asked)
        .await
    {
        // What a call with this nonce was given before is not told again: that is what a nonce is
        // for.
        Ok(Ok(issued)) if issued.replayed => refuse(Code::NonceUsed),
        Ok(Ok(issued)) => {
            app.metrics.tokens_issued.increment();
            success(
                language,
                ClientTokenData {
                    client_access_token: issued.token.expose().to_owned(),
                    expires_in: TTL.as_secs(),
                },
            )
        }
        Ok(Err(
            IssueRefusal::BudgetNeedsFactor { retry_after_secs }
            | IssueRefusal::BudgetExhausted { retry_after_secs },
        )) => Refusal::too_often(retry_after_secs, language).into_response(),
        Ok(Err(refusal)) => refuse(code_of(refusal)),
        Err(fault) => Refusal::fault(&fault, language).into_response(),
    }
}

/// What a caller names so that the same call is not answered twice. A name is kept with the token's
/// commit for [`TTL`], which is longer than a `Timestamp` is good for.
fn nonce(headers: &HeaderMap, language: Language) -> Result<Option<Named>, Refusal> {
    match extract::header(headers, "nonce") {
        Header::Missing => Ok(None),
        Header::Value(text) if is_word(text) => Ok(Some(Named {
            // No `Idempotency-Key` has a blank, so none is taken for a nonce.
            key: format!("keysecure nonce {text}"),
            request: Vec::new(),
        })),
        Header::Value(_) | Header::Malformed => {
            Err(Refusal::invalid("Nonce", Wrong::Word, language))
        }
    }
}

fn is_word(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(known)
}

const fn code_of(refusal: IssueRefusal) -> Code {
    match refusal {
        IssueRefusal::PciDisabled => Code::PciNotEnabled,
        IssueRefusal::UnknownCard => Code::CardNotExist,
        IssueRefusal::CardState(_) => Code::CardStatus,
        IssueRefusal::BudgetNeedsFactor { .. } | IssueRefusal::BudgetExhausted { .. } => {
            Code::TooFrequent
        }
        // This dialect has no place for a session and a code.
        IssueRefusal::MfaUnsupported
        | IssueRefusal::MfaRequired
        | IssueRefusal::MfaReference
        | IssueRefusal::MfaRefused => Code::ModeNotSupported,
        IssueRefusal::NameReused => Code::NonceUsed,
        // This dialect chooses neither fields nor embeds.
        IssueRefusal::FieldUnavailable | IssueRefusal::NoFields | IssueRefusal::UnknownEmbed => {
            Code::InvalidParameter
        }
    }
}
