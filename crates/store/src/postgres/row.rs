//! Rows as PostgreSQL answers them.

use std::error::Error as StdError;

use cardveil_core::port::Error;

use super::fault::Fault;
use crate::sql::value::{self, Column, Raw};

/// A row that a query found.
pub(crate) struct Row(pub(super) tokio_postgres::Row);

impl Row {
    pub(super) fn last<T: Column>(&self) -> Result<T, Fault> {
        value::Row::get(self, self.0.len().saturating_sub(1))
    }
}

impl value::Row for Row {
    type Fault = Fault;

    fn get<T: Column>(&self, column: usize) -> Result<T, Fault> {
        let raw = self.0.try_get(column).map_err(|error| unreadable(&error))?;
        T::from_raw(raw).map_err(|error| unreadable(&*error))
    }

    fn is_unreadable(fault: &Fault) -> bool {
        matches!(fault, Fault::Own(Error::Corrupt(_)))
    }

    fn unreadable(why: &'static str) -> Fault {
        Fault::Own(Error::Corrupt(why.into()))
    }

    fn put(&self, column: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let raw: Option<Raw<'_>> = self.0.try_get(column).map_err(|error| unreadable(&error))?;
        if let Some(raw) = raw {
            raw.put(out);
        }
        Ok(())
    }
}

fn unreadable(error: &dyn StdError) -> Fault {
    Fault::Own(Error::Corrupt(error.to_string()))
}
