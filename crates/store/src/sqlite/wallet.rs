//! Digital wallet tokens: their lookups, and their writes inside a batch.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use cardveil_core::id::{AccountId, DeviceId, MerchantId, WalletTokenId};
use cardveil_core::port::{ListedToken, Result as Stored, WalletFilter, WalletPage, WalletTokens};
use cardveil_core::wallet::{Census, Device};
use rusqlite::types::ToSql;
use rusqlite::{Connection, params, params_from_iter};

use super::{Sqlite, all, first, keep};
use crate::left_out::{FILLED_MOST, LeftOut};
use crate::sql::rows::{self, listed_from};
use crate::sql::value::{Json, Name, Value, values};
use crate::sql::{for_sqlite, sql_count};

static CENSUS: LazyLock<String> = LazyLock::new(|| for_sqlite(rows::CENSUS));

/// What narrows a list, as SQL with its parameters.
#[derive(Default)]
struct Narrowed {
    sql: String,
    params: Vec<(&'static str, Box<dyn ToSql + Send>)>,
}

impl Narrowed {
    fn by(filter: &WalletFilter) -> Self {
        let mut narrowed = Self::default();
        let text = |text: &str| text.to_owned();
        let merchant = filter.merchant.as_ref().map(MerchantId::as_str).map(text);
        narrowed.and("wallet_token.merchant = :merchant", ":merchant", merchant);
        let account = filter.account.as_ref().map(AccountId::as_str).map(text);
        narrowed.and("card.account = :account", ":account", account);
        let person = filter.person.map(|id| *id.as_bytes());
        narrowed.and("card.person = :person", ":person", person);
        let card = filter.card.map(|id| *id.as_bytes());
        narrowed.and("wallet_token.card = :card", ":card", card);
        let device = filter.device_id.as_ref().map(DeviceId::as_str).map(text);
        narrowed.and("wallet_token.device_id = :device", ":device", device);
        narrowed.and(
            "card.last_four IN (SELECT value FROM json_each(:last_fours))",
            ":last_fours",
            filter.last_fours.as_ref().map(Json).map(Value::from),
        );
        narrowed.and(
            "wallet_token.state IN (SELECT value FROM json_each(:states))",
            ":states",
            filter.states.as_ref().map(Json).map(Value::from),
        );
        narrowed.and(
            "wallet_token.wallet IN (SELECT value FROM json_each(:wallets))",
            ":wallets",
            filter.wallets.as_ref().map(Json).map(Value::from),
        );
        narrowed.and(
            "wallet_token.device_type IN (SELECT value FROM json_each(:types))",
            ":types",
            filter.device_types.as_ref().map(Json).map(Value::from),
        );
        narrowed
    }

    fn and<T: ToSql + Send + 'static>(
        &mut self,
        condition: &str,
        name: &'static str,
        value: Option<T>,
    ) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(condition);
            self.params.push((name, Box::new(value)));
        }
    }

    fn params(&self) -> Vec<(&str, &dyn ToSql)> {
        self.params
            .iter()
            .map(|(name, value)| (*name, &**value as &dyn ToSql))
            .collect()
    }
}

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
        let rows = piece_of(connection, filter, &page, left_out)?;
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
    page: &WalletPage,
    left_out: &LeftOut,
) -> rusqlite::Result<Vec<Option<ListedToken>>> {
    let narrowed = Narrowed::by(filter);
    let mut sql = concat!("SELECT ", listed_from!(), " WHERE true").to_owned();
    sql.push_str(&narrowed.sql);
    let mut params = narrowed.params();
    let after = page.after.map(|id| *id.as_bytes());
    if after.is_some() {
        sql.push_str(" AND wallet_token.seq > (SELECT seq FROM wallet_token WHERE id = :after)");
        params.push((":after", &after));
    }
    sql.push_str(" ORDER BY wallet_token.seq LIMIT :limit OFFSET :offset");
    let (limit, offset) = (sql_count(page.limit), sql_count(page.offset));
    params.push((":limit", &limit));
    params.push((":offset", &offset));
    all(connection, &sql, params.as_slice(), |row| {
        keep(left_out, "wallet_token", row, rows::listed_token(row))
    })
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
        const SQL: &str = "SELECT count(*) FROM wallet_token \
                           JOIN card ON card.id = wallet_token.card WHERE true";
        let narrowed = Narrowed::by(filter);
        let counted = self.lists.ask(move |connection| {
            let sql = format!("{SQL}{}", narrowed.sql);
            first(connection, &sql, narrowed.params().as_slice(), |row| {
                row.get::<_, i64>(0)
            })
        });
        let counted = counted.await?;
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
