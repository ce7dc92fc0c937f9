//! Signing the audit log, in the process that serves.
//!
//! **Invariant:** no signature is put over a chain in which what this process signed before is
//! gone, unless the epoch was raised since.

use super::{Fault, Service};
use crate::audit::chain::Chained;
use crate::audit::{Event, Kind, Outcome, Source, Target};
use crate::clock::Time;
use crate::token::Epoch;
use crate::verb::{Commit, RecordCheckpoint, RecordEvent};

/// What came of signing the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Signing {
    /// It is signed up to its end.
    Done,
    /// The same. What this process signed last is not in it, as after a restore: the epoch was
    /// raised.
    Anew {
        /// The place in the chain of what it signed last.
        place: u64,
        /// The epoch of then.
        epoch: Epoch,
    },
    /// There was nothing new, or another database took this one's place meanwhile.
    Nothing,
    /// What this process signed last is not there any more, so nothing was signed, nor will be: the
    /// log was written anew, or cut. It is on record as `vault.tampered`.
    Rewritten {
        /// The place in the chain.
        place: u64,
    },
}

/// An entry up to which the audit log was signed, and the epoch of then.
pub(super) struct Signed {
    end: Chained,
    epoch: Epoch,
    /// It was found gone.
    lost: bool,
}

impl Service {
    /// Signs how far this store's chain of the audit log has come, unless nothing has come since it
    /// was signed last.
    ///
    /// What this process has signed before must still be there: else the chain was written anew or
    /// cut under it, and its signature would make that good. That is an alarm, and this process
    /// signs nothing more. Where the epoch was raised since, a restored database or a standby that
    /// lagged may have ended before it.
    pub async fn sign_log(&self) -> Result<Signing, Fault> {
        let mut signed = self.signed.lock().await;
        // Read before it is looked for what was signed: what comes after this end refuses the
        // signature.
        let end = self.store.chain_end().await?;
        let mut done = Signing::Done;
        if let Some(last) = &mut *signed
            && (last.lost || !self.is_there(&last.end).await?)
        {
            let epoch = self.store.epoch().await?;
            if last.lost || epoch == last.epoch {
                last.lost = true;
                return self.tell_rewritten(last).await;
            }
            done = Signing::Anew {
                place: last.end.link.place,
                epoch: last.epoch,
            };
        }
        let Some(end) = end else {
            return Ok(Signing::Nothing);
        };
        if end.is_checkpoint() {
            return Ok(Signing::Nothing);
        }
        let at = self.now();
        let mut event = event_of_log(at, Kind::AuditCheckpoint);
        event.detail.checkpoint = Some(Box::new(self.vault.checkpoint(end.link, at)?));
        let epoch = self.store.epoch().await?;
        let is_recorded = self
            .store
            .commit(RecordCheckpoint {
                link: end.link,
                event,
            })
            .await?;
        if !is_recorded {
            return Ok(Signing::Nothing);
        }
        *signed = Some(Signed {
            end,
            epoch,
            lost: false,
        });
        Ok(done)
    }

    async fn is_there(&self, end: &Chained) -> Result<bool, Fault> {
        let before = end.seq.saturating_sub(1);
        let found = self.store.chained(before, 1).await?;
        Ok(found.first().is_some_and(|found| found.is_same(end)))
    }

    async fn tell_rewritten(&self, last: &Signed) -> Result<Signing, Fault> {
        self.vault.alarm();
        let place = last.end.link.place;
        let mut event = event_of_log(self.now(), Kind::VaultTampered);
        event.outcome = Outcome::Failure;
        event.detail.note = Some(format!("place {place} is not what was signed").into());
        self.store.commit(RecordEvent(event)).await?;
        Ok(Signing::Rewritten { place })
    }
}

fn event_of_log(at: Time, kind: Kind) -> Event {
    let target = Target {
        resource: Some("audit log".into()),
        ..Target::default()
    };
    Source::server().event(at, kind, None, target)
}
