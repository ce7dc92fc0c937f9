//! The description of all listeners, generated from the handlers and their permissions.

use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContactBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, ResponseBuilder, ServerBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::problem::ProblemBody;
use super::surface::Surface;

/// What a reader needs first. The addresses are a demo's.
const BEGINNING: &str = include_str!("openapi.md");
const APACHE: &str = "Apache-2.0";
const TAGS: [(&str, &str); 5] = [
    (
        "KeySecure",
        "KeySecure's merchant API. Answers are `{code, msg, data}`, with HTTP 200.",
    ),
    (
        "Equals Money",
        "Equals Money's cards API. Refusals are RFC 9457 problems.",
    ),
    (
        "Native",
        "Cardveil's own API: the same work, by today's habits.",
    ),
    (
        "Client",
        "What a cardholder's browser or app calls, with a client token.",
    ),
    (
        "Admin",
        "Health, figures and this description, for operators.",
    ),
];
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// `OpenAPI` 3.1 of all that these surfaces serve.
pub(crate) fn document(surfaces: impl IntoIterator<Item = Surface>) -> OpenApi {
    let mut api = empty();
    for surface in surfaces {
        api.merge(surface.into_api());
    }
    let server = |url: &str, what: &str| {
        let builder = ServerBuilder::new().url(url);
        builder.description(Some(what)).build()
    };
    api.servers = Some(vec![
        server(
            "http://127.0.0.1:7410",
            "A demo: the merchant listener, for servers",
        ),
        server(
            "http://127.0.0.1:7420",
            "A demo: the client listener, for browsers and apps",
        ),
        server(
            "http://127.0.0.1:7430",
            "A demo: the admin listener, for operators",
        ),
    ]);
    let tag = |(name, what): (&str, &str)| {
        let builder = TagBuilder::new().name(name);
        builder.description(Some(what)).build()
    };
    api.tags = Some(TAGS.map(tag).to_vec());
    drop_unused(&mut api);
    api
}

/// Takes out the schemas that nothing uses: those of types whose members are shown in another's
/// place.
fn drop_unused(api: &mut OpenApi) {
    loop {
        let text = serde_json::to_string(api).unwrap_or_default();
        let Some(components) = &mut api.components else {
            return;
        };
        let before = components.schemas.len();
        let is_used = |name: &String| text.contains(&format!("\"#/components/schemas/{name}\""));
        components.schemas.retain(|name, _| is_used(name));
        if components.schemas.len() == before {
            return;
        }
    }
}

/// Whether a parameter stands in the path.
pub(crate) fn is_of_path(parameter: &RefOr<Parameter>) -> bool {
    matches!(parameter, RefOr::T(known) if known.parameter_in == ParameterIn::Path)
}

/// Which routes of a permission a refusal is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// All of them.
    Every,
    /// Those whose path names something.
    Path,
    /// Those that take a body.
    Body,
}

/// A refusal that routes share: its status, its code, and which routes it is of.
pub(crate) type SharedRefusal = (&'static str, &'static str, On);

/// What whoever calls by a merchant's credential is refused for, where problems are told.
pub(crate) const MERCHANT: [SharedRefusal; 8] = [
    ("400", "`invalid_request`", On::Every),
    ("401", "`credential_required`", On::Every),
    ("403", "`credential_refused` or `scope_missing`", On::Every),
    ("404", "`not_found`", On::Path),
    ("413", "`too_large`", On::Body),
    ("415", "`unsupported_media_type`", On::Body),
    ("429", "`rate_limited`", On::Every),
    ("503", "`unavailable`", On::Every),
];

/// Adds the refusals that an operation does not name itself. All of them, its own too, are
/// problems, unless it says that they are something else.
pub(crate) fn refuse(operation: &mut Operation, refusals: &[SharedRefusal]) {
    let parameters = operation.parameters.as_deref().unwrap_or_default();
    let has_path = parameters.iter().any(is_of_path);
    let has_body = operation.request_body.is_some();
    let responses = &mut operation.responses.responses;
    for (status, what, on) in refusals {
        let applies = match on {
            On::Every => true,
            On::Path => has_path,
            On::Body => has_body,
        };
        if applies {
            let refusal = || ResponseBuilder::new().description(*what).build().into();
            responses
                .entry((*status).to_owned())
                .or_insert_with(refusal);
        }
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && response.content.is_empty()
            && status.as_str() >= "400"
        {
            let problem = Content::new(Some(Ref::from_schema_name(ProblemBody::name())));
            response
                .content
                .insert("application/problem+json".to_owned(), problem.into());
        }
    }
}

pub(crate) fn empty() -> OpenApi {
    let header = |name: &str, about: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, about)))
    };
    let mut components = Components::new();
    let mut schemas = vec![(ProblemBody::name().into_owned(), ProblemBody::schema())];
    ProblemBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "The Api-Key. Needs the scope cards:read:own or cards:read:any.",
        ))
        .build();
    for (name, scheme) in [
        (
            "keysecure_login",
            header("Api-Key", "With `Timestamp`, from an allowed address."),
        ),
        (
            "keysecure",
            header(
                "Access-Token",
                "With `Api-Key` and `Timestamp`, from an allowed address.",
            ),
        ),
        (
            "CommonAuth",
            header(
                "Authorization",
                "`ApiKey {key}` or the bare key. Needs the scope cards:read:own or cards:read:any.",
            ),
        ),
        ("native", SecurityScheme::Http(bearer)),
    ] {
        components.add_security_scheme(name, scheme);
    }
    let contact = ContactBuilder::new()
        .name(Some("Cardveil"))
        .url(Some(REPOSITORY))
        .build();
    let license = LicenseBuilder::new()
        .name(APACHE)
        .identifier(Some(APACHE))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Cardveil")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(BEGINNING))
                .contact(Some(contact))
                .license(Some(license)),
        )
        .components(Some(components))
        .build()
}
