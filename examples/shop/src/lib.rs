//! A partner's shop: a small, real merchant backend. It calls Cardveil's merchant listener with the
//! right headers, hands the token to its page, and never touches a card number.
//!
//! What a real shop adds is its own login: here every visitor is the one cardholder, and
//! `Shop::holding` is where a shop checks that the card is its visitor's.

mod client;
mod page;
mod wallet;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use client::{Answer, Cardveil, Refusal, token_of};

/// How a shop finds Cardveil, and what it knows of its own cards.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Cardveil's merchant listener.
    pub merchant_url: String,
    /// Cardveil's client origin, for the page and for the demo's phone.
    pub client_url: String,
    /// The card programmes whose cards it shows.
    pub programmes: Vec<Programme>,
}

/// A merchant of Cardveil, as which the shop calls.
#[derive(Clone, Debug)]
pub struct Programme {
    /// The page's embed.
    pub embed: String,
    /// The phone app's id, where cards can be added to wallets.
    pub app: Option<String>,
    /// The Api-Key for KeySecure's API.
    pub keysecure_key: String,
    /// The Api-Key for Equals' and the native API.
    pub equals_api_key: String,
    /// Set where the frame asks for a code before it shows a card: the secret (Base32) of the
    /// cardholder's authenticator app. A real shop never sees it. The demo's is public, and the page
    /// plays the app with it.
    pub totp_secret: Option<String>,
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
    /// Its cardholder.
    #[serde(skip)]
    pub person_id: String,
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
    /// KeySecure's login tokens by their keys, each kept until a call is refused with 1007.
    logins: Mutex<BTreeMap<String, String>>,
}

/// A card and the programme that it is of.
struct Holding<'a> {
    programme: &'a Programme,
    card: &'a ShopCard,
}

impl Holding<'_> {
    /// As Equals' API takes the key.
    fn api_key(&self) -> String {
        format!("ApiKey {}", self.programme.equals_api_key)
    }

    /// As the native API takes it.
    fn bearer(&self) -> String {
        format!("Bearer {}", self.programme.equals_api_key)
    }
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

impl TokenQuery {
    fn api(&self) -> Api {
        self.api.unwrap_or(Api::Keysecure)
    }
}

impl Shop {
    /// A shop with these settings.
    pub fn new(settings: Settings) -> Self {
        let cardveil = Cardveil::new(settings.merchant_url.clone(), settings.client_url.clone());
        Self(Arc::new(Inner {
            settings,
            cardveil,
            logins: Mutex::default(),
        }))
    }

    /// Serves its page and its backend until the task is dropped.
    pub async fn serve(self, tcp: TcpListener) {
        let router = page::routes()
            .route("/api/cards", get(cards))
            .route("/api/cards/{card_no}/token", post(token))
            .route("/api/cards/{card_no}/wallet/check", post(wallet::check))
            .route(
                "/api/cards/{card_no}/wallet/tokens",
                get(wallet::tokens).post(wallet::simulate),
            )
            .route(
                "/api/cards/{card_no}/wallet/tokens/{id}",
                post(wallet::change),
            )
            .fallback(|| async { StatusCode::NOT_FOUND })
            .with_state(self);
        // It ends with its task.
        let _ = axum::serve(tcp, router).await;
    }

    /// One of the cardholder's cards. A real shop checks here that its visitor is the cardholder.
    fn holding(&self, card_no: &str) -> Option<Holding<'_>> {
        self.0.settings.programmes.iter().find_map(|programme| {
            let card = programme
                .cards
                .iter()
                .find(|card| card.card_no == card_no)?;
            Some(Holding { programme, card })
        })
    }

    fn cardveil(&self) -> &Cardveil {
        &self.0.cardveil
    }

    /// A token to show a card.
    async fn token(&self, holding: &Holding<'_>, api: Api) -> Result<String, Refusal> {
        let card = holding.card;
        match api {
            Api::Keysecure => self.by_keysecure(holding).await,
            Api::Equals => {
                let path = format!(
                    "/v2/cards/{}/access-token?accountId={}",
                    card.card_id, card.account_id
                );
                let key = holding.api_key();
                token_of(&self.cardveil().call(Method::GET, &path, &key, None).await?)
            }
            Api::Native => {
                let body = json!({ "card_no": card.card_no });
                let (path, key) = ("/v1/client-tokens", holding.bearer());
                let answer = self.cardveil().call(Method::POST, path, &key, Some(&body));
                token_of(&answer.await?)
            }
        }
    }

    /// Logs in when it has to, and once more when its login has run out.
    async fn by_keysecure(&self, holding: &Holding<'_>) -> Result<String, Refusal> {
        let key = &holding.programme.keysecure_key;
        let inner = &self.0;
        let path = format!(
            "/open-api/v1/merchant/client/{}/token",
            holding.card.card_no
        );
        let mut logins = inner.logins.lock().await;
        for _ in 0..2 {
            let access = match logins.get(key) {
                Some(access) => access.clone(),
                None => inner.cardveil.keysecure_login(key, &timestamp()).await?,
            };
            logins.insert(key.clone(), access.clone());
            match inner
                .cardveil
                .keysecure(&path, key, &timestamp(), &access)
                .await
            {
                Answer::LoginNeeded => drop(logins.remove(key)),
                Answer::Token(token) => return Ok(token),
                Answer::Refused(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::new(
            "login",
            "The shop could not log in",
            "Try again.",
        ))
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

/// A card for the page, with what the page needs to show it.
#[derive(Serialize)]
struct PageCard<'a> {
    #[serde(flatten)]
    card: &'a ShopCard,
    embed: &'a str,
    wallets: bool,
    totp_secret: Option<&'a str>,
}

async fn cards(State(Shop(inner)): State<Shop>) -> Response {
    let Settings {
        client_url,
        programmes,
        ..
    } = &inner.settings;
    let cards: Vec<_> = programmes.iter().flat_map(page_cards).collect();
    Json(json!({ "clientUrl": client_url, "cards": cards })).into_response()
}

fn page_cards(programme: &Programme) -> impl Iterator<Item = PageCard<'_>> {
    programme.cards.iter().map(|card| PageCard {
        card,
        embed: &programme.embed,
        wallets: programme.app.is_some(),
        totp_secret: programme.totp_secret.as_deref(),
    })
}

async fn token(
    State(shop): State<Shop>,
    Path(card_no): Path<String>,
    Query(query): Query<TokenQuery>,
) -> Response {
    let Some(holding) = shop.holding(&card_no) else {
        return refused(&Refusal::no_such_card());
    };
    match shop.token(&holding, query.api()).await {
        Ok(token) => (
            [(header::CACHE_CONTROL, "no-store")],
            Json(json!({ "token": token })),
        )
            .into_response(),
        Err(refusal) => refused(&refusal),
    }
}

impl Refusal {
    fn no_such_card() -> Self {
        Self::new("not_found", "There is no such card", "Pick another one.")
    }
}

fn refused(refusal: &Refusal) -> Response {
    (StatusCode::CONFLICT, Json(json!({ "error": refusal }))).into_response()
}
