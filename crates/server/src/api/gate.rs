//! The gate before every handler: it admits a call by the route's permission, or answers for it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cardveil_core::audit::refused::Denied;
use cardveil_core::merchant::Need;
use futures_util::FutureExt as _;
use http::{HeaderMap, Method};

use crate::api::admission::{Admitted, Holder, Refused};
use crate::api::problem::{Code, Problem};
use crate::api::surface::Permission;
use crate::http::ListenerKind;
use crate::http::call::{Call, CalledBy, Pattern};
use crate::http::limit::{Standing, TooOften};
use crate::keysecure::{Language, Login};
use crate::{client, equals, keysecure, native};

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Gate {
    permission: Permission,
    pattern: Arc<str>,
}

impl Gate {
    pub(crate) fn new(permission: Permission, pattern: &str) -> Self {
        Self {
            permission,
            pattern: pattern.into(),
        }
    }
}

/// The middleware of every route. A request that panics or takes too long is our fault, told in the
/// words of the route's API.
pub(crate) async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let language = Language::of(request.headers());
    // The listener puts it there. Without it nobody knows who calls, so nobody is admitted.
    let Some(call) = request.extensions().get::<Call>().cloned() else {
        return gate.fault(language);
    };
    let answered = AssertUnwindSafe(gate.answer(&call, request, next)).catch_unwind();
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            call.app.note_panicked_call();
            tracing::error!(request.id = %call.id, "a request panicked");
            gate.fault(language)
        }
        Err(_) => {
            tracing::error!(request.id = %call.id, "a request took too long");
            gate.fault(language)
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

impl Gate {
    async fn answer(&self, call: &Call, mut request: Request, next: Next) -> Response {
        // A HEAD does all that a GET does: it would issue a token that nobody gets.
        if request.method() == Method::HEAD && !matches!(self.permission, Permission::Public(_)) {
            return match self.permission {
                Permission::KeySecureLogin | Permission::KeySecure(_) => {
                    keysecure::method_not_allowed(request.headers())
                }
                Permission::Equals(_)
                | Permission::Native(_)
                | Permission::Holder
                | Permission::Public(_) => Problem::new(Code::MethodNotAllowed).into_response(),
            };
        }
        let language = Language::of(request.headers());
        let admitted = match self.check(call, request.headers()).await {
            Ok(admitted) => admitted,
            Err(refused) => return self.not_admitted(call, refused, language),
        };
        if self.permission == Permission::Holder {
            return self.answer_holder(call, request, next, language).await;
        }
        let standing = match Self::limit(call, admitted.as_ref()) {
            Ok(standing) => standing,
            Err(too_often) => return self.too_often(call, &too_often, language),
        };
        let called_by = admitted
            .as_ref()
            .map(|admitted| CalledBy(admitted.caller.credential.id.as_str().into()));
        if let Some(admitted) = admitted {
            call.app.note_use(&admitted.caller.credential.id);
            request.extensions_mut().insert(Arc::new(admitted));
        }
        let mut response = next.run(request).await;
        if let Some(called_by) = called_by {
            carried_through(call, &response);
            response.extensions_mut().insert(called_by);
        }
        if let Some(standing) = standing {
            standing.tell(response.headers_mut());
        }
        response
    }

    /// Whether the token is ours is seen by the handler, so the call is counted after it.
    async fn answer_holder(
        &self,
        call: &Call,
        mut request: Request,
        next: Next,
        language: Language,
    ) -> Response {
        let Some(ip) = call.ip else {
            let why = (Denied::Address, None);
            call.app.note_refused(call, self.permission.api(), why);
            return Problem::new(Code::CallerUnknown).into_response();
        };
        let holder = Holder::new(call, ip);
        let charged = Arc::clone(&holder.charged);
        request.extensions_mut().insert(holder);
        let mut response = next.run(request).await;
        if let Some(Ok(_)) = charged.get() {
            carried_through(call, &response);
        }
        match charged.get() {
            Some(Ok(Some(standing))) => standing.tell(response.headers_mut()),
            Some(Err(too_often)) => return self.too_often(call, too_often, language),
            None if response.status().is_client_error() => {
                if let Err(too_often) = call.app.limiter.stranger(Some(ip)) {
                    return self.too_often(call, &too_often, language);
                }
            }
            Some(Ok(None)) | None => {}
        }
        response
    }

    /// Who is refused too often is told no more why.
    fn not_admitted(
        &self,
        call: &Call,
        refused: Refused<Response>,
        language: Language,
    ) -> Response {
        let Refused {
            answer: refusal,
            why,
        } = refused;
        if let Some(why) = why {
            call.app.note_refused(call, self.permission.api(), why);
        }
        if refusal.status().is_server_error() {
            return refusal;
        }
        let limiter = &call.app.limiter;
        let counted = match self.permission {
            Permission::KeySecureLogin
            | Permission::KeySecure(_)
            | Permission::Equals(_)
            | Permission::Native(_) => limiter.refused(call.ip),
            Permission::Holder => limiter.stranger(call.ip),
            Permission::Public(_) => Ok(()),
        };
        match counted {
            Ok(()) => refusal,
            Err(too_often) => self.too_often(call, &too_often, language),
        }
    }

    /// Once a caller is known, and before anything is looked up for it: so that it also limits who
    /// asks for what is not there.
    fn limit(call: &Call, admitted: Option<&Admitted>) -> Result<Option<Standing>, TooOften> {
        let limiter = &call.app.limiter;
        match (admitted, call.listener, call.ip) {
            (Some(admitted), ..) => limiter.credential(admitted.caller.credential.id.as_str()),
            // Frames and scripts answer where nobody knows who calls, too; probes always.
            (None, ListenerKind::Client, Some(ip)) => limiter.public(ip).map(|_| None),
            (None, ..) => Ok(None),
        }
    }

    fn too_often(&self, call: &Call, too_often: &TooOften, language: Language) -> Response {
        call.app.metrics.rate_limited.increment();
        let mut response = match self.permission {
            Permission::KeySecureLogin | Permission::KeySecure(_) => {
                keysecure::too_frequent(language)
            }
            Permission::Equals(_)
            | Permission::Native(_)
            | Permission::Holder
            | Permission::Public(_) => Problem::new(Code::RateLimited).into_response(),
        };
        too_often.tell(response.headers_mut());
        response
    }

    /// The answer when the fault is ours.
    fn fault(&self, language: Language) -> Response {
        match self.permission {
            Permission::KeySecureLogin | Permission::KeySecure(_) => {
                keysecure::system_error(language)
            }
            Permission::Equals(_)
            | Permission::Native(_)
            | Permission::Holder
            | Permission::Public(_) => Problem::new(Code::Unavailable).into_response(),
        }
    }

    async fn check(
        &self,
        call: &Call,
        headers: &HeaderMap,
    ) -> Result<Option<Admitted>, Refused<Response>> {
        let app = &*call.app;
        match self.permission {
            Permission::Public(_) => Ok(None),
            Permission::Holder => {
                // What is wrong with the frame's own page is no refusal of anybody's access.
                let _says_where =
                    client::admit(app, headers).map_err(|p| Refused::fault(p.into_response()))?;
                Ok(None)
            }
            Permission::KeySecureLogin => {
                let admitted =
                    keysecure::admit(app, call, headers, Login::Now, Need::ReadCards).await;
                admitted.map(Some).map_err(Refused::into_response)
            }
            Permission::KeySecure(need) => {
                let admitted = keysecure::admit(app, call, headers, Login::Done, need).await;
                admitted.map(Some).map_err(Refused::into_response)
            }
            Permission::Equals(need) => equals::admit(app, call, headers, need)
                .await
                .map(Some)
                .map_err(Refused::into_response),
            Permission::Native(need) => native::admit(app, call, headers, need)
                .await
                .map(Some)
                .map_err(Refused::into_response),
        }
    }
}
