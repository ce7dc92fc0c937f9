//! The client API: what the public calls. Frames, scripts, redemption, events and wallets.
//!
//! **Invariant:** whatever is wrong with a token, the answer is the same bytes (P6).

mod challenge;
pub(crate) mod design;
mod events;
pub(crate) mod font;
pub(crate) mod frame;
pub mod manifest;
mod notice;
mod redeem;
pub(crate) mod script;
mod wallet;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Extension;
use axum::response::{IntoResponse as _, Response};
use cardveil_core::flow::NotTaken;
use cardveil_core::token::ClientToken;
use http::{HeaderMap, header};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::routes;

use self::frame::{Assets, Registered};
use crate::api::admission::{Holder, Refused};
use crate::api::extract::{self, Header};
use crate::api::openapi::{self, On, SharedRefusal};
use crate::api::permission::{Barrier, Entrant, Permission, Public};
use crate::api::problem::{Code, Problem};
use crate::api::surface::{Handlers, Surface};
use crate::http::app::{App, Settings};
use crate::http::call::Call;
use crate::http::limit::{Limiter, TooOften};

pub(crate) fn routes(surface: Surface) -> Surface {
    const FRAME: Public =
        Public::because("an empty frame: it holds nothing until a token is redeemed in it");
    const ASSET: Public = Public::because("a frame's script, style or words: the same for all");
    const SCRIPT: Public = Public::because("the SDK: the same public bytes for everyone");
    const EMBED: Public =
        Public::because("whether a page may show cards, as the frame's own policy says too");
    const WORDS: Public =
        Public::because("what frames say in a language: the same words for everyone");
    const FONT: Public = Public::because("a font that the operator registered");
    const DESIGN: Public = Public::because("a picture of a design that the operator registered");
    const MANIFEST: Public =
        Public::because("what the public scripts are: the same bytes for everyone");
    let prepared = Arc::<Prepared>::default();
    let with = |(schemas, paths, handlers): Handlers| -> Handlers {
        let prepared = Extension(Arc::clone(&prepared));
        (schemas, paths, handlers.route_layer(prepared))
    };
    surface
        .route(FRAME, with(routes!(frame::frame)))
        .route(FRAME, with(routes!(frame::webview)))
        .route(ASSET, routes!(frame::asset))
        .route(EMBED, routes!(frame::embed))
        .route(WORDS, with(routes!(frame::words)))
        .route(FONT, routes!(font::font))
        .route(DESIGN, routes!(design::design))
        .route(SCRIPT, routes!(script::script))
        .route(MANIFEST, with(routes!(manifest::json)))
        .route(MANIFEST, with(routes!(manifest::jws)))
        .route(TokenHolder, routes!(redeem::redeem))
        .route(TokenHolder, routes!(challenge::challenge))
        .route(TokenHolder, routes!(events::event))
        .route(TokenHolder, routes!(wallet::eligibility))
}

/// What is the same in every answer of a listener: made when it is first asked for, and kept.
#[derive(Default)]
struct Prepared {
    frames: OnceLock<Assets>,
    manifest: manifest::Once,
}

impl Prepared {
    fn frames(&self, settings: &Settings) -> &Assets {
        let make = || Assets::new(&settings.client_origin, Registered::of(settings));
        self.frames.get_or_init(make)
    }
}

/// What they are refused for, whatever they call.
const REFUSALS: [SharedRefusal; 5] = [
    (
        "400",
        "`invalid_request`; `detail` names the field",
        On::Every,
    ),
    ("413", "`too_large`", On::Body),
    ("415", "`unsupported_media_type`", On::Body),
    ("429", "`rate_limited`", On::Every),
    ("503", "`unavailable`", On::Every),
];

/// Whoever holds a client token; the handler redeems or checks it. From a browser only if the page
/// is of the client origin.
#[derive(Clone, Copy)]
struct TokenHolder;

impl Permission for TokenHolder {
    const API: &'static str = "client";

    type Wording = ();

    /// A token travels in the body, for which `OpenAPI` has no scheme: the requirement is there and
    /// names none.
    fn describe(self, operation: &mut Operation) {
        operation.security = Some(vec![SecurityRequirement::default()]);
        openapi::refuse(operation, &REFUSALS);
    }

    fn wording(_: &HeaderMap) {}

    async fn admit(self, call: &Call, headers: &HeaderMap) -> Result<Entrant, Refused<Response>> {
        // What is wrong with the frame's own page is no refusal of anybody's access.
        let _says_where =
            admit(&call.app, headers).map_err(|problem| Refused::fault(problem.into_response()))?;
        Ok(Entrant::Holder)
    }

    fn count_refused(limiter: &Limiter, ip: Option<IpAddr>) -> Result<(), TooOften> {
        limiter.stranger(ip)
    }

    fn refuse(why: Barrier, (): ()) -> Response {
        why.problem()
    }
}

/// A browser says from which page it calls, and then it must be our own frame; other callers say
/// nothing. Tells whether it said so: what an embed that pages frame redeems must carry it
/// ([`Lives::wants_origin`](cardveil_core::token::Lives::wants_origin)). Any program can say so,
/// too: this keeps other pages out, and no thief.
fn admit(app: &App, headers: &HeaderMap) -> Result<bool, Problem> {
    let with_origin = match extract::header(headers, header::ORIGIN.as_str()) {
        Header::Missing => false,
        Header::Value(origin) if origin == app.settings.client_origin => true,
        Header::Value(_) | Header::Malformed => return Err(no_origin()),
    };
    match extract::header(headers, "sec-fetch-site") {
        Header::Missing | Header::Value("same-origin") => Ok(with_origin),
        Header::Value(_) | Header::Malformed => Err(no_origin()),
    }
}

/// The refusal of a page that is not ours, and of none where there must be one.
fn no_origin() -> Problem {
    Problem::new(Code::OriginRefused)
}

/// The token, or the one refusal.
async fn token(
    app: &App,
    holder: &Holder,
    text: &str,
    life: Duration,
) -> Result<ClientToken, Problem> {
    let token = app.service.token(text, life).await?;
    if matches!(token, Ok(_) | Err(NotTaken::PastLife)) {
        holder.charge(app)?;
    }
    token.map_err(|not_taken| {
        app.metrics.token_not_taken(not_taken).increment();
        Problem::new(Code::TokenRefused)
    })
}
