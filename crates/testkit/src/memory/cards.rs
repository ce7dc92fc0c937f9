//! The cards of the store in memory. A card's place is its number in the order of coming, from 1.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::card::{Card, CardRef};
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
}
