//! The routes of a listener. Each one names its permission, which is also the check that runs
//! before its handler (P5): there is no other way to add a route.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::MatchedPath;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodRouter;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::{OpenApi, RefOr, ResponseBuilder, Schema};

use super::gate::{self, Gate};
use super::openapi;
use super::permission::{Barrier, Permission};
use super::problem::Problem;
use crate::http::app::App;
use crate::http::call::Pattern;
use crate::http::listener::{Routes, UNSOUND};

/// What `utoipa_axum::routes!` makes of a handler.
pub(crate) type Handlers = (Vec<(String, RefOr<Schema>)>, Paths, MethodRouter<Arc<App>>);

/// What an API says where it has no route: its base, and its refusals.
struct Dialect {
    base: &'static str,
    refuse: fn(Barrier, &HeaderMap) -> Response,
}

impl Dialect {
    /// Whether an address is of this API, of which there are more than it has calls.
    fn is_of(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.base);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The routes of one listener, with their description.
pub struct Surface {
    router: Router<Arc<App>>,
    api: OpenApi,
    dialects: Vec<Dialect>,
}

impl Surface {
    /// Without routes.
    pub(crate) fn empty() -> Self {
        Self {
            router: Router::new(),
            api: openapi::empty(),
            dialects: Vec::new(),
        }
    }

    /// Has what is not there under `base` refused as `P` refuses: an API's callers read its own
    /// form, also where they have mistaken an address.
    pub(crate) fn refusing<P: Permission>(mut self, base: &'static str) -> Self {
        self.dialects.push(Dialect {
            base,
            refuse: |why, headers| P::refuse(why, P::wording(headers)),
        });
        self
    }

    /// Adds a route.
    pub(crate) fn route<P: Permission>(mut self, permission: P, routes: Handlers) -> Self {
        let (schemas, paths, handlers) = routes;
        for (path, mut item) in paths.paths {
            let gate = Gate::new(permission, &path);
            let guarded = handlers
                .clone()
                .route_layer(from_fn_with_state(gate, gate::admit::<P>));
            self.router = self.router.route(&path, guarded);
            for operation in operations(&mut item) {
                permission.describe(operation);
                if operation.description.is_none() {
                    let summary = operation.summary.as_deref();
                    operation.description = summary.map(|summary| format!("{summary}."));
                }
                let mut statuses = operation.responses.responses.keys();
                if !statuses.any(|status| status.starts_with('4')) {
                    let sound = ResponseBuilder::new().description(UNSOUND);
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

    /// The same, without the routes.
    pub(crate) fn into_api(self) -> OpenApi {
        self.api
    }

    /// All of it, ready to be served.
    pub(crate) fn into_routes(self, app: Arc<App>) -> Routes {
        let patterns = self.api.paths.paths.keys().cloned().collect();
        let dialects = Arc::new(self.dialects);
        let refuse = move |why: Barrier, uri: &Uri, headers: &HeaderMap| match dialects
            .iter()
            .find(|dialect| dialect.is_of(uri.path()))
        {
            Some(dialect) => (dialect.refuse)(why, headers),
            None => why.problem(),
        };
        let allowed = Arc::new(allowed(&self.api));
        let of_path = Arc::clone(&allowed);
        let refuse_method = refuse.clone();
        let not_allowed = move |uri: Uri, path: MatchedPath, headers: HeaderMap| async move {
            let response = refuse_method(Barrier::Method, &uri, &headers);
            with_allow(response, of_path.get(path.as_str()))
        };
        let not_found = move |uri: Uri, headers: HeaderMap| async move {
            refuse(Barrier::NotFound, &uri, &headers)
        };
        let complete = move |response: Response| {
            let allowed = Arc::clone(&allowed);
            async move {
                let pattern = response.extensions().get::<Pattern>().cloned();
                let methods = pattern.and_then(|Pattern(path)| allowed.get(&*path));
                with_allow(response, methods)
            }
        };
        let router = self
            .router
            .route_layer(map_response(complete))
            .method_not_allowed_fallback(not_allowed)
            .fallback(not_found)
            .with_state(app);
        Routes {
            router,
            patterns,
            unsound: |rule| Problem::invalid("headers", rule).into_response(),
        }
    }
}

/// The methods of each path, as an `Allow` header lists them. A HEAD is answered where nobody has
/// to prove who they are.
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

/// A gate that refuses a HEAD knows its own method alone, and the router takes a HEAD for granted
/// where there is a GET; the header names all that are answered, and no other (RFC 9110 15.5.6).
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
