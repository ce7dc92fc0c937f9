//! What goes wrong in SQLite, in the words of the port.

use cardveil_core::port::{Error, rows};
use rusqlite::ErrorCode;

/// Why a job in a batch did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// SQLite could not do it: the whole batch is rolled back.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// The job cannot be done, whatever SQLite does: its own failure, if it has written nothing.
    #[error(transparent)]
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

/// What came back through a verb: SQLite's error, or the port's.
impl From<rows::Fault> for Fault {
    fn from(fault: rows::Fault) -> Self {
        match fault.downcast::<rusqlite::Error>() {
            Ok(error) => (*error).into(),
            Err(fault) => match fault.downcast() {
                Ok(error) => Self::Own(*error),
                Err(fault) => Self::Own(Error::Unavailable(fault.to_string())),
            },
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
