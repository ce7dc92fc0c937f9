//! The table of `docs/reference/configuration.md` beside the code: the same keys, the same
//! defaults.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::designs::Design;
use super::fonts::Font;
use super::sinks::{Audit, Sink};
use super::tls::Tls;
use super::*;

const PAGE: &str = include_str!("../../../../../docs/reference/configuration.md");

/// The cells of each row of the first table.
fn rows() -> Vec<Vec<&'static str>> {
    let table = PAGE.lines().skip_while(|line| !line.starts_with("| ---"));
    let rows = table.skip(1).take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| line.trim_matches('|').split(" | ").map(str::trim).collect();
    rows.map(cells).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The keys of a row: `.card_most` has the section of the key before it.
fn keys(cell: &'static str) -> Vec<String> {
    let mut section = "";
    quoted(cell)
        .map(|key| {
            let key = key.trim_start_matches("[[").trim_end_matches("]]");
            match key.split_once('.') {
                Some(("", name)) => format!("{section}.{name}"),
                Some((before, _)) => {
                    section = before;
                    key.to_owned()
                }
                None => key.to_owned(),
            }
        })
        .collect()
}

/// The fields that a table of the configuration may have, from what is said of one that it may not.
fn fields<T: DeserializeOwned>() -> Vec<String> {
    let refused = toml::from_str::<T>("no_such_key = 1").err().unwrap();
    let message = refused.message().to_owned();
    let (unknown, expected) = message.split_once("expected").unwrap();
    assert!(unknown.contains("no_such_key"), "{message}");
    quoted(expected).map(str::to_owned).collect()
}

#[test]
fn the_page_names_every_key_and_no_other() {
    let documented: Vec<_> = rows().iter().flat_map(|row| keys(row[0])).collect();
    let mut known = BTreeSet::from(["environment", "fonts", "designs"].map(str::to_owned));
    let sections = [
        ("store", fields::<Store>()),
        ("keys", fields::<Keys>()),
        ("client", fields::<Client>()),
        ("listen", fields::<Listen>()),
        ("tls", fields::<Tls>()),
        ("network", fields::<Network>()),
        ("limits", fields::<Limits>()),
        ("budgets", fields::<Budgets>()),
        ("timestamp", fields::<Timestamp>()),
        ("issuer", fields::<Issuer>()),
        ("numbering", fields::<Numbering>()),
        ("webhooks", fields::<Webhooks>()),
        ("audit", fields::<Audit>()),
        ("retention", fields::<Retention>()),
        ("credentials", fields::<Credentials>()),
        ("log", fields::<Log>()),
        ("shutdown", fields::<Shutdown>()),
    ];
    let mut named: BTreeSet<_> = sections
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    named.extend(known.clone());
    assert_eq!(named, fields::<Config>().into_iter().collect());
    for (section, names) in sections {
        known.extend(names.iter().map(|name| format!("{section}.{name}")));
    }
    assert_eq!(documented.iter().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(documented.len(), known.len(), "each once");
}

#[test]
fn a_row_of_tables_names_every_field_of_one() {
    for (key, fields) in [
        ("`[[audit.sink]]`", fields::<Sink>()),
        ("`[[fonts]]`", fields::<Font>()),
        ("`[[designs]]`", fields::<Design>()),
    ] {
        let rows = rows();
        let row = rows.iter().find(|row| row[0] == key).unwrap();
        let named: Vec<_> = quoted(row[3]).collect();
        for field in fields {
            assert!(named.contains(&field.as_str()), "{key}: {field}");
        }
    }
}

#[test]
fn the_page_has_the_defaults_of_the_code() {
    let fresh = serde_json::to_value(Config::fresh(Environment::Sandbox)).unwrap();
    let mut compared = 0;
    for row in rows() {
        let defaults: Vec<_> = row[2].split(", ").collect();
        for (key, default) in keys(row[0]).iter().zip(defaults.iter().cycle()) {
            let path = format!("/{}", key.replace('.', "/"));
            let value = fresh.pointer(&path).cloned().unwrap_or(Value::Null);
            if default.starts_with("required") {
                continue;
            }
            let told = if value.is_null() {
                "none".to_owned()
            } else if value.as_array().is_some_and(Vec::is_empty) {
                "`[]`".to_owned()
            } else {
                value.to_string()
            };
            // A flag that is off is not written.
            let is_off = told == "none" && *default == "false";
            assert!(told == *default || is_off, "{key}: {told}, not {default}");
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
}
