//! The description of all listeners, generated from the handlers and their permissions.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, License, OpenApi, OpenApiBuilder};

use crate::listener::ListenerKind;
use crate::surface::Surface;

/// `OpenAPI` 3.1 of everything that a deployment serves.
pub fn document() -> OpenApi {
    let mut api = empty();
    for kind in ListenerKind::ALL {
        api.merge(Surface::of(kind).api().clone());
    }
    api
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
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Cardveil")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some("Shows a cardholder their own card, and nobody else."))
                .license(Some(License::new("Apache-2.0"))),
        )
        .components(Some(components))
        .build()
}
