//! Calling Cardveil: the merchant listener by each of its three APIs, and the client listener as a
//! phone's app does.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde_json::Value;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

pub(crate) struct Cardveil {
    http: Client<HttpConnector, Body>,
    merchant_url: String,
    client_url: String,
}

/// What KeySecure's API said to a call for a token.
pub(crate) enum Answer {
    /// A client token, for the page.
    Token(String),
    /// KeySecure's login token has run out.
    LoginNeeded,
    /// No token.
    Refused(Refusal),
}

/// What did not work, in words for the cardholder.
#[derive(Debug, Serialize)]
pub(crate) struct Refusal {
    /// Cardveil's code, by which the page knows how to go on.
    code: String,
    /// What it is.
    title: String,
    /// What to do.
    detail: String,
    /// After how many seconds it may work.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(code: &str, title: &str, detail: &str) -> Self {
        Self {
            code: code.to_owned(),
            title: title.to_owned(),
            detail: detail.to_owned(),
            retry_after: None,
        }
    }

    fn unreachable() -> Self {
        Self::new(
            "unavailable",
            "The card programme cannot be reached",
            "Try again in a minute.",
        )
    }
}

/// An answer of either listener.
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Cardveil {
    pub(crate) fn new(merchant_url: String, client_url: String) -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            merchant_url,
            client_url,
        }
    }

    /// KeySecure's Get Token.
    pub(crate) async fn keysecure_login(&self, key: &str, now: &str) -> Result<String, Refusal> {
        let request = self.keysecure_get("/open-api/v1/merchant/token", key, now);
        let said = self.send(request.body(Body::empty())).await?;
        match said
            .body
            .pointer("/data/access_token")
            .and_then(Value::as_str)
        {
            Some(token) => Ok(token.to_owned()),
            None => Err(of_envelope(&said.body)),
        }
    }

    /// KeySecure's client token.
    pub(crate) async fn keysecure(&self, path: &str, key: &str, now: &str, access: &str) -> Answer {
        let request = self
            .keysecure_get(path, key, now)
            .header("Access-Token", access);
        let body = match self.send(request.body(Body::empty())).await {
            Ok(said) => said.body,
            Err(refusal) => return Answer::Refused(refusal),
        };
        let token = body.pointer("/data/client_access_token");
        match token.and_then(Value::as_str) {
            Some(token) => Answer::Token(token.to_owned()),
            None if body.get("code").and_then(Value::as_u64) == Some(1007) => Answer::LoginNeeded,
            None => Answer::Refused(of_envelope(&body)),
        }
    }

    /// A call of Equals Money's API or of the native one, which answer with problems.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        authorization: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refusal> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.merchant_url))
            .header(header::AUTHORIZATION, authorization)
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        done(self.send(request.body(body)).await?)
    }

    /// A call of the client API as a phone's app makes it: no `Origin`, no credential. All that
    /// speaks for it is the token in its body.
    pub(crate) async fn as_phone(&self, path: &str, body: &Value) -> Result<Value, Refusal> {
        let request = Request::post(format!("{}{path}", self.client_url))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        done(self.send(request).await?)
    }

    fn keysecure_get(&self, path: &str, key: &str, now: &str) -> axum::http::request::Builder {
        Request::get(format!("{}{path}", self.merchant_url))
            .header(header::CONTENT_TYPE, "application/json")
            .header("Api-Key", key)
            .header("Timestamp", now)
    }

    async fn send(
        &self,
        request: Result<Request<Body>, axum::http::Error>,
    ) -> Result<Said, Refusal> {
        let request = request.map_err(|_| Refusal::unreachable())?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|_| Refusal::unreachable())?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let bytes: Bytes = body.map_err(|_| Refusal::unreachable())?.to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).map_err(|_| Refusal::unreachable())?
        };
        Ok(Said {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }
}

/// The token in an answer.
pub(crate) fn token_of(body: &Value) -> Result<String, Refusal> {
    let token = body.get("token").and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(Refusal::unreachable)
}

fn done(said: Said) -> Result<Value, Refusal> {
    if said.status.is_success() {
        Ok(said.body)
    } else {
        Err(of_problem(&said))
    }
}

const NOT_NOW: &str = "This card cannot be shown now";
const NOT_NOW_ADVICE: &str =
    "It is frozen, closed or not ready yet. Pick another one, or ask your card programme.";

/// KeySecure's `{code, msg}` in words.
fn of_envelope(body: &Value) -> Refusal {
    match body.get("code").and_then(Value::as_u64) {
        Some(4005) => Refusal::new("card_not_viewable", NOT_NOW, NOT_NOW_ADVICE),
        Some(1013) => Refusal::new(
            "pci_not_enabled",
            "Showing card details is not enabled",
            "Ask your card programme to enable it.",
        ),
        Some(_) | None => Refusal::new(
            "refused",
            "The card cannot be shown",
            "Try again in a minute.",
        ),
    }
}

/// A problem in words. What only engineers can mend has Cardveil's own.
fn of_problem(said: &Said) -> Refusal {
    let text = |name: &str| said.body.get(name).and_then(Value::as_str);
    let code = text("code").unwrap_or_default();
    let (title, detail) = match code {
        "card_not_viewable" => (NOT_NOW, NOT_NOW_ADVICE),
        "rate_limited" => ("Too many tries", "Try again later."),
        "mfa_required" => (
            "This demo's data is of an older version",
            "Start the demo with another --dir.",
        ),
        "token_refused" => ("The phone's request was refused", "Check the card again."),
        _ => (
            text("title").unwrap_or("That did not work"),
            text("detail").unwrap_or("Try again in a minute."),
        ),
    };
    let retry_after = said.headers.get(header::RETRY_AFTER);
    Refusal {
        retry_after: retry_after.and_then(|value| value.to_str().ok()?.parse().ok()),
        ..Refusal::new(code, title, detail)
    }
}
