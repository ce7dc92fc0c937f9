//! The cards of the store in memory. A card's place is its number in the order of coming, from 1.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::card::{
    Card, CardRef, Changed, Decided, Relabel, Removal, Removed, State, Transition,
};
use cardveil_core::id::MerchantId;
use cardveil_core::port::{CardFilter, CardPage, Cards, Order, Paging, Result};

impl Inner {
    pub(super) fn find_card(&self, merchant: &MerchantId, card: &CardRef) -> Option<&Card> {
        self.cards.iter().find(|known| {
            known.merchant == *merchant
                && match card {
                    CardRef::No(no) => known.no == *no,
                    CardRef::Id(id) => known.id == *id,
                }
        })
    }

    pub(super) fn transition(&mut self, transition: &Transition) -> Changed {
        let card = self.find_card(&transition.merchant, &transition.card);
        let decided = transition.decide(card);
        self.write_card(decided)
    }

    fn write_card(&mut self, decided: Decided) -> Changed {
        if let Some((next, event)) = decided.write {
            let ended = next.state == State::Terminated && event.detail.to.is_some();
            let id = next.id;
            if let Some(card) = self.cards.iter_mut().find(|card| card.id == id) {
                *card = *next;
            }
            self.log(event.clone());
            if ended {
                self.end_wallet_tokens(id, &event);
            }
        }
        decided.verdict
    }
}

#[async_trait]
impl Cards for Memory {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        let inner = self.inner();
        let places = inner.card_places.0.iter().copied();
        let mut all: Vec<_> = places.zip(&inner.cards).collect();
        if paging.by_time {
            all.sort_by_key(|(place, card)| (card.created_at, *place));
        }
        if paging.order == Order::NewestFirst {
            all.reverse();
        }
        let count = all.iter().filter(|(_, card)| filter.admits(card)).count();
        all.retain(|(place, _)| match (paging.after, paging.order) {
            (Some(after), Order::OldestFirst) => *place > after,
            (Some(after), Order::NewestFirst) => *place < after,
            (None, _) => true,
        });
        let beyond = paging.look_at.filter(|look_at| *look_at < all.len());
        let looked_at = all.get(..beyond.unwrap_or(all.len())).unwrap_or_default();
        let mut rest = looked_at
            .iter()
            .filter(|(_, card)| filter.admits(card))
            .skip(paging.offset);
        let page: Vec<_> = rest.by_ref().take(paging.limit).collect();
        let next = match rest.next() {
            Some(_) => page.last().map(|(place, _)| *place),
            None => beyond
                .and_then(|_| looked_at.last())
                .map(|(place, _)| *place),
        };
        Ok(CardPage {
            cards: page.into_iter().map(|(_, card)| (*card).clone()).collect(),
            count: paging.count.then_some(count as u64),
            next,
        })
    }

    async fn transition_card(&self, transition: Transition) -> Result<Changed> {
        Ok(self.inner().transition(&transition))
    }

    async fn relabel_card(&self, relabel: Relabel) -> Result<Changed> {
        let mut inner = self.inner();
        let card = inner.find_card(&relabel.merchant, &relabel.card);
        let decided = relabel.decide(card);
        Ok(inner.write_card(decided))
    }

    async fn remove_card(&self, removal: Removal) -> Result<Removed> {
        let mut inner = self.inner();
        let card = inner.find_card(&removal.merchant, &removal.card);
        let (id, decided) = (card.map(|card| card.id), removal.decide(card));
        let at = inner.cards.iter().position(|card| Some(card.id) == id);
        if let ((_, Some(event)), Some(at)) = (&decided, at) {
            let card = inner.cards.remove(at);
            inner.card_places.0.remove(at);
            inner.wallet_tokens.retain(|token| token.card != card.id);
            inner.guesses.remove(&card.id);
            inner.log(event.clone());
        }
        Ok(decided.0)
    }
}
