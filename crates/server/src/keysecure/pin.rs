//! `card/pin/set`: its place. Nothing keeps PINs yet, so every call that is admitted is told 1012,
//! whatever it brings: it looks at no card and reads no body, which holds a PIN's ciphertext.

use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use super::cards::Done;
use super::code::Code;
use super::{Envelope, Language, Refusal};

/// Set a card's PIN
///
/// Not supported yet: always 1012.
#[utoipa::path(
    post, path = "/open-api/v1/card/pin/set", tag = "KeySecure", operation_id = "keysecure_card_pin_set",
    params(
        ("Api-Key" = String, Header, description = "The merchant's credential, bound to an IP allow-list."),
        ("Timestamp" = String, Header, description = "Unix time in milliseconds: at most 60 seconds old, never in the future."),
        ("Access-Token" = String, Header, description = "The login token of Get Token."),
        ("Language" = Option<String>, Header, description = "`en_US` (default) or `zh_CN`."),
    ),
    responses(
        (status = 200, description = "`code` 1012.", body = Envelope<Done>),
        (status = 500, description = "`code` 1001.", body = Envelope<Done>),
    )
)]
pub(super) async fn card_pin_set(headers: HeaderMap) -> Response {
    Refusal::new(Code::ModeNotSupported, Language::of(&headers)).into_response()
}
