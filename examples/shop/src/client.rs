//! Calling Cardveil's merchant listener, by each of its three APIs.

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

pub(crate) struct Cardveil {
    http: Client<HttpConnector, Body>,
    url: String,
}

/// What Cardveil said.
pub(crate) enum Answer {
    /// A client token, for the page.
    Token(String),
    /// KeySecure's login token has run out.
    LoginNeeded,
    /// No token, in words for the cardholder.
    Refused {
        /// What it is.
        title: String,
        /// What to do.
        detail: String,
    },
}

impl Answer {
    pub(crate) fn refused(title: &str, detail: &str) -> Self {
        Self::Refused {
            title: title.to_owned(),
            detail: detail.to_owned(),
        }
    }

    fn unreachable() -> Self {
        Self::refused(
            "The card programme cannot be reached",
            "Try again in a minute.",
        )
    }
}

impl Cardveil {
    pub(crate) fn new(url: String) -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            url,
        }
    }

    /// KeySecure's Get Token.
    pub(crate) async fn keysecure_login(&self, key: &str, now: &str) -> Result<String, Answer> {
        let request = self.get("/open-api/v1/merchant/token");
        let request = request.header("Api-Key", key).header("Timestamp", now);
        let (_, body) = self.send(request.body(Body::empty())).await?;
        match body.pointer("/data/access_token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => Err(of_envelope(&body)),
        }
    }

    /// KeySecure's client token (seed 000).
    pub(crate) async fn keysecure(&self, path: &str, key: &str, now: &str, access: &str) -> Answer {
        let request = self
            .get(path)
            .header("Api-Key", key)
            .header("Timestamp", now);
        let request = request.header("Access-Token", access);
        match self.send(request.body(Body::empty())).await {
            Ok((_, body)) => match body
                .pointer("/data/client_access_token")
                .and_then(Value::as_str)
            {
                Some(token) => Answer::Token(token.to_owned()),
                None if body.get("code").and_then(Value::as_u64) == Some(1007) => {
                    Answer::LoginNeeded
                }
                None => of_envelope(&body),
            },
            Err(answer) => answer,
        }
    }

    /// Equals' access token (seed 001).
    pub(crate) async fn equals(&self, path: &str, authorization: &str) -> Answer {
        let request = self.get(path).header("Authorization", authorization);
        self.token(request.body(Body::empty())).await
    }

    /// The native API.
    pub(crate) async fn native(&self, path: &str, authorization: &str, body: &Value) -> Answer {
        let request = Request::post(format!("{}{path}", self.url))
            .header("Authorization", authorization)
            .header("Content-Type", "application/json");
        self.token(request.body(Body::from(body.to_string()))).await
    }

    async fn token(&self, request: Result<Request<Body>, axum::http::Error>) -> Answer {
        match self.send(request).await {
            Ok((_, body)) => match body.get("token").and_then(Value::as_str) {
                Some(token) => Answer::Token(token.to_owned()),
                None => of_problem(&body),
            },
            Err(answer) => answer,
        }
    }

    fn get(&self, path: &str) -> axum::http::request::Builder {
        Request::get(format!("{}{path}", self.url)).header("Content-Type", "application/json")
    }

    async fn send(
        &self,
        request: Result<Request<Body>, axum::http::Error>,
    ) -> Result<(StatusCode, Value), Answer> {
        let request = request.map_err(|_| Answer::unreachable())?;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|_| Answer::unreachable())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let bytes: Bytes = body.map_err(|_| Answer::unreachable())?.to_bytes();
        let value = serde_json::from_slice(&bytes).map_err(|_| Answer::unreachable())?;
        Ok((status, value))
    }
}

/// KeySecure's `{code, msg}` in words.
fn of_envelope(body: &Value) -> Answer {
    match body.get("code").and_then(Value::as_u64) {
        Some(4005) => Answer::refused(
            "This card cannot be shown now",
            "It is frozen, closed or not ready yet. Pick another one, or ask your card programme.",
        ),
        Some(1013) => Answer::refused(
            "Showing card details is not enabled",
            "Ask your card programme to enable it.",
        ),
        Some(_) | None => Answer::refused("The card cannot be shown", "Try again in a minute."),
    }
}

/// A problem in words.
fn of_problem(body: &Value) -> Answer {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("code") == "card_not_viewable" {
        return Answer::refused(
            "This card cannot be shown now",
            "It is frozen, closed or not ready yet. Pick another one, or ask your card programme.",
        );
    }
    Answer::refused(text("title"), text("detail"))
}
