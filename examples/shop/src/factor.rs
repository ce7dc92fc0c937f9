//! A second factor for cards whose programme asks for one: a session, then the code that the
//! cardholder's authenticator app shows. The code passes through; nothing of it is kept.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Refusal, token_of};
use crate::{Api, Holding, Shop, TokenQuery, refused};

/// What the cardholder proves it with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Proof {
    session_id: String,
    code: String,
}

impl Proof {
    /// In Equals' API both become part of an address, so they are what they should be, or nothing.
    fn is_plain(&self) -> bool {
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=64).contains(&self.session_id.len())
            && self.session_id.bytes().all(is_id)
            && self.code.len() == 6
            && self.code.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// Opens a session for one card. The page gets its id: without a code it is worth nothing.
pub(crate) async fn open_session(
    State(shop): State<Shop>,
    Path(card_no): Path<String>,
    Query(query): Query<TokenQuery>,
) -> Response {
    let Some(holding) = shop.holding(&card_no) else {
        return refused(&Refusal::no_such_card());
    };
    match shop.session(&holding, query.api()).await {
        Ok(session) => (StatusCode::CREATED, Json(session)).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

impl Shop {
    async fn session(&self, holding: &Holding<'_>, api: Api) -> Result<Value, Refusal> {
        let card = holding.card;
        let (path, authorization, body, id, expires_at) = match api {
            Api::Keysecure => return Err(Refusal::no_place_for_codes()),
            Api::Equals => (
                "/v2/mfa/sessions",
                holding.api_key(),
                json!({
                    "accountId": card.account_id, "personId": card.person_id,
                    "cardId": card.card_id, "operationName": "VIEW_CARD", "factor": "TOTP",
                }),
                "sessionId",
                "expiresAt",
            ),
            Api::Native => (
                "/v1/mfa/sessions",
                holding.bearer(),
                json!({ "card_no": card.card_no, "operation": "VIEW_CARD", "factor": "TOTP" }),
                "session_id",
                "expires_at",
            ),
        };
        let session = self
            .cardveil()
            .call(Method::POST, path, &authorization, Some(&body))
            .await?;
        Ok(json!({ "sessionId": session.get(id), "expiresAt": session.get(expires_at) }))
    }

    /// A token for a card whose programme asks for a second factor.
    pub(crate) async fn proven(
        &self,
        holding: &Holding<'_>,
        api: Api,
        proof: Option<&Proof>,
    ) -> Result<String, Refusal> {
        let Some(proof) = proof.filter(|proof| proof.is_plain()) else {
            return Err(Refusal::new(
                "mfa_required",
                "This card needs a code",
                "Type the six digits that your app shows.",
            ));
        };
        let card = holding.card;
        match api {
            Api::Keysecure => Err(Refusal::no_place_for_codes()),
            Api::Equals => {
                let path = format!(
                    "/v2/cards/{}/access-token?accountId={}&sessionId={}&token={}",
                    card.card_id, card.account_id, proof.session_id, proof.code
                );
                let key = holding.api_key();
                token_of(&self.cardveil().call(Method::GET, &path, &key, None).await?)
            }
            Api::Native => {
                let body = json!({
                    "card_no": card.card_no,
                    "mfa": { "session_id": proof.session_id, "code": proof.code },
                });
                let (path, key) = ("/v1/client-tokens", holding.bearer());
                let answer = self.cardveil().call(Method::POST, path, &key, Some(&body));
                token_of(&answer.await?)
            }
        }
    }
}

impl Refusal {
    /// KeySecure's calls have no parameter for a second factor.
    fn no_place_for_codes() -> Self {
        Self::new(
            "mfa_unsupported",
            "KeySecure's call has no place for a code",
            "Pick Equals or Native.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_plain(session_id: &str, code: &str) -> bool {
        let (session_id, code) = (session_id.to_owned(), code.to_owned());
        Proof { session_id, code }.is_plain()
    }

    #[test]
    fn nothing_but_a_code_and_an_id_goes_into_an_address() {
        assert!(is_plain("c92e2960-b745-4b38-8e77-898b2f9ad9bb", "012345"));
        assert!(is_plain(&"a".repeat(64), "012345"));
        for id in ["", "a&b", "a/b", "a b", "a%20", "ä", &"a".repeat(65)] {
            assert!(!is_plain(id, "012345"), "{id}");
        }
        for code in [
            "",
            "12345",
            "1234567",
            "12345a",
            "12 456",
            "12345&",
            "１２３４５６",
        ] {
            assert!(!is_plain("a", code), "{code}");
        }
    }
}
