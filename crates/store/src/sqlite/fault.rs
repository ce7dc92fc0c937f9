//! What goes wrong in SQLite, in the words of the port.

use cardveil_core::port::Error;
use rusqlite::ErrorCode;

/// Why a job in a batch did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite could not do it: the whole batch is rolled back.
    Sqlite(rusqlite::Error),
    /// The job cannot be done, whatever SQLite does: its own failure, if it has written nothing.
    Own(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        if unreadable(&error) {
            Self::Own(Error::Corrupt(error.to_string()))
        } else {
            Self::Sqlite(error)
        }
    }
}

/// Of a lookup, or of a batch that was rolled back: nothing was written.
pub(super) fn nothing_written(error: &rusqlite::Error) -> Error {
    if unreadable(error) || damaged(error) {
        Error::Corrupt(error.to_string())
    } else {
        Error::Unavailable(error.to_string())
    }
}

/// The value in a column is not what this program writes.
pub(super) fn unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Another connection holds a lock that it needs.
pub(super) fn locked_out(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// The file is not what SQLite writes.
pub(super) fn damaged(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
