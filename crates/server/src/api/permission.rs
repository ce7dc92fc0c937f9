//! Who may call a route, and what an API answers to whom it does not admit. Each API says so for
//! itself, by one type a kind of caller; the gate asks it and knows no API.
//!
//! To add an API: a type that implements [`Permission`], and routes that name it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::SecurityRequirement;

use super::admission::{Admitted, Refused};
use super::openapi;
use super::problem::{Code, Problem};
use crate::http::call::Call;
use crate::http::limit::{Limiter, TooOften};

/// Who may call a route, by the rules of its API. Deny by default: a stranger may call [`Public`]
/// ones only.
pub(crate) trait Permission: Copy + Send + Sync + 'static {
    /// Which API it is of, for records.
    const API: &'static str;

    /// Whether a HEAD may be answered as a GET is. Where a GET issues a token, a HEAD would issue
    /// one that nobody gets.
    const TAKES_HEAD: bool = false;

    /// How a call wants its refusals worded.
    type Wording: Copy + Send + Sync;

    /// Says in a route's description who may call it, and what it refuses beside what the handler
    /// names itself.
    fn describe(self, operation: &mut Operation);

    /// How the call that has these headers wants its refusals worded.
    fn wording(headers: &HeaderMap) -> Self::Wording;

    /// Admits a call, in the API's own order of checks.
    fn admit(
        self,
        call: &Call,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Entrant, Refused<Response>>> + Send;

    /// Counts a call that was not admitted.
    fn count_refused(limiter: &Limiter, ip: Option<IpAddr>) -> Result<(), TooOften>;

    /// What the API says where the gate refuses, or fails, by itself.
    fn refuse(why: Barrier, wording: Self::Wording) -> Response;
}

/// Whom the gate lets in.
pub(crate) enum Entrant {
    /// A merchant's server.
    Merchant(Arc<Admitted>),
    /// Whoever holds a client token, if it is ours: that is seen by the handler.
    Holder,
    /// Anyone.
    Anyone,
}

impl Entrant {
    /// A merchant's server that was admitted.
    pub(crate) fn merchant(admitted: Admitted) -> Self {
        Self::Merchant(Arc::new(admitted))
    }
}

/// Why a call does not reach its handler, or gets no answer of it, whatever its API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// There is nothing at this address.
    NotFound,
    /// Not with this method.
    Method,
    /// Too many calls.
    TooOften,
    /// The fault is ours.
    Fault,
}

impl Barrier {
    /// What it is to callers who get problems.
    pub(crate) fn problem(self) -> Response {
        let code = match self {
            Self::NotFound => Code::NotFound,
            Self::Method => Code::MethodNotAllowed,
            Self::TooOften => Code::RateLimited,
            Self::Fault => Code::Unavailable,
        };
        Problem::new(code).into_response()
    }
}

/// Anyone who reaches the listener.
#[derive(Clone, Copy)]
pub(crate) struct Public(());

impl Public {
    /// For a reason that is written where the route is.
    pub(crate) const fn because(_why: &'static str) -> Self {
        Self(())
    }
}

impl Permission for Public {
    const API: &'static str = "public";
    const TAKES_HEAD: bool = true;

    type Wording = ();

    fn describe(self, operation: &mut Operation) {
        operation.security = Some(Vec::new());
        openapi::refuse(operation, &[]);
    }

    fn wording(_: &HeaderMap) {}

    async fn admit(self, _: &Call, _: &HeaderMap) -> Result<Entrant, Refused<Response>> {
        Ok(Entrant::Anyone)
    }

    fn count_refused(_: &Limiter, _: Option<IpAddr>) -> Result<(), TooOften> {
        Ok(())
    }

    fn refuse(why: Barrier, (): ()) -> Response {
        why.problem()
    }
}

/// What `OpenAPI` says where a caller proves who it is by this scheme.
pub(crate) fn scheme(name: &str) -> Vec<SecurityRequirement> {
    vec![SecurityRequirement::new::<_, [&str; 0], &str>(name, [])]
}
