//! Where a setting stands: the line of the file, or the variable over it.
//!
//! Whatever finds a setting wrong says which by [`Setting`], as context of its error; [`located`]
//! puts the place in front, once, where the error is told.

use std::fmt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The setting that an error is of, as `network.idle_secs` or `audit.sink[1].name`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting(String);

impl Setting {
    pub(crate) fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Where it stands.
#[derive(Debug)]
struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An error with the place of the setting that it is of, if it is of one.
pub(crate) fn located(error: anyhow::Error, file: &Path) -> anyhow::Error {
    if error.downcast_ref::<Place>().is_some() {
        return error;
    }
    let Some(Setting(key)) = error.downcast_ref::<Setting>() else {
        return error;
    };
    let place = if let Some(variable) = variable_of(key) {
        variable
    } else {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        in_file(
            file,
            offset(&text, key).map(|at| line_and_column(&text, at)),
        )
    };
    error.context(Place(place))
}

/// An error of the file's form at this byte.
pub(super) fn at_byte(
    error: anyhow::Error,
    file: &Path,
    text: &str,
    at: Option<usize>,
) -> anyhow::Error {
    error.context(Place(in_file(file, at.map(|at| line_and_column(text, at)))))
}

fn in_file(file: &Path, at: Option<(usize, usize)>) -> String {
    match at {
        Some((line, column)) => format!("{}:{line}:{column}", file.display()),
        None => file.display().to_string(),
    }
}

/// Counted from 1, columns in characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(begin..).unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The variable that a setting comes from, if one is set: a section and its key make a name.
fn variable_of(key: &str) -> Option<String> {
    let mut names = key.split(['.', '[']);
    let name = match (names.next()?, names.next()) {
        (section, Some(key)) => format!("CARDVEIL_{section}_{key}"),
        (key, None) => format!("CARDVEIL_{key}"),
    };
    let name = name.to_uppercase();
    std::env::var_os(&name).map(|_| name)
}

/// Where a setting begins, or what is nearest to it and there.
fn offset(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?.into_inner();
    let (mut table, mut found) = (&table, None);
    for name in key.split('.') {
        let (name, index) = match name.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (name, None),
        };
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        found = Some(key.span().start);
        let mut value: &Spanned<DeValue<'_>> = value;
        if let (Some(index), DeValue::Array(items)) = (index, value.get_ref()) {
            let Some(item) = items.get(index) else { break };
            found = Some(item.span().start);
            value = item;
        }
        let DeValue::Table(inner) = value.get_ref() else {
            break;
        };
        table = inner;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "environment = \"live\"\n\n[store]\n# a comment\n  database = \"é\"; fence = 1\n";

    #[test]
    fn a_setting_is_found_by_its_line_and_column() {
        let text = "environment = \"live\"\n[network]\n\n  idle_secs = 0\ntrusted_proxies = []\n\
                    [[audit.sink]]\nname = \"a\"\n\n[[audit.sink]]\nfile = \"b\"\nlag_most = { days = 1 }\n\
                    [tls]\nclient = { certificate = \"c\", \"key\" = \"k\" }\n";
        let at = |key: &str| offset(text, key).map(|at| line_and_column(text, at));
        for (key, place) in [
            ("environment", (1, 1)),
            ("network", (2, 2)),
            ("network.idle_secs", (4, 3)),
            ("network.trusted_proxies", (5, 1)),
            ("audit.sink[0].name", (7, 1)),
            ("audit.sink[1]", (9, 1)),
            ("audit.sink[1].file", (10, 1)),
            ("audit.sink[1].lag_most.days", (11, 14)),
            ("tls.client.key", (13, 31)),
            // What is not there is told where it would be.
            ("network.surprise", (2, 2)),
            ("audit.sink[1].name", (9, 1)),
        ] {
            assert_eq!(at(key), Some(place), "{key}");
        }
        assert_eq!(at("limits.all_per_minute"), None);
        assert_eq!(line_and_column(TEXT, TEXT.find(';').unwrap()), (5, 17));
    }

    #[test]
    fn an_error_is_located_once_and_keeps_its_hint() {
        let error = crate::print::hinted("must be less", "give less");
        let error = error.context(Setting::new("network.idle_secs"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "[network]\nidle_secs = 9\n").unwrap();
        let error = located(located(error, &file), &file);
        let expected = format!("{}:2:1: network.idle_secs: must be less", file.display());
        assert_eq!(format!("{error:#}"), expected);
        assert_eq!(crate::print::hint(&error), Some("give less"));
        let other = located(anyhow::anyhow!("no"), &file);
        assert_eq!(format!("{other:#}"), "no");
    }
}
