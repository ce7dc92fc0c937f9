//! The KeySecure dialect (`/open-api/v1`): "Issue PCI Client Access Token" and the pages around it
//! (docs/reference/compatibility/keysecure.md).
//!
//! Answers are `{code, msg, data}` with HTTP 200, but 500 with 1001. The order of the checks is
//! decided (docs/reference/decisions/keysecure.md): Api-Key 1002, 1008 (also where the client
//! certificate is not its own), 1010, 1011; address 1003; Timestamp 1005; Access-Token 1006, 1007;
//! merchant 1021, 1022; rate 1009, as soon as the merchant is known, so that it also limits who
//! asks for cards that are not there; PCI 1013 (before the rate, where the call itself is not
//! enabled); parameters 1004, 1019, 1020; card 4001, 4005.
//!
//! Here is what all calls share: admission, the envelope, refusals. A call has a file of its own,
//! and its line in [`routes`]. `code` holds the codes and their words, `form` reads parameters.
//!
//! **Invariant:** every `msg`, that of success too, is in the language that the caller asked for.

mod active;
mod cards;
mod client_token;
mod code;
mod form;
mod login;
mod pin;
mod private_info;
mod timestamp;
mod zone;

use std::borrow::Cow;
use std::net::IpAddr;

use axum::response::{IntoResponse, Response};
use cardveil_core::audit::refused::Denied;
use cardveil_core::flow::Fault;
use cardveil_core::merchant::{Barred, MerchantState, Need, judge};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::{Content, RefOr, ResponseBuilder};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use self::code::{Code, Language};
use self::form::Wrong;
use crate::api::admission::Admitted;
use crate::api::admission::Refused;
use crate::api::extract::{self, Header};
use crate::api::openapi;
use crate::api::permission::{Barrier, Entrant, Permission, scheme};
use crate::api::problem;
use crate::api::surface::Surface;
use crate::http::call::Call;
use crate::http::limit::{Limiter, TooOften};
use crate::http::log::ToldCode;

/// Where all calls of this dialect are.
const BASE: &str = "/open-api";

pub(crate) fn routes(surface: Surface) -> Surface {
    surface
        .refusing::<KeySecureLogin>(BASE)
        .route(KeySecureLogin, routes!(login::login_token))
        .route(
            KeySecure(Need::ReadCards),
            routes!(client_token::client_token),
        )
        .route(
            KeySecure(Need::ExportCards),
            routes!(private_info::private_info),
        )
        .route(KeySecure(Need::ReadCards), routes!(cards::card_list))
        .route(KeySecure(Need::ReadCards), routes!(cards::card_detail))
        .route(
            KeySecure(Need::WriteCards),
            routes!(cards::card_status_update),
        )
        .route(KeySecure(Need::WriteCards), routes!(active::card_active))
        .route(KeySecure(Need::SetPins), routes!(pin::card_pin_set))
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

/// A merchant's server by the rules for Get Token: Api-Key, address, Timestamp.
#[derive(Clone, Copy)]
struct KeySecureLogin;

/// A merchant's server that is logged in: by the same rules and its Access-Token; and what it
/// needs.
#[derive(Clone, Copy)]
struct KeySecure(Need);

impl Permission for KeySecureLogin {
    const API: &'static str = "keysecure";

    type Wording = Language;

    fn describe(self, operation: &mut Operation) {
        operation.security = Some(scheme("keysecure_login"));
        describe(operation, Signed::into_params(|| None));
    }

    fn wording(headers: &HeaderMap) -> Language {
        Language::of(headers)
    }

    async fn admit(self, call: &Call, headers: &HeaderMap) -> Result<Entrant, Refused<Response>> {
        let admitted = admit(call, headers, LoggedIn::Now, Need::ReadCards).await;
        admitted
            .map(Entrant::merchant)
            .map_err(Refused::into_response)
    }

    fn count_refused(limiter: &Limiter, ip: Option<IpAddr>) -> Result<(), TooOften> {
        limiter.refused(ip)
    }

    fn refuse(why: Barrier, language: Language) -> Response {
        let refusal = match why {
            Barrier::NotFound => {
                let wrong = ("path", Wrong::NoSuchPath);
                Refusal::by_http(StatusCode::NOT_FOUND, wrong, language)
            }
            Barrier::Method => {
                let wrong = ("method", Wrong::Method);
                Refusal::by_http(StatusCode::METHOD_NOT_ALLOWED, wrong, language)
            }
            Barrier::TooOften => Refusal::new(Code::TooFrequent, language),
            Barrier::Fault => Refusal::new(Code::SystemError, language),
        };
        refusal.into_response()
    }
}

impl Permission for KeySecure {
    const API: &'static str = KeySecureLogin::API;

    type Wording = Language;

    fn describe(self, operation: &mut Operation) {
        operation.security = Some(scheme("keysecure"));
        let mut headers = Signed::into_params(|| None);
        headers.extend(Session::into_params(|| None));
        describe(operation, headers);
    }

    fn wording(headers: &HeaderMap) -> Language {
        KeySecureLogin::wording(headers)
    }

    async fn admit(self, call: &Call, headers: &HeaderMap) -> Result<Entrant, Refused<Response>> {
        let admitted = admit(call, headers, LoggedIn::Before, self.0).await;
        admitted
            .map(Entrant::merchant)
            .map_err(Refused::into_response)
    }

    fn count_refused(limiter: &Limiter, ip: Option<IpAddr>) -> Result<(), TooOften> {
        KeySecureLogin::count_refused(limiter, ip)
    }

    fn refuse(why: Barrier, language: Language) -> Response {
        KeySecureLogin::refuse(why, language)
    }
}

/// What every call brings.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here; read by `admit`")]
struct Signed {
    /// The merchant's credential, bound to an IP allow-list.
    #[param(rename = "Api-Key")]
    api_key: String,
    /// Unix time in milliseconds: at most 60 seconds old, never in the future.
    #[param(rename = "Timestamp")]
    timestamp: String,
}

/// What every call after the login brings.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here; read by `admit`")]
struct Session {
    /// The login token of Get Token.
    #[param(rename = "Access-Token")]
    access_token: String,
}

/// In which language a call is answered.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here; read by `Language::of`")]
struct Spoken {
    /// `en_US` (default) or `zh_CN`.
    #[param(rename = "Language")]
    language: Option<String>,
}

/// The card by its order number.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "described here; read by handlers")]
struct OfCard {
    /// Card order number.
    #[param(example = "C202605220001")]
    card_no: String,
}

/// Says of a call what all calls bring, and that a fault has the form of its answer.
fn describe(operation: &mut Operation, headers: Vec<Parameter>) {
    let parameters = operation.parameters.get_or_insert_default();
    let place = parameters.partition_point(openapi::is_of_path);
    parameters.splice(place..place, headers.into_iter().map(RefOr::T));
    let language = Spoken::into_params(|| None);
    parameters.extend(language.into_iter().map(RefOr::T));
    let responses = &mut operation.responses.responses;
    let mut fault = ResponseBuilder::new().description("`code` 1001.").build();
    if let Some(RefOr::T(answer)) = responses.get("200") {
        for (form, content) in &answer.content {
            if let RefOr::T(content) = content {
                let content = Content::new(content.schema.clone());
                fault.content.insert(form.clone(), content.into());
            }
        }
    }
    responses.insert("500".to_owned(), fault.into());
}

/// Whether a call is the login itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoggedIn {
    /// It is Get Token.
    Now,
    /// It must bring the Access-Token that Get Token gave.
    Before,
}

/// Admits a call.
async fn admit(
    call: &Call,
    headers: &HeaderMap,
    login: LoggedIn,
    need: Need,
) -> Result<Admitted, Refused<Refusal>> {
    let app = &call.app;
    let language = Language::of(headers);
    let refuse = |code| Refusal::new(code, language);
    let stranger = |code, denied| Err(Refused::stranger(refuse(code), denied));
    let fault = |fault: Fault| Refused::fault(Refusal::fault(&fault, language));
    let api_key = match extract::header(headers, "api-key") {
        Header::Missing => return stranger(Code::ApiKeyRequired, Denied::KeyMissing),
        Header::Malformed => return stranger(Code::ApiKeyNotExist, Denied::KeyMissing),
        Header::Value(key) => key,
    };
    let found = app.service.admission(api_key).await;
    let Some(admission) = found.map_err(fault)? else {
        return stranger(Code::ApiKeyNotExist, Denied::KeyUnknown);
    };
    let holder = |code, denied| {
        let answer = refuse(code);
        Err(Refused::holder(answer, denied, &admission.credential))
    };
    // Before anything is told of the key: without its certificate it is as good as none.
    let shown = call.certificate.as_deref();
    if !admission.credential.allows_certificate(shown) {
        return holder(Code::ApiKeyNotExist, Denied::Certificate);
    }
    let now = app.service.now();
    match admission.credential.usable(now) {
        Ok(()) => {}
        Err(Barred::Disabled) => return holder(Code::ApiKeyNotEnabled, Denied::KeyDisabled),
        Err(Barred::Expired) => return holder(Code::ApiKeyExpired, Denied::KeyExpired),
    }
    let allowed = |ip: &IpAddr| admission.credential.allows_ip(*ip);
    let Some(ip) = call.ip.filter(allowed) else {
        return holder(Code::IpNotAllowed, Denied::Address);
    };
    let tolerance = i64::from(app.settings.timestamp_future_tolerance_ms);
    if let Err(why) = timestamp::check(headers, now.millis(), tolerance) {
        let answer = Refusal {
            detail: Detail::More(why.words(now.millis(), language)),
            ..refuse(Code::TimestampInvalid)
        };
        let holder = &admission.credential;
        return Err(Refused::holder(answer, Denied::Timestamp, holder));
    }
    if login == LoggedIn::Before {
        let text = match extract::header(headers, "access-token") {
            Header::Missing => {
                return holder(Code::AccessTokenRequired, Denied::AccessTokenMissing);
            }
            Header::Malformed => {
                return holder(Code::AccessTokenInvalid, Denied::AccessTokenInvalid);
            }
            Header::Value(text) => text,
        };
        let checked = app
            .service
            .check_access(text, &admission.credential.id, admission.epoch);
        if checked.map_err(fault)?.is_err() {
            return holder(Code::AccessTokenInvalid, Denied::AccessTokenInvalid);
        }
    }
    let merchant = match &admission.merchant {
        Some(merchant) => match merchant.state {
            MerchantState::Active => merchant.clone(),
            MerchantState::Suspended => {
                return holder(Code::MerchantAbnormal, Denied::MerchantSuspended);
            }
            MerchantState::Closed => {
                return holder(Code::MerchantNotExist, Denied::MerchantClosed);
            }
        },
        None => return holder(Code::MerchantNotExist, Denied::MerchantClosed),
    };
    if judge(&merchant, &admission.credential, need).is_err() {
        return holder(lacking(need), Denied::Scope);
    }
    Ok(Admitted::new(admission, merchant, call.origin(ip)))
}

/// This dialect has no scopes: card data and PINs are not enabled for the caller, or its credential
/// is not enabled for the call.
const fn lacking(need: Need) -> Code {
    match need {
        Need::ExportCards | Need::ReadPins | Need::SetPins => Code::PciNotEnabled,
        Need::ReadCards
        | Need::WriteCards
        | Need::ProvisionWallets
        | Need::ManageWebhooks
        | Need::ManageIpAddresses
        | Need::ManageMfa => Code::ApiKeyNotEnabled,
    }
}

fn success<T: Serialize>(language: Language, data: T) -> Response {
    let msg = match language {
        Language::English => "Success",
        Language::Chinese => "成功",
    };
    respond(
        StatusCode::OK,
        &Envelope {
            code: 0,
            msg: msg.into(),
            data: Some(data),
        },
    )
}

/// What is told in place of success.
#[derive(Debug)]
struct Refusal {
    code: Code,
    status: StatusCode,
    language: Language,
    detail: Detail,
    /// When to come back, where that is known.
    retry_after_secs: Option<u64>,
}

/// What a refusal says beside its code.
#[derive(Debug)]
enum Detail {
    /// The code's words alone.
    None,
    /// The code's words, and then this.
    More(String),
    /// Only this: the source's form of validation errors, `field_name message`.
    Instead(String),
}

impl Refusal {
    const fn new(code: Code, language: Language) -> Self {
        Self {
            code,
            status: if matches!(code, Code::SystemError) {
                StatusCode::INTERNAL_SERVER_ERROR
            } else {
                StatusCode::OK
            },
            language,
            detail: Detail::None,
            retry_after_secs: None,
        }
    }

    /// 1004 for a parameter. What the caller sent is not repeated.
    fn invalid(field: &'static str, wrong: Wrong, language: Language) -> Self {
        Self {
            detail: Detail::Instead(format!("{field} {}", wrong.words(language))),
            ..Self::new(Code::InvalidParameter, language)
        }
    }

    /// 1004, and HTTP's own word: what is wrong is no parameter of the source's.
    fn by_http(
        status: StatusCode,
        (field, wrong): (&'static str, Wrong),
        language: Language,
    ) -> Self {
        Self {
            status,
            ..Self::invalid(field, wrong, language)
        }
    }

    /// 1009 that says when to come back.
    fn too_often(retry_after_secs: u64, language: Language) -> Self {
        Self {
            retry_after_secs: Some(retry_after_secs),
            ..Self::new(Code::TooFrequent, language)
        }
    }

    /// Our fault: the caller learns 1001, the log learns why. The contract has no code for stopped
    /// releases, so they are 1001 too, and its words say that it is worth to come again.
    fn fault(fault: &Fault, language: Language) -> Self {
        let refusal = Self::new(Code::SystemError, language);
        problem::tell(fault);
        match fault {
            Fault::SinkFull | Fault::ClockApart(_) => {}
            Fault::Store(_) | Fault::Vault(_) | Fault::Contention => return refusal,
        }
        let words = match language {
            Language::English => "nothing is released now, try again in a minute",
            Language::Chinese => "暂停提供数据，请一分钟后重试",
        };
        Self {
            detail: Detail::More(words.to_owned()),
            ..refusal
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let words = self.code.words(self.language);
        let msg = match self.detail {
            Detail::None => Cow::Borrowed(words),
            Detail::More(detail) => format!("{words}: {detail}").into(),
            Detail::Instead(detail) => detail.into(),
        };
        let envelope = Envelope::<()> {
            code: self.code.number(),
            msg,
            data: None,
        };
        let mut response = respond(self.status, &envelope);
        if let Some(secs) = self.retry_after_secs {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, secs.into());
        }
        let (name, value) = match self.status {
            // What is yet to come of the body is not waited for (RFC 9110 15.5.9).
            StatusCode::REQUEST_TIMEOUT => (header::CONNECTION, "close"),
            // RFC 9110 15.5.16.
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (header::ACCEPT_ENCODING, "identity"),
            _ => {
                response.extensions_mut().insert(ToldCode(self.code.name()));
                return response;
            }
        };
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        response.extensions_mut().insert(ToldCode(self.code.name()));
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
