//! Digital wallet tokens: their lookups, and their writes inside a batch.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use cardveil_core::id::{MerchantId, WalletTokenId};
use cardveil_core::port::{ListedToken, Result as Stored, WalletFilter, WalletPage, WalletTokens};
use cardveil_core::wallet::{Census, Device};
use rusqlite::{Connection, Row, params, params_from_iter};

use super::{Sqlite, all, first, keep};
use crate::left_out::{FILLED_MOST, LeftOut};
use crate::sql::for_sqlite;
use crate::sql::question::{Question, count_of_wallet_tokens, page_of_wallet_tokens};
use crate::sql::rows::{self, listed_from};
use crate::sql::value::{Name, values};

static CENSUS: LazyLock<String> = LazyLock::new(|| for_sqlite(rows::CENSUS));

/// Up to the page's limit: where tokens cannot be read, others come in their place.
fn page_of(
    connection: &Connection,
    filter: &WalletFilter,
    mut page: WalletPage,
    left_out: &LeftOut,
) -> rusqlite::Result<Vec<ListedToken>> {
    let wanted = page.limit;
    let mut found = Vec::new();
    for _ in 0..FILLED_MOST {
        page.limit = wanted.saturating_sub(found.len());
        let rows = piece_of(connection, filter, page, left_out)?;
        let is_last = rows.len() < page.limit;
        page.offset = page.offset.saturating_add(rows.len());
        found.extend(rows.into_iter().flatten());
        if is_last || found.len() >= wanted {
            break;
        }
    }
    Ok(found)
}

fn piece_of(
    connection: &Connection,
    filter: &WalletFilter,
    page: WalletPage,
    left_out: &LeftOut,
) -> rusqlite::Result<Vec<Option<ListedToken>>> {
    let question = page_of_wallet_tokens(filter, page);
    ask(connection, &question, |row| {
        keep(left_out, "wallet_token", row, rows::listed_token(row))
    })
}

/// What a question finds.
pub(super) fn ask<T>(
    connection: &Connection,
    question: &Question,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let values = params_from_iter(&question.values);
    all(connection, &for_sqlite(&question.sql), values, read)
}

#[async_trait]
impl WalletTokens for Sqlite {
    async fn wallet_token(
        &self,
        merchant: &MerchantId,
        id: &WalletTokenId,
    ) -> Stored<Option<ListedToken>> {
        const SQL: &str = concat!(
            "SELECT ",
            listed_from!(),
            " WHERE wallet_token.id = ?1 AND wallet_token.merchant = ?2"
        );
        let params = params![id.as_bytes(), merchant.as_str()];
        self.readers
            .read(|connection| first(connection, SQL, params, |row| rows::listed_token(row)))
    }

    async fn wallet_tokens(
        &self,
        filter: &WalletFilter,
        page: WalletPage,
    ) -> Stored<Vec<ListedToken>> {
        let (filter, left_out) = (filter.clone(), Arc::clone(&self.left_out));
        self.lists
            .ask(move |connection| page_of(connection, &filter, page, &left_out))
            .await
    }

    async fn wallet_tokens_count(&self, filter: &WalletFilter) -> Stored<usize> {
        let question = count_of_wallet_tokens(filter);
        let counted = self
            .lists
            .ask(move |connection| ask(connection, &question, |row| row.get::<_, i64>(0)));
        let counted = counted.await?.pop();
        Ok(counted.unwrap_or_default().try_into().unwrap_or(usize::MAX))
    }

    async fn wallet_census(&self, pan_index: &[u8; 32], device: &Device) -> Stored<Census> {
        let params = values![pan_index, Name(device.wallet), device.device_id.as_str()];
        let counted = self.readers.read(|connection| {
            first(connection, &CENSUS, params_from_iter(params), |row| {
                rows::census(row)
            })
        })?;
        Ok(counted.unwrap_or_default())
    }
}
