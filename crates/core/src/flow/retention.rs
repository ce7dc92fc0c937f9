//! Cards that have expired: ended, and some time later removed with their keys (PCI DSS 3.2.1:
//! account data is kept no longer than it is needed).
//!
//! An expiry is sealed, so no store can look for it: all cards are gone through, a bounded piece at
//! a time, and each expiry is opened for as long as it takes to compare.

use std::time::Duration;

use super::{Fault, Service};
use crate::audit::Source;
use crate::card::{Card, CardRef, Changed, Removal, Removed, State, Transition};
use crate::port::{CardFilter, Paging};
use crate::verb::Commit;

/// How long a card stays after it has ended: its merchant may still have to be told, which is tried
/// for two weeks and needs the card.
pub const HOLD: Duration = Duration::from_secs(15 * 86_400);

/// What a round of the purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Cards that were ended, because they have expired.
    pub ended: usize,
    /// Cards that were removed.
    pub removed: usize,
    /// Cards whose expiry does not open. They stay.
    pub unreadable: usize,
    /// Where the next round goes on; none when all cards were seen.
    pub next: Option<i64>,
}

impl Service {
    /// One round: of up to `limit` cards behind the place `after`, those that have expired longer
    /// ago than `keep` are ended, and those that ended longer ago than [`HOLD`] are removed.
    pub async fn purge_expired(
        &self,
        keep: Duration,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Purged, Fault> {
        let paging = Paging {
            after,
            limit,
            ..Paging::default()
        };
        let page = self
            .store
            .list_cards(&CardFilter::default(), paging)
            .await?;
        let mut purged = Purged {
            next: page.next,
            ..Purged::default()
        };
        for card in &page.cards {
            match self.expiry(card).await {
                Ok(expiry) if expiry.ends_at().plus(keep) <= self.now() => {
                    self.purge(card, &mut purged).await?;
                }
                Ok(_) => {}
                Err(Fault::Vault(_)) => purged.unreadable += 1,
                Err(
                    fault @ (Fault::Store(_)
                    | Fault::Contention
                    | Fault::SinkFull
                    | Fault::ClockApart(_)),
                ) => {
                    return Err(fault);
                }
            }
        }
        Ok(purged)
    }

    async fn purge(&self, card: &Card, purged: &mut Purged) -> Result<(), Fault> {
        let source = Source::server();
        if !card.state.is_final() {
            let transition = Transition {
                merchant: card.merchant.clone(),
                card: CardRef::Id(card.id),
                to: State::Terminated,
                from: None,
                reason: None,
                at: self.now(),
                source,
            };
            let changed = self.store.commit(transition).await?;
            purged.ended += usize::from(matches!(changed, Changed::Done(_)));
        } else if card.updated_at.plus(HOLD) <= self.now() {
            let removal = Removal {
                merchant: card.merchant.clone(),
                card: CardRef::Id(card.id),
                why: "expired",
                at: self.now(),
                source,
            };
            let removed = self.store.commit(removal).await?;
            purged.removed += usize::from(removed == Removed::Done);
        }
        Ok(())
    }
}
