//! What Cardveil is measured against: axum as it comes, answering the same bytes from memory; the
//! same, durable: each answer waits until 500 bytes of its own are on the disk; and axum that
//! parses a redemption, checks the key's point, seals, and answers, with no store, no token, no
//! card and no record. Each in a process of its own, built as Cardveil is.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::{MethodFilter, on, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use cardveil_seal::{HolderKey, seal_to};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::http1;
use crate::log::Log;
use crate::served::Child;

/// Where the endpoint is that seals.
pub(crate) const SEAL_ROUTE: &str = "/seal";

/// An answer of Cardveil, which the bare endpoint at the same route repeats.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Repeated {
    method: String,
    route: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Repeated {
    pub(crate) fn new((method, route): (&str, &str), answer: &[u8]) -> anyhow::Result<Self> {
        let answer = http1::parse(answer)?.context("half an answer")?;
        // hyper writes these two by itself.
        let headers = http1::headers(answer.head)
            .filter(|(name, _)| !matches!(*name, "date" | "content-length"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self {
            method: method.to_owned(),
            route: route.to_owned(),
            status: answer.status,
            headers: headers.collect(),
            body: String::from_utf8(answer.body.to_vec())?,
        })
    }
}

/// A redemption's answer, and what was sealed in it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Redeemed {
    pub(crate) answer: SealAnswer,
    pub(crate) plaintext: String,
}

/// What the child is told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) repeated: Vec<Repeated>,
    pub(crate) redeemed: Redeemed,
    /// Where the endpoints that repeat append before they answer; they are not durable without.
    pub(crate) log: Option<PathBuf>,
}

/// The child at work.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Running {
    /// Starts it, with its stderr in a file.
    pub(crate) fn start(told: &Told, stderr: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").stdin(Stdio::piped());
        let mut child = Child::start(&mut command, stderr)?;
        let told = serde_json::to_vec(told)?;
        child.stdin().context("no stdin")?.write_all(&told)?;
        let port = child.ready()?;
        Ok(Self { child, port })
    }
}

/// The child.
pub(crate) fn serve() -> anyhow::Result<()> {
    let mut told = Vec::new();
    std::io::stdin().read_to_end(&mut told)?;
    let router = router(serde_json::from_slice(&told)?)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            #[expect(clippy::disallowed_methods, reason = "it prints a number")]
            writeln!(std::io::stdout(), "{}", tcp.local_addr()?.port())?;
            Ok(axum::serve(tcp, router).await?)
        })
}

fn router(told: Told) -> anyhow::Result<Router> {
    let log = told.log.as_deref().map(Log::open).transpose()?;
    let mut router = Router::new();
    for Repeated {
        method,
        route,
        status,
        headers,
        body,
    } in told.repeated
    {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes())?;
                anyhow::Ok((name, HeaderValue::from_str(value)?))
            })
            .collect::<anyhow::Result<_>>()?;
        let (status, body) = (StatusCode::from_u16(status)?, Bytes::from(body));
        let method = MethodFilter::try_from(Method::from_bytes(method.as_bytes())?)?;
        let log = log.clone();
        let repeat = async move |_: Bytes| {
            if let Some(log) = &log
                && log.append().await.is_err()
            {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            (status, headers.clone(), body.clone()).into_response()
        };
        router = router.route(&route, on(method, repeat));
    }
    let redeemed = told.redeemed;
    let header = BASE64_URL_SAFE_NO_PAD.decode(&redeemed.answer.header)?;
    let sealing = Arc::new(Sealing { redeemed, header });
    let sealing = Router::new()
        .route(SEAL_ROUTE, post(seal))
        .with_state(sealing);
    Ok(router.merge(sealing))
}

/// What is the same in all answers of the endpoint that seals.
struct Sealing {
    redeemed: Redeemed,
    header: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "parsed, as a redemption is, and not looked at")]
struct SealRequest {
    token: String,
    embed: String,
    key: Jwk,
    fields: Vec<String>,
    attempt: String,
}

#[derive(Deserialize)]
#[expect(
    dead_code,
    reason = "parsed, as a redemption's key is, and not looked at"
)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

/// The shape of a redemption's answer.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SealAnswer {
    redemption: String,
    card: Face,
    header: String,
    sealed: Pair,
    window: Window,
}

#[derive(Clone, Serialize, Deserialize)]
struct Face {
    last_four: String,
    network: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Pair {
    enc: String,
    ciphertext: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Window {
    ends_at: String,
    fields_left: Vec<String>,
}

async fn seal(
    State(sealing): State<Arc<Sealing>>,
    Json(request): Json<SealRequest>,
) -> Result<Json<SealAnswer>, StatusCode> {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let decode = |text: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
        bytes.map_err(|_| StatusCode::BAD_REQUEST)
    };
    let (x, y) = (decode(&request.key.x)?, decode(&request.key.y)?);
    let key = HolderKey::from_coordinates(&x, &y).map_err(|_| StatusCode::BAD_REQUEST)?;
    let Redeemed { answer, plaintext } = &sealing.redeemed;
    let info = b"cardveil/redeem/v1";
    let sealed = seal_to(&key, info, &sealing.header, plaintext.as_bytes())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(SealAnswer {
        header: encode(&sealing.header),
        sealed: Pair {
            enc: encode(&sealed.enc),
            ciphertext: encode(&sealed.ciphertext),
        },
        ..answer.clone()
    }))
}
