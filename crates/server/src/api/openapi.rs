//! The description of all listeners, generated from the handlers and their permissions.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ContactBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, ServerBuilder,
};

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

/// Takes out the schemas that nothing uses: those of types whose members are shown in another's place.
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

pub(crate) fn empty() -> OpenApi {
    let header = |name: &str, about: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, about)))
    };
    let mut components = Components::new();
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
