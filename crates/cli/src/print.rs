//! What the command prints: data to stdout, words to stderr.

use std::io::Write as _;

use serde::Serialize;

/// How data is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An error with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Hinted {
    what: String,
    hint: String,
}

/// An error that says what to do next.
pub(crate) fn hinted(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted {
        what: what.into(),
        hint: hint.into(),
    }
    .into()
}

/// An error of which is said what it kept from happening, and what to do next.
pub(crate) fn explained(
    cause: impl Into<anyhow::Error>,
    what: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Error {
    cause.into().context(Hinted {
        what: what.into(),
        hint: hint.into(),
    })
}

/// One line to stdout.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// One line to stderr.
pub(crate) fn say(text: &str) {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A value as one line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// A value as JSON for people.
pub(crate) fn json_pretty<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Rows under a header, in columns as wide as they need.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
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
    for row in rows {
        write(&row.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// An error, its sources, and a hint where there is one.
pub(crate) fn error(error: &anyhow::Error) {
    say(&format!("error: {error:#}"));
    if let Some(hint) = hint(error) {
        say(&format!("hint: {hint}"));
    }
}

/// What to do about an error, where it says so.
pub(crate) fn hint(error: &anyhow::Error) -> Option<&str> {
    // What an error was explained by is not in its chain as itself.
    let hinted = error.downcast_ref::<Hinted>().or_else(|| {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Hinted>())
    });
    hinted.map(|hinted| hinted.hint.as_str())
}

/// Whether stdout was closed by its reader.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
