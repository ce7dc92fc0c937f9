//! Which API is at which listener: the one place that knows all of them.

use std::sync::Arc;

use cardveil_seal::Entropy;
use utoipa::openapi::OpenApi;

use crate::api::openapi;
use crate::api::surface::Surface;
use crate::http::ListenerKind;
use crate::http::app::App;
use crate::http::listener::Listener;
use crate::{admin, client, equals, keysecure, native};

/// All routes of a listener of this kind.
pub fn surface(kind: ListenerKind) -> Surface {
    let empty = Surface::empty();
    match kind {
        ListenerKind::Merchant => native::routes(equals::routes(keysecure::routes(empty))),
        ListenerKind::Client => client::routes(empty),
        ListenerKind::Admin => admin::routes(empty, document),
    }
}

/// The listener of this kind. Request ids come of `entropy`.
pub fn listener(app: &Arc<App>, kind: ListenerKind, entropy: Arc<dyn Entropy>) -> Listener {
    let routes = surface(kind).into_routes(Arc::clone(app));
    Listener::new(app, kind, entropy, routes)
}

/// `OpenAPI` 3.1 of everything that a deployment serves.
pub fn document() -> OpenApi {
    openapi::document(ListenerKind::ALL.map(surface))
}
