//! The store of a deployment: SQLite or PostgreSQL.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cardveil_core::clock::{Clock as _, SystemClock};
use cardveil_core::port::Store;
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::schema::Unfit;
use cardveil_store::postgres::{self, OpenError, Postgres};
use cardveil_store::sqlite::{self, Sqlite};

use crate::config;
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
            let options = options(connection, config.password_file.as_deref())?;
            let opened = Postgres::open(&options, Arc::new(SystemClock), &SystemEntropy).await;
            let (store, raised) = opened.map_err(|error| unusable(&error, &options.place()))?;
            let why = raised.map(|raised| raised.why.to_string());
            (Self::Postgres(Arc::new(store)), why)
        } else {
            let options = sqlite::Options {
                database: config.database.clone(),
                fence: config.fence.clone(),
            };
            let (store, opened) = Sqlite::open(&options, SystemClock.now())
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

/// Where PostgreSQL is, with the password from its file.
pub(crate) fn options(
    connection: &str,
    password_file: Option<&Path>,
) -> anyhow::Result<postgres::Options> {
    let options = postgres::Options::parse(connection).map_err(|error| {
        hinted(
            format!("store.postgres: {error}"),
            "give host, user and dbname, such as \"host=/run/postgresql user=cardveil \
             dbname=cardveil\"; a password goes into the file that store.password_file names",
        )
    })?;
    Ok(match password_file {
        Some(path) => options.with_password(&password(path)?),
        None => options,
    })
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

fn unusable(error: &OpenError, place: &str) -> anyhow::Error {
    let hint = match error {
        OpenError::Schema(Unfit::Missing | Unfit::Older { .. }) => {
            "run `cardveil migrate` as the schema's owner"
        }
        OpenError::Schema(Unfit::Newer { .. }) => "run the program that the schema is of",
        OpenError::Database(_) => {
            "is it the primary, does it run, and may this user connect? See docs/operations.md"
        }
        OpenError::Thread(_) => "is there a limit on threads?",
    };
    hinted(format!("cannot use the database {place}: {error}"), hint)
}
