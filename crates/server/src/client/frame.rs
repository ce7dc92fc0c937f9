//! `GET /embed/{embed}`: the frame. Its document names its script, its style and its words by
//! addresses that are their bytes' own (`/embed/assets/`), with integrity values, so that each is
//! fetched once; or it is one document that loads nothing ([`Form`]).
//!
//! Who may frame it is decided before any token is known: the address names the embed, the embed
//! names its origins, and `frame-ancestors` holds the browser to them (reference: security, 3).
//!
//! `GET /webview/{embed}`: the same for an app, which opens it in a WebView and speaks to it over a
//! bridge of its own. It is nobody's frame, and only for embeds without origins, which are apps'.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cardveil_core::id::EmbedId;
use cardveil_core::merchant::Embed;
use cardveil_core::mfa::Policy;
use cardveil_core::sha384;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Prepared;
use super::notice::{self, Notice};
use crate::api::extract::{self, Header};
use crate::api::problem::{Code, Problem};
use crate::http::app::{App, Settings, Shared};
use crate::http::design::{Design, Face};
use crate::http::font::{Font, FontFace};
use crate::http::headers;
use crate::http::static_file::{
    IMMUTABLE, JAVASCRIPT, MOVING, StaticFile, beginning, built, tagged,
};

/// A script or a style of the documents.
pub(crate) struct Piece {
    pub(crate) file: StaticFile,
    /// Why it is there (PCI DSS 6.4.3).
    pub(crate) purpose: &'static str,
}

pub(crate) static BOOT: Piece = Piece {
    file: built!("boot.js"),
    purpose: "Loads the document in one piece when a script or a style of it did not come.",
};
static FRAME: Piece = Piece {
    file: built!("frame.js"),
    purpose: "Makes the key that a card's fields are sealed to, redeems the token, opens the fields \
              and shows them.",
};
static HOLDER: Piece = Piece {
    file: built!("holder.js"),
    purpose: "As frame.js, for a card that the page shows in parts: it hands each field to the \
              frame of its part.",
};
static PART: Piece = Piece {
    file: built!("part.js"),
    purpose: "Shows one part of a card, a field or a button; it redeems nothing.",
};
static APP: Piece = Piece {
    file: built!("app.js"),
    purpose: "As frame.js, for the page that an app opens in a WebView: it speaks to the app over \
              the bridge that the app brings.",
};
pub(crate) static CODE: Piece = Piece {
    file: built!("code.js"),
    purpose: "Asks the cardholder for a second factor, in the frames of programmes that ask there.",
};
pub(crate) static STYLE: Piece = Piece {
    file: built!("frame.css"),
    purpose: "How the frames look.",
};
/// What the frames say, by language; the first one where a page asks for none that is here.
static WORDS: [StaticFile; 8] = [
    built!("words/en.json"),
    built!("words/ar.json"),
    built!("words/de.json"),
    built!("words/es.json"),
    built!("words/fr.json"),
    built!("words/ja.json"),
    built!("words/pt.json"),
    built!("words/zh.json"),
];

/// One of the documents. They differ in their scripts alone; the policy of each allows no other.
#[derive(Clone, Copy)]
pub(crate) struct Document {
    /// Where it is. `{embed}` stands for an embed's id.
    pub(crate) path: &'static str,
    pub(crate) script: &'static Piece,
    /// What it has besides, for the merchants whose cardholders need it ([`Policy::InFrame`]). Its
    /// policy allows it always, so that there is one for all.
    pub(crate) task: Option<&'static Piece>,
    pub(crate) form: Form,
}

impl Document {
    /// Whether it shows a whole card. Parts wear no design.
    fn has_face(self) -> bool {
        [&FRAME, &APP]
            .iter()
            .any(|script| script.file.name == self.script.file.name)
    }
}

/// What the operator registered for frames to load, besides what is ours.
#[derive(Clone, Copy, Default)]
pub(crate) struct Registered<'a> {
    fonts: &'a [Font],
    designs: &'a [Design],
}

impl<'a> Registered<'a> {
    pub(crate) fn of(settings: &'a Settings) -> Self {
        Self {
            fonts: &settings.fonts,
            designs: &settings.designs,
        }
    }
}

/// How a document comes by its script, its style and its words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// By addresses that are their bytes' own, so that a browser fetches each once.
    Linked,
    /// They stand in it: for a browser that one of the addresses did not answer, as when nodes of
    /// two versions run beside each other.
    Whole,
}

/// All of them. A page or an app asks for linked ones; the whole ones are at the same addresses
/// with `whole=true`.
const DOCUMENTS: [Document; 8] = {
    type Scripts = (&'static Piece, Option<&'static Piece>);
    const CARD: Scripts = (&FRAME, Some(&CODE));
    const HELD: Scripts = (&HOLDER, None);
    const SHOWN: Scripts = (&PART, None);
    const IN_APP: Scripts = (&APP, Some(&CODE));
    const fn of(path: &'static str, (script, task): Scripts, form: Form) -> Document {
        Document {
            path,
            script,
            task,
            form,
        }
    }
    [
        of("/embed/{embed}?as=card", CARD, Form::Linked),
        of("/embed/{embed}?as=holder", HELD, Form::Linked),
        of("/embed/{embed}?as=part", SHOWN, Form::Linked),
        of("/webview/{embed}", IN_APP, Form::Linked),
        of("/embed/{embed}?whole=true&as=card", CARD, Form::Whole),
        of("/embed/{embed}?whole=true&as=holder", HELD, Form::Whole),
        of("/embed/{embed}?whole=true&as=part", SHOWN, Form::Whole),
        of("/webview/{embed}?whole=true", IN_APP, Form::Whole),
    ]
};

const JSON: &str = "application/json";
/// Where what the documents link is.
const FOLDER: &str = "/embed/assets/";

/// What is there, with its type.
fn assets() -> impl Iterator<Item = (&'static StaticFile, &'static str)> {
    let scripts = [&FRAME, &HOLDER, &PART, &APP, &CODE];
    let scripts = scripts.map(|script| (&script.file, JAVASCRIPT));
    let style = (&STYLE.file, "text/css; charset=utf-8");
    let words = WORDS.iter().map(|words| (words, JSON));
    scripts.into_iter().chain([style]).chain(words)
}

/// The address of a file, which changes with its bytes.
pub(crate) fn address(file: &StaticFile) -> String {
    let (stem, extension) = file.name.rsplit_once('.').unwrap_or((file.name, ""));
    let stem = stem.replace('/', "-");
    format!("{FOLDER}{stem}-{}.{extension}", file.tag())
}

/// Nothing but a click in the frame may write to the clipboard; nothing else is allowed at all.
const PERMISSIONS: &str = "clipboard-write=(self), accelerometer=(), autoplay=(), camera=(), \
     clipboard-read=(), display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), \
     gyroscope=(), hid=(), identity-credentials-get=(), idle-detection=(), local-fonts=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
     publickey-credentials-create=(), publickey-credentials-get=(), screen-wake-lock=(), \
     serial=(), storage-access=(), usb=(), window-management=(), xr-spatial-tracking=()";

/// A browser may keep a document, which holds nothing of anyone, and asks whether it is still the
/// same each time: who may frame it can change at any time. On the way back to a page it may show
/// what it kept unasked (RFC 9111 4.2.4); then the policy is that of before, and whoever framed it
/// then needs a token of the embed still.
const CACHE: &str = "private, no-cache";
const HTML: &str = "text/html; charset=utf-8";

/// What every frame is served with, besides its policy and what every answer has.
pub(crate) const HEADERS: [(&str, &str); 8] = [
    ("cache-control", CACHE),
    ("content-type", HTML),
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
    pub(crate) documents: [(Document, String); 8],
    words: Vec<(&'static StaticFile, Words)>,
}

/// The words of a language.
#[derive(Deserialize)]
struct Words {
    lang: String,
    labels: Labels,
}

#[derive(Deserialize)]
struct Labels {
    card: String,
}

impl Assets {
    pub(crate) fn new(client_origin: &str, registered: Registered<'_>) -> Self {
        let fonts = if registered.fonts.is_empty() {
            ""
        } else {
            "font-src 'self'; "
        };
        let source = |file: &StaticFile| format!("{client_origin}{}", address(file));
        let hash = |file: &StaticFile| format!("'{}'", file.integrity());
        let with_policy = |document: Document| {
            let scripts = [Some(document.script), document.task];
            let scripts = scripts.into_iter().flatten().map(|script| &script.file);
            let (script, style) = match document.form {
                Form::Linked => {
                    let all = [hash(&BOOT.file)].into_iter().chain(scripts.map(source));
                    (all.collect::<Vec<_>>().join(" "), source(&STYLE.file))
                }
                Form::Whole => {
                    let all: Vec<_> = scripts.map(hash).collect();
                    (all.join(" "), hash(&STYLE.file))
                }
            };
            let pictures = if document.has_face() && !registered.designs.is_empty() {
                "img-src 'self'; "
            } else {
                ""
            };
            let policy = format!(
                "default-src 'none'; script-src {script}; style-src {style}; {fonts}{pictures}connect-src 'self'; \
                 base-uri 'none'; form-action 'none'; \
                 require-trusted-types-for 'script'; trusted-types 'none'"
            );
            (document, policy)
        };
        // Generated and committed; a test reads them.
        let words = WORDS.iter().filter_map(|file| {
            let words = serde_json::from_str(file.text).ok()?;
            Some((file, words))
        });
        Self {
            documents: DOCUMENTS.map(with_policy),
            words: words.collect(),
        }
    }

    /// The words of a language such as `de`, or of our own.
    fn words(&self, language: Option<&str>) -> Option<&(&'static StaticFile, Words)> {
        let of = |(_, words): &&(_, Words)| Some(words.lang.as_str()) == language;
        let found = self.words.iter().find(of);
        found.or_else(|| self.words.first())
    }

    /// The document of an address that a query asks for, or the first one there.
    fn document(&self, path: &str, query: &extract::Query) -> Option<&(Document, String)> {
        let form = match query.one("whole") {
            Ok(None) => Form::Linked,
            Ok(Some(_)) | Err(_) => Form::Whole,
        };
        let there = |(document, _): &&(Document, String)| {
            document.form == form && document.path.starts_with(path)
        };
        let name = query.one("as").unwrap_or_default();
        let named = |(document, _): &&(Document, String)| {
            let (_, last) = document.path.split_once("as=").unwrap_or_default();
            Some(last) == name
        };
        let documents = || self.documents.iter().filter(there);
        documents().find(named).or_else(|| documents().next())
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
    fonts: Vec<FontFace<'a>>,
    designs: Vec<Face<'a>>,
    /// Themselves, or their address.
    words: Value,
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
        (status = 503, description = "`unavailable`"),
    )
)]
pub(super) async fn frame(
    State(app): Shared,
    Extension(prepared): Extension<Arc<Prepared>>,
    embed: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !opened_as(&headers, "iframe") {
        let query = extract::Query::parse(query.as_deref());
        let notice = Notice::of_opened_frame(query.one("lang").unwrap_or_default());
        return Ok(notice.answer(StatusCode::FORBIDDEN));
    }
    let Some(embed) = find(&app, embed).await? else {
        return Ok(notice::UNKNOWN.answer(StatusCode::NOT_FOUND));
    };
    let asks = asks_for_factor(&app, &embed).await?;
    shown(
        &app,
        &prepared,
        "/embed/",
        (&embed, asks),
        (query.as_deref(), &headers),
    )
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
        (status = 503, description = "`unavailable`"),
    )
)]
pub(super) async fn webview(
    State(app): Shared,
    Extension(prepared): Extension<Arc<Prepared>>,
    embed: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !opened_as(&headers, "document") {
        return Ok(notice::OPENED_IN_A_PAGE.answer(StatusCode::FORBIDDEN));
    }
    let Some(embed) = find(&app, embed).await? else {
        return Ok(notice::UNKNOWN.answer(StatusCode::NOT_FOUND));
    };
    if !embed.origins.is_empty() {
        return Ok(notice::OF_PAGES.answer(StatusCode::FORBIDDEN));
    }
    let asks = asks_for_factor(&app, &embed).await?;
    shown(
        &app,
        &prepared,
        "/webview/",
        (&embed, asks),
        (query.as_deref(), &headers),
    )
}

/// Whether a browser that says what it wants a document for says this.
fn opened_as(headers: &HeaderMap, destination: &str) -> bool {
    match extract::header(headers, "sec-fetch-dest") {
        Header::Missing => true,
        Header::Value(value) => value == destination,
        Header::Malformed => false,
    }
}

/// Whether the frames of an embed ask for second factors themselves.
async fn asks_for_factor(app: &App, embed: &Embed) -> Result<bool, Problem> {
    let merchant = app.service.store().merchant(&embed.merchant).await?;
    Ok(merchant.is_some_and(|merchant| merchant.mfa.view_card == Policy::InFrame))
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

fn shown(
    app: &App,
    prepared: &Prepared,
    path: &str,
    (embed, asks): (&Embed, bool),
    (query, request): (Option<&str>, &HeaderMap),
) -> Result<Response, Problem> {
    // What is wrong with it is worth no refusal, which nobody would see in a frame.
    let query = extract::Query::parse(query);
    let assets = prepared.frames(&app.settings);
    let words = assets.words(query.one("lang").unwrap_or_default());
    let document = assets.document(path, &query);
    let ((document, policy), words) = document
        .zip(words)
        .ok_or_else(|| Problem::new(Code::Unavailable))?;
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
    let document = Document {
        task: document.task.filter(|_| asks),
        ..*document
    };
    let page = page(
        document,
        embed,
        Registered::of(&app.settings),
        words,
        scheme,
    );
    let tag = tag(&page, &policy);
    let mut response = tagged(request, &tag, HTML, CACHE, page.into());
    // A browser that has the document keeps the headers that it came with (RFC 9111 3.2): the tag is
    // theirs too.
    if response.status() == StatusCode::OK {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        for (name, value) in HEADERS {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
    }
    Ok(response)
}

/// Of a document with all that it is served with, so that nothing of it can change without the tag.
fn tag(page: &str, policy: &HeaderValue) -> String {
    let always = headers::always().map(|(name, value)| format!("{name}: {value}\n"));
    let own = HEADERS.map(|(name, value)| format!("{name}: {value}\n"));
    let mut all: Vec<u8> = own.into_iter().chain(always).collect::<String>().into();
    all.extend(policy.as_bytes());
    all.extend(page.as_bytes());
    format!("\"{}\"", beginning(&sha384(&all)))
}

/// A script, a style or the words of a frame
///
/// By an address that changes with its bytes, so it may be kept for ever. A frame's document names
/// it with its integrity value.
#[utoipa::path(
    get, path = "/embed/assets/{asset}", tag = "Client", operation_id = "asset",
    params(("asset" = String, Path, description = "As the document names it.", example = "frame-8f434346648f6b96.js")),
    responses(
        (status = 200, description = "The file.", content_type = "text/javascript"),
        (status = 404, description = "`not_found`: none of this server's version."),
    )
)]
pub(super) async fn asset(
    name: Result<Path<String>, PathRejection>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let name = extract::path(name).ok_or_else(|| Problem::new(Code::NotFound))?;
    let found = assets().find(|(file, _)| address(file).strip_prefix(FOLDER) == Some(&name));
    let (file, content_type) = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(file.answer(&request, content_type, IMMUTABLE))
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
/// For `veil.doctor()`: why a frame does not come. It tells no more than the frame's own policy
/// does.
#[utoipa::path(
    get, path = "/client/v1/embeds/{embed}", tag = "Client", operation_id = "embed",
    params(("embed" = String, Path, description = "The embed's public id.", example = "emb_4v1Zq")),
    responses(
        (status = 200, description = "It is known.", body = EmbedAnswer),
        (status = 404, description = "`not_found`"),
        (status = 503, description = "`unavailable`"),
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
/// In another language than a frame came with, for a page that changes its language while the card
/// is there. Errors and labels; nothing of anyone.
#[utoipa::path(
    get, path = "/client/v1/words/{language}", tag = "Client", operation_id = "words",
    params(("language" = String, Path, description = "As `lang` of a frame; `en` for any that frames do not speak.", example = "de")),
    responses((status = 200, description = "The words, and the language that they are in.", body = Object)),
)]
pub(super) async fn words(
    State(app): Shared,
    Extension(prepared): Extension<Arc<Prepared>>,
    language: Result<Path<String>, PathRejection>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let words = prepared
        .frames(&app.settings)
        .words(extract::path(language).as_deref());
    let (file, _) = words.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(file.answer(&request, JSON, MOVING))
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
fn page(
    document: Document,
    embed: &Embed,
    registered: Registered<'_>,
    (file, words): &(&StaticFile, Words),
    scheme: &str,
) -> String {
    let Document {
        script, task, form, ..
    } = document;
    let designs: &[Design] = if document.has_face() {
        registered.designs
    } else {
        &[]
    };
    let linked = |file: &StaticFile| (address(file), file.integrity());
    // The task is there before the script that looks for it.
    let scripts = [task, Some(script)].into_iter().flatten();
    let (said, head, foot) = match form {
        Form::Linked => {
            let words = address(file);
            let (style, style_hash) = linked(&STYLE.file);
            let scripts = scripts.map(|script| {
                let (script, script_hash) = linked(&script.file);
                format!(
                    "<script defer src=\"{script}\" integrity=\"{script_hash}\" crossorigin=\"anonymous\"></script>"
                )
            });
            let scripts = scripts.collect::<Vec<_>>().join("\n");
            let head = format!(
                "<script>{}</script>\n\
                 <link rel=\"stylesheet\" href=\"{style}\" integrity=\"{style_hash}\" crossorigin=\"anonymous\">\n\
                 <link rel=\"preload\" as=\"fetch\" href=\"{words}\" crossorigin=\"anonymous\">\n\
                 {scripts}",
                BOOT.file.text
            );
            (Value::String(words), head, String::new())
        }
        Form::Whole => (
            serde_json::from_str(file.text).unwrap_or_default(),
            format!("<style>{}</style>", STYLE.file.text),
            scripts
                .flat_map(|script| ["<script>", script.file.text, "</script>\n"])
                .collect(),
        ),
    };
    let config = Config {
        embed: &embed.id,
        origins: &embed.origins,
        copy_cvv: embed.copy_cvv,
        transparent: embed.transparent,
        fonts: registered.fonts.iter().map(Font::told).collect(),
        designs: designs.iter().map(Design::told).collect(),
        words: said,
    };
    // In a script element only `<` can end the text.
    let config = serde_json::to_string(&config)
        .unwrap_or_default()
        .replace('<', "\\u003c");
    let theme = if scheme.is_empty() {
        String::new()
    } else {
        format!(" data-theme=\"{scheme}\"")
    };
    // The words are what our own build wrote, which a test holds to plain ones.
    format!(
        "<!doctype html>\n<html lang=\"{}\"{}{theme}>\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"format-detection\" content=\"telephone=no\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n{head}\n</head>\n\
         <body>\n<main id=\"cardveil-root\"></main>\n\
         <script type=\"application/json\" id=\"cardveil-config\">{config}</script>\n{foot}</body>\n</html>\n",
        words.lang,
        notice::direction(&words.lang),
        words.labels.card
    )
}

#[cfg(test)]
mod tests {
    use cardveil_testkit::sample;

    use super::*;

    #[test]
    fn the_bundles_cannot_end_their_elements() {
        let scripts = DOCUMENTS.map(|document| &document.script.file);
        for script in scripts.into_iter().chain([&BOOT.file, &CODE.file]) {
            assert!(!script.text.to_ascii_lowercase().contains("</script"));
            assert!(!script.text.contains("<!--"));
        }
        assert!(!STYLE.file.text.to_ascii_lowercase().contains("</style"));
    }

    #[test]
    fn every_language_is_there_and_any_other_is_english() {
        let assets = Assets::new("https://cards.example", Registered::default());
        let words = |language| &assets.words(language).unwrap().1;
        for language in ["ar", "de", "en", "es", "fr", "ja", "pt", "zh"] {
            let words = words(Some(language));
            assert_eq!(words.lang, language);
            let title = &words.labels.card;
            assert!(!title.is_empty() && !title.contains(['<', '&']));
        }
        for language in [None, Some("tlh"), Some("")] {
            assert_eq!(words(language).lang, "en");
        }
    }

    #[test]
    fn an_address_is_its_bytes_own() {
        let addresses: Vec<_> = assets().map(|(file, _)| address(file)).collect();
        for address in &addresses {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-".contains(&byte);
            assert!(address.starts_with(FOLDER) && address.bytes().all(plain));
        }
        let mut once = addresses.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), addresses.len());
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
        let assets = Assets::new("", Registered::default());
        let words = assets.words(None).unwrap();
        for document in DOCUMENTS {
            let page = page(document, &embed, Registered::default(), words, "");
            let scripts = match document.form {
                Form::Linked => 3,
                Form::Whole => 2,
            };
            let tasks = usize::from(document.task.is_some());
            assert_eq!(page.matches("</script>").count(), scripts + tasks);
        }
    }
}
