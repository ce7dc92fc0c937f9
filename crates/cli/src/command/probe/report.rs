//! What a probe found: stable codes, what was expected, what came, and what to change.

use serde::{Serialize, Serializer};

use crate::print;

/// What is looked at. The names are stable.
///
/// To add one: a variant, its name and what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    ManifestServed,
    ManifestSigned,
    ManifestSame,
    ManifestOrigin,
    Release,
    ScriptServed,
    ScriptBytes,
    ScriptHeaders,
    ScriptVersion,
    FrameServed,
    FrameMarkup,
    FrameScript,
    FrameStyle,
    FrameConfig,
    FramePolicy,
    FrameHeaders,
    FrameAncestors,
    FrameForeign,
    FrameAlone,
    EmbedUnknown,
}

impl Code {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ManifestServed => "manifest_served",
            Self::ManifestSigned => "manifest_signed",
            Self::ManifestSame => "manifest_same",
            Self::ManifestOrigin => "manifest_origin",
            Self::Release => "release",
            Self::ScriptServed => "script_served",
            Self::ScriptBytes => "script_bytes",
            Self::ScriptHeaders => "script_headers",
            Self::ScriptVersion => "script_version",
            Self::FrameServed => "frame_served",
            Self::FrameMarkup => "frame_markup",
            Self::FrameScript => "frame_script",
            Self::FrameStyle => "frame_style",
            Self::FrameConfig => "frame_config",
            Self::FramePolicy => "frame_policy",
            Self::FrameHeaders => "frame_headers",
            Self::FrameAncestors => "frame_ancestors",
            Self::FrameForeign => "frame_foreign",
            Self::FrameAlone => "frame_alone",
            Self::EmbedUnknown => "embed_unknown",
        }
    }

    const fn change(self) -> &'static str {
        match self {
            Self::ManifestServed | Self::ScriptServed | Self::FrameServed => {
                "let the proxy pass /sdk/ and /embed/ to the client listener as they are"
            }
            Self::ManifestSigned => {
                "compare with `cardveil manifest key` on the server: if that is another key, ask why \
                 before you pin it; if it is this one, someone changes the manifest on its way"
            }
            Self::ManifestSame => "purge the cache before the client listener, then look again",
            Self::ManifestOrigin => {
                "set client.origin to the origin that browsers use, or probe that one"
            }
            Self::Release => {
                "the server does not serve what this release has: install the release's own binary"
            }
            Self::ScriptBytes | Self::FrameScript | Self::FrameStyle | Self::FrameMarkup => {
                "treat it as tampering until you know better: find what stands between the server \
                 and you that changes pages (minifiers, injected scripts, an old cache)"
            }
            Self::ScriptHeaders | Self::FrameHeaders => {
                "let the proxy pass the server's headers as they are, and add none of the same name"
            }
            Self::ScriptVersion => "let the proxy pass /sdk/ as it is: a 404 must stay one",
            Self::FrameConfig => {
                "set the embed's origins with `cardveil embed set`, and let no proxy change the page"
            }
            Self::FramePolicy => "let the proxy pass Content-Security-Policy as it is, once",
            Self::FrameAncestors => {
                "add the origin with `cardveil embed set --origin`, if its pages are to show cards"
            }
            Self::FrameForeign => {
                "let no proxy widen frame-ancestors: it names the embed's origins, one by one"
            }
            Self::FrameAlone => "let the proxy pass Sec-Fetch-Dest to the client listener",
            Self::EmbedUnknown => "let the proxy pass a 404 of /embed/ as it is, with its policy",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    /// The path that was asked for.
    pub(crate) at: String,
    pub(crate) expected: String,
    pub(crate) came: String,
    pub(crate) change: &'static str,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) url: String,
    pub(crate) embed: String,
    /// Of the server, as its manifest says.
    pub(crate) version: Option<String>,
    /// Who signed the manifest, as it says.
    pub(crate) kid: Option<String>,
    /// Whether a key was given to check that with.
    pub(crate) pinned: bool,
    /// Whether there is no finding.
    pub(crate) ok: bool,
    /// What was looked at.
    pub(crate) checked: Vec<Code>,
    pub(crate) findings: Vec<Finding>,
    /// What could not be told, and is no finding.
    pub(crate) notes: Vec<&'static str>,
}

/// How much of what came is shown.
const SHOWN_CHARS_MAX: usize = 300;

impl Report {
    pub(crate) fn new(url: &str, embed: &str) -> Self {
        Self {
            url: url.to_owned(),
            embed: embed.to_owned(),
            version: None,
            kid: None,
            pinned: false,
            ok: true,
            checked: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Records that it was looked at, and a finding unless it is well.
    pub(crate) fn check(
        &mut self,
        (code, at): (Code, &str),
        well: bool,
        (expected, came): (impl Into<String>, impl Into<String>),
    ) {
        if !self.checked.contains(&code) {
            self.checked.push(code);
        }
        if well {
            return;
        }
        self.ok = false;
        self.findings.push(Finding {
            code,
            at: at.to_owned(),
            expected: shown(&expected.into()),
            came: shown(&came.into()),
            change: code.change(),
        });
    }

    /// For people.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        for code in &self.checked {
            let bad = self.findings.iter().any(|finding| finding.code == *code);
            let mark = if bad { "FOUND" } else { "ok   " };
            print::line(&format!("{mark}  {}", code.name()))?;
        }
        for finding in &self.findings {
            print::line("")?;
            print::line(&format!("{} at {}", finding.code.name(), finding.at))?;
            print::line(&format!("  expected  {}", finding.expected))?;
            print::line(&format!("  came      {}", finding.came))?;
            print::line(&format!("  change    {}", finding.change))?;
        }
        for note in &self.notes {
            print::say(&format!("note: {note}"));
        }
        Ok(())
    }
}

/// What a stranger's server said goes to a terminal and into logs: short, and on one line.
fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = chars.by_ref().take(SHOWN_CHARS_MAX).map(clean).collect();
    if chars.next().is_some() {
        shown.push_str("...");
    }
    shown
}
