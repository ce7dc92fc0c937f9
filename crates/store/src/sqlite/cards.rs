//! Cards: their lists, from one snapshot.

use std::sync::Arc;

use async_trait::async_trait;
use cardveil_core::port::{CardFilter, CardPage, Cards, Paging, Result};
use cardveil_core::vault::RowMacs;
use rusqlite::{Connection, Row, params_from_iter};

use super::{Sqlite, all};
use crate::card_list::{CardList, Way};
use crate::left_out::LeftOut;
use crate::sql::for_sqlite;
use crate::sql::question::Question;
use crate::sql::rows::{self, CARD};
use crate::sql::value::Row as _;

#[async_trait]
impl Cards for Sqlite {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        let list = CardList::new(filter, paging);
        let (left_out, macs) = (Arc::clone(&self.left_out), Arc::clone(&self.macs));
        self.lists
            .ask(move |connection| ask(connection, &list, (&left_out, &macs)))
            .await
    }
}

/// In one read transaction, so that cards and count are of one moment.
fn ask(
    connection: &Connection,
    list: &CardList,
    (left_out, macs): (&LeftOut, &RowMacs),
) -> rusqlite::Result<CardPage> {
    let snapshot = connection.unchecked_transaction()?;
    let count = list.paging().count.then(|| list.count());
    let count = count.map(|count| number(&snapshot, &count)).transpose()?;
    let way = match list.way() {
        Way::Begun if !list.are_few(number(&snapshot, &list.begun_count())?) => Way::Window,
        way @ (Way::Whole | Way::Window | Way::Begun) => way,
    };
    let page = match way {
        Way::Whole => list.page(),
        Way::Window => list.window(),
        Way::Begun => list.begun(),
    };
    let cards = rows_of(&snapshot, &page, |row| {
        let card = CARD.load(macs, row, 0, || rows::card(row));
        let card = row.keep(left_out, "card", card)?.flatten();
        Ok((rows::place_of_card(row)?, card))
    })?;
    let end = match way {
        Way::Window if cards.len() <= list.paging().limit => {
            match *rows_of(&snapshot, &list.window_end(), |row| row.get(0))? {
                [end, _] => Some(end),
                _ => None,
            }
        }
        Way::Whole | Way::Window | Way::Begun => None,
    };
    snapshot.finish()?;
    Ok(list.finish(cards, end, count))
}

fn rows_of<T>(
    connection: &Connection,
    asked: &Question,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let values = params_from_iter(&asked.values);
    all(connection, &for_sqlite(&asked.sql), values, read)
}

fn number(connection: &Connection, asked: &Question) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(&for_sqlite(&asked.sql))?
        .query_row(params_from_iter(&asked.values), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use cardveil_core::card::State;
    use cardveil_core::id::AccountId;
    use cardveil_core::port::Order;
    use cardveil_testkit::sample::{self, START};

    use super::*;

    fn plan(connection: &Connection, asked: &Question) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", for_sqlite(&asked.sql));
        let mut explained = connection.prepare(&sql).unwrap();
        let rows = explained.query_map(params_from_iter(&asked.values), |row| row.get(3));
        let steps: rusqlite::Result<Vec<String>> = rows.unwrap().collect();
        steps.unwrap().join("; ")
    }

    /// However many cards there are: a list reads the entries of one index that it shows, or may
    /// look at.
    #[test]
    fn lists_and_searches_are_found_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        let merchant = CardFilter {
            merchant: Some(sample::merchant(1).id),
            ..CardFilter::default()
        };
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let paging = Paging {
                order,
                after: Some(7),
                limit: 20,
                look_at: Some(100),
                ..Paging::default()
            };
            let list = |filter: CardFilter, paging| CardList::new(&filter, paging);
            let failed = CardFilter {
                states: vec![State::Failed],
                ..merchant.clone()
            };
            let account = CardFilter {
                account: Some(AccountId::parse("F1").unwrap()),
                ..failed.clone()
            };
            let search = CardFilter {
                begins: Some("Pet".to_owned()),
                ..failed.clone()
            };
            let range = CardFilter {
                created_from: Some(START),
                created_to: Some(START),
                ..merchant.clone()
            };
            let by_time = Paging {
                by_time: true,
                after: None,
                look_at: None,
                ..paging
            };
            for (asked, indexes) in [
                (
                    list(failed.clone(), paging).window(),
                    ["card_page", "card_page"],
                ),
                (
                    list(failed, paging).window_end(),
                    ["card_page", "card_page"],
                ),
                (
                    list(account, paging).window(),
                    ["card_account_page", "card_account_page"],
                ),
                (
                    list(search.clone(), paging).begun_count(),
                    ["card_label", "card_last_four"],
                ),
                (
                    list(search, paging).begun(),
                    ["card_label", "card_last_four"],
                ),
                (
                    list(range, by_time).page(),
                    ["card_created", "card_created"],
                ),
            ] {
                let plan = plan(&connection, &asked);
                for index in indexes {
                    assert!(
                        plan.contains(&format!("INDEX {index} (merchant=?")),
                        "{plan}"
                    );
                }
                assert!(!plan.contains("SCAN card"), "{plan}");
            }
        }
    }
}
