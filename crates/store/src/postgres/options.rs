//! Where the database is, and how to get in.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::{AuthoritiesError, Tls};

/// How long one address of the server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what was sent may stay without an acknowledgement.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);

/// Where a store lives.
#[derive(Clone, Debug)]
pub struct Options {
    config: Config,
    password: Option<Fresh>,
    /// Who vouches for the server; nothing where the way there needs no TLS.
    authorities: Option<Fresh>,
}

/// What is read anew for each connection, so that whoever changes it restarts no node: a password,
/// or the authorities that vouch for the server.
#[derive(Clone)]
pub struct Fresh(Arc<dyn Fn() -> Result<Vec<u8>, String> + Send + Sync>);

impl Fresh {
    /// `read` reads it, or says why it cannot.
    pub fn new(read: impl Fn() -> Result<Vec<u8>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        (self.0)()
    }
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Fresh")
    }
}

/// How what is sent to the server is kept from others.
#[derive(Clone, Debug)]
pub enum Transport {
    /// By not leaving this machine: a unix socket, or a loopback address.
    Local,
    /// By TLS: the server's certificate is verified to one of these authorities, in PEM.
    Tls(Fresh),
    /// By what is beneath, such as a mesh. There is no TLS.
    Plain,
}

/// Why a connection string is refused.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// It is not one.
    #[error("it is not a connection string: {0}")]
    Unreadable(String),
    /// Passwords come from a file.
    #[error("it holds a password")]
    Password,
    /// It leaves something out.
    #[error("it names no {0}")]
    Missing(&'static str),
    /// It leaves this machine, and nothing is said of how that is encrypted.
    #[error("{0} is not on this machine, and nothing is said of how the way there is encrypted")]
    Unencrypted(String),
    /// It says something else of TLS than what is said beside it.
    #[error("it has sslmode={string}, and {beside}")]
    SslMode {
        string: &'static str,
        /// What is said beside it.
        beside: &'static str,
    },
    /// There is no TLS over unix sockets.
    #[error("it names a unix socket, over which there is no TLS")]
    Socket,
    /// The authorities are not usable.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
}

impl Options {
    /// From a connection string of keywords and values or a URL, as PostgreSQL knows them:
    /// "Connection Strings" in its manual. It holds no password, and of TLS no more than must be
    /// consistent.
    pub fn parse(text: &str, transport: Transport) -> Result<Self, OptionsError> {
        let unreadable =
            |error: tokio_postgres::Error| OptionsError::Unreadable(super::fault::describe(&error));
        let mut config: Config = text.parse().map_err(unreadable)?;
        if config.get_password().is_some() {
            return Err(OptionsError::Password);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(OptionsError::Missing("host"));
        }
        for (missing, name) in [
            (config.get_user().is_none(), "user"),
            (config.get_dbname().is_none(), "dbname"),
        ] {
            if missing {
                return Err(OptionsError::Missing(name));
            }
        }
        let authorities = encryption(&config, transport)?;
        config.ssl_mode(match authorities {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        config.keepalives_idle(KEEPALIVES_IDLE);
        if config.get_application_name().is_none() {
            config.application_name("cardveil");
        }
        // Of several servers, the one that is the primary now. Of a name that leads to several,
        // nobody here knows; the string says it.
        if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self {
            config,
            password: None,
            authorities,
        })
    }

    /// The password, where the server asks for one.
    #[must_use]
    pub fn with_password(self, password: Fresh) -> Self {
        Self {
            password: Some(password),
            ..self
        }
    }

    /// What the next connection is made with.
    pub(super) fn read(&self) -> Result<(Config, Option<Tls>), String> {
        let mut config = self.config.clone();
        if let Some(password) = &self.password {
            config.password(password.read()?);
        }
        let tls = match &self.authorities {
            Some(authorities) => Some(trusting(authorities).map_err(|error| error.to_string())?),
            None => None,
        };
        Ok((config, tls))
    }

    /// The user, when it is another one than the string says: migrations run as the owner.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        self.config.user(user);
        self
    }

    /// Who connects.
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// Host and database, for messages.
    pub fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<_> = hosts.collect();
        let database = self.config.get_dbname().unwrap_or_default();
        format!("{database} at {}", hosts.join(", "))
    }
}

fn trusting(authorities: &Fresh) -> Result<Tls, AuthoritiesError> {
    Tls::trusting(&authorities.read().map_err(AuthoritiesError::Unread)?)
}

/// Who vouches for the server, where the way to it needs TLS.
fn encryption(config: &Config, transport: Transport) -> Result<Option<Fresh>, OptionsError> {
    let asks = config.get_ssl_mode() == SslMode::Require;
    match transport {
        Transport::Tls(authorities) => {
            if config.get_ssl_mode() == SslMode::Disable {
                return Err(OptionsError::SslMode {
                    string: "disable",
                    beside: "authorities are named",
                });
            }
            // Of an address alone nobody says which name the certificate is to have.
            if config.get_hosts().is_empty() {
                return Err(OptionsError::Missing("host"));
            }
            if config.get_hosts().iter().any(is_socket) {
                return Err(OptionsError::Socket);
            }
            trusting(&authorities)?;
            Ok(Some(authorities))
        }
        Transport::Local | Transport::Plain if asks => Err(OptionsError::SslMode {
            string: "require",
            beside: "no authority is named that could vouch for the server",
        }),
        Transport::Plain => Ok(None),
        Transport::Local => match outside(config) {
            Some(host) => Err(OptionsError::Unencrypted(host)),
            None => Ok(None),
        },
    }
}

fn is_socket(host: &Host) -> bool {
    match host {
        Host::Tcp(_) => false,
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// The first server that may be on another machine. Where there is an address beside a name, the
/// address is what is connected to.
fn outside(config: &Config) -> Option<String> {
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        let outside = addresses.iter().find(|address| !is_loopback(**address));
        return outside.map(ToString::to_string);
    }
    config.get_hosts().iter().find_map(|host| match host {
        Host::Tcp(name) => {
            let inside = match name.parse() {
                Ok(address) => is_loopback(address),
                Err(_) => name.eq_ignore_ascii_case("localhost"),
            };
            (!inside).then(|| name.clone())
        }
        #[cfg(unix)]
        Host::Unix(_) => None,
    })
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
