//! `GET /embed/{embed}`: the frame, as one document that loads nothing.
//!
//! Who may frame it is decided before any token is known: the address names the embed, the embed
//! names its origins, and `frame-ancestors` holds the browser to them (reference: security, 3).

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_core::id::EmbedId;
use cardveil_core::merchant::Embed;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::font::{Font, Told};
use super::manifest::AssetKind;
use crate::Shared;
use crate::extract::{self, Header};
use crate::problem::{Code, Problem};

const SCRIPT: &str = include_str!("../../../../web/dist/frame.js");
const STYLE: &str = include_str!("../../../../web/dist/frame.css");

/// A part of the document that a browser runs or applies.
pub(crate) struct Inline {
    pub(crate) name: &'static str,
    pub(crate) kind: AssetKind,
    pub(crate) text: &'static str,
    /// Why it is there (PCI DSS 6.4.3).
    pub(crate) purpose: &'static str,
}

/// All of them: the policy allows no other.
pub(crate) const INLINE: [Inline; 2] = [
    Inline {
        name: "frame.js",
        kind: AssetKind::InlineScript,
        text: SCRIPT,
        purpose: "Makes the key that a card's fields are sealed to, redeems the token, opens the \
                  fields and shows them. It is the only script that ever holds card data.",
    },
    Inline {
        name: "frame.css",
        kind: AssetKind::InlineStyle,
        text: STYLE,
        purpose: "How the frame looks.",
    },
];

/// Nothing but a click in the frame may write to the clipboard; nothing else is allowed at all.
const PERMISSIONS: &str = "clipboard-write=(self), accelerometer=(), autoplay=(), camera=(), \
     clipboard-read=(), display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), \
     gyroscope=(), hid=(), identity-credentials-get=(), idle-detection=(), local-fonts=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
     publickey-credentials-create=(), publickey-credentials-get=(), screen-wake-lock=(), \
     serial=(), storage-access=(), usb=(), window-management=(), xr-spatial-tracking=()";

/// What every frame is served with, besides its policy and what every answer has.
pub(crate) const HEADERS: [(&str, &str); 8] = [
    ("cache-control", "no-store"),
    ("content-type", "text/html; charset=utf-8"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("integrity-policy", "blocked-destinations=(script)"),
    ("origin-agent-cluster", "?1"),
    ("permissions-policy", PERMISSIONS),
];

/// The integrity value of a script or a style (SRI 3.2; CSP Level 3, 2.3.1).
pub(crate) fn integrity(text: &str) -> String {
    let digest = cardveil_core::sha384(text.as_bytes());
    format!("sha384-{}", BASE64_STANDARD.encode(digest))
}

/// What is the same in every frame, worked out once.
pub(crate) struct Assets {
    /// The policy, but for who may frame it.
    pub(crate) policy: String,
}

impl Assets {
    pub(crate) fn new(fonts: &[Font]) -> Self {
        let fonts = if fonts.is_empty() {
            ""
        } else {
            "font-src 'self'; "
        };
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; {fonts}connect-src 'self'; \
             img-src 'none'; base-uri 'none'; form-action 'none'; object-src 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            integrity(SCRIPT),
            integrity(STYLE)
        );
        Self { policy }
    }

    fn policy(&self, embed: &Embed) -> String {
        let ancestors = if embed.origins.is_empty() {
            "'none'".to_owned()
        } else {
            embed.origins.join(" ")
        };
        format!("frame-ancestors {ancestors}; {}", self.policy)
    }
}

/// What the frame's script is told. Public.
#[derive(Serialize)]
struct Config<'a> {
    embed: &'a EmbedId,
    origins: &'a [String],
    copy: Copy,
    fonts: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Copy {
    pan: bool,
    cvv: bool,
}

/// The frame
///
/// The page that shows a card, for the iframe of one of the embed's origins. Nothing is in it until
/// its script has redeemed a token.
#[utoipa::path(
    get, path = "/embed/{embed}", tag = "Client", operation_id = "frame",
    params(("embed" = String, Path, description = "The embed's public id.", example = "emb_4v1Zq")),
    responses(
        (status = 200, description = "The frame.", content_type = "text/html"),
        (status = 403, description = "It was asked for as something else than a frame.", content_type = "text/html"),
        (status = 404, description = "There is no such embed.", content_type = "text/html"),
        (status = 503, description = "`unavailable`", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn frame(
    State(app): Shared,
    embed: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match extract::header(&headers, "sec-fetch-dest") {
        Header::Missing | Header::Value("iframe") => {}
        Header::Value(_) | Header::Malformed => {
            return Ok(notice(
                StatusCode::FORBIDDEN,
                "Open your card in your card programme's app or website",
                "This page shows a card inside another page and cannot be opened by itself.",
            ));
        }
    }
    let id = extract::path(embed).and_then(|text| EmbedId::parse(&text).ok());
    let found = match id {
        Some(id) => app.service.store().embed(&id).await?,
        None => None,
    };
    let Some(embed) = found.filter(|embed| embed.enabled) else {
        return Ok(notice(
            StatusCode::NOT_FOUND,
            "There is no such embed",
            "Check the embed id that the page gives to Cardveil.",
        ));
    };
    let policy = HeaderValue::from_str(&app.frame.policy(&embed)).ok();
    let Some(policy) = policy.filter(|_| embed.origins.iter().all(|origin| is_plain(origin)))
    else {
        tracing::error!(embed.id = %embed.id, "an origin of this embed cannot be put into a policy");
        return Err(Problem::new(Code::Unavailable));
    };
    let mut response = (StatusCode::OK, document(&embed, &app.settings.fonts)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Ok(response)
}

/// Whether an origin is one source of a policy (CSP Level 3, 2.3.1) and can be nothing else: a
/// space, `;` or `,` would begin another source, directive or policy.
fn is_plain(origin: &str) -> bool {
    !origin.is_empty()
        && origin
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":/.-[]".contains(&byte))
}

fn document(embed: &Embed, fonts: &[Font]) -> String {
    let config = Config {
        embed: &embed.id,
        origins: &embed.origins,
        copy: Copy {
            pan: true,
            cvv: embed.copy_cvv,
        },
        fonts: fonts.iter().map(Font::told).collect(),
    };
    // In a script element only `<` can end the text.
    let config = serde_json::to_string(&config)
        .unwrap_or_default()
        .replace('<', "\\u003c");
    [
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"format-detection\" content=\"telephone=no\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Card details</title>\n<style>",
        STYLE,
        "</style>\n</head>\n<body>\n<main id=\"cardveil-root\"></main>\n\
         <script type=\"application/json\" id=\"cardveil-config\">",
        &config,
        "</script>\n<script>",
        SCRIPT,
        "</script>\n</body>\n</html>\n",
    ]
    .concat()
}

/// A page of words, for people who come here by mistake. It may be framed by nobody.
fn notice(status: StatusCode, title: &str, text: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n</body>\n</html>\n"
    );
    let content_type = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    (status, [content_type], page).into_response()
}

#[cfg(test)]
mod tests {
    use cardveil_core::testing::sample;

    use super::*;

    #[test]
    fn the_bundles_cannot_end_their_elements() {
        assert!(!SCRIPT.to_ascii_lowercase().contains("</script"));
        assert!(!SCRIPT.contains("<!--"));
        assert!(!STYLE.to_ascii_lowercase().contains("</style"));
    }

    #[test]
    fn an_embed_without_origins_can_be_framed_by_nobody() {
        let mut embed = sample::embed(1);
        let assets = Assets::new(&[]);
        assert!(
            assets
                .policy(&embed)
                .contains("frame-ancestors https://shop.example;")
        );
        embed.origins.clear();
        assert!(assets.policy(&embed).contains("frame-ancestors 'none';"));
    }

    #[test]
    fn the_config_cannot_end_its_element() {
        let mut embed = sample::embed(1);
        embed.origins = vec!["</script><script>alert(1)".to_owned()];
        assert_eq!(document(&embed, &[]).matches("</script>").count(), 2);
    }
}
