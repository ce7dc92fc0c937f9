//! Putting refused calls on record.

use futures_util::future::join_all;

use super::{Fault, Service};
use crate::audit::refused::Gathered;
use crate::verb::{Commit, RecordEvent};

impl Service {
    /// Writes what was gathered, all at once, so that the store can commit it together. What could
    /// not be written comes back, and so does that of which it is not known: rather twice than
    /// never.
    pub async fn record_refused(
        &self,
        gathered: Vec<Gathered>,
    ) -> Result<(), (Fault, Vec<Gathered>)> {
        let at = self.now();
        let writes = gathered
            .iter()
            .map(|row| self.store.commit(RecordEvent(row.event(at))));
        let written = join_all(writes).await;
        let mut left = (None, Vec::new());
        for (row, written) in gathered.into_iter().zip(written) {
            if let Err(error) = written {
                left.0 = Some(error);
                left.1.push(row);
            }
        }
        match left {
            (Some(error), rows) => Err((error.into(), rows)),
            (None, _) => Ok(()),
        }
    }
}
