//! Opening: the file, its settings, its migrations, and whether it went back in time.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardveil_core::Entropy;
use cardveil_core::audit::personal::Salts;
use cardveil_core::audit::{Event, Kind, Source, Target};
use cardveil_core::clock::Time;
use cardveil_core::token::Epoch;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::audit;
use super::fault::damaged;
use super::fence::{Fence, Found, Mark};
use crate::sql::rows::seq;

/// "CVEI": what `file` and SQLite's own tools know a Cardveil database by.
const APPLICATION_ID: i64 = 0x4356_4549;
/// "CVMV": one that was moved to PostgreSQL, which no program serves from.
const MOVED_ID: i64 = 0x4356_4d56;
/// Each brings the file from the version before to its own, which is its place in this list,
/// counted from 1. They are the files of `migrations`, in their order.
pub(crate) const MIGRATIONS: &[&str] = include!(concat!(env!("OUT_DIR"), "/sqlite.rs"));
/// After which of them the entries of the log are chained, which SQL alone cannot do.
const CHAIN: usize = 11;
/// How long a statement waits for another process' transaction.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The WAL file is cut to this when it starts anew; between, checkpoints bound it.
const WAL_SIZE_LIMIT: i64 = 64 << 20;
/// For the pages of the youngest tokens; SQLite walks the whole cache at each commit, so more is
/// slower. Negative means KiB. Readers have SQLite's default: each commit empties theirs anyway.
const WRITER_CACHE_KIB: i64 = -8_192;
const STATEMENTS_CACHED: usize = 64;

/// Where a store lives.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database. Beside it lie `-wal` and `-shm`, which belong to it.
    pub database: PathBuf,
    /// The fence, in a folder that is not restored together with the database's.
    pub fence: PathBuf,
}

/// What opening has found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Set when the epoch had to be raised: no token and no login issued before is good any more.
    pub epoch_raised: Option<Raised>,
    /// The database was new.
    pub created: bool,
}

/// A raise of the epoch at opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    pub why: Why,
    /// The epoch now.
    pub epoch: Epoch,
}

/// Why the epoch had to be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The fence has seen more than the database holds: an older copy was put in its place.
    Behind,
    /// The fence is of another database.
    OtherDatabase,
    /// The database is not new, and there is no fence.
    FenceMissing,
    /// The fence is not one that this program wrote.
    FenceUnreadable,
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Behind => "the database is older than its fence: a backup was restored",
            Self::OtherDatabase => "the fence is of another database",
            Self::FenceMissing => "the fence of the database is missing",
            Self::FenceUnreadable => "the fence of the database cannot be read",
        })
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database file cannot be made or opened.
    #[error("cannot open the database {}: {source}", path.display())]
    File {
        /// The database.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The fence cannot be made, locked, read or written.
    #[error("cannot use the fence {}: {source}", path.display())]
    Fence {
        /// The fence.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The fence would be restored together with the database, and detect nothing.
    #[error("the fence {} lies in the database's own folder: put it outside", .0.display())]
    FenceInside(PathBuf),
    /// The fence knows a database, and there is none: an empty one in its place would be served as
    /// if all were well.
    #[error(
        "there is no database at {}, and its fence {} knows one", path.display(), fence.display()
    )]
    Gone {
        /// The database.
        path: PathBuf,
        fence: PathBuf,
    },
    /// It is a file of something else.
    #[error("{} is not a Cardveil database", .0.display())]
    Foreign(PathBuf),
    /// [`retire`] was there.
    #[error("the database {} was moved to PostgreSQL, and is served from there", .0.display())]
    Moved(PathBuf),
    /// It was written by a newer program.
    #[error(
        "the database is of version {found} and this program knows versions up to {known}: run the \
         program that wrote it, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The file's version.
        found: i64,
        /// The newest that this program knows.
        known: usize,
    },
    /// The file is damaged.
    #[error("the database {} is damaged ({detail}): restore a backup of it", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// Another process has the file open.
    #[error("the database {} is in use", .0.display())]
    InUse(PathBuf),
    /// SQLite cannot work with the file now.
    #[error("cannot use the database {}: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The epoch is a number of 32 bits and cannot be raised further.
    #[error("the epoch cannot be raised any further")]
    EpochExhausted,
    /// The system cannot start a thread.
    #[error("cannot start a thread of the store: {0}")]
    Thread(io::Error),
}

impl OpenError {
    /// Whether another program holds the lock of the database.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if super::fault::locked_out(source))
    }
}

/// A database that is ready, with the fence in step.
pub(super) struct Ready {
    pub(super) connection: Connection,
    pub(super) fence: Fence,
    pub(super) database_id: [u8; 16],
    pub(super) salts: Salts,
    pub(super) opened: Opened,
}

/// Opens the database, migrates it, and raises the epoch if it went back in time. The fence is
/// locked all the while, so of several processes one does this after the other, and what the fence
/// said is compared with a database that was read later.
pub(super) fn open(
    options: &Options,
    now: Time,
    entropy: Arc<dyn Entropy>,
) -> Result<Ready, OpenError> {
    let mut salts = Salts::new(entropy);
    fence_apart(options)?;
    let unusable = |source| OpenError::Fence {
        path: options.fence.clone(),
        source,
    };
    let (mut fence, found) = Fence::open_locked(&options.fence).map_err(unusable)?;
    let is_there = std::fs::metadata(&options.database).is_ok_and(|meta| meta.len() > 0);
    if matches!(found, Found::Mark(_)) && !is_there {
        return Err(OpenError::Gone {
            path: options.database.clone(),
            fence: options.fence.clone(),
        });
    }
    create_private(&options.database).map_err(|source| OpenError::File {
        path: options.database.clone(),
        source,
    })?;
    let (connection, mark, opened) = prepare(&options.database, &found, now, &mut salts)
        .map_err(|refused| refused.at(&options.database))?;
    fence.release(mark).map_err(unusable)?;
    Ok(Ready {
        connection,
        fence,
        database_id: mark.database_id,
        salts,
        opened,
    })
}

/// Marks the database so that no program opens it any more, ours of before included: all that it
/// holds was moved to PostgreSQL, and a token that is good in both could go to two keys.
pub fn retire(path: &Path) -> Result<(), OpenError> {
    let mark = || {
        let connection = connect(path)?;
        check_ours(&connection)?;
        Ok(connection.pragma_update(None, "application_id", MOVED_ID)?)
    };
    mark().map_err(|refused: Refused| refused.at(path))
}

/// A connection with the settings that all of ours share.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // No plan depends on the values that are bound, so no statement is ever prepared anew for them.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A commit is synced before it is answered; on macOS only the full form reaches the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // The writer runs checkpoints itself, after it has answered.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Zeroes what is deleted, in pages that come to be free too.
    connection.pragma_update(None, "secure_delete", true)?;
    // No temporary files, and no page of the file where a stray pointer could change it.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    Ok(connection)
}

fn fence_apart(options: &Options) -> Result<(), OpenError> {
    let folder = |path: &Path| {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        parent.unwrap_or_else(|| Path::new(".")).canonicalize()
    };
    let database = folder(&options.database).map_err(|source| OpenError::File {
        path: options.database.clone(),
        source,
    })?;
    let fence = folder(&options.fence).map_err(|source| OpenError::Fence {
        path: options.fence.clone(),
        source,
    })?;
    if fence.starts_with(&database) {
        return Err(OpenError::FenceInside(options.fence.clone()));
    }
    Ok(())
}

/// SQLite gives `-wal` and `-shm` the permissions of the database.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
}

pub(super) enum Refused {
    Sqlite(rusqlite::Error),
    Open(OpenError),
    Foreign,
    Moved,
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Refused {
    pub(super) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Open(error) => error,
            Self::Foreign => OpenError::Foreign(path),
            Self::Moved => OpenError::Moved(path),
            Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                OpenError::Foreign(path)
            }
            Self::Sqlite(error) if damaged(&error) => OpenError::Damaged {
                path,
                detail: error.to_string(),
            },
            Self::Sqlite(source) => OpenError::Sqlite { path, source },
        }
    }
}

fn prepare(
    path: &Path,
    found: &Found,
    now: Time,
    salts: &mut Salts,
) -> Result<(Connection, Mark, Opened), Refused> {
    let mut connection = connect(path)?;
    check_ours(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let created = migrate(&transaction)?;
    let (mark, epoch_raised) = judge(&transaction, (found, created), now, salts)?;
    transaction.commit()?;
    let opened = Opened {
        epoch_raised,
        created,
    };
    Ok((connection, mark, opened))
}

/// Before anything is written to it.
pub(super) fn check_ours(connection: &Connection) -> Result<(), Refused> {
    let (application, version, tables) = connection.query_row(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
         FROM pragma_application_id, pragma_user_version",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    match (application, version, tables) {
        (0_i64, 0_i64, 0_i64) | (APPLICATION_ID, _, _) => Ok(()),
        (MOVED_ID, _, _) => Err(Refused::Moved),
        _ => Err(Refused::Foreign),
    }
}

/// Brings the file to the newest version, whichever process is the first to get here; tells
/// whether it was empty.
pub(super) fn migrate(transaction: &Transaction<'_>) -> Result<bool, Refused> {
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len();
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= known) else {
        return Err(Refused::Open(OpenError::Newer { found, known }));
    };
    for (version, migration) in (1..).zip(MIGRATIONS).skip(done) {
        transaction.execute_batch(migration)?;
        if version == CHAIN {
            audit::chain_what_is_there(transaction)?;
            transaction.execute_batch("DROP TABLE audit_before")?;
        }
    }
    if done < known {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(
            None,
            "user_version",
            i64::try_from(known).unwrap_or(i64::MAX),
        )?;
    }
    Ok(done == 0)
}

/// Compares the database with its fence, and raises the epoch where they tell of a restore.
fn judge(
    transaction: &Transaction<'_>,
    (found, created): (&Found, bool),
    now: Time,
    salts: &mut Salts,
) -> Result<(Mark, Option<Raised>), Refused> {
    let mut mark = read_mark(transaction)?;
    let why = match found {
        Found::Missing if created => None,
        Found::Missing => Some(Why::FenceMissing),
        Found::Unreadable => Some(Why::FenceUnreadable),
        Found::Mark(fence) if fence.database_id != mark.database_id => Some(Why::OtherDatabase),
        Found::Mark(fence) if fence.generation > mark.generation || fence.epoch > mark.epoch => {
            Some(Why::Behind)
        }
        Found::Mark(_) => None,
    };
    if why.is_none() && !created {
        return Ok((mark, None));
    }
    let latest = match found {
        Found::Mark(fence) => fence.epoch.max(mark.epoch),
        Found::Missing | Found::Unreadable => mark.epoch,
    };
    mark.epoch = latest
        .next(now)
        .ok_or(Refused::Open(OpenError::EpochExhausted))?;
    transaction.execute("UPDATE meta SET epoch = ?1", [mark.epoch.0])?;
    if let Some(why) = why {
        let event = raised(mark.epoch, why, now);
        let end = audit::append(
            transaction,
            &audit::end(transaction)?,
            (&event, None),
            salts,
        )?;
        mark.generation = seq(&end);
    }
    let raised = why.map(|why| Raised {
        why,
        epoch: mark.epoch,
    });
    Ok((mark, raised))
}

/// The record of an epoch that the server raised by itself.
pub(super) fn raised(epoch: Epoch, why: Why, now: Time) -> Event {
    let target = Target {
        resource: Some("epoch".into()),
        ..Target::default()
    };
    let mut event = Source::server().event(now, Kind::EpochRaised, None, target);
    event.detail.note = Some(format!("raised to {}: {why}", epoch.0).into());
    event
}

fn read_mark(connection: &Connection) -> rusqlite::Result<Mark> {
    connection.query_row(
        "SELECT database_id, epoch, (SELECT coalesce(max(seq), 0) FROM audit) FROM meta",
        [],
        |row| {
            Ok(Mark {
                database_id: row.get(0)?,
                epoch: Epoch(row.get(1)?),
                generation: row.get(2)?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite, "PRAGMA synchronous" and "PRAGMA fullfsync". What a killed process has written stays
    /// written, so only lost power would show it otherwise.
    #[test]
    fn a_commit_is_synced_before_it_is_answered() {
        const FULL: i64 = 2;
        let file = tempfile::NamedTempFile::new().unwrap();
        let connection = connect(file.path()).unwrap();
        for (setting, wanted) in [
            ("synchronous", FULL),
            ("fullfsync", 1),
            ("checkpoint_fullfsync", 1),
        ] {
            let set: i64 = connection
                .pragma_query_value(None, setting, |row| row.get(0))
                .unwrap();
            assert_eq!(set, wanted, "{setting}");
        }
    }
}
