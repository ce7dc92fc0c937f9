//! The gate before every handler: it admits a call by the route's permission, or answers for it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cardveil_core::audit::{Actor, Origin, Source};
use cardveil_core::flow::Caller;
use cardveil_core::merchant::{Admission, Merchant};
use cardveil_core::token::Epoch;
use http::HeaderMap;

use crate::surface::Permission;
use crate::{App, client, equals, keysecure, native};

/// What the listener knows of a request before anyone has looked into it.
#[derive(Clone)]
pub(crate) struct Call {
    /// The id that the caller, the log and the audit record share.
    pub(crate) id: Arc<str>,
    /// From where it comes, after the rules for trusted proxies.
    pub(crate) ip: IpAddr,
    /// What checks it.
    pub(crate) app: Arc<App>,
}

impl Call {
    /// For audit records.
    pub(crate) fn origin(&self) -> Origin {
        Origin::Network {
            ip: self.ip,
            request: (*self.id).to_owned().into(),
        }
    }
}

/// An admitted merchant's server, for handlers.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// Who.
    pub(crate) caller: Caller,
    /// The epoch at its admission.
    pub(crate) epoch: Epoch,
}

impl Admitted {
    pub(crate) fn new(admission: Admission, merchant: Merchant, call: &Call) -> Self {
        let source = Source {
            actor: Actor::Credential(admission.credential.id.clone()),
            origin: call.origin(),
        };
        Self {
            caller: Caller {
                credential: admission.credential,
                merchant,
                source,
            },
            epoch: admission.epoch,
        }
    }
}

/// The route's pattern, for the log.
#[derive(Clone)]
pub(crate) struct Pattern(pub(crate) Arc<str>);

/// The credential that called, for the log.
#[derive(Clone)]
pub(crate) struct CalledBy(pub(crate) Arc<str>);

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

/// The middleware of every route.
pub(crate) async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let admitted = match request.extensions().get::<Call>() {
        Some(call) => gate.check(call, request.headers()).await,
        // The listener puts it there. Without it nobody knows who calls, so nobody is admitted.
        None => {
            Err(crate::problem::Problem::new(crate::problem::Code::Unavailable).into_response())
        }
    };
    let (mut response, called_by) = match admitted {
        Ok(admitted) => {
            let called_by = admitted
                .as_ref()
                .map(|a| CalledBy(a.caller.credential.id.as_str().into()));
            if let Some(admitted) = admitted {
                request.extensions_mut().insert(Arc::new(admitted));
            }
            (next.run(request).await, called_by)
        }
        Err(refusal) => (refusal, None),
    };
    let extensions = response.extensions_mut();
    extensions.insert(Pattern(gate.pattern));
    if let Some(called_by) = called_by {
        extensions.insert(called_by);
    }
    response
}

impl Gate {
    async fn check(&self, call: &Call, headers: &HeaderMap) -> Result<Option<Admitted>, Response> {
        let app = &*call.app;
        match self.permission {
            Permission::Public(_) => Ok(None),
            Permission::Holder => {
                client::admit(app, call, headers).map_err(IntoResponse::into_response)?;
                Ok(None)
            }
            Permission::KeySecureLogin => {
                keysecure::admit_login(app, call, headers).await.map(Some)
            }
            Permission::KeySecure => keysecure::admit(app, call, headers).await.map(Some),
            Permission::Equals => equals::admit(app, call, headers)
                .await
                .map(Some)
                .map_err(IntoResponse::into_response),
            Permission::Native => native::admit(app, call, headers)
                .await
                .map(Some)
                .map_err(IntoResponse::into_response),
        }
    }
}
