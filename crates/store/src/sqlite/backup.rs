//! Copies of the file: taken while it is in use, checked, and put in its place.
//!
//! **Invariant:** a copy is one moment of the database, and holds nothing of what had been deleted
//! by then: `VACUUM INTO` writes what is there, and no free page.
//!
//! **Invariant:** a copy is put in place whole or not at all, by one rename, and its epoch was
//! raised before: no token that it remembers as unspent is good.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardveil_core::Entropy;
use cardveil_core::audit::chain::Chained;
use cardveil_core::audit::personal::Salts;
use cardveil_core::audit::{Event, Kind, Source, Target};
use cardveil_core::clock::Time;
use cardveil_core::keys::ClassKey;
use cardveil_core::token::Epoch;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};

use super::fence::{Fence, Found};
use super::open::{OpenError, Refused, check_ours, connect, create_private, migrate};
use super::{all, audit};
use crate::sql::deciding::Unchecked;
use crate::sql::rows::{self, ENTRIES_AFTER, LAST_ENTRY, class_key};
use crate::sql::{for_sqlite, sql_count};

/// Writes a copy of the database, of this moment, to a file that is not there yet. The database may
/// be in use.
pub fn copy_to(database: &Path, to: &Path) -> Result<(), OpenError> {
    let at = |refused: Refused| refused.at(database);
    let source = connect(database).map_err(Refused::from).map_err(at)?;
    check_ours(&source).map_err(at)?;
    create_private(to).map_err(|source| OpenError::File {
        path: to.to_owned(),
        source,
    })?;
    let name = to.to_string_lossy();
    source
        .execute("VACUUM INTO ?1", [name])
        .map_err(Refused::from)
        .map_err(at)?;
    Ok(())
}

/// The epoch that a fence has seen, if there is one that can be read.
pub fn fence_epoch(fence: &Path) -> Option<Epoch> {
    match Fence::peek(fence) {
        Ok(Found::Mark(mark)) => Some(mark.epoch),
        Ok(Found::Missing | Found::Unreadable) | Err(_) => None,
    }
}

/// A copy that nobody else has open.
pub struct Copy {
    connection: Connection,
    path: PathBuf,
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The version of its form.
    pub version: i64,
    pub epoch: Epoch,
    pub merchants: u64,
    pub credentials: u64,
    pub cards: u64,
    /// Tokens that nobody has claimed.
    pub open_tokens: u64,
    /// Its audit entries.
    pub entries: u64,
    /// The place of the last of them.
    pub last_entry: i64,
}

/// What a revival did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    /// The last audit entry of the copy, if it had one.
    pub last: Option<Chained>,
    /// The epoch of the copy.
    pub before: Epoch,
    /// The epoch now.
    pub after: Epoch,
}

impl Copy {
    /// Opens one, and reads every page of it: a damaged file is an error.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let copy = Self {
            connection: connect(path)
                .map_err(Refused::from)
                .map_err(|refused| refused.at(path))?,
            path: path.to_owned(),
        };
        copy.with(|connection| {
            check_ours(connection)?;
            let found: String =
                connection.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
            let dangling: i64 = connection.query_row(
                "SELECT count(*) FROM pragma_foreign_key_check",
                [],
                |row| row.get(0),
            )?;
            if found == "ok" && dangling == 0 {
                return Ok(());
            }
            Err(Refused::Open(OpenError::Damaged {
                path: path.to_owned(),
                detail: if dangling == 0 {
                    found
                } else {
                    format!("{dangling} rows refer to none")
                },
            }))
        })?;
        Ok(copy)
    }

    /// What it holds.
    pub fn contents(&self) -> Result<Contents, OpenError> {
        const SQL: &str = "SELECT (SELECT user_version FROM pragma_user_version), epoch,
                (SELECT count(*) FROM merchant), (SELECT count(*) FROM credential),
                (SELECT count(*) FROM card), (SELECT count(*) FROM token WHERE state IS NULL),
                (SELECT count(*) FROM audit), (SELECT coalesce(max(seq), 0) FROM audit)
             FROM meta";
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        self.with(|connection| {
            Ok(connection.query_row(SQL, [], |row| {
                Ok(Contents {
                    version: row.get(0)?,
                    epoch: Epoch(row.get(1)?),
                    merchants: row.get(2).map(count)?,
                    credentials: row.get(3).map(count)?,
                    cards: row.get(4).map(count)?,
                    open_tokens: row.get(5).map(count)?,
                    entries: row.get(6).map(count)?,
                    last_entry: row.get(7)?,
                })
            })?)
        })
    }

    /// Its class keys, as they are stored.
    pub fn class_keys(&self) -> Result<Vec<ClassKey>, OpenError> {
        // Copies from before have no other columns.
        const SQL: &str =
            "SELECT class, version, wrapped, created_at, retiring_at, retired_at, NULL
             FROM wrapped_key ORDER BY class, version";
        let read = |row: &Row<'_>| class_key(row).map(Unchecked::of_a_copy);
        self.with(|connection| Ok(all(connection, SQL, [], read)?))
    }

    /// Its audit entries after a place, with their links.
    pub fn chained(&self, after: i64, limit: usize) -> Result<Vec<Chained>, OpenError> {
        const IS_THERE: &str =
            "SELECT count(*) > 0 FROM pragma_table_info('audit') WHERE name = 'personal'";
        let params = params![after, sql_count(limit)];
        self.with(|connection| {
            let newest = for_sqlite(ENTRIES_AFTER);
            let sql = if connection.query_row(IS_THERE, [], |row| row.get(0))? {
                newest.as_str()
            } else {
                audit::AFTER_OF_FORM_ONE
            };
            Ok(all(connection, sql, params, |row| rows::chained(row))?)
        })
    }

    /// Makes it a database that may be served: brings it to the newest form, and raises the epoch
    /// above its own and `floor`. In one commit, with its records.
    pub fn revive(
        &mut self,
        floor: Option<Epoch>,
        (source, now, note): (&Source, Time, String),
        entropy: Arc<dyn Entropy>,
    ) -> Result<Revived, OpenError> {
        let mut salts = Salts::new(entropy);
        let path = &self.path;
        let connection = &mut self.connection;
        let revived = (|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            migrate(&transaction)?;
            let before =
                transaction.query_row("SELECT epoch FROM meta", [], |row| row.get(0).map(Epoch))?;
            let last = transaction
                .query_row(&for_sqlite(LAST_ENTRY), [], |row| rows::chained(row))
                .optional()?;
            let latest = floor.map_or(before, |floor| floor.max(before));
            let after = latest
                .next(now)
                .ok_or(Refused::Open(OpenError::EpochExhausted))?;
            transaction.execute("UPDATE meta SET epoch = ?1", [after.0])?;
            let raised = format!("raised to {}: a backup was restored", after.0);
            for (kind, resource, note) in [
                (Kind::BackupRestored, "database", note),
                (Kind::EpochRaised, "epoch", raised),
            ] {
                let target = Target {
                    resource: Some(resource.into()),
                    ..Target::default()
                };
                let mut event: Event = source.event(now, kind, None, target);
                event.detail.note = Some(note.into());
                let end = audit::end(&transaction)?;
                audit::append(&transaction, &end, (&event, None), &mut salts)?;
            }
            transaction.commit()?;
            Ok(Revived {
                last,
                before,
                after,
            })
        })();
        revived.map_err(|refused: Refused| refused.at(path))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refused>,
    ) -> Result<T, OpenError> {
        work(&self.connection).map_err(|refused| refused.at(&self.path))
    }
}

/// Puts a copy in the place of the database, in one step. A database that is there is kept under
/// another name, which is returned; it must not be in use.
pub fn put_in_place(copy: &Path, database: &Path, now: Time) -> Result<Option<PathBuf>, OpenError> {
    let unusable = |source| OpenError::File {
        path: database.to_owned(),
        source,
    };
    File::open(copy)
        .and_then(|file| file.sync_all())
        .map_err(unusable)?;
    let kept = if database.try_exists().map_err(unusable)? {
        let _held = take_alone(database)?;
        let kept = link_kept(database, now).map_err(unusable)?;
        fs::rename(copy, database).map_err(unusable)?;
        Some(kept)
    } else {
        refuse_remains(database)?;
        fs::rename(copy, database).map_err(unusable)?;
        None
    };
    sync_folder(database).map_err(unusable)?;
    Ok(kept)
}

/// Gives the database a second name, which stays. Another restore of the same second has one of its
/// own, and so has one that was killed.
fn link_kept(database: &Path, now: Time) -> io::Result<PathBuf> {
    let mut n = 1;
    loop {
        let suffix = format!(".before-restore-{}-{n}", now.secs_u32());
        let kept = with_suffix(database, &suffix);
        match fs::hard_link(database, &kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            linked => return linked.map(|()| kept),
        }
    }
}

/// Has the database alone, in one file. As long as the connection lives, nobody else opens it.
fn take_alone(database: &Path) -> Result<Connection, OpenError> {
    let taken = (|| {
        let connection = connect(database)?;
        check_ours(&connection)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT;")?;
        // A WAL that stayed would be taken for that of the copy.
        let mode: String =
            connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        if mode != "delete" {
            return Err(Refused::Open(OpenError::InUse(database.to_owned())));
        }
        connection.execute_batch("BEGIN EXCLUSIVE;")?;
        Ok(connection)
    })();
    taken.map_err(|refused| match refused {
        Refused::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            OpenError::InUse(database.to_owned())
        }
        Refused::Sqlite(_) | Refused::Open(_) | Refused::Foreign | Refused::Moved => {
            refused.at(database)
        }
    })
}

/// A WAL without its database would be taken for that of the copy.
fn refuse_remains(database: &Path) -> Result<(), OpenError> {
    for suffix in ["-wal", "-shm", "-journal"] {
        let remains = with_suffix(database, suffix);
        if remains.exists() {
            let why = "it is left of another database: move it away";
            return Err(OpenError::File {
                path: remains,
                source: io::Error::new(io::ErrorKind::AlreadyExists, why),
            });
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
