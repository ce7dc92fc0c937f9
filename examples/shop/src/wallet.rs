//! Adding a card to a phone's wallet. A real phone asks Cardveil itself, and the network decides;
//! in the demo this backend plays the phone, and Cardveil's simulator plays the network. What the
//! shop keeps of a real one is the token for the phone, and the list.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Refusal, token_of};
use crate::{Api, Holding, Shop, TokenQuery, refused};

/// How many pages of a card's tokens are read.
const PAGES_MAX: usize = 5;

/// The demo phone's question.
#[derive(Deserialize)]
pub(crate) struct Question {
    key: PublicKey,
    #[serde(flatten)]
    place: Place,
}

/// Where the card is to go. Cardveil judges the values.
#[derive(Deserialize, Serialize)]
pub(crate) struct Place {
    wallet: String,
    device_type: String,
    device_id: String,
}

/// A P-256 key (RFC 7518 6.2.1). Of a browser's JWK these are the members that the API takes.
#[derive(Deserialize, Serialize)]
struct PublicKey {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

/// A device's request, with what the network shall make of it.
#[derive(Deserialize, Serialize)]
pub(crate) struct Simulated {
    #[serde(flatten)]
    place: Place,
    decision: String,
}

/// What can be done with a token.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Suspend,
    Resume,
    Remove,
    /// The network's check of the cardholder went well.
    Pass,
    /// It did not.
    Fail,
}

#[derive(Deserialize)]
pub(crate) struct Move {
    #[serde(rename = "do")]
    verb: Verb,
}

/// Whether the card can go into a wallet.
pub(crate) async fn check(
    State(shop): State<Shop>,
    Path(card_no): Path<String>,
    Query(query): Query<TokenQuery>,
    Json(question): Json<Question>,
) -> Response {
    let Some(holding) = shop.holding(&card_no) else {
        return refused(&Refusal::no_such_card());
    };
    answer(shop.eligibility(&holding, query.api(), &question).await)
}

/// The card's tokens in wallets.
pub(crate) async fn tokens(State(shop): State<Shop>, Path(card_no): Path<String>) -> Response {
    let Some(holding) = shop.holding(&card_no) else {
        return refused(&Refusal::no_such_card());
    };
    let tokens = shop.wallet_tokens(&holding).await;
    answer(tokens.map(|tokens| json!({ "wallet_tokens": tokens })))
}

/// Plays the network.
pub(crate) async fn simulate(
    State(shop): State<Shop>,
    Path(card_no): Path<String>,
    Json(simulated): Json<Simulated>,
) -> Response {
    let Some(holding) = shop.holding(&card_no) else {
        return refused(&Refusal::no_such_card());
    };
    answer(shop.simulated(&holding, &simulated).await)
}

/// Moves one of the card's tokens.
pub(crate) async fn change(
    State(shop): State<Shop>,
    Path((card_no, id)): Path<(String, String)>,
    Json(Move { verb }): Json<Move>,
) -> Response {
    let Some(holding) = shop.holding(&card_no) else {
        return refused(&Refusal::no_such_card());
    };
    answer(shop.moved(&holding, &id, verb).await)
}

fn answer(answer: Result<Value, Refusal>) -> Response {
    match answer {
        Ok(body) => ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

impl Shop {
    async fn eligibility(
        &self,
        holding: &Holding<'_>,
        api: Api,
        question: &Question,
    ) -> Result<Value, Refusal> {
        let Some(app) = &holding.programme.app else {
            return Err(Refusal::new(
                "wallets_not_offered",
                "This card cannot go into a wallet",
                "Its card programme does not offer that.",
            ));
        };
        let token = self.wallet_client_token(holding, api).await?;
        let Place {
            wallet,
            device_type,
            device_id,
        } = &question.place;
        let body = json!({
            "token": token, "app": app, "key": question.key,
            "wallet": wallet, "device_type": device_type, "device_id": device_id,
        });
        self.cardveil()
            .as_phone("/client/v1/wallet/eligibility", &body)
            .await
    }

    /// KeySecure has no operation for wallets, so Equals' stands in.
    async fn wallet_client_token(
        &self,
        holding: &Holding<'_>,
        api: Api,
    ) -> Result<String, Refusal> {
        let card = holding.card;
        match api {
            Api::Keysecure | Api::Equals => {
                let path = format!(
                    "/v2/cards/{}/access-token?accountId={}&operationName=ADD_CARD_TO_WALLET",
                    card.card_id, card.account_id
                );
                let key = holding.api_key();
                token_of(&self.cardveil().call(Method::GET, &path, &key, None).await?)
            }
            Api::Native => {
                let body = json!({ "card_no": card.card_no, "operation": "ADD_CARD_TO_WALLET" });
                let (path, key) = ("/v1/client-tokens", holding.bearer());
                let answer = self.cardveil().call(Method::POST, path, &key, Some(&body));
                token_of(&answer.await?)
            }
        }
    }

    /// All of a card's, as far as people read lists: the newest first.
    async fn wallet_tokens(&self, holding: &Holding<'_>) -> Result<Vec<Value>, Refusal> {
        let first = format!(
            "/v1/wallet-tokens?card_id={}&limit=100",
            holding.card.card_id
        );
        let key = holding.bearer();
        let (mut tokens, mut path) = (vec![], first.clone());
        for _ in 0..PAGES_MAX {
            let page = self.cardveil().call(Method::GET, &path, &key, None).await?;
            let listed = page.get("wallet_tokens").and_then(Value::as_array);
            tokens.extend(listed.into_iter().flatten().cloned());
            let Some(next) = page.get("next").and_then(Value::as_str) else {
                break;
            };
            path = format!("{first}&after={next}");
        }
        tokens.reverse();
        Ok(tokens)
    }

    async fn simulated(
        &self,
        holding: &Holding<'_>,
        simulated: &Simulated,
    ) -> Result<Value, Refusal> {
        let Place {
            wallet,
            device_type,
            device_id,
        } = &simulated.place;
        let body = json!({
            "card_id": holding.card.card_id, "decision": simulated.decision,
            "wallet": wallet, "device_type": device_type, "device_id": device_id,
        });
        let (path, key) = ("/v1/simulator/wallet-tokens", holding.bearer());
        self.cardveil()
            .call(Method::POST, path, &key, Some(&body))
            .await
    }

    /// The id comes from the page, so it is looked for among this card's.
    async fn moved(&self, holding: &Holding<'_>, id: &str, verb: Verb) -> Result<Value, Refusal> {
        let own = self.wallet_tokens(holding).await?;
        let is_it = |token: &Value| token.get("id").and_then(Value::as_str) == Some(id);
        if !own.iter().any(is_it) {
            return Err(Refusal::new(
                "not_found",
                "There is no such wallet card",
                "Close this window and open it again.",
            ));
        }
        let transition = format!("/v1/wallet-tokens/{id}/transitions");
        let verification = format!("/v1/simulator/wallet-tokens/{id}/verify");
        let (path, body) = match verb {
            Verb::Suspend => (transition, json!({ "state": "SUSPENDED" })),
            Verb::Resume => (transition, json!({ "state": "ACTIVE" })),
            Verb::Remove => (transition, json!({ "state": "TERMINATED" })),
            Verb::Pass => (verification, json!({ "passed": true })),
            Verb::Fail => (verification, json!({ "passed": false })),
        };
        let key = holding.bearer();
        self.cardveil()
            .call(Method::POST, &path, &key, Some(&body))
            .await
    }
}
