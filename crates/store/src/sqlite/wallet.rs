//! Digital wallet tokens: their lookups, and their writes inside a batch.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::card::LastFour;
use cardveil_core::id::{AccountId, CardId, DeviceId, MerchantId, WalletTokenId};
use cardveil_core::port::rows::{Loaded, WalletRows};
use cardveil_core::port::{
    Error, ListedToken, Result as Stored, WalletFilter, WalletPage, WalletTokens,
};
use cardveil_core::wallet::{Census, Device, WalletToken};
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};

use super::rows::{self, Json, Name};
use super::writer::Batch;
use super::{Sqlite, all, first, keep, sql_count};
use crate::left_out::{FILLED_MOST, LeftOut};

/// The columns that [`token`] reads, first in a row.
macro_rules! token_columns {
    () => {
        "wallet_token.id, wallet_token.card, wallet_token.merchant, wallet_token.pan_index, \
         wallet_token.wallet, wallet_token.device_type, wallet_token.device_id, \
         wallet_token.state, wallet_token.fulfilment, wallet_token.created_at, \
         wallet_token.updated_at"
    };
}

/// The columns that [`listed`] reads, with the tables that they are of.
macro_rules! listed_from {
    () => {
        concat!(
            token_columns!(),
            ", card.label, card.last_four
             FROM wallet_token JOIN card ON card.id = wallet_token.card"
        )
    };
}

const CENSUS: &str = "SELECT count(*) FILTER (WHERE state IN ('ACTIVE', 'SUSPENDED')),
     count(*) FILTER (WHERE wallet = ?2 AND device_id = ?3
         AND state NOT IN ('TERMINATED', 'REQUEST_DECLINED'))
     FROM wallet_token WHERE pan_index = ?1";

fn token(row: &Row<'_>) -> rusqlite::Result<WalletToken> {
    Ok(WalletToken {
        id: WalletTokenId::from_bytes(row.get(0)?),
        card: CardId::from_bytes(row.get(1)?),
        merchant: rows::text(row, 2)?,
        pan_index: row.get(3)?,
        device: Device {
            wallet: rows::name(row, 4)?,
            device_type: rows::name(row, 5)?,
            device_id: rows::text(row, 6)?,
        },
        state: rows::name(row, 7)?,
        fulfilment: rows::name(row, 8)?,
        created_at: rows::time(row, 9)?,
        updated_at: rows::time(row, 10)?,
    })
}

fn listed(row: &Row<'_>) -> rusqlite::Result<ListedToken> {
    Ok(ListedToken {
        token: token(row)?,
        label: row.get(11)?,
        last_four: rows::name::<LastFour>(row, 12)?,
    })
}

fn census(row: &Row<'_>) -> rusqlite::Result<Census> {
    let on_device: i64 = row.get(1)?;
    Ok(Census {
        counted: row.get::<_, i64>(0)?.try_into().unwrap_or(usize::MAX),
        on_device: on_device > 0,
    })
}

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
            filter.last_fours.clone().map(Json),
        );
        narrowed.and(
            "wallet_token.state IN (SELECT value FROM json_each(:states))",
            ":states",
            filter.states.clone().map(Json),
        );
        narrowed.and(
            "wallet_token.wallet IN (SELECT value FROM json_each(:wallets))",
            ":wallets",
            filter.wallets.clone().map(Json),
        );
        narrowed.and(
            "wallet_token.device_type IN (SELECT value FROM json_each(:types))",
            ":types",
            filter.device_types.clone().map(Json),
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

impl WalletRows for Batch<'_> {
    fn wallet_token(&self, id: &WalletTokenId) -> Loaded<Option<WalletToken>> {
        const SQL: &str = concat!(
            "SELECT ",
            token_columns!(),
            " FROM wallet_token WHERE id = ?1"
        );
        Ok(self.first(SQL, [id.as_bytes()], token)?)
    }

    fn wallet_tokens_of(&self, card: CardId) -> Loaded<Vec<WalletToken>> {
        const SQL: &str = concat!(
            "SELECT ",
            token_columns!(),
            " FROM wallet_token WHERE card = ?1 ORDER BY seq"
        );
        Ok(self.all(SQL, [card.as_bytes()], token)?)
    }

    fn census(&self, pan_index: &[u8; 32], device: &Device) -> Loaded<Census> {
        let params = params![pan_index, Name(device.wallet), device.device_id.as_str()];
        Ok(self.first(CENSUS, params, census)?.unwrap_or_default())
    }

    fn add_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        let inserted = self.execute(
            "INSERT INTO wallet_token (id, card, merchant, pan_index, wallet, device_type,
                 device_id, state, fulfilment, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
            params![
                token.id.as_bytes(),
                token.card.as_bytes(),
                token.merchant.as_str(),
                token.pan_index,
                Name(token.device.wallet),
                Name(token.device.device_type),
                token.device.device_id.as_str(),
                Name(token.state),
                Name(token.fulfilment),
                token.created_at.millis(),
                token.updated_at.millis(),
            ],
        )?;
        if inserted == 0 {
            let twice = "a wallet token with this id exists";
            return Err(Error::Unavailable(twice.into()).into());
        }
        Ok(())
    }

    /// The columns that a step may change.
    fn save_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        self.execute(
            "UPDATE wallet_token SET state = ?2, fulfilment = ?3, updated_at = ?4 WHERE id = ?1",
            params![
                token.id.as_bytes(),
                Name(token.state),
                Name(token.fulfilment),
                token.updated_at.millis(),
            ],
        )?;
        Ok(())
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
        keep(left_out, "wallet_token", row, listed(row))
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
            .read(|connection| first(connection, SQL, params, listed))
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
        let params = params![pan_index, Name(device.wallet), device.device_id.as_str()];
        let counted = self
            .readers
            .read(|connection| first(connection, CENSUS, params, census))?;
        Ok(counted.unwrap_or_default())
    }
}
