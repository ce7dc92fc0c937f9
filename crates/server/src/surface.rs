//! The routes of a listener. Each one names its permission, which is also the check that runs before
//! its handler (P5): there is no other way to add a route.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use cardveil_core::merchant::Need;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, RefOr, Schema};

use crate::guard::{self, Gate};
use crate::listener::ListenerKind;
use crate::problem::{Code, Problem};
use crate::{App, admin, client, equals, keysecure, native};

/// Who may call a route. Deny by default: a stranger may call [`Permission::Public`] ones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Anyone who reaches the listener. The text says why that is right.
    Public(&'static str),
    /// A merchant's server by KeySecure's rules for Get Token: Api-Key, address, Timestamp.
    KeySecureLogin,
    /// A merchant's server by KeySecure's rules: the same, and an Access-Token; and what it needs.
    KeySecure(Need),
    /// A merchant's server by Equals' rules: `Authorization`, address, and what it needs.
    Equals(Need),
    /// A merchant's server by the native rules: `Authorization: Bearer`, address, and what it needs.
    Native(Need),
    /// Whoever holds a client token; the handler redeems or checks it. From a browser only if the
    /// page is of the client origin.
    Holder,
}

impl Permission {
    /// What `OpenAPI` says of it: nothing for public routes. A holder's token travels in the body,
    /// for which `OpenAPI` has no scheme, so its requirement is there and names none.
    fn requirements(self) -> Vec<SecurityRequirement> {
        let scheme = |name| vec![SecurityRequirement::new::<_, [&str; 0], &str>(name, [])];
        match self {
            Self::Public(_) => Vec::new(),
            Self::KeySecureLogin => scheme("keysecure_login"),
            Self::KeySecure(_) => scheme("keysecure"),
            Self::Equals(_) => scheme("CommonAuth"),
            Self::Native(_) => scheme("native"),
            Self::Holder => vec![SecurityRequirement::default()],
        }
    }
}

/// What `utoipa_axum::routes!` makes of a handler.
pub(crate) type Routes = (Vec<(String, RefOr<Schema>)>, Paths, MethodRouter<Arc<App>>);

/// The routes of one listener, with their description.
pub struct Surface {
    router: Router<Arc<App>>,
    api: OpenApi,
}

impl Surface {
    /// All routes of a listener of this kind.
    pub fn of(kind: ListenerKind) -> Self {
        let empty = Self {
            router: Router::new(),
            api: crate::openapi::empty(),
        };
        match kind {
            ListenerKind::Merchant => native::routes(equals::routes(keysecure::routes(empty))),
            ListenerKind::Client => client::routes(empty),
            ListenerKind::Admin => admin::routes(empty),
        }
    }

    /// Adds a route.
    pub(crate) fn route(mut self, permission: Permission, routes: Routes) -> Self {
        let (schemas, paths, handlers) = routes;
        for (path, mut item) in paths.paths {
            let gate = Gate::new(permission, &path, &methods(&item));
            let guarded = handlers
                .clone()
                .route_layer(from_fn_with_state(gate, guard::admit));
            self.router = self.router.route(&path, guarded);
            for operation in operations(&mut item) {
                operation.security = Some(permission.requirements());
            }
            match self.api.paths.paths.get_mut(&path) {
                Some(known) => known.merge_operations(item),
                None => {
                    self.api.paths.paths.insert(path, item);
                }
            }
        }
        self.api
            .components
            .get_or_insert_default()
            .schemas
            .extend(schemas);
        self
    }

    /// What `OpenAPI` says of it.
    pub fn api(&self) -> &OpenApi {
        &self.api
    }

    /// The router, ready to be called.
    pub(crate) fn into_router(self, app: Arc<App>) -> Router {
        let not_allowed = || async { Problem::new(Code::MethodNotAllowed) };
        self.router
            .method_not_allowed_fallback(not_allowed)
            .fallback(|| async { Problem::new(Code::NotFound) })
            .with_state(app)
    }
}

/// The methods of a route, as `Allow` lists them.
fn methods(item: &PathItem) -> String {
    let all = [
        ("GET", &item.get),
        ("PUT", &item.put),
        ("POST", &item.post),
        ("DELETE", &item.delete),
        ("PATCH", &item.patch),
    ];
    let there = all.into_iter().filter(|(_, operation)| operation.is_some());
    there.map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.options,
        &mut item.head,
        &mut item.patch,
        &mut item.trace,
        &mut item.query,
    ]
    .into_iter()
    .flatten()
    .chain(item.additional_operations.values_mut())
}
