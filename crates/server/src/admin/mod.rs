//! The admin listener: health, readiness, figures, and the reference of all APIs. It listens on
//! loopback unless told otherwise.

mod reference;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cardveil_core::Time;
use cardveil_core::port::Writes;
use http::header::{self, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;

use crate::api::permission::Public;
use crate::api::problem::{Code, Problem};
use crate::api::surface::Surface;
use crate::http::app::{Ailment, App, Shared};
use crate::http::metrics;
use crate::http::outward::Driven;

/// How long writes may be tried in vain before nothing more is to be sent here. Nodes share a
/// database: a busy moment of it must not take all of them out at once.
const WRITES_LATE: Duration = Duration::from_secs(10);
/// How long a lookup may take, so that each answer is there within two seconds. A caller who waits
/// longer does not wait for the answer.
const LOOKUP_LATE: Duration = Duration::from_millis(1_500);

pub(crate) fn routes(surface: Surface, document: fn() -> OpenApi) -> Surface {
    const PROBE: Public = Public::because("probes have no credential; it tells no more than up");
    const FIGURES: Public = Public::because("counters only; the listener is the operator's");
    const DOCUMENT: Public = Public::because("the description of a public program");
    let (schemas, paths, handlers) = routes!(openapi);
    let described = handlers.route_layer(Extension(Document(document)));
    surface
        .route(PROBE, routes!(healthz))
        .route(PROBE, routes!(readyz))
        .route(FIGURES, routes!(metrics))
        .route(DOCUMENT, (schemas, paths, described))
        .route(DOCUMENT, routes!(reference::page))
        .route(DOCUMENT, routes!(reference::library))
        .route(DOCUMENT, routes!(reference::start))
}

/// What makes the description of all listeners.
#[derive(Clone, Copy)]
struct Document(fn() -> OpenApi);

#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Readiness {
    /// `ok`.
    status: &'static str,
    /// What an operator should mend, though it serves: `tls_certificate_stale: client` (its new
    /// files cannot be used, so those from before are), `tls_certificate_expired: client`,
    /// `audit_sink_full: siem` (nothing is released until that sink has caught up; all else is
    /// served), `store_writes_fail` (what was last tried was not written, and it is tried again),
    /// `panicked` (within the last ten minutes; the log says where), `clock_apart: 7 s ahead of the
    /// database's`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Whether the process runs
#[utoipa::path(
    get, path = "/healthz", tag = "Admin", operation_id = "health",
    responses(
        (status = 200, description = "It runs.", body = Health),
        (status = 503, description = "Only a restart helps. `unavailable`: its writer has ended after a fault of its own; `panicking`: for a minute at least calls have ended in panics, and none of a known caller was carried through"),
    )
)]
async fn healthz(State(app): Shared) -> Result<Json<Health>, Problem> {
    app.health().map_err(|ailment| {
        Problem::new(match ailment {
            Ailment::WriterEnded => Code::Unavailable,
            Ailment::Panicking => Code::Panicking,
        })
    })?;
    Ok(Json(Health { status: "ok" }))
}

/// Whether it can serve: the store answers, and takes writes
#[utoipa::path(
    get, path = "/readyz", tag = "Admin", operation_id = "ready",
    responses(
        (status = 200, description = "It can serve.", body = Readiness),
        (status = 503, description = "`unavailable`; `clock_apart`: its clock is more than a minute off the database's; `store_locked`: another program holds the SQLite file; `stopping` once it was told to stop: send nothing new here"),
    )
)]
async fn readyz(State(app): Shared) -> Result<Json<Readiness>, Problem> {
    if app.is_draining() {
        return Err(Problem::new(Code::Stopping));
    }
    let (store, now) = (app.service.store(), app.service.now());
    let writes_fail = writes_fail(store.writes(), now)?;
    // By the way that issue and redeem look things up, so that it tells when these would wait too
    // long.
    let epoch = look_up(&app, |app| async move { app.service.store().epoch().await });
    epoch.await.ok_or(Problem::new(Code::Unavailable))??;
    let mut warnings = app.settings.tls.warnings(now);
    if let Some(ahead) = app.service.clock_ahead().filter(|ahead| ahead.is_told()) {
        if ahead.is_too_far() {
            return Err(Problem::new(Code::ClockApart));
        }
        warnings.push(format!("clock_apart: {ahead} of the database's"));
    }
    warnings.extend(app.sinks.warnings());
    warnings.extend(app.panics.warning());
    warnings.extend(writes_fail.then(|| "store_writes_fail".to_owned()));
    Ok(Json(Readiness {
        status: "ok",
        warnings,
    }))
}

/// Whether the last of them failed, where there is hope yet.
fn writes_fail(writes: Writes, now: Time) -> Result<bool, Problem> {
    match writes {
        Writes::Fine => Ok(false),
        // Since a moment that is yet to come, the clock was set back: nobody knows for how long.
        Writes::Pending { since, .. }
            if since <= now.minus(WRITES_LATE) || since.is_ahead_of(now) =>
        {
            Err(Problem::new(Code::Unavailable))
        }
        Writes::Pending { failed, .. } => Ok(failed),
        Writes::LockedOut { .. } => Err(Problem::new(Code::StoreLocked)),
        Writes::Ended => Err(Problem::new(Code::Unavailable)),
    }
}

/// Counters in the Prometheus text format
#[utoipa::path(
    get, path = "/metrics", tag = "Admin", operation_id = "metrics",
    responses((status = 200, description = "The counters.", content_type = "text/plain"))
)]
async fn metrics(State(app): Shared) -> Response {
    let content_type = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    let told = look_up(&app, |app| async move {
        metrics::StoreFigures::of(app.service.store()).await
    });
    let told = told.await.unwrap_or_default();
    let text = app.metrics.render(&app, &told);
    ([content_type], text).into_response()
}

/// What the store says, where all others ask it: a connection to it is driven there, and this
/// listener's thread waits no longer than whoever probes.
async fn look_up<T: Send + 'static, L>(
    app: &Arc<App>,
    lookup: impl FnOnce(Arc<App>) -> L,
) -> Option<T>
where
    L: Future<Output = T> + Send + 'static,
{
    let asked = app.runtime.spawn(lookup(Arc::clone(app)));
    let _driven = Driven(asked.abort_handle());
    tokio::time::timeout(LOOKUP_LATE, asked).await.ok()?.ok()
}

/// The description of all listeners (`OpenAPI` 3.1)
#[utoipa::path(
    get, path = "/openapi.json", tag = "Admin", operation_id = "openapi",
    responses((status = 200, description = "The document.", content_type = "application/json"))
)]
async fn openapi(Extension(Document(document)): Extension<Document>) -> Json<OpenApi> {
    Json(document())
}
