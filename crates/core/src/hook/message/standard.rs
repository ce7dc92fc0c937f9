//! Standard Webhooks, version 1.0.0 of its specification, with symmetric signatures (`v1`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_seal::{Secret, hmac_sha256_with};
use serde_json::{Map, Value, json};

use super::{Facts, Keys, Message, body, code, plain};
use crate::audit::Topic;
use crate::mfa::Purpose;

const PREFIX: &str = "whsec_";
/// "Random. At least 24 bytes (192 bits, 512 maximum)".
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The text is not a secret of Standard Webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and the Base64 of 24 to 64 bytes")]
pub struct InvalidSecret;

/// The key of a secret's text.
pub fn decode_secret(text: &str) -> Result<Secret, InvalidSecret> {
    let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
    let key = BASE64_STANDARD.decode(encoded).map(Secret::new);
    key.ok()
        .filter(|key| SECRET_BYTES.contains(&key.expose().len()))
        .ok_or(InvalidSecret)
}

/// The text of a secret.
pub fn encode_secret(key: &Secret) -> Secret {
    let text = format!("{PREFIX}{}", BASE64_STANDARD.encode(key.expose()));
    Secret::new(text.into_bytes())
}

pub(super) fn message(facts: &Facts<'_>, keys: &Keys) -> Option<Message> {
    let json = json!({
        "type": facts.delivery.topic.as_str(),
        "timestamp": facts.event.at.to_string(),
        "data": data(facts)?,
    });
    let body = body(&json);
    let id = facts.delivery.id.to_string();
    let timestamp = facts.now.secs_u32().to_string();
    let signature = sign(keys.secret.as_ref()?, &id, &timestamp, body.expose());
    Some(Message {
        headers: vec![
            plain("webhook-id", id),
            plain("webhook-timestamp", timestamp),
            plain("webhook-signature", signature),
        ],
        body,
    })
}

/// "The content to be signed is `{msg_id}.{timestamp}.{payload}`."
pub fn sign(key: &Secret, id: &str, timestamp: &str, payload: &[u8]) -> String {
    let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", payload];
    let mac = hmac_sha256_with(key, &parts);
    format!("v1,{}", BASE64_STANDARD.encode(mac))
}

fn data(facts: &Facts<'_>) -> Option<Map<String, Value>> {
    let event = facts.event;
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| data.insert(key.to_owned(), value);
    if let Some(card) = facts.card {
        put("card_no", card.no.as_str().into());
        put("card_id", card.id.to_string().into());
        put("account_id", card.account.as_str().into());
        put("person_id", card.person.to_string().into());
    }
    match facts.delivery.topic {
        Topic::CardState | Topic::WalletToken => {
            let token = event.target.wallet_token.map(|token| token.to_string());
            if let Some(token) = token {
                put("wallet_token", token.into());
            }
            put("from", json!(event.detail.from));
            put("to", json!(event.detail.to.as_deref()?));
            put("reason", json!(event.detail.reason));
        }
        Topic::RevealConflict => {
            let operation = event.detail.operation.map(Purpose::as_str);
            put("operation", json!(operation));
        }
        Topic::MfaCode => {
            let operation = event.detail.operation.map(Purpose::as_str);
            put("operation", json!(operation));
            put("session_id", event.target.session?.to_string().into());
            put("code", code(facts)?.into());
        }
    }
    Some(data)
}
