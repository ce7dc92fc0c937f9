//! Digital wallet tokens: their lookups, and their writes inside a batch.

use async_trait::async_trait;
use cardveil_core::id::{MerchantId, WalletTokenId};
use cardveil_core::port::{ListedToken, Result as Stored, WalletFilter, WalletPage, WalletTokens};
use cardveil_core::wallet::{Census, Device};

use super::row::Row;
use super::{Postgres, keep};
use crate::left_out::FILLED_MOST;
use crate::sql::question::{count_of_wallet_tokens, page_of_wallet_tokens};
use crate::sql::rows::{self, listed_from};
use crate::sql::value::{Name, Row as _, values};

#[async_trait]
impl WalletTokens for Postgres {
    async fn wallet_token(
        &self,
        merchant: &MerchantId,
        id: &WalletTokenId,
    ) -> Stored<Option<ListedToken>> {
        const SQL: &str = concat!(
            "SELECT ",
            listed_from!(),
            " WHERE wallet_token.id = $1 AND wallet_token.merchant = $2"
        );
        let values = values![id.as_bytes(), merchant.as_str()];
        self.readers.first(SQL, &values, rows::listed_token).await
    }

    async fn wallet_tokens(
        &self,
        filter: &WalletFilter,
        page: WalletPage,
    ) -> Stored<Vec<ListedToken>> {
        // Up to the page's limit: where tokens cannot be read, others come in their place.
        let (wanted, mut page) = (page.limit, page);
        let mut found = Vec::new();
        for _ in 0..FILLED_MOST {
            page.limit = wanted.saturating_sub(found.len());
            let question = page_of_wallet_tokens(filter, page);
            let kept =
                |row: &Row| keep(&self.left_out, "wallet_token", row, rows::listed_token(row));
            let rows = self
                .lists
                .all(&question.sql, &question.values, kept)
                .await?;
            let is_last = rows.len() < page.limit;
            page.offset = page.offset.saturating_add(rows.len());
            found.extend(rows.into_iter().flatten());
            if is_last || found.len() >= wanted {
                break;
            }
        }
        Ok(found)
    }

    async fn wallet_tokens_count(&self, filter: &WalletFilter) -> Stored<usize> {
        let question = count_of_wallet_tokens(filter);
        let counted = self
            .lists
            .first(&question.sql, &question.values, |row| row.get::<i64>(0))
            .await?;
        Ok(counted.unwrap_or_default().try_into().unwrap_or(usize::MAX))
    }

    async fn wallet_census(&self, pan_index: &[u8; 32], device: &Device) -> Stored<Census> {
        let values = values![pan_index, Name(device.wallet), device.device_id.as_str()];
        let counted = self
            .readers
            .first(rows::CENSUS, &values, rows::census)
            .await?;
        Ok(counted.unwrap_or_default())
    }
}
