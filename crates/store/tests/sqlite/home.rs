//! A place for a store, and the store in it.

use std::path::PathBuf;

use cardveil_core::testing::sample::START;
use cardveil_store::sqlite::{OpenError, Opened, Options, Sqlite};
use tempfile::TempDir;

/// Two folders: the database's and the fence's.
pub(crate) struct Home {
    folder: TempDir,
    pub(crate) options: Options,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            database: folder.path().join("data/cardveil.db"),
            fence: folder.path().join("fence/fence"),
        };
        for file in [&options.database, &options.fence] {
            std::fs::create_dir(file.parent().unwrap()).unwrap();
        }
        Self { folder, options }
    }

    pub(crate) fn try_open(&self) -> Result<(Sqlite, Opened), OpenError> {
        Sqlite::open(&self.options, START)
    }

    pub(crate) fn open(&self) -> (Sqlite, Opened) {
        self.try_open().unwrap()
    }

    /// A path beside both folders.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
