//! A partner's shop: a small, real merchant backend. It calls Cardveil's merchant listener with the
//! right headers, hands the token to its page, and never touches a card number.
//!
//! What a real shop adds is its own login: here every visitor is the one cardholder, and
//! `Shop::token` is where a shop checks that the card is its visitor's.

mod client;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use client::{Answer, Cardveil};

/// How a shop finds Cardveil, and what it knows of its own cards.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Cardveil's merchant listener.
    pub merchant_url: String,
    /// Cardveil's client origin, for the page.
    pub client_url: String,
    /// The shop's embed.
    pub embed: String,
    /// Its Api-Key for KeySecure's API.
    pub api_key: String,
    /// Its Api-Key for Equals' and the native API.
    pub equals_api_key: String,
    /// Its cardholder's cards.
    pub cards: Vec<ShopCard>,
}

/// What a shop knows of a card: no number.
#[derive(Clone, Debug, Serialize)]
pub struct ShopCard {
    /// The card's order number.
    pub card_no: String,
    /// The card's id.
    pub card_id: String,
    /// The account it is of.
    #[serde(skip)]
    pub account_id: String,
    /// The last four digits.
    pub last_four: String,
    /// The scheme.
    pub network: String,
    /// The state.
    pub state: String,
    /// Virtual or physical.
    #[serde(rename = "type")]
    pub kind: String,
    /// What people call it.
    pub label: String,
}

/// The shop.
#[derive(Clone)]
pub struct Shop(Arc<Inner>);

struct Inner {
    settings: Settings,
    cardveil: Cardveil,
    /// KeySecure's login token, kept until a call is refused with 1007.
    login: Mutex<Option<String>>,
}

/// Which of Cardveil's three APIs issues the token. A real shop uses one.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Api {
    Keysecure,
    Equals,
    Native,
}

#[derive(Deserialize)]
struct TokenQuery {
    api: Option<Api>,
}

impl Shop {
    /// A shop with these settings.
    pub fn new(settings: Settings) -> Self {
        let cardveil = Cardveil::new(settings.merchant_url.clone());
        Self(Arc::new(Inner {
            settings,
            cardveil,
            login: Mutex::new(None),
        }))
    }

    /// Serves its page and its backend until the task is dropped.
    pub async fn serve(self, tcp: TcpListener) {
        let router = Router::new()
            .route(
                "/",
                get(|| async {
                    page(
                        "text/html; charset=utf-8",
                        include_str!("../page/index.html"),
                    )
                }),
            )
            .route(
                "/shop.css",
                get(|| async { page("text/css; charset=utf-8", include_str!("../page/shop.css")) }),
            )
            .route(
                "/shop.js",
                get(|| async {
                    page(
                        "text/javascript; charset=utf-8",
                        include_str!("../page/shop.js"),
                    )
                }),
            )
            .route("/api/cards", get(cards))
            .route("/api/cards/{card_no}/token", post(token))
            .fallback(|| async { StatusCode::NOT_FOUND })
            .with_state(self);
        // It ends with its task.
        let _ = axum::serve(tcp, router).await;
    }

    /// A token for one of the cardholder's cards. A real shop checks here that its visitor is the
    /// cardholder.
    async fn token(&self, card_no: &str, api: Api) -> Answer {
        let Some(card) = self
            .0
            .settings
            .cards
            .iter()
            .find(|card| card.card_no == card_no)
        else {
            return Answer::refused("There is no such card", "Pick another one.");
        };
        match api {
            Api::Keysecure => self.by_keysecure(card).await,
            Api::Equals => {
                let path = format!(
                    "/v2/cards/{}/access-token?accountId={}",
                    card.card_id, card.account_id
                );
                let key = format!("ApiKey {}", self.0.settings.equals_api_key);
                self.0.cardveil.equals(&path, &key).await
            }
            Api::Native => {
                let key = format!("Bearer {}", self.0.settings.equals_api_key);
                let body = json!({ "card_no": card.card_no });
                self.0
                    .cardveil
                    .native("/v1/client-tokens", &key, &body)
                    .await
            }
        }
    }

    /// Logs in when it has to, and once more when its login has run out.
    async fn by_keysecure(&self, card: &ShopCard) -> Answer {
        let (inner, key) = (&self.0, &self.0.settings.api_key);
        let path = format!("/open-api/v1/merchant/client/{}/token", card.card_no);
        let mut login = inner.login.lock().await;
        for _ in 0..2 {
            let access = match &*login {
                Some(access) => access.clone(),
                None => match inner.cardveil.keysecure_login(key, &timestamp()).await {
                    Ok(access) => login.insert(access).clone(),
                    Err(refusal) => return refusal,
                },
            };
            match inner
                .cardveil
                .keysecure(&path, key, &timestamp(), &access)
                .await
            {
                Answer::LoginNeeded => *login = None,
                answer @ (Answer::Token(_) | Answer::Refused { .. }) => return answer,
            }
        }
        Answer::refused("The shop could not log in", "Try again.")
    }
}

fn timestamp() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the contract asks a caller for its own time"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
        .to_string()
}

async fn cards(State(Shop(inner)): State<Shop>) -> Response {
    let Settings {
        embed,
        client_url,
        cards,
        ..
    } = &inner.settings;
    Json(json!({ "embed": embed, "clientUrl": client_url, "cards": cards })).into_response()
}

async fn token(
    State(shop): State<Shop>,
    Path(card_no): Path<String>,
    Query(query): Query<TokenQuery>,
) -> Response {
    match shop
        .token(&card_no, query.api.unwrap_or(Api::Keysecure))
        .await
    {
        Answer::Token(token) => (
            [(header::CACHE_CONTROL, "no-store")],
            Json(json!({ "token": token })),
        )
            .into_response(),
        Answer::LoginNeeded => error("The shop could not log in", "Try again."),
        Answer::Refused { title, detail } => error(&title, &detail),
    }
}

fn error(title: &str, detail: &str) -> Response {
    let body = json!({ "error": { "title": title, "detail": detail } });
    (StatusCode::CONFLICT, Json(body)).into_response()
}

/// A file of the page. Its policy names what a page that embeds Cardveil needs: the SDK's script and
/// the frame, both of the client origin.
fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            HeaderName::from_static("referrer-policy"),
            HeaderValue::from_static("no-referrer"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'self'; script-src 'self' http://127.0.0.1:*; \
                 frame-src http://127.0.0.1:*; img-src 'self' data:; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'",
            ),
        ),
    ];
    (headers, text).into_response()
}
