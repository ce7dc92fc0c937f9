//! `[store]`: a SQLite file with its fence, or PostgreSQL.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
}

pub(super) fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Store {
    /// In PostgreSQL.
    pub(crate) fn postgres(connection: String, password_file: Option<PathBuf>) -> Self {
        Self {
            database: PathBuf::new(),
            fence: PathBuf::new(),
            postgres: Some(connection),
            password_file,
        }
    }

    /// One of the two, whole.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let sqlite = [&self.database, &self.fence].map(|path| !is_empty(path));
        match (sqlite, &self.postgres, &self.password_file) {
            ([true, true], None, None) | ([false, false], Some(_), _) => Ok(()),
            (_, None, _) => Err(hinted(
                "[store] is not whole",
                "give store.database and store.fence, or store.postgres",
            )),
            (_, Some(_), _) => Err(hinted(
                "[store] names two databases",
                "give store.database and store.fence, or store.postgres",
            )),
        }
    }
}
