//! The rows that decide, gone through page by page (P11): they are given MACs, moved to another
//! key, and compared with what is on record of them.

use super::{Fault, Service};
use crate::audit::{Event, Kind, Outcome, Source, Target};
use crate::port::rows::{Accepted, GuardedPage};
use crate::port::{CheckedPage, RowPlace};
use crate::verb::{AcceptRow, Commit, CompleteRows, GuardPage, RecordEvent};

impl Service {
    /// Whether there is a key that makes MACs of rows now, and whether every row has one.
    pub fn row_macs(&self) -> (Option<u32>, bool) {
        let macs = self.store.row_macs();
        (macs.version(), macs.are_complete())
    }

    /// Gives a page of rows MACs under the active key.
    pub async fn guard_page(
        &self,
        place: RowPlace,
        limit: usize,
        source: &Source,
    ) -> Result<GuardedPage, Fault> {
        let page = GuardPage {
            place,
            limit,
            at: self.now(),
            source: source.clone(),
        };
        Ok(self.store.commit(page).await?)
    }

    /// Says that all rows were gone through and have MACs. Tells whether it was said just now.
    pub async fn complete_rows(&self, source: &Source) -> Result<bool, Fault> {
        let complete = CompleteRows {
            at: self.now(),
            source: source.clone(),
        };
        let is_new = self.store.commit(complete).await?;
        self.store.class_keys().await?;
        Ok(is_new)
    }

    /// Compares a page of rows with what is on record of them, and tells of what does not fit.
    pub async fn check_rows(&self, place: &RowPlace, limit: usize) -> Result<CheckedPage, Fault> {
        let page = self.store.check_rows(place, limit).await?;
        if page.next.is_none() {
            self.store.row_macs().end_round();
        }
        self.tell_altered().await?;
        Ok(page)
    }

    /// Takes a row for what was written last, as an operator found it to be right.
    pub async fn accept_row(
        &self,
        table: &str,
        key: &str,
        source: &Source,
    ) -> Result<Option<Accepted>, Fault> {
        let accept = AcceptRow {
            table: table.to_owned(),
            key: key.to_owned(),
            at: self.now(),
            source: source.clone(),
        };
        let accepted = self.store.commit(accept).await?;
        if accepted.is_some() {
            self.store.row_macs().forget(table, key);
        }
        Ok(accepted)
    }

    /// Puts on record which rows were found not to be what was written.
    pub async fn tell_altered(&self) -> Result<(), Fault> {
        let macs = self.store.row_macs();
        let mut waiting = macs.take_altered().into_iter();
        while let Some(altered) = waiting.next() {
            let (table, row) = &altered;
            let target = Target {
                resource: Some(format!("row: {table} {row}").into()),
                ..Target::default()
            };
            let source = Source::server();
            let mut event: Event = source.event(self.now(), Kind::VaultTampered, None, target);
            event.outcome = Outcome::Failure;
            event.detail.note = Some("a row is not what was written".into());
            if let Err(fault) = self.store.commit(RecordEvent(event)).await {
                macs.wait_again(std::iter::once(altered).chain(waiting));
                return Err(fault.into());
            }
        }
        Ok(())
    }
}
