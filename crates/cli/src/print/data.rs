//! Data: for programs one document of JSON, for people lines and tables.
//!
//! **Invariant:** with `--json`, a command that ends well has printed one document: an object on
//! one line, or an array with a line for each of its elements. A list that broke off is no JSON, so
//! nobody takes a part for the whole. (`docs/reference/command-line.md`)

use cardveil_core::Time;
use serde::Serialize;
use serde_json::Value;

use super::{Rows, escaped, is_json, line, out};

/// One thing; for people, what `words` print.
pub(crate) fn object<T: Serialize>(
    value: &T,
    words: impl FnOnce(&T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if is_json() {
        record(value)
    } else {
        words(value)
    }
}

/// One thing; for people, a line for each of its members.
pub(crate) fn fields<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let value = readable(serde_json::to_value(value)?);
    object(&value, |value| {
        for (name, value) in value.as_object().into_iter().flatten() {
            line(&format!("{name:<12} {}", compact(value)))?;
        }
        Ok(())
    })
}

/// What was done, of which people are told nothing, or have been told on the way.
pub(crate) fn done<T: Serialize>(value: &T) -> anyhow::Result<()> {
    object(&readable(serde_json::to_value(value)?), |_| Ok(()))
}

/// Things; for people, a table of some of their members.
pub(crate) fn list<T: Serialize>(values: &[T], columns: &[&str]) -> anyhow::Result<()> {
    let mut list = List::new();
    let mut rows = Vec::new();
    for value in values {
        list.add(&readable(serde_json::to_value(value)?), |value| {
            rows.push(value.clone());
            Ok(())
        })?;
    }
    list.end(|| table(&rows, columns))
}

/// Things; for people, what `words` print of each.
pub(crate) fn lines<T: Serialize>(
    values: &[T],
    mut words: impl FnMut(&T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut list = List::new();
    for value in values {
        list.add(value, &mut words)?;
    }
    list.end(|| Ok(()))
}

/// An array, an element at a time, so that no list is too long to be printed.
#[derive(Default)]
pub(crate) struct List {
    begun: bool,
}

impl List {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One more; for people, what `words` print or keep of it.
    pub(crate) fn add<T: Serialize>(
        &mut self,
        value: &T,
        words: impl FnOnce(&T) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if !is_json() {
            return words(value);
        }
        let before = if self.begun { ",\n" } else { "[\n" };
        self.begun = true;
        let text = serde_json::to_string(value)?;
        out(&format!("{before}{}", escaped(&text, Rows::Several)))
    }

    /// Its end; for people, what `words` print.
    pub(crate) fn end(self, words: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        match (is_json(), self.begun) {
            (false, _) => words(),
            (true, true) => out("\n]\n"),
            (true, false) => out("[]\n"),
        }
    }
}

/// A text that is all of our own and goes to a program of the machine, as it is.
pub(crate) fn own(text: &str) -> anyhow::Result<()> {
    out(text)
}

/// A line of JSON, whoever reads it: of a file whose form that is.
pub(crate) fn record<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let text = escaped(&serde_json::to_string(value)?, Rows::Several);
    out(&format!("{text}\n"))
}

/// A document that is JSON whoever reads it, with a line for each member.
pub(crate) fn document<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let text = escaped(&serde_json::to_string_pretty(value)?, Rows::Several);
    out(&format!("{text}\n"))
}

/// Some members of things under their names, in columns as wide as they need.
pub(crate) fn table(values: &[Value], columns: &[&str]) -> anyhow::Result<()> {
    let cell = |value: &Value, column: &&str| {
        let text = value.get(column).map(compact).unwrap_or_default();
        let text = if text.is_empty() { "-" } else { &text };
        escaped(text, Rows::One)
    };
    let row = |value| columns.iter().map(|column| cell(value, column)).collect();
    let header = columns.iter().map(|column| column.to_uppercase()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(header)
        .chain(values.iter().map(row))
        .collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    for row in &rows {
        let padded: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line(padded.join("  ").trim_end())?;
    }
    Ok(())
}

/// Times as people and other programs read them (RFC 3339); records keep milliseconds.
fn readable(mut value: Value) -> Value {
    for name in ["at", "created_at", "expires_at"] {
        if let Some(time) = value.get_mut(name)
            && let Some(millis) = time.as_i64()
        {
            *time = Time::from_millis(millis).to_string().into();
        }
    }
    value
}

/// A value within a line.
pub(crate) fn compact(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(compact).collect::<Vec<_>>().join(" "),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
