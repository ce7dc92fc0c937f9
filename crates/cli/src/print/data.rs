//! Data: for programs JSON, for people tables and lines.

use cardveil_core::Time;
use serde::Serialize;

use super::{Format, Rows, escaped, line, print};

/// A value as one line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print(&escaped(&serde_json::to_string(value)?, Rows::Several))
}

/// A value as JSON for people.
pub(crate) fn json_pretty<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print(&escaped(
        &serde_json::to_string_pretty(value)?,
        Rows::Several,
    ))
}

/// Rows under a header, in columns as wide as they need.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let safe = |row: &Vec<String>| -> Vec<String> {
        row.iter().map(|cell| escaped(cell, Rows::One)).collect()
    };
    let rows: Vec<_> = rows.iter().map(safe).collect();
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let write = |cells: &[&str]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line(padded.join("  ").trim_end())
    };
    write(header)?;
    for row in &rows {
        write(&row.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// One value: as JSON, or a line a field.
pub(crate) fn show_one<T: Serialize>(value: &T, format: Format) -> anyhow::Result<()> {
    let value = readable(serde_json::to_value(value)?);
    if format.json {
        return json(&value);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        line(&format!("{name:<12} {}", compact(value)))?;
    }
    Ok(())
}

/// Values: a JSON array, or a table of some of their fields.
pub(crate) fn show_all<T: Serialize>(
    values: &[T],
    format: Format,
    columns: &[&str],
) -> anyhow::Result<()> {
    let mut readables = Vec::new();
    for value in values {
        readables.push(readable(serde_json::to_value(value)?));
    }
    if format.json {
        return json(&readables);
    }
    let mut rows = Vec::new();
    for value in readables {
        let cell = |column: &&str| value.get(column).map(compact).unwrap_or_default();
        rows.push(columns.iter().map(cell).collect());
    }
    table(columns, &rows)
}

/// Times as people and other programs read them (RFC 3339); records keep milliseconds.
pub(crate) fn readable(mut value: serde_json::Value) -> serde_json::Value {
    for name in ["at", "created_at", "expires_at"] {
        if let Some(time) = value.get_mut(name)
            && let Some(millis) = time.as_i64()
        {
            *time = Time::from_millis(millis).to_string().into();
        }
    }
    value
}

pub(crate) fn compact(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(compact).collect::<Vec<_>>().join(" "),
        serde_json::Value::Null => String::new(),
        serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Object(_) => value.to_string(),
    }
}
