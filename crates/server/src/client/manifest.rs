//! The manifest: every script and style that Cardveil gives a cardholder's browser, what each is
//! for, and the policy that holds the frame to them (PCI DSS 6.4.3, 11.6.1); and its signature.
//!
//! The signed form is a compact JWS (RFC 7515 3.1) by Ed25519 (RFC 8037 3.1), whose payload is the
//! bytes of `manifest.json`.
//!
//! **Invariant:** the manifest is made of the very constants that are served: a script cannot be
//! served and be missing here.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use cardveil_core::flow::Fault;
use cardveil_core::vault::{self, Vault};
use cardveil_seal::PublicKey;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::frame::{Assets, Registered};
use super::{Prepared, frame, script};
use crate::api::problem::Problem;
use crate::http::app::{App, Shared};
use crate::http::static_file::{self, MOVING, StaticFile};

/// What the signature is for: the key signs nothing else, and says so.
const TYPE: &str = "cardveil-manifest";
/// RFC 8037 3.1.
const ALGORITHM: &str = "EdDSA";
/// Where the frame is. `{embed}` stands for an embed's id.
pub const FRAME_PATH: &str = "/embed/{embed}";
/// Where the manifest is.
pub const PATH: &str = "/sdk/v1/manifest.json";
/// Where its signed form is.
pub const SIGNED_PATH: &str = "/sdk/v1/manifest.jws";

/// All that a cardholder's browser gets to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// The version of the server.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// Where browsers find it.
    #[schema(example = "https://cards.example")]
    pub client_origin: String,
    /// Each script and style.
    pub scripts: Vec<Asset>,
    /// What each of the frame's documents is served with.
    pub frames: Vec<Frame>,
}

/// A script or style.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Asset {
    /// Its name.
    #[schema(example = "cardveil.js")]
    pub name: String,
    /// How a browser gets it.
    pub kind: AssetKind,
    /// Where it is. Of an inline one: the document that it is in; `/embed/{embed}` for all that
    /// have it.
    #[schema(example = "/sdk/0.1.0/cardveil.js")]
    pub path: String,
    /// Where the same bytes are too, for as long as this version is the newest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "/sdk/v1/cardveil.js")]
    pub moving_path: Option<String>,
    /// Its version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// How many bytes it has.
    #[schema(example = 12_345)]
    pub bytes: u64,
    /// As an `integrity` attribute or a policy names it.
    #[schema(example = "sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC")]
    pub integrity: String,
    /// Why it is there (PCI DSS 6.4.3).
    pub justification: String,
}

/// How a browser gets a script or style.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssetKind {
    /// An ES module, by its address.
    Module,
    /// A classic script, by its address.
    Script,
    /// A style, by its address.
    Style,
    /// The text of a `<script>` of a frame.
    InlineScript,
    /// The text of a `<style>` of a frame.
    InlineStyle,
}

/// What the frame is served with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Frame {
    /// Where it is; `{embed}` stands for the embed's id.
    #[schema(example = "/embed/{embed}?as=card")]
    pub path: String,
    /// Its `Content-Security-Policy`, but for `frame-ancestors`, which is the embed's.
    pub policy: String,
    /// Its other headers.
    pub headers: BTreeMap<String, String>,
}

/// A manifest as it is served: its bytes, and its signed form.
pub(crate) struct Signed {
    json: Bytes,
    jws: Bytes,
    /// Of both: each is the other's.
    tag: String,
}

impl Signed {
    fn answer(&self, request: &HeaderMap, content_type: &'static str, body: &Bytes) -> Response {
        let answer = static_file::tagged(request, &self.tag, content_type, MOVING, body.clone());
        static_file::for_any_page(answer)
    }
}

/// Made when it is first asked for: it is the same until the end.
#[derive(Default)]
pub(crate) struct Once(OnceLock<Signed>);

impl Once {
    fn signed<'a>(&'a self, app: &App, frames: &Assets) -> Result<&'a Signed, Problem> {
        if let Some(signed) = self.0.get() {
            return Ok(signed);
        }
        let made = made(app, frames).map_err(Fault::from)?;
        Ok(self.0.get_or_init(|| made))
    }
}

fn made(app: &App, frames: &Assets) -> Result<Signed, vault::Error> {
    let manifest = of(&app.settings.client_origin, frames);
    let mut json = serde_json::to_string_pretty(&manifest).unwrap_or_default();
    json.push('\n');
    let jws = sign(app.service.vault(), json.as_bytes())?;
    let tag = format!("\"{}\"", integrity(jws.as_bytes()));
    let (json, jws) = (json.into(), jws.into());
    Ok(Signed { json, jws, tag })
}

fn of(client_origin: &str, Assets { documents, .. }: &Assets) -> Manifest {
    let asset = |file: &StaticFile, kind, path: String, purpose: &str| Asset {
        name: file.name.to_owned(),
        kind,
        path,
        moving_path: None,
        version: script::VERSION.to_owned(),
        bytes: u64::try_from(file.text.len()).unwrap_or(u64::MAX),
        integrity: file.integrity(),
        justification: purpose.to_owned(),
    };
    let pages = script::SCRIPTS.iter().map(|script| {
        let file = &script.file;
        let kind = match script.form {
            script::Form::Module => AssetKind::Module,
            script::Form::Classic => AssetKind::Script,
        };
        let path = |version: &str| format!("/sdk/{version}/{}", file.name);
        Asset {
            moving_path: Some(path(script::MAJOR)),
            ..asset(file, kind, path(script::VERSION), script.purpose)
        }
    });
    let scripts = documents.iter().map(|(document, _)| {
        let frame::Piece { file, purpose } = document.script;
        let (kind, path) = match document.form {
            frame::Form::Linked => (AssetKind::Script, frame::address(file)),
            frame::Form::Whole => (AssetKind::InlineScript, document.path.to_owned()),
        };
        asset(file, kind, path, purpose)
    });
    // Where a document links it, it is the same address for all.
    let tasks = documents.iter().filter_map(|(document, _)| {
        let frame::Piece { file, purpose } = document.task?;
        let path = document.path.to_owned();
        let is_inline = document.form == frame::Form::Whole;
        is_inline.then(|| asset(file, AssetKind::InlineScript, path, purpose))
    });
    let (boot, style, code) = (&frame::BOOT, &frame::STYLE, &frame::CODE);
    let inline = |piece: &frame::Piece, kind| {
        let path = FRAME_PATH.to_owned();
        asset(&piece.file, kind, path, piece.purpose)
    };
    let shared = [
        asset(
            &code.file,
            AssetKind::Script,
            frame::address(&code.file),
            code.purpose,
        ),
        inline(boot, AssetKind::InlineScript),
        inline(style, AssetKind::InlineStyle),
        asset(
            &style.file,
            AssetKind::Style,
            frame::address(&style.file),
            style.purpose,
        ),
    ];
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut headers: BTreeMap<_, _> = frame::HEADERS.into_iter().map(pair).collect();
    headers.extend(crate::http::headers::always());
    Manifest {
        version: script::VERSION.to_owned(),
        client_origin: client_origin.to_owned(),
        scripts: pages.chain(scripts).chain(tasks).chain(shared).collect(),
        frames: documents
            .iter()
            .map(|(document, policy)| Frame {
                path: document.path.to_owned(),
                policy: policy.clone(),
                headers: headers.clone(),
            })
            .collect(),
    }
}

/// The integrity value of a script or a style (SRI 3.2; CSP Level 3, 2.3.1).
pub fn integrity(bytes: &[u8]) -> String {
    static_file::integrity(bytes)
}

/// What frames have besides, where their merchant's cardholders need it; by its name.
pub fn is_task(asset: &Asset) -> bool {
    asset.name == frame::CODE.file.name
}

/// What a deployment of this program's version serves at an origin, but for its fonts and
/// designs.
pub fn own(client_origin: &str) -> Manifest {
    of(
        client_origin,
        &Assets::new(client_origin, Registered::default()),
    )
}

/// The JOSE header (RFC 7515 4).
#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

fn sign(vault: &Vault, payload: &[u8]) -> Result<String, vault::Error> {
    let header = Header {
        alg: ALGORITHM.to_owned(),
        kid: kid(&vault.manifest_key()?),
        typ: TYPE.to_owned(),
    };
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let input = format!("{}.{}", encode(&header), encode(payload));
    let signature = vault.sign_manifest(input.as_bytes())?;
    Ok(format!("{input}.{}", encode(&signature)))
}

/// The name of a key: the thumbprint of its JWK (RFC 7638), as base64url.
pub fn kid(key: &PublicKey) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key.thumbprint())
}

/// A key as it is written down: its JWK's `x`, as base64url, 43 characters.
pub fn key_text(key: &PublicKey) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(key.as_bytes())
}

/// A key that was written down so.
pub fn parse_key(text: &str) -> Option<PublicKey> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    PublicKey::from_bytes(&bytes).ok()
}

/// A signed manifest, taken apart. Nothing is proved by it but its form.
pub struct Opened {
    /// Who is said to have signed it.
    pub kid: String,
    /// The manifest's bytes.
    pub payload: Vec<u8>,
    input: String,
    signature: Vec<u8>,
}

impl Opened {
    /// Takes a compact JWS of a manifest apart; `None` if it is not one.
    pub fn parse(jws: &str) -> Option<Self> {
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let (input, signature) = jws.trim_end().rsplit_once('.')?;
        let (header, payload) = input.split_once('.')?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return None;
        }
        Some(Self {
            kid: header.kid,
            payload: decode(payload)?,
            input: input.to_owned(),
            signature: decode(signature)?,
        })
    }

    /// Whether one of these keys signed it.
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        let fits = |key: &PublicKey| key.verify(self.input.as_bytes(), &self.signature).is_ok();
        keys.iter().any(fits)
    }
}

const CONTENT_TYPE_JSON: &str = "application/json";
/// RFC 7515 9.2.1.
const CONTENT_TYPE_JOSE: &str = "application/jose";

/// The manifest
///
/// Every script and style that a cardholder's browser gets, with what it is for and its integrity
/// value, and the policy that holds the frame to them.
#[utoipa::path(
    get, path = "/sdk/v1/manifest.json", tag = "Client", operation_id = "manifest",
    responses(
        (status = 200, description = "The manifest.", body = Manifest),
        (status = 503, description = "`unavailable`"),
    )
)]
pub(super) async fn json(
    State(app): Shared,
    Extension(prepared): Extension<Arc<Prepared>>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let signed = prepared
        .manifest
        .signed(&app, prepared.frames(&app.settings))?;
    Ok(signed.answer(&request, CONTENT_TYPE_JSON, &signed.json))
}

/// The manifest, signed
///
/// A compact JWS (RFC 7515) by Ed25519, `typ` `cardveil-manifest`, whose payload is the bytes of
/// `/sdk/v1/manifest.json`. `cardveil manifest key` prints the key that signs.
#[utoipa::path(
    get, path = "/sdk/v1/manifest.jws", tag = "Client", operation_id = "signedManifest",
    responses(
        (status = 200, description = "The signed manifest.", body = String, content_type = "application/jose"),
        (status = 503, description = "`unavailable`"),
    )
)]
pub(super) async fn jws(
    State(app): Shared,
    Extension(prepared): Extension<Arc<Prepared>>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let signed = prepared
        .manifest
        .signed(&app, prepared.frames(&app.settings))?;
    Ok(signed.answer(&request, CONTENT_TYPE_JOSE, &signed.jws))
}
