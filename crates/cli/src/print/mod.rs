//! What the command prints: data to stdout, words to stderr; both as JSON where `--json` asks for
//! it, which is known here alone.
//!
//! **Invariant:** nothing gets to a terminal but through this file (the lints refuse `println!` and
//! `std::io::stdout` elsewhere), and here everything is [escaped], whoever wrote it: a merchant's
//! name, a label, what a receiver answered, an altered row.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that writes to stdout and stderr"
)]

mod confirm;
mod data;
mod failure;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::sync::OnceLock;

use cardveil_core::clock::{Clock as _, SystemClock};
use serde_json::json;

pub(crate) use self::confirm::Yes;
pub(crate) use self::data::{
    List, compact, document, done, fields, lines, list, object, own, record, table,
};
pub(crate) use self::failure::{
    error, explained, hint, hinted, is_broken_pipe, tell_panics, usage,
};

/// How everything is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Format {
    /// Print JSON: one document on stdout, and an object a line on stderr (`cardveil help
    /// command-line`)
    #[arg(long, global = true)]
    json: bool,
}

impl Format {
    /// What was asked for, where the arguments cannot be read as a whole.
    fn guessed() -> Self {
        Self {
            json: std::env::args_os().any(|arg| arg == "--json"),
        }
    }
}

/// Chosen once, for the whole process.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Has everything be printed so, from now on.
pub(crate) fn choose(format: Format) {
    // Nobody chooses twice.
    let _ = FORMAT.set(format);
}

/// Whether programs read it.
fn is_json() -> bool {
    FORMAT.get().is_some_and(|format| format.json)
}

/// One line to stdout.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    out(&format!("{}\n", escaped(text, Rows::One)))
}

/// What is escaped already, to stdout.
fn out(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// One line to stderr.
pub(crate) fn say(text: &str) {
    if is_json() {
        let (level, message) = match text.strip_prefix("warning: ") {
            Some(message) => ("WARN", message),
            None => ("INFO", text),
        };
        say_record(level, message, None);
    } else {
        say_plainly(text);
    }
}

fn say_plainly(text: &str) {
    // With stderr gone there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", escaped(text, Rows::One));
}

/// A question to stderr, whose answer is typed behind it.
pub(crate) fn ask(text: &str) {
    let _ = write!(std::io::stderr().lock(), "{}", escaped(text, Rows::One));
}

/// One line to stderr, with the members that those of a server's log have.
fn say_record(level: &str, message: &str, hint: Option<&str>) {
    let time = SystemClock.now().to_string();
    let mut record = json!({ "time": time, "level": level, "message": message });
    if let (Some(hint), Some(record)) = (hint, record.as_object_mut()) {
        record.insert("hint".to_owned(), hint.into());
    }
    let text = escaped(&record.to_string(), Rows::One);
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Rows of block characters to stderr, black on white whatever the terminal's own colours are.
/// `false` when there is no terminal, and for programs.
pub(crate) fn draw(rows: &str) -> bool {
    const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
    const RESET: &str = "\x1b[0m";
    if !is_watched() || is_json() {
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

/// The log of the process, to stderr, in lines.
pub(crate) struct Log;

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

/// Where the access log goes: its lines hold ids, names and numbers of ours, so they go out as they
/// are.
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

/// A text that changes nothing but what it stands for: control characters, escape sequences with
/// them, and what cannot be seen or turns the direction of what stands beside it, as `\u....`. The
/// same JSON where it was JSON.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A cursor that goes up, a title, a link, a line of its own, a text that runs backwards, and
    /// what nobody sees.
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
