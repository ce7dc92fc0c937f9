//! What narrows a list, as SQL: of digital wallet tokens and of deliveries.

use cardveil_core::id::{AccountId, DeliveryId, DeviceId, MerchantId};
use cardveil_core::port::{DeliveryFilter, WalletFilter, WalletPage};
use serde::Serialize;

use super::rows::{SUBSCRIPTION, delivery_columns, listed_from};
use super::sql_count;
use super::value::{Name, Value};

/// A question and its parameters. Every value is one of these, so the text depends on which filters
/// are given and how many names they have, and few statements are ever prepared.
#[derive(Debug, Default)]
pub(crate) struct Question {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

impl Question {
    pub(crate) fn new(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            values: Vec::new(),
        }
    }

    /// Each `?` is the same value.
    fn and(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            let place = self.place(value.into());
            self.sql.push_str(" AND ");
            self.sql.push_str(&condition.replace('?', &place));
        }
    }

    /// The column is one of these names.
    fn and_one_of<T: Serialize>(&mut self, column: &str, variants: Option<&Vec<T>>) {
        if let Some(variants) = variants {
            if variants.is_empty() {
                self.sql.push_str(" AND false");
                return;
            }
            let places = variants.iter().map(|it| self.place(Name(it).into()));
            let places = places.collect::<Vec<_>>().join(", ");
            self.sql.extend([" AND ", column, " IN (", &places, ")"]);
        }
    }

    fn place(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn end(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }
}

/// How many digital wallet tokens match.
pub(crate) fn count_of_wallet_tokens(filter: &WalletFilter) -> Question {
    const SQL: &str = "SELECT count(*) FROM wallet_token \
                       JOIN card ON card.id = wallet_token.card WHERE true";
    wallet_tokens(SQL, filter)
}

/// A page of the digital wallet tokens that match, in the order in which they came.
pub(crate) fn page_of_wallet_tokens(filter: &WalletFilter, page: WalletPage) -> Question {
    let mut question = wallet_tokens(concat!("SELECT ", listed_from!(), " WHERE true"), filter);
    question.and(
        "wallet_token.seq > (SELECT seq FROM wallet_token WHERE id = ?)",
        page.after.map(|id| *id.as_bytes()),
    );
    let limit = question.place(sql_count(page.limit).into());
    let offset = question.place(sql_count(page.offset).into());
    question.end(&format!(
        " ORDER BY wallet_token.seq LIMIT {limit} OFFSET {offset}"
    ))
}

fn wallet_tokens(sql: &str, filter: &WalletFilter) -> Question {
    let mut question = Question::new(sql);
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
    question.and_one_of("card.last_four", last_fours.as_ref());
    question.and_one_of("wallet_token.state", states.as_ref());
    question.and_one_of("wallet_token.wallet", wallets.as_ref());
    question.and_one_of("wallet_token.device_type", device_types.as_ref());
    question
}

/// A merchant's subscriptions, or all, in the order in which they came.
pub(crate) fn subscriptions(merchant: Option<&MerchantId>) -> Question {
    let columns = SUBSCRIPTION.select();
    let mut question = Question::new(&format!("SELECT {columns} FROM subscription WHERE true"));
    question.and("merchant = ?", merchant.map(MerchantId::as_str));
    question.end(" ORDER BY seq")
}

/// Deliveries that match and come after a place.
pub(crate) fn deliveries(
    filter: &DeliveryFilter,
    after: Option<(i64, DeliveryId)>,
    limit: usize,
) -> Question {
    let mut question = Question::new(concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM delivery WHERE true"
    ));
    if let Some((seq, id)) = after {
        let seq = question.place(seq.into());
        let condition = format!("(delivery.seq, delivery.id) > ({seq}, ?)");
        question.and(&condition, Some(*id.as_bytes()));
    }
    let merchant = filter.merchant.as_ref().map(MerchantId::as_str);
    question.and("delivery.merchant = ?", merchant);
    let subscription = filter.subscription.map(|id| *id.as_bytes());
    question.and("delivery.subscription = ?", subscription);
    question.and("delivery.state = ?", filter.state);
    question.and("delivery.queued_at >= ?", filter.since);
    let limit = question.place(sql_count(limit).into());
    question.end(&format!(
        " ORDER BY delivery.seq, delivery.id LIMIT {limit}"
    ))
}
