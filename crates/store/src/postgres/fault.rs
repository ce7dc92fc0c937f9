//! What goes wrong in PostgreSQL, in the words of the port.

use cardveil_core::port::{Error, rows};
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::fit::Unfit;
use super::tls;

/// Why a job in a batch did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// PostgreSQL could not do it: the transaction is of no use any more.
    #[error(transparent)]
    Postgres(tokio_postgres::Error),
    /// There is no connection, or it did not answer in time.
    #[error("{0}")]
    Connection(String),
    /// What was decided on has changed meanwhile: the batch is to run again.
    #[error("what was decided on has changed")]
    Stale,
    /// The schema is not one that this program serves on.
    #[error(transparent)]
    Unfit(Unfit),
    /// The job cannot be done, whatever PostgreSQL does.
    #[error(transparent)]
    Own(Error),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// What came back through a verb: a fault of ours, or the port's error.
impl From<rows::Fault> for Fault {
    fn from(fault: rows::Fault) -> Self {
        match fault.downcast::<Self>() {
            Ok(fault) => *fault,
            Err(fault) => match fault.downcast() {
                Ok(error) => Self::Own(*error),
                Err(fault) => Self::Own(Error::Unavailable(fault.to_string())),
            },
        }
    }
}

/// What a fault before the commit calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Run the batch again: another transaction was in the way.
    Again,
    /// A lock was waited for in vain, which one job may need alone: run the batch again, and then
    /// the jobs one by one.
    Locked,
    /// Connect anew, and run the batch again.
    Reconnect,
    /// It is one job's fault: run the jobs one by one.
    Apart,
}

impl Fault {
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Stale => Remedy::Again,
            Self::Connection(_) | Self::Unfit(_) => Remedy::Reconnect,
            Self::Own(_) => Remedy::Apart,
            Self::Postgres(error) => match error.code() {
                None if error.is_closed() || is_io(error) => Remedy::Reconnect,
                Some(&SqlState::LOCK_NOT_AVAILABLE) => Remedy::Locked,
                Some(code) if in_the_way(code) => Remedy::Again,
                Some(code) if of_the_server(code) => Remedy::Reconnect,
                Some(_) | None => Remedy::Apart,
            },
        }
    }

    /// An answer to `COMMIT` which says that it was rolled back. Any other failure may come after it.
    pub(super) fn is_a_refusal(&self) -> bool {
        self.code().is_some_and(|code| {
            in_the_way(code)
                || class_of(code) == "23"
                || *code == SqlState::IN_FAILED_SQL_TRANSACTION
        })
    }

    /// An answer to a statement ahead of a `COMMIT`, after which the commit is none. What ends the
    /// connection too can come of a pooler, after the commit.
    pub(super) fn ends_its_transaction(&self) -> bool {
        let Self::Postgres(error) = self else {
            return false;
        };
        let severity = error.as_db_error().and_then(DbError::parsed_severity);
        severity == Some(Severity::Error)
            && error.code() != Some(&SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN)
    }

    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Postgres(error) => error.code(),
            Self::Connection(_) | Self::Stale | Self::Unfit(_) | Self::Own(_) => None,
        }
    }

    /// Whether it is of what one job wrote, and not of the server, the schema or what the role may.
    pub(super) fn is_of_a_job(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Postgres(error) => error
                .code()
                .is_some_and(|code| ["22", "23"].contains(&class_of(code))),
            Self::Connection(_) | Self::Stale | Self::Unfit(_) => false,
        }
    }

    /// Of a lookup, or of what was rolled back: nothing was written.
    pub(super) fn nothing_written(self) -> Error {
        match self {
            Self::Postgres(error) => match error.code() {
                Some(code) if is_damage(code) => Error::Corrupt(describe(&error)),
                Some(_) | None => Error::Unavailable(describe(&error)),
            },
            Self::Connection(text) => Error::Unavailable(text),
            Self::Stale => Error::Unavailable("the epoch was raised again and again".into()),
            Self::Unfit(unfit) => Error::Unavailable(unfit.to_string()),
            Self::Own(error) => error,
        }
    }
}

/// tokio-postgres tells the kind of an error alone; the server's words are its source. A
/// statement's parameters are in neither.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {} ({})", db.severity(), db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => match tls::refusal(source) {
                Some(words) => words,
                None => format!("{error}: {source}"),
            },
            None => error.to_string(),
        },
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

fn class_of(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

/// Class 40 and locks that were waited for too long: nothing is wrong but the moment. One of that
/// class says that nobody knows.
fn in_the_way(code: &SqlState) -> bool {
    let rolled_back = class_of(code) == "40" && *code != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN;
    rolled_back || *code == SqlState::LOCK_NOT_AVAILABLE
}

/// The server ends, starts, is a standby now, has no room or has been given another password:
/// another connection may do better.
fn of_the_server(code: &SqlState) -> bool {
    ["08", "57", "53", "58", "25", "28"].contains(&class_of(code))
        || *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
}

fn is_damage(code: &SqlState) -> bool {
    *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED
}
