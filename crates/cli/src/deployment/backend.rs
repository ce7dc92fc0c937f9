//! The store of a deployment: SQLite or PostgreSQL.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cardveil_core::clock::SystemClock;
use cardveil_core::port::Store;
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::fit::Unfit;
use cardveil_store::postgres::{self, Fresh, OpenError, OptionsError, Postgres, Transport};
use cardveil_store::sqlite::{self, Sqlite};

use crate::deployment::config::{self, Setting};
use crate::print::{hinted, say};

/// The open store.
#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

impl Backend {
    /// Opens the one that is configured; says so when the epoch had to be raised.
    pub(crate) async fn open(config: &config::Store) -> anyhow::Result<Self> {
        let (backend, why) = if let Some(connection) = &config.postgres {
            let options = options(config, connection)?;
            let opened =
                Postgres::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy)).await;
            let (store, raised) = opened.map_err(|error| unusable(&error, &options.place()))?;
            let why = raised.map(|raised| raised.why.to_string());
            (Self::Postgres(Arc::new(store)), why)
        } else {
            let options = sqlite::Options {
                database: config.database.clone(),
                fence: config.fence.clone(),
            };
            let (store, opened) =
                Sqlite::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy))
                    .map_err(not_opened)
                    .with_context(|| format!("cannot open {}", options.database.display()))?;
            let why = opened.epoch_raised.map(|raised| raised.why.to_string());
            (Self::Sqlite(Arc::new(store)), why)
        };
        if let Some(why) = why {
            say(&format!(
                "warning: the epoch was raised, so all outstanding tokens are refused: {why}"
            ));
        }
        Ok(backend)
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::<Sqlite>::clone(store),
            Self::Postgres(store) => Arc::<Postgres>::clone(store),
        }
    }

    /// Finishes the writes that wait.
    pub(crate) fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close(),
            Self::Postgres(store) => store.close(),
        }
    }
}

fn not_opened(error: sqlite::OpenError) -> anyhow::Error {
    let hint = if let sqlite::OpenError::Gone { fence, .. } = &error {
        format!(
            "is its volume mounted? Put the database back, or a copy of it by `cardveil restore`; to begin anew, \
             with nothing of it, remove {} too",
            fence.display()
        )
    } else if error.is_locked() {
        "another program holds it: `fuser -v` on the file tells which; end it, or wait for it"
            .to_owned()
    } else {
        return error.into();
    };
    hinted(error.to_string(), hint)
}

/// Where PostgreSQL is and how it is gone to, with the password of the server's role from its file.
pub(crate) fn options(
    config: &config::Store,
    connection: &str,
) -> anyhow::Result<postgres::Options> {
    with_password(config, connection, config.password_file.as_deref())
}

/// The same for another role, by its password.
pub(crate) fn owner_options(
    config: &config::Store,
    connection: &str,
    owner: &str,
    password_file: Option<&Path>,
) -> anyhow::Result<postgres::Options> {
    Ok(with_password(config, connection, password_file)?.with_user(owner))
}

fn with_password(
    config: &config::Store,
    connection: &str,
    password_file: Option<&Path>,
) -> anyhow::Result<postgres::Options> {
    let transport = match &config.postgres_ca {
        Some(path) => Transport::Tls(fresh(path, authorities)),
        None if config.postgres_plain => Transport::Plain,
        None => Transport::Local,
    };
    let options =
        postgres::Options::parse(connection, transport).map_err(|error| refused(&error))?;
    Ok(match password_file {
        Some(path) => {
            // What is wrong with it now is told now.
            password(path).context(Setting::new("store.password_file"))?;
            options.with_password(fresh(path, password))
        }
        None => options,
    })
}

/// What a file holds at the moment of each connection.
fn fresh(path: &Path, read: fn(&Path) -> anyhow::Result<Vec<u8>>) -> Fresh {
    let path = path.to_owned();
    Fresh::new(move || read(&path).map_err(|error| format!("{error:#}")))
}

fn refused(error: &OptionsError) -> anyhow::Error {
    let (setting, hint) = match error {
        OptionsError::Unreadable(_) | OptionsError::Password | OptionsError::Missing(_) => (
            "store.postgres",
            "give host, user and dbname, such as \"host=/run/postgresql user=cardveil \
             dbname=cardveil\"; a password goes into the file that store.password_file names, and \
             sslmode=verify-full is what store.postgres_ca means",
        ),
        OptionsError::Unencrypted(_) | OptionsError::SslMode { .. } => (
            "store.postgres",
            "name the authority of the server's certificate (PEM) with store.postgres_ca, or say \
             store.postgres_plain = true if the network between encrypts; see \
             `cardveil help postgresql TLS to PostgreSQL`",
        ),
        OptionsError::Socket => (
            "store.postgres",
            "nothing leaves the machine over it: take store.postgres_ca away",
        ),
        OptionsError::Authorities(_) => (
            "store.postgres_ca",
            "give the certificates of the authorities, in PEM form, and no others",
        ),
    };
    hinted(error.to_string(), hint).context(Setting::new(setting))
}

fn authorities(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The file's first line.
fn password(path: &Path) -> anyhow::Result<Vec<u8>> {
    let meta = std::fs::metadata(path)
        .with_context(|| format!("cannot read the password file {}", path.display()))?;
    if cardveil_seal::is_exposed(&meta) {
        return Err(hinted(
            format!("others can read the password file {}", path.display()),
            format!("chmod 600 {}", path.display()),
        ));
    }
    let text = std::fs::read(path)
        .with_context(|| format!("cannot read the password file {}", path.display()))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}

/// What is wrong with a database, and what to do about it.
pub(crate) fn unusable(error: &OpenError, place: &str) -> anyhow::Error {
    let hint = match error {
        OpenError::Unfit(unfit) => mend(unfit),
        OpenError::Database(_) => {
            "is it the primary, does it run, may this user connect, and is the password the first line of the file \
             that store.password_file names? Over TLS, is its certificate for this name, and of \
             store.postgres_ca? See `cardveil help postgresql TLS to PostgreSQL`"
                .to_owned()
        }
        OpenError::Thread(_) => "is there a limit on threads?".to_owned(),
    };
    hinted(format!("cannot use the database {place}: {error}"), hint)
}

/// What to do about a database that is not served on.
pub(crate) fn mend(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Missing | Unfit::Older { .. } => {
            "run `cardveil migrate` as the schema's owner, by the program of the nodes".to_owned()
        }
        Unfit::Newer { .. } => "run the program that the schema is of".to_owned(),
        Unfit::Pooled => {
            "connect to PostgreSQL itself, or set pool_mode = session for this database in the pooler; \
             see `cardveil help postgresql`"
                .to_owned()
        }
        Unfit::Encoding(_) => {
            "make the database anew with UTF-8 and put its rows there: CREATE DATABASE cardveil OWNER \
             cardveil_owner TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"
                .to_owned()
        }
        Unfit::Rights(lacking) => format!(
            "run `cardveil migrate --owner {}`, which grants what is lacking and changes nothing else",
            lacking.owner
        ),
        Unfit::ControlRevoked { role } => format!(
            "a superuser says in this database: GRANT EXECUTE ON FUNCTION pg_control_system() TO {role}"
        ),
    }
}
