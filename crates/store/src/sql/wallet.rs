//! Digital wallet tokens.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::card::PanIndexes;
use cardveil_core::id::{CardId, MerchantId, WalletTokenId};
use cardveil_core::port::rows::{Loaded, WalletRows};
use cardveil_core::port::{Error, ListedToken, Result, WalletFilter, WalletPage, WalletTokens};
use cardveil_core::wallet::{Census, Device, WalletToken};

use super::lookups::Lookups;
use super::question::{count_of_wallet_tokens, page_of_wallet_tokens};
use super::rows::{self, CENSUS, WALLET_TOKEN, listed_from};
use super::table::Statement;
use super::value::{Name, Row as _, Value, values};
use super::{Loads, Sql};
use crate::Store;
use crate::left_out::FILLED_MOST;

impl<B: Sql> WalletRows for Loads<'_, B> {
    fn wallet_token(&self, id: &WalletTokenId) -> Loaded<Option<WalletToken>> {
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", WALLET_TOKEN.find()));
        self.first(&FIND, values![id.as_bytes()], |row| rows::wallet_token(row))
    }

    fn wallet_tokens_of(&self, card: CardId) -> Loaded<Vec<WalletToken>> {
        static ALL: Statement = Statement::new(|| {
            let columns = WALLET_TOKEN.select();
            format!("SELECT {columns} FROM wallet_token WHERE card = $1 ORDER BY seq FOR UPDATE")
        });
        self.all(&ALL, values![card.as_bytes()], |row| {
            rows::wallet_token(row)
        })
    }

    fn census(&self, indexes: &PanIndexes, device: &Device) -> Loaded<Census> {
        // By each: of two servers one may not know yet of the newest, or still of the one before.
        let PanIndexes([newest, before]) = indexes;
        self.guard(&[[&b"census"[..], newest], [&b"census"[..], before]])
            .map_err(Into::into)?;
        let counted = self.first(CENSUS, census_of(indexes, device), |row| rows::census(row))?;
        Ok(counted.unwrap_or_default())
    }

    fn add_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        static ADD: Statement = Statement::new(|| WALLET_TOKEN.add());
        if self.add(&ADD, WALLET_TOKEN.values(token))? {
            return Ok(());
        }
        let twice = "a wallet token with this id exists";
        Err(Error::Unavailable(twice.into()).into())
    }

    fn save_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| WALLET_TOKEN.save());
        self.send(&SAVE, WALLET_TOKEN.changes(WALLET_TOKEN.values(token)))
    }
}

#[async_trait]
impl<D: Lookups> WalletTokens for Store<D> {
    async fn wallet_token(
        &self,
        merchant: &MerchantId,
        id: &WalletTokenId,
    ) -> Result<Option<ListedToken>> {
        const SQL: &str = concat!(
            "SELECT ",
            listed_from!(),
            " WHERE wallet_token.id = $1 AND wallet_token.merchant = $2"
        );
        let key = values![id.as_bytes(), merchant.as_str()];
        self.first(SQL, key, |row| rows::listed_token(row)).await
    }

    /// Up to the page's limit: where tokens cannot be read, others come in their place.
    async fn wallet_tokens(
        &self,
        filter: &WalletFilter,
        mut page: WalletPage,
    ) -> Result<Vec<ListedToken>> {
        let wanted = page.limit;
        let mut found = Vec::new();
        for _ in 0..FILLED_MOST {
            page.limit = wanted.saturating_sub(found.len());
            let left_out = Arc::clone(self.0.left_out());
            let rows = self.ask(page_of_wallet_tokens(filter, page), move |row| {
                row.keep(&left_out, "wallet_token", rows::listed_token(row))
            });
            let rows = rows.await?;
            let is_last = rows.len() < page.limit;
            page.offset = page.offset.saturating_add(rows.len());
            found.extend(rows.into_iter().flatten());
            if is_last || found.len() >= wanted {
                break;
            }
        }
        Ok(found)
    }

    async fn wallet_tokens_count(&self, filter: &WalletFilter) -> Result<usize> {
        let counted = self.ask(count_of_wallet_tokens(filter), |row| row.get::<i64>(0));
        let counted = counted.await?.pop().unwrap_or_default();
        Ok(counted.try_into().unwrap_or(usize::MAX))
    }

    async fn wallet_census(&self, indexes: &PanIndexes, device: &Device) -> Result<Census> {
        let values = census_of(indexes, device);
        let counted = self.first(CENSUS, values, |row| rows::census(row)).await?;
        Ok(counted.unwrap_or_default())
    }
}

/// What [`CENSUS`] takes.
fn census_of(PanIndexes([newest, before]): &PanIndexes, device: &Device) -> [Value; 4] {
    let device_id = device.device_id.as_str();
    values![newest, before, Name(device.wallet), device_id]
}
