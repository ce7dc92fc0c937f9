//! `KeySecure`'s `Card_update` callback with its V1 signature (KeySecure: webhook/card-update,
//! code-utils).
//!
//! The pages do not say what `appId` holds, which key signs, or how `time` is written. Here `appId`
//! is the Api-Key, the key is the apiSecret, and `time` is `yyyy-MM-dd HH:mm:ss` in the timezone
//! that the headers name.

use std::fmt::Write as _;

use cardveil_seal::hmac_sha256_with;
use serde_json::{Map, Value, json};

use super::{Facts, Keys, Message, body, moved, plain};
use crate::card::State;
use crate::clock::Time;

/// The hours of `Timezone: UTC+8`.
const TIMEZONE_HOURS: i8 = 8;

pub(super) fn message(facts: &Facts<'_>, keys: &Keys) -> Option<Message> {
    let card = facts.card?;
    let (before, after) = moved(facts.event)?;
    let (api_key, api_secret) = (keys.secret.as_ref()?, keys.api_secret.as_ref()?);
    let api_key = std::str::from_utf8(api_key.expose()).ok()?;
    let mut data = Map::new();
    data.insert("card_no".into(), card.no.as_str().into());
    let before = before.map_or(Value::Null, |state| name(state).into());
    data.insert("before_status".into(), before);
    data.insert("after_status".into(), name(after).into());
    data.insert("reason".into(), json!(facts.event.detail.reason));
    data.insert("time".into(), local(facts.event.at).into());

    let timestamp = facts.now.millis().to_string();
    let signed = canonical(api_key, &timestamp, &data);
    let signature = hex(&hmac_sha256_with(api_secret, &[signed.as_bytes()]));
    let call = json!({
        "id": facts.delivery.id.to_string(),
        "action": "Card_update",
        "data": data,
    });
    Some(Message {
        headers: vec![
            plain("timestamp", timestamp),
            plain("signature", signature),
            plain("sign-version", "V1"),
            plain("timezone", format!("UTC+{TIMEZONE_HOURS}")),
        ],
        body: body(&call),
    })
}

/// What is signed: `appId`, `timestamp` and every field of `data` that is not null, sorted by their
/// names, as `k=v` joined by `&`; texts as they are, other values as compact JSON.
pub fn canonical(app_id: &str, timestamp: &str, data: &Map<String, Value>) -> String {
    let mut pairs: Vec<(&str, String)> = data
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| {
            let text = value.as_str().map(str::to_owned);
            (key.as_str(), text.unwrap_or_else(|| value.to_string()))
        })
        .collect();
    pairs.push(("appId", app_id.to_owned()));
    pairs.push(("timestamp", timestamp.to_owned()));
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join("&")
}

/// KeySecure: constants. It has no name for a replaced card, which is of no more use than a deleted
/// one.
const fn name(state: State) -> &'static str {
    match state {
        State::Pending => "Pending",
        State::Unactivated => "ToActivate",
        State::Active => "Activated",
        State::Failed => "Fail",
        State::Suspended => "Frozen",
        State::Replaced | State::Terminated => "Delete",
    }
}

fn local(at: Time) -> String {
    let zone = jiff::tz::Offset::constant(TIMEZONE_HOURS);
    let moment = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    zone.to_datetime(moment)
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
