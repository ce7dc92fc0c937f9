//! Messages: what a receiver is sent, made at the moment of sending from the audit event and what
//! it names. Pure: facts and keys in, headers and body out.
//!
//! **Invariant:** the same delivery says the same of what happened at every attempt; only what
//! names the attempt (its timestamp, and so the signature) differs. So a receiver that remembers
//! message ids does nothing twice.

mod equals;
pub mod keysecure;
pub mod standard;

use cardveil_seal::Secret;
use serde_json::Value;

use super::{Delivery, Form};
use crate::audit::Event;
use crate::card::{Card, State};
use crate::clock::Time;

pub use equals::{EventType, SIGNATURE as EQUALS_SIGNATURE};
pub use standard::{InvalidSecret, decode_secret, encode_secret};

/// A message, ready to be posted. It may hold a one-time code and an authorization: it has no
/// Debug.
pub struct Message {
    /// Headers of its form, beyond those of HTTP itself.
    pub headers: Vec<(&'static str, Secret)>,
    /// The body: JSON.
    pub body: Secret,
}

/// What a message is made from.
pub struct Facts<'a> {
    pub delivery: &'a Delivery,
    /// What happened.
    pub event: &'a Event,
    /// The card that it happened to.
    pub card: Option<&'a Card>,
    /// The one-time code, where the event is about one.
    pub code: Option<&'a Secret>,
    /// The moment of the attempt.
    pub now: Time,
}

/// What a message is signed with, opened.
#[derive(Default)]
pub struct Keys {
    /// The subscription's secret: Equals' `sharedSecret`, the key of Standard Webhooks, KeySecure's
    /// Api-Key.
    pub secret: Option<Secret>,
    /// KeySecure's apiSecret.
    pub api_secret: Option<Secret>,
    /// Equals' `authorizationHeader`.
    pub authorization: Option<Secret>,
}

/// The message of a form. `None` when there is nothing to say: what it is about is gone, or the
/// form has no words for it.
pub fn message(form: Form, facts: &Facts<'_>, keys: Keys) -> Option<Message> {
    if !form.tells(facts.delivery.topic) {
        return None;
    }
    let mut message = match form {
        Form::KeySecure => keysecure::message(facts, &keys)?,
        Form::Equals => equals::message(facts, &keys)?,
        Form::Standard => standard::message(facts, &keys)?,
    };
    if let Some(authorization) = keys.authorization {
        message.headers.push(("authorization", authorization));
    }
    Some(message)
}

/// A header that is no secret.
fn plain(name: &'static str, value: impl Into<String>) -> (&'static str, Secret) {
    (name, Secret::new(value.into().into_bytes()))
}

fn body(json: &Value) -> Secret {
    Secret::new(json.to_string().into_bytes())
}

/// The states of a card before and after, of an event that has moved it.
fn moved(event: &Event) -> Option<(Option<State>, State)> {
    let state = |name: &str| State::parse(name);
    let from = event.detail.from.as_deref().and_then(state);
    Some((from, event.detail.to.as_deref().and_then(state)?))
}

/// The code as text; one that is not text is none.
fn code<'a>(facts: &Facts<'a>) -> Option<&'a str> {
    std::str::from_utf8(facts.code?.expose()).ok()
}
