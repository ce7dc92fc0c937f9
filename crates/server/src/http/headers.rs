//! The headers of every answer, set once from constants (reference: ASVS 5.0 section 3.4).

use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

/// Set unless the handler has set its own, or says that the caller has the answer already: what a
/// 304 says takes the place of what that came with (RFC 9111 3.2).
const DEFAULTS: [(HeaderName, HeaderValue); 3] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Set on every answer.
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000; includeSubDomains"),
    ),
];

/// What every answer has, as text.
pub(crate) fn always() -> impl Iterator<Item = (String, String)> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    ALWAYS
        .into_iter()
        .map(move |(name, value)| (name.to_string(), text(&value)))
}

pub(crate) fn finish<B>(response: &mut Response<B>, request_id: &str) {
    let known = response.status() == StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    if known {
        // That of the body that is not there, which is not that of the answer (RFC 9110 8.6).
        headers.remove(header::CONTENT_LENGTH);
    } else {
        for (name, value) in DEFAULTS {
            headers.entry(name).or_insert(value);
        }
    }
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}
