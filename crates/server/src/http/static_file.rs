//! What is served just as it was built: scripts, styles and words, each in the coding that a
//! browser takes.
//!
//! They are compressed when the program is built (`build.rs`). **Invariant:** nothing else is ever
//! compressed, so no answer's length tells what stands in it beside something that its caller chose
//! (BREACH).

use std::sync::OnceLock;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cardveil_core::sha384;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// As browsers want it said.
pub(crate) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// For an address whose bytes never change.
pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For an address that moves with releases: how long until one reaches every page.
pub(crate) const MOVING: &str = "public, max-age=300";

/// A file of `web/dist`, and its codings.
pub(crate) struct StaticFile {
    /// As it is called there.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    brotli: &'static [u8],
    gzip: &'static [u8],
    digest: OnceLock<Vec<u8>>,
}

/// The file of a name, in all its codings.
macro_rules! built {
    ($name:literal) => {
        $crate::http::static_file::StaticFile::new(
            $name,
            include_str!(concat!("../../../../web/dist/", $name)),
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".br")),
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
        )
    };
}
pub(crate) use built;

impl StaticFile {
    /// See [`built`].
    pub(crate) const fn new(
        name: &'static str,
        text: &'static str,
        brotli: &'static [u8],
        gzip: &'static [u8],
    ) -> Self {
        let digest = OnceLock::new();
        Self {
            name,
            text,
            brotli,
            gzip,
            digest,
        }
    }

    /// Its integrity value (SRI 3.2; CSP Level 3, 2.3.1).
    pub(crate) fn integrity(&self) -> String {
        integrity_of(self.digest())
    }

    /// The beginning of its digest, for an address that is its bytes' own.
    pub(crate) fn tag(&self) -> String {
        beginning(self.digest())
    }

    /// The answer to a request for it.
    pub(crate) fn answer(
        &'static self,
        request: &HeaderMap,
        content_type: &'static str,
        cache: &'static str,
    ) -> Response {
        let (coding, body) = match Coding::best(request) {
            Some(Coding::Brotli) => ("br", self.brotli),
            Some(Coding::Gzip) => ("gzip", self.gzip),
            None => ("", self.text.as_bytes()),
        };
        let tag = format!("\"{}{coding}\"", self.tag());
        let body = Bytes::from_static(body);
        let mut response = tagged(request, &tag, content_type, cache, body);
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if !coding.is_empty() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    }

    fn digest(&self) -> &[u8] {
        self.digest.get_or_init(|| sha384(self.text.as_bytes()))
    }
}

/// The integrity value of a script or a style (SRI 3.2; CSP Level 3, 2.3.1).
pub(crate) fn integrity(bytes: &[u8]) -> String {
    integrity_of(&sha384(bytes))
}

fn integrity_of(digest: &[u8]) -> String {
    format!("sha384-{}", BASE64_STANDARD.encode(digest))
}

/// The beginning of a digest, which is enough to tell one thing of ours from another.
pub(crate) fn beginning(digest: &[u8]) -> String {
    let eight = digest.iter().take(8);
    let begin = eight.fold(0, |begin, byte| begin << 8 | u64::from(*byte));
    format!("{begin:016x}")
}

/// Public bytes, or that the caller has them already (RFC 9110 13.1.2).
pub(crate) fn tagged(
    request: &HeaderMap,
    tag: &str,
    content_type: &'static str,
    cache: &'static str,
    body: Bytes,
) -> Response {
    let known = request.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    // Compared weakly: a proxy that changed the coding has made the tag a weak one.
    let is_ours = |known: &[u8]| {
        let known = known.trim_ascii();
        known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
    };
    let mut response = if known.any(is_ours) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::from(body))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Any page may load it, also one that is isolated (COEP) or asks for integrity (which needs CORS).
pub(crate) fn for_any_page(mut response: Response) -> Response {
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// How a file may be compressed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// The smaller one of those that a caller says it takes (RFC 9110 12.5.3). Whoever says nothing
    /// gets neither.
    fn best(request: &HeaderMap) -> Option<Self> {
        let offers = request.get_all(header::ACCEPT_ENCODING).iter();
        let offers = offers.filter_map(|value| value.to_str().ok());
        let offers = offers.flat_map(|value| value.split(','));
        let mut best = None;
        for offer in offers {
            let (name, weight) = offer.split_once(';').unwrap_or((offer, ""));
            let weight = weight.trim_start().strip_prefix("q=");
            if weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0)) {
                continue;
            }
            match name.trim() {
                name if name.eq_ignore_ascii_case("br") => return Some(Self::Brotli),
                name if name.eq_ignore_ascii_case("gzip") => best = Some(Self::Gzip),
                _ => {}
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asking(offers: &[&str]) -> HeaderMap {
        let pair = |offer: &&str| {
            let value = HeaderValue::from_str(offer).unwrap();
            (header::ACCEPT_ENCODING, value)
        };
        offers.iter().map(pair).collect()
    }

    #[test]
    fn a_coding_is_one_that_the_caller_takes() {
        let (br, gzip) = (Some(Coding::Brotli), Some(Coding::Gzip));
        for (offers, coding) in [
            (&[][..], None),
            (&[""][..], None),
            (&["gzip, deflate, br, zstd"], br),
            (&["br;q=0.1, gzip;q=1"], br),
            (&["BR"], br),
            (&["gzip", "br"], br),
            (&["gzip;q=0.5,deflate"], gzip),
            (&["br;q=0, gzip"], gzip),
            (&["br; q=0.000 ,gzip ; q=0"], None),
            (&["deflate, *"], None),
            (&["identity"], None),
            (&["brotli"], None),
            (&["gzipx, xbr"], None),
        ] {
            assert_eq!(Coding::best(&asking(offers)), coding, "{offers:?}");
        }
    }

    proptest! {
        #[test]
        fn no_offer_is_too_strange(offer in "[ -~]{0,40}") {
            let _ = Coding::best(&asking(&[&offer]));
        }
    }
}
