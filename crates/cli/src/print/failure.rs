//! What went wrong, and what to do about it.

use std::panic::PanicHookInfo;
use std::process::ExitCode;

use cardveil_core::text::holds_card_number;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};

use super::{Format, Rows, choose, escaped, is_json, say_plainly, say_record};

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

/// Tells of what panics where it was, and no more: what it says may be of a card (P3).
pub(crate) fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = place(panic);
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "panicked");
        } else {
            tell(
                &format!("cardveil panicked at {place}, which is a fault of its own"),
                None,
            );
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
        choose(Format::guessed());
        tell_usage(&wrong_usage(error));
    } else {
        // With stdout gone there is nobody to help. The text is all of our own.
        let _ = error.print();
    }
    ExitCode::from(code)
}

/// clap quotes what it was given, as it is: each quotation is escaped, so that none of them makes a
/// line of its own, and what could be a card number is left out.
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
    if is_secret(text) {
        return "(what could be a key or a token)".to_owned();
    }
    escaped(text, Rows::One)
}

/// Whether a text has a part that could be an Api-Key, a secret or a token of ours: as many
/// letters and digits in one piece as the shortest of them has, an apiSecret.
fn is_secret(text: &str) -> bool {
    let mut pieces = text.split(|c: char| !c.is_ascii_alphanumeric());
    pieces.any(|piece| piece.len() >= 32)
}

/// Lines of our own making, with quotations that are escaped.
fn tell_usage(text: &str) {
    if !is_json() {
        return text.lines().for_each(say_plainly);
    }
    // The first paragraph is what is wrong, the others say how it is used.
    let mut paragraphs = text.split("\n\n");
    let what = paragraphs.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let rows = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let hint: Vec<_> = paragraphs.map(rows).collect();
    say_record("ERROR", &rows(what), Some(&hint.join("; ")));
}

/// An error, its sources, and a hint where there is one; as a line of the log where there is a log.
pub(crate) fn error(error: &anyhow::Error) {
    // `CARDVEIL_LOG` can leave out everything, but not why the program ends.
    let is_logged = tracing::dispatcher::has_been_set() && tracing::enabled!(tracing::Level::ERROR);
    if is_logged && !is_json() {
        let (message, hint) = (format!("{error:#}"), hint(error));
        tracing::error!(hint, "{message}");
        return;
    }
    tell(&format!("{error:#}"), hint(error));
}

fn tell(what: &str, hint: Option<&str>) {
    if is_json() {
        return say_record("ERROR", what, hint);
    }
    say_rows(&format!("error: {what}"));
    if let Some(hint) = hint {
        say_rows(&format!("hint: {hint}"));
    }
}

/// Words that may have several rows. All but the first are indented, so that none passes for a line
/// of its own.
fn say_rows(text: &str) {
    let mut rows = text.lines();
    say_plainly(rows.next().unwrap_or_default());
    for row in rows {
        say_plainly(&format!("  {row}"));
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

    use super::super::is_hidden;
    use super::*;

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
        let key = format!("cvk_live_{}", "1111aZ".repeat(7));
        for hostile in ["\u{1b}[2Jx\nerror: all is well", pan, &key] {
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
                    said.contains("\\u001b[2Jx") || said.contains("(what could be a "),
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
        assert!(
            told.starts_with("crates/cli/src/print/failure.rs:"),
            "{told}"
        );
        assert!(!told.contains("4111"), "{told}");
    }
}
