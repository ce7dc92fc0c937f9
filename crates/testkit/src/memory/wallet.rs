//! Digital wallet tokens in memory.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::card::{Card, PanIndexes};
use cardveil_core::id::{MerchantId, WalletTokenId};
use cardveil_core::port::{ListedToken, Result, WalletFilter, WalletPage, WalletTokens};
use cardveil_core::wallet::{Census, Device, WalletToken};

impl Inner {
    pub(super) fn census(&self, indexes: &PanIndexes, device: &Device) -> Census {
        let of_number = || {
            self.wallet_tokens
                .iter()
                .filter(|token| indexes.has(&token.pan_index))
        };
        Census {
            counted: of_number().filter(|token| token.state.counts()).count(),
            on_device: of_number().any(|token| {
                !token.state.is_final()
                    && token.device.wallet == device.wallet
                    && token.device.device_id == device.device_id
            }),
        }
    }

    fn listed(&self, token: &WalletToken) -> Option<(&Card, ListedToken)> {
        let card = self.cards.iter().find(|card| card.id == token.card)?;
        let listed = ListedToken {
            token: token.clone(),
            label: card.label.clone(),
            last_four: card.last_four,
        };
        Some((card, listed))
    }

    fn matching(&self, filter: &WalletFilter) -> Vec<ListedToken> {
        self.wallet_tokens
            .iter()
            .filter_map(|token| self.listed(token))
            .filter(|(card, listed)| matches(filter, card, &listed.token))
            .map(|(_, listed)| listed)
            .collect()
    }
}

fn matches(filter: &WalletFilter, card: &Card, token: &WalletToken) -> bool {
    fn is<T: PartialEq>(wanted: Option<&T>, value: &T) -> bool {
        wanted.is_none_or(|wanted| wanted == value)
    }
    fn among<T: PartialEq>(wanted: Option<&Vec<T>>, value: &T) -> bool {
        wanted.is_none_or(|wanted| wanted.contains(value))
    }
    is(filter.merchant.as_ref(), &token.merchant)
        && is(filter.account.as_ref(), &card.account)
        && is(filter.person.as_ref(), &card.person)
        && is(filter.card.as_ref(), &token.card)
        && among(filter.last_fours.as_ref(), &card.last_four)
        && among(filter.states.as_ref(), &token.state)
        && among(filter.wallets.as_ref(), &token.device.wallet)
        && among(filter.device_types.as_ref(), &token.device.device_type)
        && is(filter.device_id.as_ref(), &token.device.device_id)
}

#[async_trait]
impl WalletTokens for Memory {
    async fn wallet_token(
        &self,
        merchant: &MerchantId,
        id: &WalletTokenId,
    ) -> Result<Option<ListedToken>> {
        let inner = self.inner();
        let found = inner
            .wallet_tokens
            .iter()
            .find(|token| token.id == *id && token.merchant == *merchant);
        Ok(found
            .and_then(|token| inner.listed(token))
            .map(|(_, listed)| listed))
    }

    async fn wallet_tokens(
        &self,
        filter: &WalletFilter,
        page: WalletPage,
    ) -> Result<Vec<ListedToken>> {
        let inner = self.inner();
        let start = match page.after {
            None => Some(0),
            Some(after) => inner
                .wallet_tokens
                .iter()
                .position(|token| token.id == after)
                .map(|place| place + 1),
        };
        let Some(start) = start else {
            return Ok(vec![]);
        };
        let later: Vec<_> = inner
            .wallet_tokens
            .iter()
            .skip(start)
            .map(|token| token.id)
            .collect();
        let mut matching = inner.matching(filter);
        matching.retain(|listed| later.contains(&listed.token.id));
        Ok(matching
            .into_iter()
            .skip(page.offset)
            .take(page.limit)
            .collect())
    }

    async fn wallet_tokens_count(&self, filter: &WalletFilter) -> Result<usize> {
        Ok(self.inner().matching(filter).len())
    }

    async fn wallet_census(&self, indexes: &PanIndexes, device: &Device) -> Result<Census> {
        Ok(self.inner().census(indexes, device))
    }
}
