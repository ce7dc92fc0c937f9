//! The gate before every handler: it admits a call by the route's permission, or answers for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cardveil_core::audit::refused::Denied;
use futures_util::FutureExt as _;
use http::Method;

use super::admission::{Admitted, Holder, Refused};
use super::permission::{Barrier, Entrant, Permission};
use super::problem::{Code, Problem};
use crate::http::ListenerKind;
use crate::http::call::{Call, CalledBy, Pattern};
use crate::http::limit::TooOften;

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Gate<P> {
    permission: P,
    pattern: Arc<str>,
}

impl<P: Permission> Gate<P> {
    pub(crate) fn new(permission: P, pattern: &str) -> Self {
        Self {
            permission,
            pattern: pattern.into(),
        }
    }
}

/// The middleware of every route. A request that panics or takes too long is our fault, told in the
/// words of the route's API.
pub(crate) async fn admit<P: Permission>(
    State(gate): State<Gate<P>>,
    request: Request,
    next: Next,
) -> Response {
    let wording = P::wording(request.headers());
    let fault = || P::refuse(Barrier::Fault, wording);
    // The listener puts it there. Without it nobody knows who calls, so nobody is admitted.
    let Some(call) = request.extensions().get::<Call>().cloned() else {
        return fault();
    };
    let answered = AssertUnwindSafe(gate.answer(&call, request, next, wording)).catch_unwind();
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            call.app.note_panicked_call();
            tracing::error!(request.id = %call.id, "a request panicked");
            fault()
        }
        Err(_) => {
            tracing::error!(request.id = %call.id, "a request took too long");
            fault()
        }
    };
    response.extensions_mut().insert(Pattern(gate.pattern));
    response
}

/// The call of somebody who is known has its answer.
fn carried_through(call: &Call, response: &Response) {
    if !response.status().is_server_error() {
        call.app.panics.carried_through();
    }
}

impl<P: Permission> Gate<P> {
    async fn answer(
        &self,
        call: &Call,
        request: Request,
        next: Next,
        wording: P::Wording,
    ) -> Response {
        if request.method() == Method::HEAD && !P::TAKES_HEAD {
            return P::refuse(Barrier::Method, wording);
        }
        let answered = match self.permission.admit(call, request.headers()).await {
            Ok(Entrant::Merchant(admitted)) => answer_merchant(call, admitted, request, next).await,
            Ok(Entrant::Holder) => answer_holder::<P>(call, request, next).await,
            Ok(Entrant::Anyone) => answer_anyone(call, request, next).await,
            Err(refused) => not_admitted::<P>(call, refused),
        };
        answered.unwrap_or_else(|too_often| {
            call.app.metrics.rate_limited.increment();
            let mut response = P::refuse(Barrier::TooOften, wording);
            too_often.tell(response.headers_mut());
            response
        })
    }
}

/// Counted once the caller is known, and before anything is looked up for it: so that this also
/// limits who asks for what is not there.
async fn answer_merchant(
    call: &Call,
    admitted: Arc<Admitted>,
    mut request: Request,
    next: Next,
) -> Result<Response, TooOften> {
    let id = &admitted.caller.credential.id;
    let standing = call.app.limiter.credential(id.as_str())?;
    let called_by = CalledBy(id.as_str().into());
    call.app.note_use(id);
    request.extensions_mut().insert(admitted);
    let mut response = next.run(request).await;
    carried_through(call, &response);
    response.extensions_mut().insert(called_by);
    if let Some(standing) = standing {
        standing.tell(response.headers_mut());
    }
    Ok(response)
}

/// Whether the token is ours is seen by the handler, so the call is counted after it.
async fn answer_holder<P: Permission>(
    call: &Call,
    mut request: Request,
    next: Next,
) -> Result<Response, TooOften> {
    let Some(ip) = call.ip else {
        let why = (Denied::Address, None);
        call.app.note_refused(call, P::API, why);
        return Ok(Problem::new(Code::CallerUnknown).into_response());
    };
    let holder = Holder::new(call, ip);
    let charged = Arc::clone(&holder.charged);
    request.extensions_mut().insert(holder);
    let mut response = next.run(request).await;
    match charged.get() {
        Some(Ok(standing)) => {
            carried_through(call, &response);
            if let Some(standing) = standing {
                standing.tell(response.headers_mut());
            }
        }
        Some(Err(too_often)) => return Err(*too_often),
        None if response.status().is_client_error() => {
            P::count_refused(&call.app.limiter, Some(ip))?;
        }
        None => {}
    }
    Ok(response)
}

/// Frames and scripts answer where nobody knows who calls, too; probes always.
async fn answer_anyone(call: &Call, request: Request, next: Next) -> Result<Response, TooOften> {
    if let (ListenerKind::Client, Some(ip)) = (call.listener, call.ip) {
        call.app.limiter.public(ip)?;
    }
    Ok(next.run(request).await)
}

/// Who is refused too often is told no more why.
fn not_admitted<P: Permission>(
    call: &Call,
    refused: Refused<Response>,
) -> Result<Response, TooOften> {
    if let Some(why) = refused.why {
        call.app.note_refused(call, P::API, why);
    }
    if !refused.answer.status().is_server_error() {
        P::count_refused(&call.app.limiter, call.ip)?;
    }
    Ok(refused.answer)
}
