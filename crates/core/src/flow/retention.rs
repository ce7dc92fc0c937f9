//! Cards that have expired: ended, and some time later removed with their keys (PCI DSS 3.2.1: account data
//! is kept no longer than it is needed).
//!
//! An expiry is sealed, so no store can look for it: all cards are gone through, a bounded piece at a time,
//! and each expiry is opened for as long as it takes to compare.

use std::time::Duration;

use super::{Fault, Service};
use crate::audit::Source;
use crate::card::{Card, Changed, Removal, Removed, State, Transition};
use crate::port::{CardFilter, CardRef, Paging};

/// How long a card stays after it has ended: its merchant may still have to be told, which is tried for
/// two weeks and needs the card.
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
    /// One round: of up to `limit` cards behind the place `after`, those that have expired longer ago than
    /// `keep` are ended, and those that ended longer ago than [`HOLD`] are removed.
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
            let changed = self.store.transition_card(transition).await?;
            purged.ended += usize::from(matches!(changed, Changed::Done(_)));
        } else if card.updated_at.plus(HOLD) <= self.now() {
            let removal = Removal {
                merchant: card.merchant.clone(),
                card: CardRef::Id(card.id),
                why: "expired",
                at: self.now(),
                source,
            };
            let removed = self.store.remove_card(removal).await?;
            purged.removed += usize::from(removed == Removed::Done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cardveil_seal::{FileRoot, Keyring, SeededEntropy};

    use super::*;
    use crate::audit::Kind;
    use crate::card::{CardNumber, CardholderName, Environment, Expiry};
    use crate::clock::Time;
    use crate::port::{Admin as _, Audit as _, Cards as _, Change};
    use crate::testing::{ManualClock, Memory, sample};
    use crate::vault::{ClearCard, Vault};

    const DAY: Duration = Duration::from_secs(86_400);

    struct House {
        service: Service,
        store: Arc<Memory>,
        clock: Arc<ManualClock>,
    }

    impl House {
        /// Cards that expire in the given months, each `MM/YYYY`.
        async fn with_cards(expiries: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let entropy = SeededEntropy::new(1);
            let root = FileRoot::create(&folder.path().join("root"), &entropy).unwrap();
            let keys = Keyring::generate(&root, "sandbox", &entropy).unwrap();
            let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
            let entropy = Arc::new(entropy);
            let vault = Arc::new(Vault::new(keyring, Environment::Sandbox, entropy.clone()));
            let store = Arc::new(Memory::default());
            let clock = Arc::new(ManualClock::at(at("2030-01-01T00:00:00Z")));
            let merchant = sample::merchant(1);
            let event = || sample::event(Kind::MerchantAdded, sample::START);
            let mut changes = vec![(Change::AddMerchant(merchant.clone()), event())];
            for (n, expiry) in (1..).zip(expiries) {
                let mut card = sample::card(n);
                let clear = ClearCard {
                    number: CardNumber::parse("4111111111111111").unwrap(),
                    expiry: Expiry::parse(expiry).unwrap(),
                    name: CardholderName::parse("A CARDHOLDER").unwrap(),
                    cvv: None,
                };
                card.sealed = vault.seal_card(card.id, &merchant.id, &clear).unwrap();
                changes.push((Change::AddCard(Box::new(card)), event()));
            }
            assert!(
                store
                    .change(changes)
                    .await
                    .unwrap()
                    .iter()
                    .all(Result::is_ok)
            );
            Self {
                service: Service::new(store.clone(), vault, clock.clone(), entropy),
                store,
                clock,
            }
        }

        async fn purge(&self) -> Purged {
            self.service
                .purge_expired(DAY * 30, None, 100)
                .await
                .unwrap()
        }

        async fn cards(&self) -> Vec<String> {
            let all = Paging {
                limit: 100,
                ..Paging::default()
            };
            let page = self.store.list_cards(&CardFilter::default(), all).await;
            let cards = page.unwrap().cards;
            cards.iter().map(|card| card.no.to_string()).collect()
        }
    }

    fn at(text: &str) -> Time {
        Time::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_card_expires_with_the_last_moment_of_its_month() {
        let ends = |text| Expiry::parse(text).unwrap().ends_at().to_string();
        assert_eq!(ends("01/2030"), "2030-02-01T00:00:00.000Z");
        assert_eq!(ends("12/2030"), "2031-01-01T00:00:00.000Z");
        assert_eq!(ends("12/2099"), "2100-01-01T00:00:00.000Z");
    }

    /// At the edge: to the millisecond the days after the month, and those after the end.
    #[tokio::test]
    async fn an_expired_card_is_ended_and_later_removed() {
        let house = House::with_cards(&["01/2030", "02/2030"]).await;
        let due = at("2030-02-01T00:00:00Z").plus(DAY * 30);
        house.clock.set(due.minus(Duration::from_millis(1)));
        assert_eq!(house.purge().await, Purged::default());
        house.clock.set(due);
        let purged = house.purge().await;
        assert_eq!((purged.ended, purged.removed), (1, 0));
        assert_eq!(
            house.cards().await,
            ["C1", "C2"],
            "its merchant is told first"
        );
        house
            .clock
            .set(due.plus(HOLD).minus(Duration::from_millis(1)));
        assert_eq!(house.purge().await, Purged::default());
        house.clock.set(due.plus(HOLD));
        let purged = house.purge().await;
        assert_eq!((purged.ended, purged.removed), (0, 1));
        assert_eq!(house.cards().await, ["C2"]);
        let log = house.store.entries(0, 100).await.unwrap();
        let kinds: Vec<_> = log.iter().rev().take(2).map(|e| e.event.kind).collect();
        assert_eq!(kinds, [Kind::CardRemoved, Kind::CardChanged]);
        assert_eq!(house.purge().await, Purged::default(), "once");
    }

    #[tokio::test]
    async fn it_goes_through_all_cards_in_pieces() {
        let house = House::with_cards(&["01/2030"; 7]).await;
        house.clock.set(at("2031-01-01T00:00:00Z"));
        let (mut ended, mut place, mut rounds) = (0, None, 0);
        loop {
            let purged = house.service.purge_expired(DAY, place, 3).await.unwrap();
            (ended, place, rounds) = (ended + purged.ended, purged.next, rounds + 1);
            if place.is_none() {
                break;
            }
        }
        assert_eq!((ended, rounds), (7, 3));
    }

    /// One that does not open stands in no other's way.
    #[tokio::test]
    async fn a_card_whose_expiry_does_not_open_is_kept_and_told() {
        let house = House::with_cards(&["01/2030"]).await;
        let card = sample::card(9);
        let event = sample::event(Kind::CardAdded, sample::START);
        let change = (Change::AddCard(Box::new(card)), event);
        house.store.change(vec![change]).await.unwrap()[0].unwrap();
        house.clock.set(at("2031-01-01T00:00:00Z"));
        let purged = house.purge().await;
        assert_eq!((purged.ended, purged.unreadable), (1, 1));
        assert_eq!(house.cards().await, ["C1", "C9"]);
    }
}
