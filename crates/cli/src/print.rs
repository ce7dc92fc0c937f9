//! What the command prints: data to stdout, words to stderr.
//!
//! **Invariant:** nothing gets to a terminal but through this file (the lints refuse `println!` and
//! `std::io::stdout` elsewhere), and here everything is [escaped], whoever wrote it: a merchant's name, a
//! label, what a receiver answered, an altered row.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that writes to stdout and stderr"
)]

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use cardveil_core::text::holds_card_number;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use serde::Serialize;
use tracing_subscriber::fmt::MakeWriter;

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
    print(&escaped(text, Rows::One))
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// One line to stderr.
pub(crate) fn say(text: &str) {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", escaped(text, Rows::One));
}

/// Rows of block characters to stderr, black on white whatever the terminal's own colours are. `false`
/// when there is no terminal.
pub(crate) fn draw(rows: &str) -> bool {
    const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
    const RESET: &str = "\x1b[0m";
    if !is_watched() {
        return false;
    }
    for row in rows.lines() {
        let row = escaped(row, Rows::One);
        let _ = writeln!(std::io::stderr().lock(), "{BLACK_ON_WHITE}{row}{RESET}");
    }
    true
}

/// Whether somebody looks at stderr as it comes.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// The log of the process, to stderr: an event a line, or with what its words bring along.
#[derive(Clone, Copy)]
pub(crate) struct Log;

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = escaped(&text, Rows::Several);
        std::io::stderr().lock().write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Where the access log goes: its lines hold ids, names and numbers of ours, so they go out as they are.
pub(crate) fn access_log() -> Box<dyn Write + Send> {
    Box::new(std::io::stderr())
}

/// Whether a text may have several rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    One,
    /// Line feeds stay: those of JSON made for people are never inside a text.
    Several,
}

/// A text that changes nothing but what it stands for: control characters, escape sequences with them, and
/// what cannot be seen or turns the direction of what stands beside it, as `\u....`. The same JSON where
/// it was JSON.
fn escaped(text: &str, rows: Rows) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if !is_hidden(char) || (char == '\n' && rows == Rows::Several) {
            safe.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

/// Unicode's control and format characters, but for the joiners that some scripts are written with.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

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

/// Tells of what panics where it was, and no more: what it says may be of a card (P3).
pub(crate) fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = place(panic);
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "panicked");
        } else {
            say(&format!(
                "error: cardveil panicked at {place}, which is a fault of its own"
            ));
        }
    }));
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic
        .location()
        .map_or_else(String::new, ToString::to_string)
}

/// What is wrong with the arguments, or the help that they ask for.
pub(crate) fn usage(error: clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if error.use_stderr() {
        say_lines(&wrong_usage(error));
    } else {
        // With stdout gone there is nobody to help. The text is all of our own.
        let _ = error.print();
    }
    ExitCode::from(code)
}

/// clap quotes what it was given, as it is: each quotation is escaped, so that none of them makes a line
/// of its own, and what could be a card number is left out.
fn wrong_usage(mut error: clap::Error) -> String {
    let quoted: Vec<_> = error
        .context()
        .map(|(kind, value)| (kind, value.clone()))
        .collect();
    for (kind, value) in quoted {
        let styled = |text: &StyledStr| quotation(&text.to_string()).into();
        let safe = match value {
            ContextValue::String(text) => ContextValue::String(quotation(&text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| quotation(text)).collect())
            }
            ContextValue::StyledStrs(texts) => {
                ContextValue::StyledStrs(texts.iter().map(styled).collect())
            }
            // Our own account of the usage, and what is no text.
            ContextValue::None
            | ContextValue::Bool(_)
            | ContextValue::StyledStr(_)
            | ContextValue::Number(_)
            | _ => continue,
        };
        error.insert(kind, safe);
    }
    let source = std::error::Error::source(&error).map(ToString::to_string);
    match (
        source,
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
    ) {
        // What our own parsers say quotes it once more.
        (Some(source), Some(arg), Some(value)) => format!(
            "error: invalid value '{value}' for '{arg}': {}\n\nFor more information, try '--help'.",
            quotation(&source)
        ),
        _ => error.render().to_string(),
    }
}

fn quotation(text: &str) -> String {
    if holds_card_number(text) {
        return "(what could be a card number)".to_owned();
    }
    escaped(text, Rows::One)
}

/// Lines of our own making, with quotations that are escaped.
fn say_lines(text: &str) {
    for line in text.lines() {
        say(line);
    }
}

/// An error, its sources, and a hint where there is one; as a line of the log where there is a log.
pub(crate) fn error(error: &anyhow::Error) {
    if tracing::dispatcher::has_been_set() {
        let (message, hint) = (format!("{error:#}"), hint(error));
        tracing::error!(hint, "{message}");
        return;
    }
    say_rows(&format!("error: {error:#}"));
    if let Some(hint) = hint(error) {
        say_rows(&format!("hint: {hint}"));
    }
}

/// Words that may have several rows, as those about a configuration do. All but the first are indented, so
/// that none passes for a line of its own.
fn say_rows(text: &str) {
    let mut rows = text.lines();
    say(rows.next().unwrap_or_default());
    for row in rows {
        say(&format!("  {row}"));
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A cursor that goes up, a title, a link, a line of its own, a text that runs backwards, and what
    /// nobody sees.
    const HOSTILE: &str =
        "a\u{1b}[1A\u{1b}]0;b\u{7}\u{9b}2J\r\nok\u{202e}live\u{2066}\u{200b}\u{e0041}\u{7f}";

    #[test]
    fn everything_printed_is_escaped() {
        let safe = escaped(HOSTILE, Rows::One);
        let expected = "a\\u001b[1A\\u001b]0;b\\u0007\\u009b2J\\u000d\\u000aok\\u202elive\\u2066\\u200b\\udb40\\udc41\\u007f";
        assert_eq!(safe, expected);
        for plain in ["Zoë & 王芳", "क्‍ष", "👩‍👧", "https://a.example/?b=c"] {
            assert_eq!(escaped(plain, Rows::One), plain);
        }
    }

    /// As clap reads a command, with one of everything that it quotes.
    fn said_of(args: &[&str]) -> String {
        let port = clap::Arg::new("port")
            .long("port")
            .value_parser(|text: &str| {
                text.parse::<u16>()
                    .map_err(|_| format!("{text} is no port"))
            });
        let kind = clap::Arg::new("kind").long("kind").value_parser(["plain"]);
        let verb = clap::Command::new("verb")
            .args([port, kind])
            .arg(clap::Arg::new("file"));
        let command = clap::Command::new("cardveil").subcommand(verb);
        let args = ["cardveil"].iter().chain(args);
        wrong_usage(command.try_get_matches_from(args).unwrap_err())
    }

    #[test]
    fn what_is_wrong_with_the_arguments_is_told_without_what_they_would_do() {
        let pan = "4111 1111 1111 1111";
        for hostile in ["\u{1b}[2Jx\nerror: all is well", pan] {
            let option = format!("--{hostile}");
            for args in [
                &[hostile][..],
                &["verb", "--port", hostile],
                &["verb", "--kind", hostile],
                &["verb", "file", hostile],
                &["verb", &option],
                &["verb", &format!("--port={hostile}")],
            ] {
                let said = said_of(args);
                assert!(said.starts_with("error: "), "{said}");
                assert!(!said.chars().any(|c| is_hidden(c) && c != '\n'), "{said}");
                assert_eq!(
                    said.matches("error: all is well").count(),
                    said.matches("u000aerror: ").count(),
                    "{said}"
                );
                assert!(!said.contains("1111"), "{said}");
                assert!(
                    said.contains("\\u001b[2Jx") || said.contains("could be a card number"),
                    "{said}"
                );
            }
        }
    }

    #[test]
    fn a_panic_tells_where_it_was_and_not_what_it_says() {
        let told = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&told);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| *to.lock().unwrap() = place(panic)));
        let panicked = std::panic::catch_unwind(|| panic!("of {}", "4111111111111111"));
        std::panic::set_hook(before);
        assert!(panicked.is_err());
        let told = told.lock().unwrap().clone();
        assert!(told.starts_with("crates/cli/src/print.rs:"), "{told}");
        assert!(!told.contains("4111"), "{told}");
    }

    #[test]
    fn json_that_is_escaped_is_the_same_json() {
        let value = serde_json::json!({ "name": HOSTILE, "nested": [HOSTILE] });
        for text in [
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap(),
        ] {
            let safe = escaped(&text, Rows::Several);
            assert!(!safe.chars().any(|c| is_hidden(c) && c != '\n'), "{safe}");
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
                value
            );
        }
    }
}
