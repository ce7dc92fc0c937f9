//! An entry as a syslog message: the header of RFC 5424, and as the message what an export has.
//!
//! The message is that JSON with all but ASCII escaped, so it needs no byte order mark (RFC 5424
//! 6.4) and no receiver has anything to mend in it: it is the same JSON, and verifies as an export
//! does.
//!
//! Local daemons get the header that `syslog(3)` makes: rsyslog and journald read no other on their
//! socket, unless told to.

use std::fmt::{self, Write as _};

use cardveil_core::audit::chain::Chained;
use cardveil_core::audit::exported;
use serde_json::Value;

use super::Framing;

/// "log audit" (RFC 5424 6.2.1, table 1). 10, for which systems say `authpriv`, is for logins and
/// the like.
const FACILITY: u8 = 13;
const APP_NAME: &str = "cardveil";
/// RFC 5424 6.
const HOSTNAME_MAX: usize = 255;
const MSGID_MAX: usize = 32;
/// What a header says of which nothing is known.
const NIL: &str = "-";

/// RFC 5424 6.2.1, table 2.
#[derive(Clone, Copy)]
enum Severity {
    /// What was asked for was refused.
    Warning = 4,
    /// All else: "normal but significant condition".
    Notice = 5,
}

/// Whose messages they are.
pub(super) struct Sender {
    host: String,
    process: u32,
}

/// RFC 5424 6.2, with no structured data.
struct Header<'a> {
    priority: u8,
    at: &'a str,
    host: &'a str,
    app: &'a str,
    process: &'a dyn fmt::Display,
    id: &'a str,
}

impl fmt::Display for Header<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            priority,
            at,
            host,
            app,
            process,
            id,
        } = self;
        write!(out, "<{priority}>1 {at} {host} {app} {process} {id} -")
    }
}

impl Sender {
    /// This process, on this machine.
    pub(super) fn here() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            host: printable(host.trim(), HOSTNAME_MAX).to_owned(),
            process: std::process::id(),
        }
    }

    /// Each as the receiver tells them apart. All end with a line feed, and none has another.
    pub(super) fn frames(&self, entries: &[Chained], framing: Framing) -> Vec<u8> {
        let mut frames = String::new();
        for entry in entries {
            let message = self.message(entry);
            // Writing to a string does not fail.
            let _ = match framing {
                Framing::OctetCounting => writeln!(frames, "{} {message}", message.len() + 1),
                Framing::Newline => writeln!(frames, "{message}"),
            };
        }
        frames.into_bytes()
    }

    fn message(&self, entry: &Chained) -> String {
        let record = exported(entry);
        let header = Header {
            priority: priority(&record),
            at: text(&record, "at").unwrap_or(NIL),
            host: &self.host,
            app: APP_NAME,
            process: &self.process,
            id: printable(text(&record, "kind").unwrap_or(NIL), MSGID_MAX),
        };
        format!("{header} {}", ascii(&record.to_string()))
    }

    /// As `syslog(3)` has it, in UTC.
    pub(super) fn local(&self, entry: &Chained) -> String {
        let record = exported(entry);
        let at = text(&record, "at").and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let at = at.map_or_else(String::new, |at| at.strftime("%b %e %H:%M:%S ").to_string());
        let (priority, process) = (priority(&record), self.process);
        let message = ascii(&record.to_string());
        format!("<{priority}>{at}{APP_NAME}[{process}]: {message}")
    }
}

fn text<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    record.get(name).and_then(Value::as_str)
}

fn priority(record: &Value) -> u8 {
    let severity = match text(record, "outcome") {
        Some("failure") => Severity::Warning,
        Some(_) | None => Severity::Notice,
    };
    priority_of(FACILITY, severity as u8)
}

/// RFC 5424 6.2.1.
const fn priority_of(facility: u8, severity: u8) -> u8 {
    facility * 8 + severity
}

/// It, if it is one or more visible ASCII characters and no more than so many.
fn printable(text: &str, most: usize) -> &str {
    let fits = (1..=most).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        text
    } else {
        NIL
    }
}

/// The same JSON: outside ASCII there is something in strings only, and there it can be escaped.
fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        // DEL is the one control character that JSON leaves as it is.
        if character.is_ascii() && character != '\u{7f}' {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use cardveil_core::audit::chain::Link;
    use cardveil_core::id::ChainId;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn entry(stored: &Value) -> Chained {
        let stored = stored.to_string();
        let link = Link::start(ChainId::from_bytes([1; 16])).next(stored.as_bytes());
        Chained {
            seq: 7,
            link,
            stored,
            personal: None,
        }
    }

    fn sender() -> Sender {
        Sender {
            host: "mymachine.example.com".to_owned(),
            process: 8710,
        }
    }

    /// RFC 5424 6.5, examples 1 and 2: those without structured data. The second in UTC and
    /// milliseconds, as ours are.
    #[test]
    fn the_examples_of_the_rfc() {
        let su = Header {
            priority: priority_of(4, 2),
            at: "2003-10-11T22:14:15.003Z",
            host: "mymachine.example.com",
            app: "su",
            process: &NIL,
            id: "ID47",
        };
        assert_eq!(
            format!("{su} \u{feff}'su root' failed for lonvick on /dev/pts/8"),
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8"
        );
        let donuts = Header {
            priority: priority_of(20, 5),
            at: "2003-08-24T12:14:15.000Z",
            host: "192.0.2.1",
            app: "myproc",
            process: &8710,
            id: NIL,
        };
        assert_eq!(
            format!("{donuts} %% It's time to make the do-nuts."),
            "<165>1 2003-08-24T12:14:15.000Z 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts."
        );
    }

    #[test]
    fn a_message_is_an_entry_of_an_export_behind_a_header() {
        let at = 1_065_910_455_003_i64;
        let success = entry(&json!({"at": at, "kind": "token.issued", "outcome": "success"}));
        let message = sender().message(&success);
        let (header, json) = message.split_at(message.find('{').unwrap());
        assert_eq!(
            header,
            "<109>1 2003-10-11T22:14:15.003Z mymachine.example.com cardveil 8710 token.issued - "
        );
        assert_eq!(json, exported(&success).to_string());
        let local = sender().local(&success);
        assert_eq!(
            local,
            format!("<109>Oct 11 22:14:15 cardveil[8710]: {json}")
        );

        let failure = entry(&json!({"at": at, "kind": "reveal.refused", "outcome": "failure"}));
        assert!(sender().message(&failure).starts_with("<108>1 2003-"));
        let both = [success, failure.clone()];
        let counted = sender().frames(&both, Framing::OctetCounting);
        let second = sender().message(&failure);
        let [first_len, second_len] = [&message, &second].map(|message| message.len() + 1);
        let expected = format!("{first_len} {message}\n{second_len} {second}\n");
        assert_eq!(counted, expected.into_bytes());
        let lines = sender().frames(&both, Framing::Newline);
        assert_eq!(lines, format!("{message}\n{second}\n").into_bytes());
    }

    /// What a later program writes, or a hand in the database, breaks no frame.
    #[test]
    fn what_is_no_event_has_a_header_too() {
        let long = "k".repeat(MSGID_MAX + 1);
        for stored in [
            json!({"kind": "two words"}),
            json!({"kind": ""}),
            json!({"kind": long, "at": "then"}),
            json!(5),
        ] {
            let entry = entry(&stored);
            let message = sender().message(&entry);
            let at = text(&exported(&entry), "at").unwrap_or(NIL).to_owned();
            let header = format!("<109>1 {at} mymachine.example.com cardveil 8710 - - {{");
            assert!(message.starts_with(&header) || stored == 5, "{message}");
            assert!(sender().local(&entry).starts_with("<109>cardveil[8710]: "));
        }
        let here = Sender::here();
        let known = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(here.host, known.trim());
        for (host, kept) in [("a b", NIL), ("", NIL), ("é", NIL), ("a.b-c", "a.b-c")] {
            assert_eq!(printable(host, HOSTNAME_MAX), kept);
        }
    }

    proptest! {
        #[test]
        fn the_escaped_message_is_the_same_json_in_visible_ascii(text: String, key: String) {
            let value = json!({ key: [text, "\u{7f}\u{1f600}é\u{2028}\n"] });
            let escaped = ascii(&value.to_string());
            prop_assert!(escaped.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), value);
        }
    }
}
