//! The headers of every answer, set once from constants (reference: ASVS 5.0 section 3.4).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Set unless the handler has set its own.
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

pub(crate) fn finish(headers: &mut HeaderMap, request_id: &str) {
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(value);
    }
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}
