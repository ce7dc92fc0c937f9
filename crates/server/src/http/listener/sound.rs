//! Requests that two servers read in two ways, and that hyper lets pass. A proxy that sees other
//! requests, or another host, than we do lets through what it should not, so they are refused.
//!
//! Where `Content-Length` comes with a `Transfer-Encoding`, hyper goes by the latter and closes the
//! connection afterwards, as RFC 9112 6.1 allows.

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Request, Version};

/// What a refused caller is told.
pub(super) const RULE: &str = "Host must be there once, as in the address where that tells one, and \
                               Transfer-Encoding at most once, as chunked";

/// Whether everybody reads the head in one way (RFC 9112 3.2, 3.2.2, 6.1).
pub(super) fn is_sound<B>(request: &Request<B>) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    has_one_host(request) && codings.next().is_none_or(chunked) && codings.next().is_none()
}

/// Before HTTP/1.1 a host need not be told. Where the address itself tells one, RFC 9112 3.2.2 goes
/// by that alone; a proxy may have gone by the other.
fn has_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return false;
    }
    let Some(host) = host else {
        return request.version() < Version::HTTP_11;
    };
    let Ok(host) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let is_host_alone = !host.host().is_empty() && !host.as_str().contains('@');
    // Their comparison leaves the case of letters out.
    is_host_alone && request.uri().authority().is_none_or(|told| *told == host)
}
