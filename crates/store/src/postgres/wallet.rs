//! Digital wallet tokens: their lookups, and their writes inside a batch.

use async_trait::async_trait;
use cardveil_core::id::{AccountId, DeviceId, MerchantId, WalletTokenId};
use cardveil_core::port::{ListedToken, Result as Stored, WalletFilter, WalletPage, WalletTokens};
use cardveil_core::wallet::{Census, Device};

use super::cards::{Question, name_array};
use super::row::Row;
use super::{Postgres, keep};
use crate::left_out::FILLED_MOST;
use crate::sql::rows::{self, listed_from};
use crate::sql::sql_count;
use crate::sql::value::{Name, Row as _, values};

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
            let mut question = narrowed(filter);
            let sql = page_sql(&mut question, page);
            let kept =
                |row: &Row| keep(&self.left_out, "wallet_token", row, rows::listed_token(row));
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
        let values = values![pan_index, Name(device.wallet), device.device_id.as_str()];
        let counted = self
            .readers
            .first(rows::CENSUS, &values, rows::census)
            .await?;
        Ok(counted.unwrap_or_default())
    }
}
