//! Problems (RFC 9457): how every API but KeySecure's says what is wrong. `code` is stable,
//! `detail` is for people and says what to do next.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use cardveil_core::flow::Fault;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::chain::Chain;
use crate::http::lists::Busy;
use crate::http::log;

/// The codes of problems. Stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// 400: a parameter, header or body is not what the API says. `detail` names it.
    InvalidRequest,
    /// 401: the call has no credential.
    CredentialRequired,
    /// 403: the credential is unknown, disabled or expired, or is not allowed from this address.
    CredentialRefused,
    /// 403: the credential lacks the scope that the call needs.
    ScopeMissing,
    /// 403: the merchant may not show card data, or not have it or PINs on its own servers.
    PciNotEnabled,
    /// 403: the card is in a state in which its details are not shown.
    CardNotViewable,
    /// 403: the client token is not good, for whichever reason.
    TokenRefused,
    /// 403: the card has none of the fields, or the client token, which is good, is not for one of
    /// them.
    FieldUnavailable,
    /// 403: a proxy before the server does not tell from which address the call comes.
    CallerUnknown,
    /// 403: the browser's page is not of the client origin.
    OriginRefused,
    /// 403: the merchant's policy asks for a second factor, and the call brings none.
    MfaRequired,
    /// 403: the second factor is refused, for whichever reason.
    MfaRefused,
    /// 404: there is nothing at this address, or nothing that this caller may know of.
    NotFound,
    /// 405: not with this method.
    MethodNotAllowed,
    /// 408: the body did not come in time.
    RequestTimeout,
    /// 409: the person has no such second factor, or it is locked.
    FactorUnavailable,
    /// 409: the card's state does not lead to the one that is asked for.
    TransitionRefused,
    /// 409: the digital wallet token is at its end, or not where the call needs it.
    WalletTokenFinal,
    /// 409: the card has as many digital wallet tokens as it may have.
    WalletTokenLimit,
    /// 409: the list of allowed addresses stays as it is. `detail` says why.
    IpAddressRefused,
    /// 400: three digits of the PIN in a row are the same or sequential.
    WeakPin,
    /// 413: the body is larger than the API takes.
    TooLarge,
    /// 415: the body is not JSON, or is compressed.
    UnsupportedMediaType,
    /// 422: the `Idempotency-Key` was used for another request.
    IdempotencyMismatch,
    /// 429: too many calls. `Retry-After` says when to come back.
    RateLimited,
    /// 501: this deployment does not do it. `detail` says what to do instead.
    NotImplemented,
    /// 503: we cannot answer now. Nothing was released; the token is still good.
    Unavailable,
    /// 503: a sink of the audit log that is required takes no more, so nothing is released. Nothing
    /// was; the token is still good.
    AuditSinkFull,
    /// 503: this node's clock is too far from the store's, so nothing is released. Nothing was; the
    /// token is still good.
    ClockApart,
    /// 503: another program holds the database file, so nothing is written; of `/readyz`.
    StoreLocked,
    /// 503: the server was told to stop; for load balancers only.
    Stopping,
    /// 503: calls end in panics and none is carried through; for whoever restarts the server.
    Panicking,
}

impl Code {
    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::WeakPin => StatusCode::BAD_REQUEST,
            Self::CredentialRequired => StatusCode::UNAUTHORIZED,
            Self::CredentialRefused
            | Self::ScopeMissing
            | Self::PciNotEnabled
            | Self::CardNotViewable
            | Self::TokenRefused
            | Self::FieldUnavailable
            | Self::CallerUnknown
            | Self::OriginRefused
            | Self::MfaRequired
            | Self::MfaRefused => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::FactorUnavailable
            | Self::IpAddressRefused
            | Self::TransitionRefused
            | Self::WalletTokenFinal
            | Self::WalletTokenLimit => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable
            | Self::AuditSinkFull
            | Self::ClockApart
            | Self::StoreLocked
            | Self::Stopping
            | Self::Panicking => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::CredentialRequired => "credential_required",
            Self::CredentialRefused => "credential_refused",
            Self::ScopeMissing => "scope_missing",
            Self::PciNotEnabled => "pci_not_enabled",
            Self::CardNotViewable => "card_not_viewable",
            Self::TokenRefused => "token_refused",
            Self::FieldUnavailable => "field_unavailable",
            Self::CallerUnknown => "caller_unknown",
            Self::OriginRefused => "origin_refused",
            Self::MfaRequired => "mfa_required",
            Self::MfaRefused => "mfa_refused",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::FactorUnavailable => "factor_unavailable",
            Self::TransitionRefused => "transition_refused",
            Self::WalletTokenFinal => "wallet_token_final",
            Self::WalletTokenLimit => "wallet_token_limit",
            Self::IpAddressRefused => "ip_address_refused",
            Self::WeakPin => "weak_pin",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::RateLimited => "rate_limited",
            Self::NotImplemented => "not_implemented",
            Self::Unavailable => "unavailable",
            Self::AuditSinkFull => "audit_sink_full",
            Self::ClockApart => "clock_apart",
            Self::StoreLocked => "store_locked",
            Self::Stopping => log::STOPPING,
            Self::Panicking => "panicking",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::CredentialRequired => "A credential is required",
            Self::CredentialRefused => "The credential is refused",
            Self::ScopeMissing => "The credential lacks a scope",
            Self::PciNotEnabled => "This is not enabled for the merchant",
            Self::CardNotViewable => "The card cannot be shown now",
            Self::TokenRefused => "The token is refused",
            Self::FieldUnavailable => "These fields cannot be had",
            Self::CallerUnknown => "The caller's address is not known",
            Self::OriginRefused => "The origin is refused",
            Self::MfaRequired => "A second factor is required",
            Self::MfaRefused => "The second factor is refused",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "The method is not allowed",
            Self::RequestTimeout => "The request came too slowly",
            Self::FactorUnavailable => "The second factor is not available",
            Self::TransitionRefused => "The card cannot go to that state",
            Self::WalletTokenFinal => "The wallet token's state does not lead there",
            Self::WalletTokenLimit => "The card has too many wallet tokens",
            Self::IpAddressRefused => "The list of addresses cannot be changed so",
            Self::WeakPin => "The PIN is too weak",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::IdempotencyMismatch => "The idempotency key was used for another request",
            Self::RateLimited => "Too many requests",
            Self::NotImplemented => "Not implemented",
            Self::Unavailable => "Unavailable",
            Self::AuditSinkFull | Self::ClockApart => "Nothing is released now",
            Self::StoreLocked => "Another program holds the database file",
            Self::Stopping => "The server is stopping",
            Self::Panicking => "The server carries nothing through",
        }
    }

    /// What to do next, where nothing more exact is known.
    const fn advice(self) -> &'static str {
        match self {
            Self::InvalidRequest => "Check the request against the API's description.",
            Self::CredentialRequired => "Send the Api-Key in the Authorization header.",
            Self::CredentialRefused => {
                "Check the Api-Key, its state and expiry, and the addresses it is allowed from."
            }
            Self::ScopeMissing => "Use a credential with a scope that this operation names.",
            Self::PciNotEnabled => "Ask the card programme to enable this for you.",
            Self::CardNotViewable => "Bring the card into use first, or choose another.",
            Self::TokenRefused => "Ask for a new token and try again.",
            Self::FieldUnavailable => {
                "Ask for fields that the card has and the token is for. Nothing was spent."
            }
            Self::CallerUnknown => {
                "The proxy before the server has to add the caller's address to X-Forwarded-For, or \
                 send it by the PROXY protocol."
            }
            Self::OriginRefused => "Call this API from the frame that this server serves.",
            Self::MfaRequired => "Open an MFA session and send its id with the person's code.",
            Self::MfaRefused => "Ask the person for their present code, or open a new MFA session.",
            Self::NotFound => "Check the address and the id.",
            Self::MethodNotAllowed => "See the Allow header.",
            Self::RequestTimeout => "Send the body within 10 seconds.",
            Self::FactorUnavailable => {
                "Enrol and confirm an authenticator app for this person. One that is locked is reset by \
                 the operator."
            }
            Self::TransitionRefused => {
                "Look at the card's state, and ask for one that may follow it."
            }
            Self::WalletTokenFinal => {
                "Look at the token's state. Add the card to the wallet again for a new token."
            }
            Self::WalletTokenLimit => {
                "Terminate a token of this card first: 25 may be active or suspended."
            }
            Self::IpAddressRefused => "Look at the list first.",
            Self::WeakPin => {
                "Choose a PIN without three digits in a row that are the same or sequential, or leave it \
                 out to get one."
            }
            Self::TooLarge => "Send a smaller body.",
            Self::UnsupportedMediaType => "Send Content-Type: application/json.",
            Self::IdempotencyMismatch => "Use a new Idempotency-Key for a new request.",
            Self::RateLimited => "Wait as long as Retry-After says.",
            Self::NotImplemented => {
                "No card network is connected for provisioning. Add the card in the wallet by hand, or \
                 try its life with the simulator of a sandbox: POST /v1/simulator/wallet-tokens."
            }
            Self::Unavailable => "Try again shortly. Nothing was released.",
            Self::AuditSinkFull => {
                "Try again in a minute: the audit log has to be copied first. Nothing was released."
            }
            Self::ClockApart => "Try again shortly, at another node. Nothing was released.",
            Self::StoreLocked => {
                "Another program holds the write lock of the SQLite file: `fuser -v` on the file tells which. \
                 End it, or wait for it: calls wait for 5 s, and it goes on by itself."
            }
            Self::Stopping => "Send nothing new here. What is under way is finished.",
            Self::Panicking => "Restart it. Its log says where it panicked.",
        }
    }
}

/// A problem on its way out.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    /// A header that belongs to the code.
    header: Option<(HeaderName, HeaderValue)>,
}

/// A problem on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// `urn:cardveil:problem:` and the code.
    r#type: String,
    /// What the code means.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// The stable code.
    code: Code,
    /// What is wrong and what to do next.
    detail: &'a str,
}

impl Problem {
    pub(crate) const fn new(code: Code) -> Self {
        Self {
            code,
            detail: Cow::Borrowed(code.advice()),
            header: None,
        }
    }

    pub(crate) fn detail(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            header: None,
        }
    }

    /// The request is wrong in the named place. `what` never repeats what was sent.
    pub(crate) fn invalid(place: &str, what: impl std::fmt::Display) -> Self {
        Self::detail(Code::InvalidRequest, format!("{place}: {what}"))
    }

    /// Too often for a reason of the request's own, not by the credential's limit.
    pub(crate) fn too_often(retry_after_secs: u64) -> Self {
        Self {
            header: Some((header::RETRY_AFTER, retry_after_secs.into())),
            ..Self::new(Code::RateLimited)
        }
    }

    /// The body is compressed. Its own header tells a client that this, and not the type, is why
    /// (RFC 9110 15.5.16).
    pub(crate) fn encoded() -> Self {
        const DETAIL: &str = "Send the body without Content-Encoding: it is read as it is.";
        let header = (
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        Self {
            header: Some(header),
            ..Self::detail(Code::UnsupportedMediaType, DETAIL)
        }
    }

    /// The body came too slowly. What is yet to come of it is not waited for (RFC 9110 15.5.9).
    pub(crate) fn request_timeout() -> Self {
        Self {
            header: Some((header::CONNECTION, HeaderValue::from_static("close"))),
            ..Self::new(Code::RequestTimeout)
        }
    }

    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// `scheme` is how the API takes its credential (RFC 9110 11.6.1).
    pub(crate) fn credential_required(scheme: &'static str) -> Self {
        Self {
            header: Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme))),
            ..Self::new(Code::CredentialRequired)
        }
    }
}

/// Our fault: the caller learns nothing but that, the log learns why.
impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        tell(&fault);
        Self::new(match fault {
            Fault::Store(_) | Fault::Vault(_) | Fault::Contention => Code::Unavailable,
            Fault::SinkFull => Code::AuditSinkFull,
            Fault::ClockApart(_) => Code::ClockApart,
        })
    }
}

impl From<Busy> for Problem {
    fn from(_: Busy) -> Self {
        Self::too_often(Busy::RETRY_AFTER_SECS)
    }
}

impl From<cardveil_core::port::Error> for Problem {
    fn from(error: cardveil_core::port::Error) -> Self {
        Fault::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let body = ProblemBody {
            r#type: format!("urn:cardveil:problem:{}", self.code.name()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code,
            detail: &self.detail,
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, bytes).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
            .extensions_mut()
            .insert(log::ToldCode(self.code.name()));
        response
    }
}

/// Logs a fault. Not that releases are stopped: whoever stopped them has said so once.
pub(crate) fn tell(fault: &Fault) {
    match fault {
        Fault::SinkFull | Fault::ClockApart(_) => {}
        Fault::Store(_) | Fault::Vault(_) | Fault::Contention => {
            tracing::error!(error = %Chain(fault), "a request could not be carried through");
        }
    }
}
