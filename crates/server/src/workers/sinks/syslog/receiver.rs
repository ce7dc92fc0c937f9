//! Where a syslog receiver is, and how it is known.

use std::fmt;
use std::path::PathBuf;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use crate::http::{outward, tls};

/// RFC 5425 4.1.
const TLS_PORT: u16 = 6514;
/// IANA's for syslog over TCP.
const TCP_PORT: u16 = 601;
/// `sun_path`, without its end.
const SOCKET_PATH_MAX: usize = 107;

/// A syslog receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// TLS (RFC 5425).
    Tls {
        /// Where it is, and whose certificate it must show.
        host: Host,
        /// By what the two know each other.
        identity: Identity,
        /// How it tells messages apart.
        framing: Framing,
    },
    /// TCP in the clear (RFC 6587).
    Tcp {
        /// Where it is.
        host: Host,
        /// How it tells messages apart.
        framing: Framing,
    },
    /// A local daemon's datagram socket.
    Unix(PathBuf),
}

/// How a receiver tells one message of a stream from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Each has its length before it (RFC 5425 4.3, RFC 6587 3.4.1).
    #[default]
    OctetCounting,
    /// Each ends with a line feed (RFC 6587 3.4.2).
    Newline,
}

/// A name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Without the brackets of an IPv6 address.
    name: String,
    port: u16,
}

/// By what the two ends of a TLS connection know each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The authorities of the receiver's certificate, PEM; without, the system's.
    pub authorities: Option<PathBuf>,
    /// A certificate and its key to show, PEM.
    pub shown: Option<(PathBuf, PathBuf)>,
}

/// Why something is no receiver's address. The words hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has another scheme, or none.
    #[error("it begins with tls://, tcp:// or unix://")]
    Scheme,
    #[error("syslog over UDP is not spoken: it loses entries, and nobody notices")]
    Udp,
    /// There is no host that could be reached, or shown by a certificate.
    #[error("it has no host, or one that is none")]
    Host,
    /// There is something around the host and the port.
    #[error("it has a host and a port, and nothing else")]
    More,
    /// There is no absolute path that a socket can have.
    #[error("unix:// is followed by the absolute path of a socket, of 107 bytes at most")]
    Path,
}

impl Receiver {
    /// From `tls://host:6514`, `tcp://host:601` or `unix:///dev/log`. The ports may be left out.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if let Some(path) = text.strip_prefix("unix://") {
            let fits = path.starts_with('/') && path.len() > 1 && path.len() <= SOCKET_PATH_MAX;
            return if fits && !path.contains('\0') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(Malformed::Path)
            };
        }
        let url = Url::parse(text).map_err(|error| {
            if error == url::ParseError::RelativeUrlWithoutBase {
                Malformed::Scheme
            } else {
                Malformed::Host
            }
        })?;
        let port = match url.scheme() {
            "tls" => TLS_PORT,
            "tcp" => TCP_PORT,
            "udp" => return Err(Malformed::Udp),
            _ => return Err(Malformed::Scheme),
        };
        let host = Host::of(&url, port)?;
        Ok(if url.scheme() == "tls" {
            Self::Tls {
                host,
                identity: Identity::default(),
                framing: Framing::default(),
            }
        } else {
            let framing = Framing::default();
            Self::Tcp { host, framing }
        })
    }

    /// Whether it can be called at all, as far as files tell.
    pub fn check(&self) -> Result<(), tls::Error> {
        match self {
            Self::Tls { identity, .. } => identity.connector().map(|_| ()),
            Self::Tcp { .. } | Self::Unix(_) => Ok(()),
        }
    }
}

/// The form that [`Receiver::parse`] reads.
impl fmt::Display for Receiver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls { host, .. } => write!(out, "tls://{host}"),
            Self::Tcp { host, .. } => write!(out, "tcp://{host}"),
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
        }
    }
}

impl Host {
    fn of(url: &Url, port: u16) -> Result<Self, Malformed> {
        let plain = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(Malformed::More);
        }
        let port = url.port().unwrap_or(port);
        let name = url.host_str().ok_or(Malformed::Host)?;
        let name = name
            .strip_prefix('[')
            .map_or(name, |inner| inner.strip_suffix(']').unwrap_or(inner));
        if port == 0 || ServerName::try_from(name).is_err() {
            return Err(Malformed::Host);
        }
        let name = name.to_owned();
        Ok(Self { name, port })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') {
            write!(out, "[{name}]:{port}")
        } else {
            write!(out, "{name}:{port}")
        }
    }
}

impl Identity {
    /// What connections are made with. It reads files, so it blocks.
    pub(super) fn connector(&self) -> Result<TlsConnector, tls::Error> {
        let shown = self.shown.as_ref();
        let shown = shown.map(|(certificate, key)| (&**certificate, &**key));
        outward::known_by(self.authorities.as_deref(), shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for (text, written) in [
            ("tls://siem.example:7000", "tls://siem.example:7000"),
            ("tls://siem.example", "tls://siem.example:6514"),
            ("tls://siem.example/", "tls://siem.example:6514"),
            ("tls://[2001:db8::1]:7000", "tls://[2001:db8::1]:7000"),
            ("tls://192.0.2.1", "tls://192.0.2.1:6514"),
            ("tcp://127.0.0.1:601", "tcp://127.0.0.1:601"),
            ("tcp://siem", "tcp://siem:601"),
            ("unix:///dev/log", "unix:///dev/log"),
        ] {
            let receiver = Receiver::parse(text).unwrap();
            assert_eq!(receiver.to_string(), written);
            assert_eq!(Receiver::parse(written), Ok(receiver));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        let long = format!("unix:///{}", "a".repeat(SOCKET_PATH_MAX));
        for (text, why) in [
            ("", Malformed::Scheme),
            ("siem.example:6514", Malformed::Scheme),
            ("https://siem.example", Malformed::Scheme),
            ("udp://siem.example:514", Malformed::Udp),
            ("tls://", Malformed::Host),
            ("tls://:6514", Malformed::Host),
            ("tls://siem.example:0", Malformed::Host),
            ("tls://siem.example:65536", Malformed::Host),
            ("tls://si%20em", Malformed::Host),
            ("tls:siem.example", Malformed::More),
            ("tls://user:pass@siem.example", Malformed::More),
            ("tls://user@siem.example", Malformed::More),
            ("tcp://siem.example/path", Malformed::More),
            ("tcp://siem.example?ca=none", Malformed::More),
            ("tcp://siem.example#x", Malformed::More),
            ("unix://dev/log", Malformed::Path),
            ("unix:///", Malformed::Path),
            ("unix://", Malformed::Path),
            (&long, Malformed::Path),
        ] {
            assert_eq!(Receiver::parse(text), Err(why), "{text}");
            assert!(!why.to_string().contains("pass"), "{why}");
        }
    }
}
