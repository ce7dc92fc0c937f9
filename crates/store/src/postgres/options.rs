//! Where the database is, and how to get in.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one address of the server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what was sent may stay without an acknowledgement.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
/// Connections for lookups, of one node.
const READERS: usize = 8;
/// Connections for writes, of one node: while one commits, the other runs the next batch.
const WRITERS: usize = 2;

/// Where a store lives.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) config: Config,
    pub(super) readers: usize,
    pub(super) writers: usize,
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
    /// This program speaks to PostgreSQL without TLS.
    #[error("it asks for TLS, which this program cannot speak with PostgreSQL")]
    Tls,
}

impl Options {
    /// From a connection string of keywords and values or a URL, as PostgreSQL knows them: "Connection
    /// Strings" in its manual. It holds no password.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
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
        if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
            return Err(OptionsError::Tls);
        }
        config.ssl_mode(SslMode::Disable);
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
        // Of several hosts, the one that is the primary now.
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self {
            config,
            readers: READERS,
            writers: WRITERS,
        })
    }

    /// The password, where the server asks for one.
    #[must_use]
    pub fn with_password(mut self, password: &[u8]) -> Self {
        self.config.password(password);
        self
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
