//! Reading it: the file, and the variables over it.

use std::path::Path;

use anyhow::Context as _;

use super::Config;
use crate::print::hinted;

/// Variables that are not configuration.
const OTHER_VARIABLES: [&str; 2] = ["CARDVEIL_CONFIG", "CARDVEIL_LOG"];

impl Config {
    /// Reads the file and the variables; paths are relative to the file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            hinted(
                format!("cannot read {}: {error}", path.display()),
                "run `cardveil init` first, or name the file with --config",
            )
        })?;
        let variables = std::env::vars().filter(|(name, _)| name.starts_with("CARDVEIL_"));
        let config = Self::parse(&text, variables).with_context(|| {
            format!(
                "{} with the CARDVEIL_ variables is not a configuration",
                path.display()
            )
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        Ok(config.under(base))
    }

    pub(super) fn parse(
        text: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Self> {
        let mut table: toml::Table = text.parse()?;
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
                        anyhow::bail!("{name} names no setting");
                    };
                    section.insert(key.to_owned(), value);
                }
                None => {
                    table.insert(key, value);
                }
            }
        }
        let config: Self = table.try_into()?;
        config.check()?;
        Ok(config)
    }
}

/// A variable's value: TOML where it is TOML, a text otherwise.
fn literal(value: &str) -> toml::Value {
    let parsed = format!("value = {value}").parse::<toml::Table>();
    let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()))
}
