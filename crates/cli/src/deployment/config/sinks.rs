//! `[[audit.sink]]`: where the audit log is copied to as it grows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::audit::sink::Limit;
use cardveil_core::id::SinkName;
use cardveil_server::sinks::{self, Framing, Receiver, Target};
use serde::{Deserialize, Serialize};

use super::Setting;
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
    /// The syslog receiver that it is: `tls://`, `tcp://` or `unix://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    syslog: Option<String>,
    /// How it tells messages apart: `octet_counting` or `newline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    framing: Option<Framing>,
    /// The authorities of its certificate, PEM. Without, the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// What it is shown: a certificate and its key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
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
                let wrong = hinted(
                    format!("another audit sink is called {}", sink.name),
                    "a sink goes on from the place of its name: give each its own",
                );
                return Err(wrong.context(Setting::new(format!("audit.sink[{place}].name"))));
            }
            sink.check()
                .with_context(|| Setting::new(format!("audit.sink[{place}]")))?;
        }
        Ok(())
    }

    pub(super) fn under(&mut self, base: &Path) {
        for sink in &mut self.sink {
            let files = [
                &mut sink.file,
                &mut sink.ca,
                &mut sink.certificate,
                &mut sink.key,
            ];
            for file in files.into_iter().flatten() {
                *file = base.join(&*file);
            }
        }
    }

    /// Whether there is one that can stop releases.
    pub(crate) fn can_stop(&self) -> bool {
        self.sink.iter().any(|sink| sink.required)
    }

    /// The receivers of which nobody has said how they tell messages apart: one that knows lines
    /// alone reads each to its end, as any, and may keep none.
    pub(crate) fn framing_assumed(&self) -> impl Iterator<Item = &SinkName> {
        let is_stream = |sink: &&Sink| {
            let target = sink.target();
            matches!(
                target,
                Ok(Target::Syslog(Receiver::Tcp { .. } | Receiver::Tls { .. }))
            )
        };
        let unsaid = self.sink.iter().filter(|sink| sink.framing.is_none());
        unsaid.filter(is_stream).map(|sink| &sink.name)
    }

    /// For the workers. What they will need of files is there.
    pub(crate) fn settings(&self) -> anyhow::Result<sinks::Settings> {
        let mut sinks = Vec::new();
        for (place, sink) in self.sink.iter().enumerate() {
            let target = sink.target()?;
            if let Target::Syslog(receiver) = &target {
                let checked = receiver.check();
                checked
                    .map_err(|error| hinted(error.to_string(), error.hint()))
                    .with_context(|| Setting::new(format!("audit.sink[{place}]")))?;
            }
            sinks.push(sinks::Sink {
                name: sink.name.clone(),
                target,
                limit: sink.limit(),
            });
        }
        Ok(sinks::Settings {
            sinks,
            ..sinks::Settings::default()
        })
    }
}

impl Sink {
    fn check(&self) -> anyhow::Result<()> {
        let name = &self.name;
        self.target()?;
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

    /// Where it is.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        let name = &self.name;
        let receiver = match (&self.file, &self.syslog) {
            (Some(_), None) => None,
            (None, Some(address)) => Some(Receiver::parse(address).map_err(|error| {
                hinted(
                    format!("syslog of the audit sink {name} is no address: {error}"),
                    "such as tls://siem.example:6514",
                )
            })?),
            (None, None) | (Some(_), Some(_)) => {
                return Err(hinted(
                    format!("the audit sink {name} must have file or syslog, and one of them"),
                    "two copies are two sinks, each with its name",
                ));
            }
        };
        let own = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (Some(_), None) | (None, Some(_)) => {
                return Err(hinted(
                    format!("the audit sink {name} has a certificate or a key, but not both"),
                    "give certificate and key, or neither",
                ));
            }
        };
        let framing = self.framing.unwrap_or_default();
        match receiver {
            Some(Receiver::Unix(_)) | None if self.framing.is_some() => Err(hinted(
                format!("the audit sink {name} has framing, and no stream"),
                "it belongs to syslog = \"tls://...\" or \"tcp://...\"",
            )),
            Some(Receiver::Tls {
                host, mut identity, ..
            }) => {
                identity.authorities.clone_from(&self.ca);
                identity.shown = own;
                Ok(Target::Syslog(Receiver::Tls {
                    host,
                    identity,
                    framing,
                }))
            }
            Some(Receiver::Tcp { .. } | Receiver::Unix(_)) | None
                if self.ca.is_some() || own.is_some() =>
            {
                Err(hinted(
                    format!("the audit sink {name} has ca, certificate or key, and no TLS"),
                    "they belong to syslog = \"tls://...\"",
                ))
            }
            Some(Receiver::Tcp { host, .. }) => Ok(Target::Syslog(Receiver::Tcp { host, framing })),
            Some(local @ Receiver::Unix(_)) => Ok(Target::Syslog(local)),
            None => Ok(Target::File(self.file.clone().unwrap_or_default())),
        }
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
        let sinks = audit.settings().unwrap().sinks;
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
    fn a_sink_is_a_syslog_receiver() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["siem".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("own.pem"), certificate).unwrap();
        let key_file = folder.path().join("own.key");
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let parse = |more: &str| -> anyhow::Result<Target> {
            let text = format!("[[sink]]\nname = \"soc\"\n{more}");
            let mut audit: Audit = toml::from_str(&text)?;
            audit.check()?;
            let written = toml::to_string(&audit)?;
            assert_eq!(toml::from_str::<Audit>(&written)?, audit);
            audit.under(folder.path());
            Ok(audit.settings()?.sinks.remove(0).target)
        };
        for address in ["tcp://siem:601", "unix:///dev/log", "tls://siem:6514"] {
            let target = parse(&format!("syslog = \"{address}\"")).unwrap();
            assert_eq!(target, Target::Syslog(Receiver::parse(address).unwrap()));
        }
        let tls = "syslog = \"tls://siem\"\nca = \"own.pem\"\n";
        let own = "certificate = \"own.pem\"\nkey = \"own.key\"\n";
        let words = |more: &str| format!("{:#}", parse(more).unwrap_err());
        assert!(words(&format!("{tls}{own}")).contains("others can read"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(key_file, mode).unwrap();
        let Target::Syslog(Receiver::Tls { identity, .. }) = parse(&format!("{tls}{own}")).unwrap()
        else {
            panic!("it is TLS");
        };
        assert_eq!(identity.authorities, Some(folder.path().join("own.pem")));
        let there = ["own.pem", "own.key"].map(|name| folder.path().join(name));
        assert_eq!(identity.shown, Some(there.into()));

        let lines = parse("syslog = \"tcp://siem\"\nframing = \"newline\"").unwrap();
        let framing = Framing::Newline;
        assert!(matches!(lines, Target::Syslog(Receiver::Tcp { framing: f, .. }) if f == framing));
        for (wrong, why) in [
            (String::new(), "file or syslog"),
            (
                "syslog = \"unix:///dev/log\"\nframing = \"newline\"".to_owned(),
                "no stream",
            ),
            (
                "file = \"a\"\nframing = \"newline\"".to_owned(),
                "no stream",
            ),
            (
                "syslog = \"tcp://siem\"\nframing = \"lines\"".to_owned(),
                "octet_counting",
            ),
            (format!("{tls}file = \"a\""), "file or syslog"),
            ("syslog = \"udp://siem:514\"".to_owned(), "UDP"),
            ("syslog = \"siem:514\"".to_owned(), "begins with tls://"),
            (format!("{tls}key = \"own.key\""), "not both"),
            (
                "syslog = \"tcp://siem\"\nca = \"own.pem\"".to_owned(),
                "no TLS",
            ),
            (format!("syslog = \"unix:///dev/log\"\n{own}"), "no TLS"),
            ("file = \"a\"\nca = \"own.pem\"".to_owned(), "no TLS"),
            (tls.replace("own.pem", "none.pem"), "cannot read"),
            (tls.replace("own.pem", "own.key"), "no certificate"),
        ] {
            assert!(words(&wrong).contains(why), "{wrong}: {}", words(&wrong));
        }
        let secret = words("syslog = \"tls://user:hunter2@siem\"");
        assert!(!secret.contains("hunter2"), "{secret}");
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
