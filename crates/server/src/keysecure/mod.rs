//! The KeySecure dialect (`/open-api/v1`): seed 000 and the pages around it.
//!
//! Answers are `{code, msg, data}` with HTTP 200, but 500 with 1001. The order of the checks is
//! DESIGN section 5: Api-Key 1002, 1008, 1010, 1011; address 1003; Timestamp 1005; Access-Token 1006,
//! 1007; merchant 1021, 1022; rate 1009, as soon as the merchant is known, so that it also limits
//! who asks for cards that are not there; PCI 1013; parameters 1004; card 4001, 4005.

mod code;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use cardveil_core::flow::{Asked, Fault, IssueRefusal};
use cardveil_core::id::CardNo;
use cardveil_core::merchant::{Barred, MerchantState, Need};
use cardveil_core::port::CardRef;
use cardveil_core::token::{Operation, TTL};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;

use self::code::Code;
pub(crate) use self::code::Language;
use crate::extract::{self, Header};
use crate::guard::{Admitted, Call};
use crate::log::Told;
use crate::problem::Chain;
use crate::surface::{Permission, Surface};
use crate::{App, Shared};

/// How far in the past `Timestamp` may be, both ends in.
const TIMESTAMP_WINDOW_MS: i64 = 60_000;

pub(crate) fn routes(surface: Surface) -> Surface {
    surface
        .route(Permission::KeySecureLogin, routes!(login_token))
        .route(
            Permission::KeySecure(Need::ReadCards),
            routes!(client_token),
        )
}

/// An answer on the wire.
#[derive(Serialize, ToSchema)]
struct Envelope<T> {
    /// 0 on success.
    code: u16,
    /// The code in words.
    msg: Cow<'static, str>,
    /// On success only.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

#[derive(Serialize, ToSchema)]
struct LoginToken {
    /// The Access-Token, good for two hours.
    access_token: String,
    /// When it ends: Unix time in milliseconds.
    expired_time: i64,
}

#[derive(Serialize, ToSchema)]
struct ClientTokenData {
    /// One-time client token.
    client_access_token: String,
    /// Validity period in seconds.
    #[schema(example = 300)]
    expires_in: u64,
}

/// Get Token
///
/// Gives the login token that all other calls of this dialect need.
#[utoipa::path(
    get, path = "/open-api/v1/merchant/token", tag = "KeySecure",
    params(
        ("Api-Key" = String, Header, description = "The merchant's credential, bound to an IP allow-list."),
        ("Timestamp" = String, Header, description = "Unix time in milliseconds: at most 60 seconds old, never in the future."),
        ("Language" = Option<String>, Header, description = "`en_US` (default) or `zh_CN`."),
    ),
    responses(
        (status = 200, description = "`code` 0 and the token, or the code of what is wrong.", body = Envelope<LoginToken>),
        (status = 500, description = "`code` 1001.", body = Envelope<LoginToken>),
    )
)]
async fn login_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    headers: HeaderMap,
) -> Response {
    match app
        .service
        .grant_access(&admitted.caller, admitted.epoch)
        .await
    {
        Ok((token, expires_at)) => success(LoginToken {
            access_token: String::from_utf8_lossy(token.expose()).into_owned(),
            expired_time: expires_at.millis(),
        }),
        Err(fault) => Refusal::fault(&fault, Language::of(&headers)).into_response(),
    }
}

/// Issue PCI Client Access Token
///
/// Issues a one-time client token for use with the PCI iframe (seed 000).
#[utoipa::path(
    get, path = "/open-api/v1/merchant/client/{card_no}/token", tag = "KeySecure",
    params(
        ("card_no" = String, Path, description = "Card order number.", example = "C202605220001"),
        ("Api-Key" = String, Header, description = "The merchant's credential, bound to an IP allow-list."),
        ("Timestamp" = String, Header, description = "Unix time in milliseconds: at most 60 seconds old, never in the future."),
        ("Access-Token" = String, Header, description = "The login token of Get Token."),
        ("Language" = Option<String>, Header, description = "`en_US` (default) or `zh_CN`."),
    ),
    responses(
        (status = 200, description = "`code` 0 and the token, or the code of what is wrong.", body = Envelope<ClientTokenData>),
        (status = 500, description = "`code` 1001.", body = Envelope<ClientTokenData>),
    )
)]
async fn client_token(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    card_no: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let refuse = |code| Refusal {
        code,
        language: Language::of(&headers),
        detail: None,
    };
    if !admitted.caller.merchant.pci_enabled {
        return refuse(Code::PciNotEnabled).into_response();
    }
    let card_no = extract::path(card_no).and_then(|text| CardNo::parse(&text).ok());
    let Some(card_no) = card_no else {
        let detail = match Language::of(&headers) {
            Language::English => "card_no must be 1 to 64 letters, digits, _ or -",
            Language::Chinese => "card_no 须为 1 至 64 位字母、数字、_ 或 -",
        };
        return Refusal {
            detail: Some(detail.into()),
            ..refuse(Code::InvalidParameter)
        }
        .into_response();
    };
    let asked = Asked {
        card: CardRef::No(card_no),
        account: None,
        person: None,
        operation: Operation::ViewCard,
        fields: None,
        bound_to: None,
        named: None,
    };
    match app
        .service
        .issue(&admitted.caller, admitted.epoch, &asked)
        .await
    {
        Ok(Ok(issued)) => {
            app.metrics.tokens_issued.increment();
            success(ClientTokenData {
                client_access_token: issued.token.expose().to_owned(),
                expires_in: TTL.as_secs(),
            })
        }
        Ok(Err(refusal)) => refuse(code_of(refusal)).into_response(),
        Err(fault) => Refusal::fault(&fault, Language::of(&headers)).into_response(),
    }
}

const fn code_of(refusal: IssueRefusal) -> Code {
    match refusal {
        IssueRefusal::PciDisabled => Code::PciNotEnabled,
        IssueRefusal::UnknownCard => Code::CardNotExist,
        IssueRefusal::CardState(_) => Code::CardStatus,
        // This dialect neither chooses fields nor names requests.
        IssueRefusal::FieldUnavailable | IssueRefusal::NameReused => Code::InvalidParameter,
    }
}

/// Whether a call is the login itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// It is Get Token.
    Now,
    /// It must bring the Access-Token that Get Token gave.
    Done,
}

/// Admits a call.
pub(crate) async fn admit(
    app: &App,
    call: &Call,
    headers: &HeaderMap,
    login: Login,
    need: Need,
) -> Result<Admitted, Refusal> {
    let language = Language::of(headers);
    let refuse = |code| Refusal {
        code,
        language,
        detail: None,
    };
    let api_key = match extract::header(headers, "api-key") {
        Header::Missing => return Err(refuse(Code::ApiKeyRequired)),
        Header::Malformed => return Err(refuse(Code::ApiKeyNotExist)),
        Header::Value(key) => key,
    };
    let found = app.service.admission(api_key).await;
    let found = found.map_err(|fault| Refusal::fault(&fault, language))?;
    let Some(admission) = found else {
        return Err(refuse(Code::ApiKeyNotExist));
    };
    let now = app.service.now();
    match admission.credential.usable(now) {
        Ok(()) => {}
        Err(Barred::Disabled) => return Err(refuse(Code::ApiKeyNotEnabled)),
        Err(Barred::Expired) => return Err(refuse(Code::ApiKeyExpired)),
    }
    if !admission.credential.allows_ip(call.ip) {
        return Err(refuse(Code::IpNotAllowed));
    }
    let tolerance = i64::from(app.settings.timestamp_future_tolerance_ms);
    if !timestamp_holds(
        extract::header(headers, "timestamp"),
        now.millis(),
        tolerance,
    ) {
        let detail = match language {
            Language::English => format!("the server's time is {}", now.millis()),
            Language::Chinese => format!("服务器时间为 {}", now.millis()),
        };
        return Err(Refusal {
            detail: Some(detail.into()),
            ..refuse(Code::TimestampInvalid)
        });
    }
    if login == Login::Done {
        let text = match extract::header(headers, "access-token") {
            Header::Missing => return Err(refuse(Code::AccessTokenRequired)),
            Header::Malformed => return Err(refuse(Code::AccessTokenInvalid)),
            Header::Value(text) => text,
        };
        let checked = app
            .service
            .check_access(text, &admission.credential.id, admission.epoch);
        if checked
            .map_err(|fault| Refusal::fault(&fault, language))?
            .is_err()
        {
            return Err(refuse(Code::AccessTokenInvalid));
        }
    }
    let merchant = match &admission.merchant {
        Some(merchant) => match merchant.state {
            MerchantState::Active => merchant.clone(),
            MerchantState::Suspended => return Err(refuse(Code::MerchantAbnormal)),
            MerchantState::Closed => return Err(refuse(Code::MerchantNotExist)),
        },
        None => return Err(refuse(Code::MerchantNotExist)),
    };
    // This dialect has no scopes; a credential that lacks what the call needs is not enabled for it.
    if !admission.credential.meets(need) {
        return Err(refuse(Code::ApiKeyNotEnabled));
    }
    if app
        .limiter
        .credential(admission.credential.id.as_str())
        .is_err()
    {
        app.metrics.rate_limited.increment();
        return Err(refuse(Code::TooFrequent));
    }
    Ok(Admitted::new(admission, merchant, call))
}

/// `now - 60,000 <= timestamp <= now + tolerance`, in digits alone.
fn timestamp_holds(header: Header<'_>, now_ms: i64, tolerance_ms: i64) -> bool {
    let Header::Value(text) = header else {
        return false;
    };
    let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = if digits {
        text.parse::<i64>().ok()
    } else {
        None
    };
    value.is_some_and(|ms| (now_ms - TIMESTAMP_WINDOW_MS..=now_ms + tolerance_ms).contains(&ms))
}

fn success<T: Serialize>(data: T) -> Response {
    respond(
        StatusCode::OK,
        &Envelope {
            code: 0,
            msg: "Success".into(),
            data: Some(data),
        },
    )
}

/// The answer when the fault is ours and nothing more is known.
pub(crate) fn system_error(language: Language) -> Response {
    let refusal = Refusal {
        code: Code::SystemError,
        language,
        detail: None,
    };
    refusal.into_response()
}

/// An answer that is none.
pub(crate) struct Refusal {
    code: Code,
    language: Language,
    detail: Option<Cow<'static, str>>,
}

impl Refusal {
    /// Our fault: the caller learns 1001, the log learns why.
    fn fault(fault: &Fault, language: Language) -> Self {
        tracing::error!(error = %Chain(fault), "a request could not be carried through");
        Self {
            code: Code::SystemError,
            language,
            detail: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let words = self.code.words(self.language);
        let msg = match self.detail {
            Some(detail) => format!("{words}: {detail}").into(),
            None => Cow::Borrowed(words),
        };
        let status = if self.code == Code::SystemError {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        let envelope = Envelope::<()> {
            code: self.code.number(),
            msg,
            data: None,
        };
        let mut response = respond(status, &envelope);
        response.extensions_mut().insert(Told(self.code.name()));
        response
    }
}

fn respond<T: Serialize>(status: StatusCode, envelope: &Envelope<T>) -> Response {
    let bytes = serde_json::to_vec(envelope).unwrap_or_default();
    let mut response = (status, bytes).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_716_307_200_000;

    fn holds(text: &str, tolerance_ms: i64) -> bool {
        timestamp_holds(Header::Value(text), NOW, tolerance_ms)
    }

    #[test]
    fn the_timestamp_holds_from_60_seconds_ago_to_now() {
        for (offset, expected) in [
            (0, true),
            (-60_000, true),
            (1, false),
            (-60_001, false),
            (-1, true),
            (60_000, false),
        ] {
            assert_eq!(holds(&(NOW + offset).to_string(), 0), expected, "{offset}");
        }
        assert!(holds(&(NOW + 5_000).to_string(), 5_000));
        assert!(!holds(&(NOW + 5_001).to_string(), 5_000));
    }

    #[test]
    fn the_timestamp_is_digits_alone() {
        for wrong in [
            "",
            "abc",
            "-1716307200000",
            "+1716307200000",
            "1716307200000.0",
            "0x18F9B8B7C00",
            "1.7163072e12",
            "１７１６３０７２０００００",
            "17163072000000000",
            "1716307200",
        ] {
            assert!(!holds(wrong, 0), "{wrong}");
        }
        assert!(!timestamp_holds(Header::Missing, NOW, 0));
        assert!(!timestamp_holds(Header::Malformed, NOW, 0));
    }

    proptest! {
        #[test]
        fn the_timestamp_holds_in_its_window_only(offset in -200_000_i64..200_000, tolerance in 0_i64..10_000) {
            let expected = (-60_000..=tolerance).contains(&offset);
            prop_assert_eq!(holds(&(NOW + offset).to_string(), tolerance), expected);
        }
    }
}
