//! Rows that cannot be read, in answers that are of many: an altered row is left out, so that it
//! hides no other, and told once. A lookup of that row alone still fails.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many rows are told of. Whoever alters more has been told of.
const ROWS_MAX: usize = 100;

/// How often a page is filled with others in the place of rows that were left out. Then it is
/// short.
pub(crate) const FILLED_MOST: usize = 10;

/// The rows that were left out since the store was opened.
#[derive(Default)]
pub(crate) struct LeftOut(Mutex<BTreeSet<String>>);

impl LeftOut {
    /// Notes that a row of `table` was left out, and logs it the first time. What is wrong with the
    /// row is not said: its values would be in the words.
    pub(crate) fn note(&self, table: &'static str, key: &str) {
        let mut rows = self.rows();
        if rows.len() < ROWS_MAX && rows.insert(format!("{table} {key}")) {
            tracing::error!(
                store.table = table,
                store.row = key,
                "a row cannot be read, as if it was altered: lists leave it out"
            );
        }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.rows().iter().cloned().collect()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key of bytes, for people. Ids of 16 bytes are UUIDs.
pub(crate) fn name_of(bytes: &[u8]) -> String {
    let hex = || {
        bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    uuid_of(bytes).unwrap_or_else(hex)
}

fn uuid_of(bytes: &[u8]) -> Option<String> {
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(cardveil_core::id::CardId::from_bytes(bytes).to_string())
}
