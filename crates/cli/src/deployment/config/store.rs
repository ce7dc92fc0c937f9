//! `[store]`: a SQLite file with its fence, or PostgreSQL.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Setting;
use crate::print::hinted;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    /// The SQLite file; empty with PostgreSQL.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(crate) database: PathBuf,
    /// The fence: a file outside the database's folder, by which a restored database is noticed.
    /// Leave it out of backups. Empty with PostgreSQL.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(crate) fence: PathBuf,
    /// How to connect to PostgreSQL, without the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) postgres: Option<String>,
    /// The file with the password for PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// The authorities of PostgreSQL's certificate, PEM. With it, connections are TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) postgres_ca: Option<PathBuf>,
    /// PostgreSQL is on another machine, and what is beneath encrypts the way there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) postgres_plain: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Store {
    /// In PostgreSQL.
    pub(crate) fn postgres(connection: String) -> Self {
        Self {
            database: PathBuf::new(),
            fence: PathBuf::new(),
            postgres: Some(connection),
            password_file: None,
            postgres_ca: None,
            postgres_plain: false,
        }
    }

    /// What it is, and where. Neither holds a password.
    pub(crate) fn kind_and_place(&self) -> (&'static str, String) {
        match &self.postgres {
            Some(connection) => ("postgresql", connection.clone()),
            None => ("sqlite", self.database.display().to_string()),
        }
    }

    pub(super) fn under(&mut self, base: &Path) {
        let sqlite = [&mut self.database, &mut self.fence];
        let sqlite = sqlite.into_iter().filter(|path| !is_empty(path));
        for path in sqlite
            .chain(&mut self.password_file)
            .chain(&mut self.postgres_ca)
        {
            *path = base.join(&*path);
        }
    }

    /// One of the two, whole.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let sqlite = [&self.database, &self.fence].map(|path| !is_empty(path));
        let more =
            self.password_file.is_some() || self.postgres_ca.is_some() || self.postgres_plain;
        match (sqlite, &self.postgres, more) {
            ([true, true], None, false) => Ok(()),
            ([false, false], Some(_), _) => {
                if self.postgres_ca.is_some() && self.postgres_plain {
                    let wrong = hinted(
                        "is given beside store.postgres_ca",
                        "the one says that there is no TLS, the other asks for it",
                    );
                    return Err(wrong.context(Setting::new("store.postgres_plain")));
                }
                Ok(())
            }
            (_, None, _) => Err(one_of_two("is not whole")),
            (_, Some(_), _) => Err(one_of_two("names two databases")),
        }
    }
}

fn one_of_two(what: &str) -> anyhow::Error {
    let wrong = hinted(
        what,
        "give store.database and store.fence, or store.postgres",
    );
    wrong.context(Setting::new("store"))
}
