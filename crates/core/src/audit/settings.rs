//! From what to what: the settings of the rows that decide who may do what, and how a record tells
//! them.
//!
//! Each kind of row says its settings in one function, which takes the row apart without a rest: a
//! new field does not compile until somebody has decided how it is told. A change is the difference
//! between the settings of the row before and after; adding a row is the difference to nothing.
//!
//! **Invariant:** nothing secret is told. Of what is secret it is told that it was set, replaced or
//! taken away; of a webhook's address its host.
//!
//! **Invariant:** a record is bounded: a row has as many settings as its type, and each value at
//! most [`VALUE_CHARS_MAX`] characters.
//!
//! To add a field: its row's [`Settings`], which stand beside the row. To add a kind of row: its
//! `impl`, and [`Change::record`](crate::port::Change::record) or wherever its event is made.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::term::SealedSecret;
use crate::text::Reason;

/// How long a value is at most.
pub const VALUE_CHARS_MAX: usize = 1_000;

/// A setting that is no longer what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    pub field: Cow<'static, str>,
    /// What it was; left out when it was nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is; left out when it is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A row that says its settings.
pub trait Settings {
    /// All of them, in the same order for every row.
    fn settings(&self) -> Vec<(&'static str, Value)>;
}

/// A setting's value. What is empty is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One thing.
    One(String),
    /// Several, in their order.
    List(Vec<String>),
    /// What is never told.
    Hidden(Vec<u8>),
}

/// What differs. A row that was added or removed differs from nothing.
pub fn changes<T: Settings>(before: Option<&T>, after: Option<&T>) -> Vec<FieldChange> {
    let settings = |row: Option<&T>| row.map(Settings::settings).unwrap_or_default();
    let (before, after) = (settings(before), settings(after));
    let names = if before.is_empty() { &after } else { &before };
    let value = |row: &[(&'static str, Value)], name: &str| {
        let found = row.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    };
    let change = |(name, _): &(&'static str, Value)| {
        let (from, to) = told(value(&before, name), value(&after, name))?;
        Some(FieldChange {
            field: Cow::Borrowed(name),
            from,
            to,
        })
    };
    names.iter().filter_map(change).collect()
}

/// Two values in words; `None` when they are the same.
fn told(before: Option<Value>, after: Option<Value>) -> Option<(Option<String>, Option<String>)> {
    let (before, after) = (filled(before), filled(after));
    if before == after {
        return None;
    }
    let was_hidden = matches!(before, Some(Value::Hidden(_)));
    let words = |value: Option<&Value>, other: Option<&Value>, again| match value? {
        Value::One(text) => Some(cut(text)),
        Value::List(items) => Some(list(items, other)),
        Value::Hidden(_) if again => Some("replaced".to_owned()),
        Value::Hidden(_) => Some("set".to_owned()),
    };
    let from = words(before.as_ref(), after.as_ref(), false);
    let to = words(after.as_ref(), before.as_ref(), was_hidden);
    Some((from, to))
}

fn filled(value: Option<Value>) -> Option<Value> {
    value.filter(|value| match value {
        Value::One(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Hidden(bytes) => !bytes.is_empty(),
    })
}

/// The whole list; of a long one what the other side does not have.
fn list(items: &[String], other: Option<&Value>) -> String {
    let whole = items.join(" ");
    let (Some(Value::List(others)), true) = (other, whole.chars().count() > VALUE_CHARS_MAX) else {
        return cut(&whole);
    };
    let own: Vec<_> = items.iter().filter(|item| !others.contains(item)).collect();
    let mut text = format!("{} in all, of them only here:", items.len());
    for (place, item) in own.iter().enumerate() {
        // Room for the words that say how many are left out.
        if text.chars().count() + item.chars().count() + 32 > VALUE_CHARS_MAX {
            return format!("{text} ... and {} more", own.len().saturating_sub(place));
        }
        text.push(' ');
        text.push_str(item);
    }
    text
}

fn cut(text: &str) -> String {
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text.to_owned();
    }
    let kept: String = text.chars().take(VALUE_CHARS_MAX - 4).collect();
    format!("{kept} ...")
}

pub(crate) fn one(text: &(impl ToString + ?Sized)) -> Value {
    Value::One(text.to_string())
}

pub(crate) fn list_of<T>(items: &[T], name: impl Fn(&T) -> String) -> Value {
    Value::List(items.iter().map(name).collect())
}

/// A limit to some: `all` where there is none. A list of nothing is told as that, since it admits
/// nothing.
pub(crate) fn limit_to<T>(items: Option<&[T]>, name: impl Fn(&T) -> String) -> Value {
    match items {
        None => one("all"),
        Some([]) => one("none"),
        Some(items) => list_of(items, name),
    }
}

/// A text that people chose. One of before such texts were checked could hold a card number, and
/// what is in this log stays.
pub(crate) fn words(text: &str) -> String {
    if text.is_empty() || Reason::parse(text).is_ok() {
        text.to_owned()
    } else {
        "(withheld: too long, not printable, or could be a card number)".to_owned()
    }
}

/// The name of a variant, as it is stored.
pub(crate) fn named(value: impl Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Value::One(name),
        Ok(other) => Value::One(other.to_string()),
        // A variant without fields always has a form.
        Err(_) => Value::One(String::new()),
    }
}

pub(crate) fn maybe<T: ToString>(value: Option<&T>) -> Value {
    Value::One(value.map(T::to_string).unwrap_or_default())
}

pub(crate) fn hidden(secret: Option<&SealedSecret>) -> Value {
    let Some(SealedSecret { dek, sealed }) = secret else {
        return Value::Hidden(Vec::new());
    };
    Value::Hidden([&**dek, &**sealed].concat())
}
