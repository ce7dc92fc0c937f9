//! A place for a store, and the store in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardveil_core::audit::Kind;
use cardveil_core::port::{Admin, Change};
use cardveil_core::token::{Epoch, Issued, Record};
use cardveil_core::verb::{Changes, Commit};
use cardveil_seal::SystemEntropy;
use cardveil_store::sqlite::{OpenError, Opened, Options, Sqlite};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START};
use tempfile::TempDir;

/// Two folders: the database's and the fence's.
pub(crate) struct Home {
    folder: TempDir,
    pub(crate) options: Options,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        for file in [&options.database, &options.fence] {
            std::fs::create_dir(file.parent().unwrap()).unwrap();
        }
        Self { folder, options }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// One whose rows need no MAC: of a version before.
    pub(crate) fn try_open(&self) -> Result<(Sqlite, Opened), OpenError> {
        self.try_open_at(Arc::new(ManualClock::at(START)))
    }

    /// The same, by a clock to turn.
    pub(crate) fn try_open_at(
        &self,
        clock: Arc<ManualClock>,
    ) -> Result<(Sqlite, Opened), OpenError> {
        Sqlite::open(&self.options, clock, Arc::new(SystemEntropy))
    }

    /// One whose rows all have a MAC.
    pub(crate) fn open(&self) -> (Sqlite, Opened) {
        let opened = self.try_open().unwrap();
        cardveil_testkit::guard_rows(&opened.0);
        opened
    }

    /// Takes a copy of the database's files, as a backup of its folder would.
    pub(crate) fn back_up(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(self.options.database.parent().unwrap()).unwrap();
        files
            .map(|file| file.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect()
    }

    /// Puts the copy in the place of what is there.
    pub(crate) fn restore(&self, copy: &[(PathBuf, Vec<u8>)]) {
        let folder = self.options.database.parent().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        std::fs::create_dir(folder).unwrap();
        for (path, bytes) in copy {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// Where the files are in a folder of a [`Home`].
pub(crate) fn options(folder: &Path) -> Options {
    Options {
        database: folder.join("data/cardveil.db"),
        fence: folder.join("fence/fence"),
    }
}

/// Merchant 1 with its credential, embed and card.
pub(crate) async fn with_merchant(store: &Sqlite) -> Epoch {
    let add = |change, kind| (change, sample::event(kind, START));
    let changes = vec![
        add(
            Change::AddMerchant(sample::merchant(1)),
            Kind::MerchantAdded,
        ),
        add(
            Change::AddCredential(sample::credential(1)),
            Kind::CredentialAdded,
        ),
        add(Change::AddEmbed(sample::embed(1)), Kind::EmbedAdded),
        add(Change::AddCard(Box::new(sample::card(1))), Kind::CardAdded),
    ];
    let results = store.commit(Changes(changes)).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    store.epoch().await.unwrap()
}

/// Token number `n`, in the store's epoch.
pub(crate) async fn with_token(store: &Sqlite, n: u8) -> Record {
    let issue = sample::issue(n, START, store.epoch().await.unwrap());
    let record = issue.record.clone();
    assert_eq!(store.commit(issue).await.unwrap(), Issued::New);
    record
}
