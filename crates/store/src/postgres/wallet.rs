//! Digital wallet tokens: their lookups, and their writes inside a batch.

use async_trait::async_trait;
use cardveil_core::card::LastFour;
use cardveil_core::id::{AccountId, CardId, DeviceId, MerchantId, WalletTokenId};
use cardveil_core::port::rows::{Loaded, WalletRows};
use cardveil_core::port::{
    Error, ListedToken, Result as Stored, WalletFilter, WalletPage, WalletTokens,
};
use cardveil_core::wallet::{Census, Device, WalletToken};

use super::batch::Batch;
use super::cards::{Question, name_array};
use super::fault::Fault;
use super::rows::{self};
use super::value::{Name, Row, Value, values};
use super::{Postgres, keep, sql_count};
use crate::left_out::FILLED_MOST;

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
     count(*) FILTER (WHERE wallet = $2 AND device_id = $3
         AND state NOT IN ('TERMINATED', 'REQUEST_DECLINED'))
     FROM wallet_token WHERE pan_index = $1";

fn token(row: &Row) -> Result<WalletToken, Fault> {
    Ok(WalletToken {
        id: WalletTokenId::from_bytes(row.get(0)?),
        card: CardId::from_bytes(row.get(1)?),
        merchant: rows::id(row, 2)?,
        pan_index: row.get(3)?,
        device: Device {
            wallet: rows::name(row, 4)?,
            device_type: rows::name(row, 5)?,
            device_id: rows::id(row, 6)?,
        },
        state: rows::name(row, 7)?,
        fulfilment: rows::name(row, 8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
    })
}

fn listed(row: &Row) -> Result<ListedToken, Fault> {
    Ok(ListedToken {
        token: token(row)?,
        label: row.get(11)?,
        last_four: rows::name::<LastFour>(row, 12)?,
    })
}

fn census(row: &Row) -> Result<Census, Fault> {
    let on_device: i64 = row.get(1)?;
    Ok(Census {
        counted: row.get::<i64>(0)?.try_into().unwrap_or(usize::MAX),
        on_device: on_device > 0,
    })
}

/// What narrows a list.
fn narrowed(filter: &WalletFilter) -> Question {
    let mut question = Question::default();
    let WalletFilter {
        merchant,
        account,
        person,
        card,
        last_fours,
        states,
        wallets,
        device_types,
        device_id,
    } = filter;
    let merchant = merchant.as_ref().map(MerchantId::as_str);
    question.and("wallet_token.merchant = ?", merchant);
    question.and("card.account = ?", account.as_ref().map(AccountId::as_str));
    question.and("card.person = ?", person.map(|id| *id.as_bytes()));
    question.and("wallet_token.card = ?", card.map(|id| *id.as_bytes()));
    let device = device_id.as_ref().map(DeviceId::as_str);
    question.and("wallet_token.device_id = ?", device);
    let last_fours = last_fours.as_deref().map(name_array);
    question.and("card.last_four = ANY (?)", last_fours);
    let states = states.as_deref().map(name_array);
    question.and("wallet_token.state = ANY (?)", states);
    let wallets = wallets.as_deref().map(name_array);
    question.and("wallet_token.wallet = ANY (?)", wallets);
    let types = device_types.as_deref().map(name_array);
    question.and("wallet_token.device_type = ANY (?)", types);
    question
}

impl WalletRows for Batch<'_> {
    fn wallet_token(&self, id: &WalletTokenId) -> Loaded<Option<WalletToken>> {
        const SQL: &str = concat!(
            "SELECT ",
            token_columns!(),
            " FROM wallet_token WHERE id = $1 FOR UPDATE"
        );
        Ok(self.first(SQL, values![id.as_bytes()], token)?)
    }

    fn wallet_tokens_of(&self, card: CardId) -> Loaded<Vec<WalletToken>> {
        const SQL: &str = concat!(
            "SELECT ",
            token_columns!(),
            " FROM wallet_token WHERE card = $1 ORDER BY seq FOR UPDATE"
        );
        Ok(self.all(SQL, values![card.as_bytes()], token)?)
    }

    fn census(&self, pan_index: &[u8; 32], device: &Device) -> Loaded<Census> {
        self.guard(&[b"census", pan_index])?;
        let counted = self.first(CENSUS, census_values(pan_index, device), census)?;
        Ok(counted.unwrap_or_default())
    }

    fn add_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        let inserted = self.execute(
            "INSERT INTO wallet_token (id, card, merchant, pan_index, wallet, device_type,
                 device_id, state, fulfilment, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
            values![
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
        Ok(self.send(
            "UPDATE wallet_token SET state = $2, fulfilment = $3, updated_at = $4 WHERE id = $1",
            values![
                token.id.as_bytes(),
                Name(token.state),
                Name(token.fulfilment),
                token.updated_at.millis(),
            ],
        )?)
    }
}

fn census_values(pan_index: &[u8; 32], device: &Device) -> [Value; 3] {
    values![pan_index, Name(device.wallet), device.device_id.as_str()]
}

fn page_sql(question: &mut Question, page: WalletPage) -> String {
    question.and(
        "wallet_token.seq > (SELECT seq FROM wallet_token WHERE id = ?)",
        page.after.map(|id| *id.as_bytes()),
    );
    format!(
        concat!(
            "SELECT ",
            listed_from!(),
            " WHERE true{} ORDER BY wallet_token.seq LIMIT {} OFFSET {}"
        ),
        question.condition(),
        sql_count(page.limit),
        sql_count(page.offset)
    )
}

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
        self.readers.first(SQL, &values, listed).await
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
            let mut question = narrowed(filter);
            let sql = page_sql(&mut question, page);
            let kept = |row: &Row| keep(&self.left_out, "wallet_token", row, listed(row));
            let rows = self.lists.all(&sql, question.values(), kept).await?;
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
        const SQL: &str = "SELECT count(*) FROM wallet_token \
                           JOIN card ON card.id = wallet_token.card WHERE true";
        let question = narrowed(filter);
        let sql = format!("{SQL}{}", question.condition());
        let counted = self
            .lists
            .first(&sql, question.values(), |row| row.get::<i64>(0))
            .await?;
        Ok(counted.unwrap_or_default().try_into().unwrap_or(usize::MAX))
    }

    async fn wallet_census(&self, pan_index: &[u8; 32], device: &Device) -> Stored<Census> {
        let values = census_values(pan_index, device);
        let counted = self.readers.first(CENSUS, &values, census).await?;
        Ok(counted.unwrap_or_default())
    }
}
