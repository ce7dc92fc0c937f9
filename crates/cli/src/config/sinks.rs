//! `[[audit.sink]]`: where the audit log is copied to as it grows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cardveil_core::audit::sink::Limit;
use cardveil_core::id::SinkName;
use cardveil_server::sinks::{self, Target};
use serde::{Deserialize, Serialize};

use crate::print::hinted;

/// How far a required sink may be behind, unless told otherwise.
const LAG_MOST: Limit = Limit {
    entries: 10_000,
    age: Duration::from_secs(300),
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audit {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sink: Vec<Sink>,
}

/// One sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sink {
    pub(crate) name: SinkName,
    /// The file that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// Whether nothing is released while it is too far behind.
    #[serde(default)]
    pub(crate) required: bool,
    /// How far that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lag_most: Option<LagMost>,
}

/// What is left out does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LagMost {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
}

impl Audit {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (place, sink) in self.sink.iter().enumerate() {
            let before = self.sink.iter().take(place);
            if before.into_iter().any(|other| other.name == sink.name) {
                return Err(hinted(
                    format!("two audit sinks are called {}", sink.name),
                    "a sink goes on from the place of its name: give each its own",
                ));
            }
            sink.check()?;
        }
        Ok(())
    }

    pub(super) fn under(&mut self, base: &Path) {
        for file in self.sink.iter_mut().filter_map(|sink| sink.file.as_mut()) {
            *file = base.join(&*file);
        }
    }

    /// Whether there is one that can stop releases.
    pub(crate) fn can_stop(&self) -> bool {
        self.sink.iter().any(|sink| sink.required)
    }

    /// For the workers.
    pub(crate) fn settings(&self) -> sinks::Settings {
        let sinks = self.sink.iter().filter_map(|sink| {
            Some(sinks::Sink {
                name: sink.name.clone(),
                target: sink.target()?,
                limit: sink.limit(),
            })
        });
        sinks::Settings {
            sinks: sinks.collect(),
            ..sinks::Settings::default()
        }
    }
}

impl Sink {
    fn check(&self) -> anyhow::Result<()> {
        let name = &self.name;
        if self.target().is_none() {
            return Err(hinted(
                format!("the audit sink {name} goes nowhere"),
                "give it file",
            ));
        }
        if self.lag_most.is_some() && !self.required {
            return Err(hinted(
                format!("the audit sink {name} has lag_most and is not required"),
                "say required = true, or take lag_most out: only a required sink stops releases",
            ));
        }
        let nothing = |most: &LagMost| most.entries.is_none() && most.seconds.is_none();
        if self.lag_most.as_ref().is_some_and(nothing) {
            return Err(hinted(
                format!("lag_most of the audit sink {name} says nothing"),
                "give entries, seconds, or both",
            ));
        }
        Ok(())
    }

    pub(crate) fn target(&self) -> Option<Target> {
        self.file.clone().map(Target::File)
    }

    /// How far it may be behind, if that stops anything.
    pub(crate) fn limit(&self) -> Option<Limit> {
        let limit = match &self.lag_most {
            None => LAG_MOST,
            Some(most) => Limit {
                entries: most.entries.unwrap_or(u64::MAX),
                age: most.seconds.map_or(Duration::MAX, Duration::from_secs),
            },
        };
        self.required.then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Audit> {
        let mut audit: Audit = toml::from_str(text)?;
        audit.check()?;
        audit.under(Path::new("/srv"));
        Ok(audit)
    }

    #[test]
    fn a_sink_is_a_file_and_stops_nothing_unless_it_is_required() {
        let text = "[[sink]]\nname = \"siem\"\nfile = \"log/audit.jsonl\"\n";
        let audit = parse(text).unwrap();
        assert!(!audit.can_stop());
        let sinks = audit.settings().sinks;
        assert_eq!(sinks[0].target, Target::File("/srv/log/audit.jsonl".into()));
        assert_eq!(sinks[0].limit, None);
        let limit = |more: &str| {
            let audit = parse(&format!("{text}required = true\n{more}")).unwrap();
            assert!(audit.can_stop());
            assert_eq!(parse(&toml::to_string(&audit).unwrap()).unwrap(), audit);
            audit.sink[0].limit().unwrap()
        };
        assert_eq!(limit(""), LAG_MOST);
        let entries = limit("lag_most = { entries = 5 }");
        assert_eq!((entries.entries, entries.age), (5, Duration::MAX));
        let both = limit("lag_most = { entries = 0, seconds = 60 }");
        assert_eq!((both.entries, both.age.as_secs()), (0, 60));
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        let file = "file = \"a\"\n";
        for wrong in [
            format!("[[sink]]\n{file}"),
            "[[sink]]\nname = \"a\"\n".to_owned(),
            format!("[[sink]]\nname = \"a b\"\n{file}"),
            format!("[[sink]]\nname = \"a\"\n{file}[[sink]]\nname = \"a\"\n{file}"),
            format!("[[sink]]\nname = \"a\"\n{file}lag_most = {{ entries = 5 }}\n"),
            format!("[[sink]]\nname = \"a\"\n{file}required = true\nlag_most = {{}}\n"),
            format!("[[sink]]\nname = \"a\"\n{file}required = true\nlag_most = {{ hours = 1 }}\n"),
            format!("[[sink]]\nname = \"a\"\n{file}udp = \"host:514\"\n"),
        ] {
            assert!(parse(&wrong).is_err(), "{wrong}");
        }
    }
}
