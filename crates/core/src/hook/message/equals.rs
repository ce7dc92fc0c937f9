//! Equals' webhooks (EM: about-event-types, create-webhooks).
//!
//! The pages name the events `CardStateUpdated` and `DigitalWalletTokenTransition`, with their ids,
//! and not their fields; those here use the names that Equals' card and token objects have.
//! `RevealConflict` and `MfaCode` are our own. A subscription's row has its topic, so its event
//! type may get another id.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_seal::hmac_sha256_with;
use serde_json::{Map, Value, json};

use super::{Facts, Keys, Message, body, code, moved, plain};
use crate::audit::Topic;
use crate::card::State;
use crate::mfa::Purpose;

/// The header of the signature: Base64 of HMAC-SHA256 over the raw body, by the shared secret.
pub const SIGNATURE: &str = "x-em-signature";

/// Published event types that no topic of ours is: an authorisation system tells them (EM:
/// webhooks).
const ELSEWHERE: [(&str, &str); 2] = [
    ("3DSAuthRequest", "2704f4e3-7790-43a0-905c-e0a6aaf89cdd"),
    ("CardTransaction", "da153b21-9c8d-46d2-8911-83c6da10655a"),
];

/// An event type by its names, one for each topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    pub topic: Topic,
    /// Its id: the published one, where there is one.
    pub id: &'static str,
    /// The id that version 0.1 gave it, by which callers may know it still.
    first_id: &'static str,
    pub name: &'static str,
    /// What it tells.
    pub description: &'static str,
}

const CARD_STATE: EventType = EventType {
    topic: Topic::CardState,
    id: "66854098-aac7-4084-938e-bc2e62fb6a44",
    first_id: "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b01",
    name: "CardStateUpdated",
    description: "A card's state has changed.",
};
const WALLET_TOKEN: EventType = EventType {
    topic: Topic::WalletToken,
    id: "c1a5f01c-67e4-48e5-8cd3-5866b6aa8c85",
    first_id: "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b02",
    name: "DigitalWalletTokenTransition",
    description: "A digital wallet token's state has changed.",
};
const REVEAL_CONFLICT: EventType = EventType {
    topic: Topic::RevealConflict,
    id: "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b03",
    first_id: "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b03",
    name: "RevealConflict",
    description: "A second key asked for a card's data: possible theft.",
};
const MFA_CODE: EventType = EventType {
    topic: Topic::MfaCode,
    id: "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b04",
    first_id: "6ee2c6b5-1d6f-4f0c-9d53-1c0d2f7a9b04",
    name: "MfaCode",
    description: "A person asked for a one-time code: deliver it to them.",
};

impl EventType {
    pub const ALL: [Self; 4] = [CARD_STATE, WALLET_TOKEN, REVEAL_CONFLICT, MFA_CODE];

    pub const fn of(topic: Topic) -> &'static Self {
        match topic {
            Topic::CardState => &CARD_STATE,
            Topic::WalletToken => &WALLET_TOKEN,
            Topic::RevealConflict => &REVEAL_CONFLICT,
            Topic::MfaCode => &MFA_CODE,
        }
    }

    pub fn named(name: &str) -> Option<&'static Self> {
        const { &Self::ALL }.iter().find(|kind| kind.name == name)
    }

    /// The one of this id, or of the one that it had before.
    pub fn with_id(id: &str) -> Option<&'static Self> {
        let all = const { &Self::ALL };
        all.iter()
            .find(|kind| kind.id.eq_ignore_ascii_case(id) || kind.first_id == id)
    }

    /// Whether a name or an id is of a published event type that is told elsewhere.
    pub fn is_elsewhere(name_or_id: &str) -> bool {
        let mut all = ELSEWHERE.iter();
        all.any(|(name, id)| *name == name_or_id || id.eq_ignore_ascii_case(name_or_id))
    }
}

pub(super) fn message(facts: &Facts<'_>, keys: &Keys) -> Option<Message> {
    let mut fields = fields(facts)?;
    let kind = EventType::of(facts.delivery.topic);
    fields.insert("messageId".into(), facts.delivery.id.to_string().into());
    fields.insert("webhookEventTypeName".into(), kind.name.into());
    let body = body(&json!({ "body": fields }));
    let mut headers = Vec::new();
    if let Some(secret) = &keys.secret {
        let mac = hmac_sha256_with(secret, &[body.expose()]);
        headers.push(plain(SIGNATURE, BASE64_STANDARD.encode(mac)));
    }
    Some(Message { headers, body })
}

fn fields(facts: &Facts<'_>) -> Option<Map<String, Value>> {
    let event = facts.event;
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    if let Some(card) = facts.card {
        put("cardId", card.id.to_string().into());
        put("accountId", card.account.as_str().into());
        put("personId", card.person.to_string().into());
    }
    match facts.delivery.topic {
        Topic::CardState => {
            facts.card?;
            let (before, after) = moved(event)?;
            put(
                "previousState",
                before.map_or(Value::Null, |s| name(s).into()),
            );
            put("state", name(after).into());
            put("reason", json!(event.detail.reason));
        }
        Topic::WalletToken => {
            let token = event.target.wallet_token?;
            put("digitalWalletToken", token.to_string().into());
            let upper = |state: &str| state.to_uppercase();
            put(
                "previousState",
                json!(event.detail.from.as_deref().map(upper)),
            );
            put("state", json!(event.detail.to.as_deref().map(upper)));
            put("reason", json!(event.detail.reason));
        }
        Topic::RevealConflict => {
            let operation = event.detail.operation.map(Purpose::as_str);
            put("operationName", json!(operation));
        }
        Topic::MfaCode => {
            let operation = event.detail.operation.map(Purpose::as_str);
            put("operationName", json!(operation));
            put("sessionId", event.target.session?.to_string().into());
            put("code", code(facts)?.into());
        }
    }
    put("createdAt", event.at.to_string().into());
    Some(fields)
}

/// EM: about-card-states. A card that is being made is not activated yet; one that could not be
/// made has ended.
const fn name(state: State) -> &'static str {
    match state {
        State::Pending | State::Unactivated => "UNACTIVATED",
        State::Active => "ACTIVE",
        State::Suspended => "SUSPENDED",
        State::Replaced => "REPLACED",
        State::Terminated | State::Failed => "TERMINATED",
    }
}
