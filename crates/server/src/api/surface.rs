//! The routes of a listener. Each one names its permission, which is also the check that runs before
//! its handler (P5): there is no other way to add a route.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::MatchedPath;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use cardveil_core::merchant::Need;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, RefOr, ResponseBuilder, Schema};

use crate::api::gate::{self, Gate};
use crate::api::problem::{Code, Problem};
use crate::http::ListenerKind;
use crate::http::app::App;
use crate::http::call::Pattern;
use crate::{admin, client, equals, keysecure, native};

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
    /// Which API it is of, for records.
    pub(crate) const fn api(self) -> &'static str {
        match self {
            Self::KeySecureLogin | Self::KeySecure(_) => "keysecure",
            Self::Equals(_) => "equals",
            Self::Native(_) => "native",
            Self::Holder => "client",
            Self::Public(_) => "public",
        }
    }
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
            api: crate::api::openapi::empty(),
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
            let gate = Gate::new(permission, &path);
            let guarded = handlers
                .clone()
                .route_layer(from_fn_with_state(gate, gate::admit));
            self.router = self.router.route(&path, guarded);
            for operation in operations(&mut item) {
                operation.security = Some(permission.requirements());
                if operation.description.is_none() {
                    let summary = operation.summary.as_deref();
                    operation.description = summary.map(|summary| format!("{summary}."));
                }
                let mut statuses = operation.responses.responses.keys();
                if !statuses.any(|status| status.starts_with('4')) {
                    let sound = ResponseBuilder::new().description(crate::http::listener::UNSOUND);
                    let responses = &mut operation.responses.responses;
                    responses.insert("400".to_owned(), sound.build().into());
                }
                if operation.request_body.is_some() {
                    let late = ResponseBuilder::new().description("The body came too slowly.");
                    let responses = &mut operation.responses.responses;
                    responses.insert("408".to_owned(), late.build().into());
                }
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

    /// The patterns of its routes.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.api.paths.paths.keys().map(String::as_str)
    }

    /// The router, ready to be called.
    pub(crate) fn into_router(self, app: Arc<App>) -> Router {
        // A dialect's callers read its own form, also where they have mistaken an address.
        let speaks_keysecure = self
            .api
            .paths
            .paths
            .keys()
            .any(|path| keysecure::is_under(path));
        let is_keysecure = move |uri: &Uri| speaks_keysecure && keysecure::is_under(uri.path());
        let allowed = Arc::new(allowed(&self.api));
        let of_path = Arc::clone(&allowed);
        let not_allowed = move |uri: Uri, path: MatchedPath, headers: HeaderMap| async move {
            let response = if is_keysecure(&uri) {
                keysecure::method_not_allowed(&headers)
            } else {
                Problem::new(Code::MethodNotAllowed).into_response()
            };
            with_allow(response, of_path.get(path.as_str()))
        };
        let not_found = move |uri: Uri, headers: HeaderMap| async move {
            if is_keysecure(&uri) {
                return keysecure::not_found(&headers);
            }
            Problem::new(Code::NotFound).into_response()
        };
        let complete = move |response: Response| {
            let allowed = Arc::clone(&allowed);
            async move {
                let pattern = response.extensions().get::<Pattern>().cloned();
                let methods = pattern.and_then(|Pattern(path)| allowed.get(&*path));
                with_allow(response, methods)
            }
        };
        self.router
            .route_layer(map_response(complete))
            .method_not_allowed_fallback(not_allowed)
            .fallback(not_found)
            .with_state(app)
    }
}

/// The methods of each path, as an `Allow` header lists them. A HEAD is answered where nobody has to prove who
/// they are.
fn allowed(api: &OpenApi) -> BTreeMap<String, HeaderValue> {
    let of = |item: &PathItem| {
        let is_public =
            |operation: &Operation| operation.security.as_ref().is_some_and(Vec::is_empty);
        let methods = [
            (item.get.is_some(), "GET"),
            (item.get.as_ref().is_some_and(is_public), "HEAD"),
            (item.put.is_some(), "PUT"),
            (item.post.is_some(), "POST"),
            (item.patch.is_some(), "PATCH"),
            (item.delete.is_some(), "DELETE"),
        ];
        let there = methods.into_iter().filter(|(is_there, _)| *is_there);
        let names: Vec<_> = there.map(|(_, name)| name).collect();
        HeaderValue::from_str(&names.join(",")).ok()
    };
    let paths = api.paths.paths.iter();
    paths
        .filter_map(|(path, item)| Some((path.clone(), of(item)?)))
        .collect()
}

/// A gate that refuses a HEAD knows its own method alone, and the router takes a HEAD for granted where there is a
/// GET; the header names all that are answered, and no other (RFC 9110 15.5.6).
fn with_allow(mut response: Response, methods: Option<&HeaderValue>) -> Response {
    if let Some(methods) = methods
        && response.status() == StatusCode::METHOD_NOT_ALLOWED
    {
        response
            .headers_mut()
            .insert(header::ALLOW, methods.clone());
    }
    response
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
