//! Reading it: the file, and the variables over it. What is wrong is told with its place and its
//! key, and never with a value: somebody may have put a secret there.

use std::path::Path;

use serde_path_to_error::Segment;

use super::Config;
use super::place::{Setting, at_byte, located};
use crate::print::hinted;

/// Variables that are not configuration.
const OTHER_VARIABLES: [&str; 2] = ["CARDVEIL_CONFIG", "CARDVEIL_LOG"];
const WHAT_THERE_IS: &str = "`cardveil help configuration` lists what there is";

impl Config {
    /// Reads the file and the variables; paths are relative to the file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            hinted(
                format!("cannot read {}: {error}", path.display()),
                "run `cardveil init` first, or name the file with --config",
            )
        })?;
        let table = text.parse().map_err(|error: toml::de::Error| {
            let begin = error.span().map(|span| span.start);
            at_byte(no_toml(&error), path, &text, begin)
        })?;
        let variables = std::env::vars().filter(|(name, _)| name.starts_with("CARDVEIL_"));
        let config = Self::parse(table, variables).map_err(|error| located(error, path))?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        Ok(config.under(base))
    }

    pub(super) fn parse(
        mut table: toml::Table,
        variables: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        for (name, value) in variables {
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let key = name.trim_start_matches("CARDVEIL_").to_lowercase();
            let value = literal(&value);
            match key.split_once('_') {
                Some((section, key)) => {
                    let section = table
                        .entry(section.to_owned())
                        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
                    let Some(section) = section.as_table_mut() else {
                        return Err(hinted(format!("{name} names no setting"), WHAT_THERE_IS));
                    };
                    section.insert(key.to_owned(), value);
                }
                None => {
                    table.insert(key, value);
                }
            }
        }
        let config: Self = serde_path_to_error::deserialize(toml::Value::Table(table))
            .map_err(|error| unfit(error.path(), error.inner().message()))?;
        config.check()?;
        Ok(config)
    }
}

/// The words are toml's own, about its grammar; none holds what the file says there.
fn no_toml(error: &toml::de::Error) -> anyhow::Error {
    let what = error.message().split('`').next().unwrap_or_default();
    hinted(
        format!("this is not TOML: {}", what.trim_end()),
        "texts stand in quotes, and a key stands once",
    )
}

/// What serde says of a value, without the value.
fn unfit(path: &serde_path_to_error::Path, said: &str) -> anyhow::Error {
    let mut key = path.to_string();
    let quoted = |said: &str| said.split('`').nth(1).unwrap_or_default().to_owned();
    let what = if let Some(rest) = said.strip_prefix("missing field ") {
        if path.iter().all(|part| matches!(part, Segment::Unknown)) {
            key = quoted(rest);
        } else {
            key = format!("{key}.{}", quoted(rest));
        }
        "is missing".to_owned()
    } else if said.starts_with("unknown field ") {
        let known: Vec<_> = said.split('`').skip(3).step_by(2).collect();
        format!("is not known; here are {}", known.join(", "))
    } else if let Some((_, expected)) = said.rsplit_once("expected ") {
        format!("must be {}", in_words(expected))
    } else {
        // Of our own types and of addresses and networks, which do not quote.
        said.to_owned()
    };
    hinted(what, WHAT_THERE_IS).context(Setting::new(key))
}

/// What serde expects, as people call it.
fn in_words(expected: &str) -> String {
    match expected {
        "u32" => format!("a whole number, 0 to {}", u32::MAX),
        "u64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a text, in quotes".to_owned(),
        "a sequence" => "a list, in [ ]".to_owned(),
        table if table.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// A variable's value: TOML where it is TOML, a text otherwise.
fn literal(value: &str) -> toml::Value {
    let parsed = format!("value = {value}").parse::<toml::Table>();
    let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use cardveil_core::card::Environment;

    use super::*;

    const SECRET: &str = "hunter2-of-the-database";

    fn said(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, text).unwrap();
        let error = Config::load(&file).unwrap_err();
        let said = format!("{error:#}; {}", crate::print::hint(&error).unwrap());
        said.replace(&file.display().to_string(), "c.toml")
    }

    fn fresh() -> String {
        toml::to_string(&Config::fresh(Environment::Sandbox)).unwrap()
    }

    fn line_of(text: &str, what: &str) -> usize {
        text.lines().position(|line| line == what).unwrap() + 1
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_its_key() {
        for (is, wrong, at, told) in [
            (
                "idle_secs = 75",
                "idle_secs = 0",
                1,
                "network.idle_secs: must be 1 to 3600 seconds",
            ),
            (
                "idle_secs = 75",
                "idle_secs = true",
                1,
                "network.idle_secs: must be a whole number",
            ),
            (
                "idle_secs = 75",
                "idle_sec = 75",
                1,
                "network.idle_sec: is not known; here are trusted_",
            ),
            (
                "environment = \"sandbox\"",
                "environment = \"sandbx\"",
                1,
                "environment: must be `sandbox` or `live`",
            ),
            (
                "probes = true",
                "probes = \"yes\"",
                1,
                "log.probes: must be true or false",
            ),
            ("card_most = 50", "card_most = 5", 1, "budgets.card_most: "),
            (
                "origin = \"http://127.0.0.1:7420\"",
                "origin = \"shop\"",
                1,
                "client.origin: ",
            ),
            (
                "root = \"keys/root.key\"",
                "root = { file = \"x\" }",
                1,
                "keys.root: must be a path, ",
            ),
            (
                "root = \"keys/root.key\"",
                "root = \"data/k\"",
                1,
                "keys.root: ",
            ),
            (
                "merchant = \"127.0.0.1:7410\"",
                "merchant = \"here\"",
                1,
                "listen.merchant: ",
            ),
            (
                "merchant = \"127.0.0.1:7410\"",
                "merchant = here",
                12,
                "this is not TOML: ",
            ),
        ] {
            let text = fresh();
            let line = line_of(&text, is);
            let said = said(&text.replacen(is, wrong, 1));
            assert!(
                said.starts_with(&format!("c.toml:{line}:{at}: {told}")),
                "{wrong}: {said}"
            );
        }
        let text = fresh();
        let line = line_of(&text, "[client]");
        let origin = "origin = \"http://127.0.0.1:7420\"";
        let said = said(&text.replacen(origin, "", 1));
        assert!(
            said.starts_with(&format!("c.toml:{line}:2: client.origin: is missing")),
            "{said}"
        );
    }

    /// By whatever it is taken for, and wherever it was put.
    #[test]
    fn no_value_is_told() {
        let text = fresh();
        let table: toml::Table = text.parse().unwrap();
        let mut wrong = 0;
        for (section, value) in &table {
            let keys: Vec<_> = match value.as_table() {
                Some(inner) => inner.keys().cloned().map(Some).collect(),
                None => vec![None],
            };
            for key in keys {
                for value in [
                    toml::Value::String(SECRET.to_owned()),
                    toml::Value::String(format!("https://user:{SECRET}@host")),
                    toml::Value::Array(vec![SECRET.into()]),
                    toml::Value::Table([(SECRET.to_owned(), SECRET.into())].into_iter().collect()),
                ] {
                    let mut altered = table.clone();
                    match &key {
                        Some(key) => {
                            let inner = altered[section].as_table_mut().unwrap();
                            inner.insert(key.clone(), value);
                        }
                        None => {
                            altered.insert(section.clone(), value);
                        }
                    }
                    let Err(error) = Config::parse(altered, std::iter::empty()) else {
                        continue;
                    };
                    wrong += 1;
                    let said = format!("{error:#} {:?}", crate::print::hint(&error));
                    // A name is told, and a name is no secret.
                    let said = said.replace(&format!(".{SECRET}: is not known"), "");
                    assert!(!said.contains(SECRET), "{section}.{key:?}: {said}");
                }
            }
        }
        assert!(wrong > 80, "{wrong}");
        for broken in [
            format!("password = {SECRET}"),
            format!("password = \"{SECRET}"),
            format!("password = '{SECRET}\n'"),
            format!("[store]\npassword = \"\\{SECRET}\""),
            format!("password = \"{SECRET}\" \"{SECRET}\""),
        ] {
            let said = said(&broken);
            assert!(said.starts_with("c.toml:"), "{said}");
            assert!(!said.contains(SECRET), "{said}");
        }
    }

    #[test]
    fn a_variable_is_named_in_place_of_a_line() {
        let table = || fresh().parse().unwrap();
        let wrong = ("CARDVEIL_ENVIRONMENT_X".to_owned(), SECRET.to_owned());
        let error = Config::parse(table(), [wrong].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "CARDVEIL_ENVIRONMENT_X names no setting");
    }
}
