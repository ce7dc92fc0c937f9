//! `GET /embed/{embed}`: the frame, as one document that loads nothing.
//!
//! Who may frame it is decided before any token is known: the address names the embed, the embed
//! names its origins, and `frame-ancestors` holds the browser to them (reference: security, 3).
//!
//! `GET /webview/{embed}`: the same for an app, which opens it in a WebView and speaks to it over a
//! bridge of its own. It is nobody's frame, and only for embeds without origins, which are apps'.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use cardveil_core::id::EmbedId;
use cardveil_core::merchant::Embed;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::font::{Font, Told};
use super::manifest::{AssetKind, integrity};
use crate::extract::{self, Header};
use crate::problem::{Code, Problem};
use crate::{App, Shared};

/// A part of a document that a browser runs or applies.
#[derive(Clone, Copy)]
pub(crate) struct Inline {
    pub(crate) name: &'static str,
    pub(crate) kind: AssetKind,
    pub(crate) text: &'static str,
    /// Why it is there (PCI DSS 6.4.3).
    pub(crate) purpose: &'static str,
}

/// One of the documents. They differ in their script alone; the policy of each allows no other.
#[derive(Clone, Copy)]
pub(crate) struct Document {
    /// Where it is. `{embed}` stands for an embed's id.
    pub(crate) path: &'static str,
    pub(crate) script: Inline,
}

/// What a page puts into its frames; the first one where it says no `as`.
pub(crate) const DOCUMENTS: [Document; 3] = [
    Document {
        path: "/embed/{embed}?as=card",
        script: Inline {
            name: "frame.js",
            kind: AssetKind::InlineScript,
            text: include_str!("../../../../web/dist/frame.js"),
            purpose: "Makes the key that a card's fields are sealed to, redeems the token, opens \
                      the fields and shows them.",
        },
    },
    Document {
        path: "/embed/{embed}?as=holder",
        script: Inline {
            name: "holder.js",
            kind: AssetKind::InlineScript,
            text: include_str!("../../../../web/dist/holder.js"),
            purpose: "As frame.js, for a card that the page shows in parts: it hands each field to \
                      the frame of its part.",
        },
    },
    Document {
        path: "/embed/{embed}?as=part",
        script: Inline {
            name: "part.js",
            kind: AssetKind::InlineScript,
            text: include_str!("../../../../web/dist/part.js"),
            purpose: "Shows one part of a card, a field or a button; it redeems nothing.",
        },
    },
];

/// What an app opens in a WebView.
pub(crate) const WEBVIEW: Document = Document {
    path: "/webview/{embed}",
    script: Inline {
        name: "app.js",
        kind: AssetKind::InlineScript,
        text: include_str!("../../../../web/dist/app.js"),
        purpose: "As frame.js, for the page that an app opens in a WebView: it speaks to the app \
                  over the bridge that the app brings.",
    },
};

pub(crate) const STYLE: Inline = Inline {
    name: "frame.css",
    kind: AssetKind::InlineStyle,
    text: include_str!("../../../../web/dist/frame.css"),
    purpose: "How the frames look.",
};
/// What the frames say, by language.
const WORDS: &str = include_str!("../../../../web/dist/words.json");
/// Spoken where a page asks for a language that the frames do not have.
const FALLBACK: &str = "en";

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

/// What is the same in every frame, worked out once.
pub(crate) struct Assets {
    /// Each document with its policy, but for who may frame it.
    pub(crate) documents: [(Document, String); 3],
    pub(crate) webview: (Document, String),
    words: BTreeMap<String, Value>,
}

impl Assets {
    pub(crate) fn new(fonts: &[Font]) -> Self {
        let fonts = if fonts.is_empty() {
            ""
        } else {
            "font-src 'self'; "
        };
        let with_policy = |document: Document| {
            let policy = format!(
                "default-src 'none'; script-src '{}'; style-src '{}'; {fonts}connect-src 'self'; \
                 img-src 'none'; base-uri 'none'; form-action 'none'; object-src 'none'; \
                 require-trusted-types-for 'script'; trusted-types 'none'",
                integrity(document.script.text.as_bytes()),
                integrity(STYLE.text.as_bytes())
            );
            (document, policy)
        };
        // Generated and committed; a test reads it.
        let words = serde_json::from_str(WORDS).unwrap_or_default();
        Self {
            documents: DOCUMENTS.map(with_policy),
            webview: with_policy(WEBVIEW),
            words,
        }
    }

    /// The words of a language such as `de`, or of our own.
    fn words(&self, language: Option<&str>) -> &Value {
        language
            .and_then(|language| self.words.get(language))
            .or_else(|| self.words.get(FALLBACK))
            .unwrap_or(&Value::Null)
    }

    /// The document that `as` asks for, or the first; and its policy.
    fn document(&self, name: Option<&str>) -> &(Document, String) {
        let [first, ..] = &self.documents;
        let named = |(document, _): &&(Document, String)| {
            let (_, last) = document.path.split_once("?as=").unwrap_or_default();
            Some(last) == name
        };
        self.documents.iter().find(named).unwrap_or(first)
    }

    fn policy(policy: &str, embed: &Embed) -> String {
        let ancestors = if embed.origins.is_empty() {
            "'none'".to_owned()
        } else {
            embed.origins.join(" ")
        };
        format!("frame-ancestors {ancestors}; {policy}")
    }
}

/// What the frame's script is told. Public.
#[derive(Serialize)]
struct Config<'a> {
    embed: &'a EmbedId,
    origins: &'a [String],
    copy_cvv: bool,
    transparent: bool,
    fonts: Vec<Told<'a>>,
    words: &'a Value,
}

/// The frame
///
/// The page that shows a card, for the iframe of one of the embed's origins. Nothing is in it until
/// its script has redeemed a token.
#[utoipa::path(
    get, path = "/embed/{embed}", tag = "Client", operation_id = "frame",
    params(
        ("embed" = String, Path, description = "The embed's public id.", example = "emb_4v1Zq"),
        ("as" = Option<String>, Query, description = "`card` shows a whole card; `holder` holds one for the frames of its parts; `part` shows one part.", example = "card"),
        ("lang" = Option<String>, Query, description = "The language of its words: `ar`, `de`, `en`, `es`, `fr`, `ja`, `pt` or `zh`; `en` for any other.", example = "de"),
        ("scheme" = Option<String>, Query, description = "The colour scheme that it begins in: `light` or `dark`; the device's for any other.", example = "dark"),
    ),
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
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !opened_as(&headers, "iframe") {
        return Ok(notice(
            StatusCode::FORBIDDEN,
            "Open your card in your card programme's app or website",
            "This page shows a card inside another page and cannot be opened by itself.",
        ));
    }
    let Some(embed) = find(&app, embed).await? else {
        return Ok(unknown());
    };
    let query = extract::Query::parse(query.as_deref());
    // What is wrong with it is worth no refusal, which nobody would see in a frame.
    let document = app.frame.document(query.one("as").unwrap_or_default());
    shown(&app, document, &embed, &query)
}

/// The page of an app's WebView
///
/// The page that shows a card in an app. The app speaks to it over a bridge that it puts into the
/// page; nothing is in it until its script has redeemed a token.
#[utoipa::path(
    get, path = "/webview/{embed}", tag = "Client", operation_id = "webview",
    params(
        ("embed" = String, Path, description = "The public id of an embed without origins: an app's.", example = "emb_4v1Zq"),
        ("lang" = Option<String>, Query, description = "As for a frame.", example = "de"),
    ),
    responses(
        (status = 200, description = "The page.", content_type = "text/html"),
        (status = 403, description = "It was asked for as something else than a page of its own, or the embed is of pages.", content_type = "text/html"),
        (status = 404, description = "There is no such embed.", content_type = "text/html"),
        (status = 503, description = "`unavailable`", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn webview(
    State(app): Shared,
    embed: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !opened_as(&headers, "document") {
        return Ok(notice(
            StatusCode::FORBIDDEN,
            "Open your card in your card programme's app",
            "This page shows a card inside an app and cannot be put into another page.",
        ));
    }
    let Some(embed) = find(&app, embed).await? else {
        return Ok(unknown());
    };
    if !embed.origins.is_empty() {
        return Ok(notice(
            StatusCode::FORBIDDEN,
            "This embed is for web pages",
            "An app needs an embed of its own, which is registered without origins.",
        ));
    }
    let query = extract::Query::parse(query.as_deref());
    shown(&app, &app.frame.webview, &embed, &query)
}

/// Whether a browser that says what it wants a document for says this.
fn opened_as(headers: &HeaderMap, destination: &str) -> bool {
    match extract::header(headers, "sec-fetch-dest") {
        Header::Missing => true,
        Header::Value(value) => value == destination,
        Header::Malformed => false,
    }
}

/// The embed, if there is one that is enabled.
async fn find(
    app: &App,
    embed: Result<Path<String>, PathRejection>,
) -> Result<Option<Embed>, Problem> {
    let id = extract::path(embed).and_then(|text| EmbedId::parse(&text).ok());
    let found = match id {
        Some(id) => app.service.store().embed(&id).await?,
        None => None,
    };
    Ok(found.filter(|embed| embed.enabled))
}

fn unknown() -> Response {
    notice(
        StatusCode::NOT_FOUND,
        "There is no such embed",
        "Check the embed id that the page gives to Cardveil.",
    )
}

fn shown(
    app: &App,
    (document, policy): &(Document, String),
    embed: &Embed,
    query: &extract::Query,
) -> Result<Response, Problem> {
    let words = app.frame.words(query.one("lang").unwrap_or_default());
    let policy = HeaderValue::from_str(&Assets::policy(policy, embed)).ok();
    let Some(policy) = policy.filter(|_| embed.origins.iter().all(|origin| is_plain(origin)))
    else {
        tracing::error!(embed.id = %embed.id, "an origin of this embed cannot be put into a policy");
        return Err(Problem::new(Code::Unavailable));
    };
    let scheme = match query.one("scheme") {
        Ok(Some(scheme @ ("light" | "dark"))) => scheme,
        _ => "",
    };
    let page = page(
        document.script.text,
        embed,
        &app.settings.fonts,
        words,
        scheme,
    );
    let mut response = (StatusCode::OK, page).into_response();
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

/// What a page may know of an embed.
#[derive(Serialize, ToSchema)]
pub(super) struct EmbedAnswer {
    /// The embed.
    #[schema(example = "emb_4v1Zq")]
    embed: String,
    /// Whether the page that asks (its `Origin`) is one of those that may frame it.
    origin_registered: bool,
}

/// Whether a page may show cards
///
/// For `veil.doctor()`: why a frame does not come. It tells no more than the frame's own policy does.
#[utoipa::path(
    get, path = "/client/v1/embeds/{embed}", tag = "Client", operation_id = "embed",
    params(("embed" = String, Path, description = "The embed's public id.", example = "emb_4v1Zq")),
    responses(
        (status = 200, description = "It is known.", body = EmbedAnswer),
        (status = 404, description = "`not_found`", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn embed(
    State(app): Shared,
    embed: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut response = match find(&app, embed).await? {
        Some(embed) => Json(EmbedAnswer {
            origin_registered: matches!(
                extract::header(&headers, header::ORIGIN.as_str()),
                Header::Value(origin) if embed.origins.iter().any(|known| known == origin)
            ),
            embed: embed.id.to_string(),
        })
        .into_response(),
        None => Problem::new(Code::NotFound).into_response(),
    };
    // Any page may ask; the answer holds nothing of anyone.
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
    ] {
        response.headers_mut().insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Ok(response)
}

/// The words of a frame
///
/// In another language than a frame came with, for a page that changes its language while the card is
/// there. Errors and labels; nothing of anyone.
#[utoipa::path(
    get, path = "/client/v1/words/{language}", tag = "Client", operation_id = "words",
    params(("language" = String, Path, description = "As `lang` of a frame; `en` for any that frames do not speak.", example = "de")),
    responses((status = 200, description = "The words, and the language that they are in.", body = Object)),
)]
pub(super) async fn words(
    State(app): Shared,
    language: Result<Path<String>, PathRejection>,
) -> Response {
    let words = app.frame.words(extract::path(language).as_deref());
    (
        [(
            header::CACHE_CONTROL,
            HeaderValue::from_static(crate::static_file::MOVING),
        )],
        Json(words.clone()),
    )
        .into_response()
}

/// Whether an origin is one source of a policy (CSP Level 3, 2.3.1) and can be nothing else: a
/// space, `;` or `,` would begin another source, directive or policy.
fn is_plain(origin: &str) -> bool {
    !origin.is_empty()
        && origin
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":/.-[]".contains(&byte))
}

/// The document. An empty `scheme` is the device's.
fn page(script: &str, embed: &Embed, fonts: &[Font], words: &Value, scheme: &str) -> String {
    let config = Config {
        embed: &embed.id,
        origins: &embed.origins,
        copy_cvv: embed.copy_cvv,
        transparent: embed.transparent,
        fonts: fonts.iter().map(Font::told).collect(),
        words,
    };
    // In a script element only `<` can end the text.
    let config = serde_json::to_string(&config)
        .unwrap_or_default()
        .replace('<', "\\u003c");
    // What our own build wrote, which a test holds to plain words.
    let text = |at: &str| {
        words
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    [
        "<!doctype html>\n<html lang=\"",
        text("/lang"),
        if scheme.is_empty() {
            ""
        } else {
            "\" data-theme=\""
        },
        scheme,
        "\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"format-detection\" content=\"telephone=no\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>",
        text("/labels/card"),
        "</title>\n<style>",
        STYLE.text,
        "</style>\n</head>\n<body>\n<main id=\"cardveil-root\"></main>\n\
         <script type=\"application/json\" id=\"cardveil-config\">",
        &config,
        "</script>\n<script>",
        script,
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
        for Document { script, .. } in DOCUMENTS.into_iter().chain([WEBVIEW]) {
            assert!(!script.text.to_ascii_lowercase().contains("</script"));
            assert!(!script.text.contains("<!--"));
        }
        assert!(!STYLE.text.to_ascii_lowercase().contains("</style"));
    }

    #[test]
    fn every_language_is_there_and_any_other_is_english() {
        let assets = Assets::new(&[]);
        for language in ["ar", "de", "en", "es", "fr", "ja", "pt", "zh"] {
            let words = assets.words(Some(language));
            assert_eq!(words["lang"], language);
            let title = words["labels"]["card"].as_str().unwrap();
            assert!(!title.is_empty() && !title.contains(['<', '&']));
        }
        for language in [None, Some("tlh"), Some("")] {
            assert_eq!(assets.words(language)["lang"], "en");
        }
    }

    #[test]
    fn an_embed_without_origins_can_be_framed_by_nobody() {
        let mut embed = sample::embed(1);
        let policy = |embed: &Embed| Assets::policy("", embed);
        assert!(policy(&embed).contains("frame-ancestors https://shop.example;"));
        embed.origins.clear();
        assert!(policy(&embed).contains("frame-ancestors 'none';"));
    }

    #[test]
    fn the_config_cannot_end_its_element() {
        let mut embed = sample::embed(1);
        embed.origins = vec!["</script><script>alert(1)".to_owned()];
        let words = serde_json::json!({"labels": {"hide": "</script>"}});
        assert_eq!(
            page("", &embed, &[], &words, "")
                .matches("</script>")
                .count(),
            2
        );
    }
}
