//! Cards: their lists, from one snapshot, and their rows, inside a batch.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use cardveil_core::card::{Card, CardRef, Guesses, State};
use cardveil_core::id::{CardId, MerchantId};
use cardveil_core::port::rows::{CardRows, Loaded};
use cardveil_core::port::{CardFilter, CardPage, Cards, Paging, Result};
use rusqlite::{Connection, params, params_from_iter};

use super::writer::Batch;
use super::{Sqlite, keep, wallet};
use crate::card_list::{CardList, Way};
use crate::left_out::LeftOut;
use crate::sql::question::Question;
use crate::sql::rows::{self, CARD, CARD_COLUMNS};
use crate::sql::table::Statement;
use crate::sql::value::{Json, Name, Row as _, Value};
use crate::sql::{Loads, for_sqlite};

#[async_trait]
impl Cards for Sqlite {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        let list = CardList::new(filter, paging);
        let left_out = Arc::clone(&self.left_out);
        self.lists
            .ask(move |connection| ask(connection, &list, &left_out))
            .await
    }
}

pub(super) static BY_NO: Statement = Statement::new(|| {
    format!(
        "SELECT {} FROM card WHERE merchant = ?1 AND no = ?2",
        *CARD_COLUMNS
    )
});
pub(super) static BY_ID: Statement = Statement::new(|| {
    format!(
        "SELECT {} FROM card WHERE id = ?2 AND merchant = ?1",
        *CARD_COLUMNS
    )
});

impl CardRows for Loads<'_, Batch<'_>> {
    fn card(&self, merchant: &MerchantId, card: &CardRef) -> Loaded<Option<Card>> {
        let merchant = merchant.as_str();
        Ok(match card {
            CardRef::No(no) => self.0.first(&BY_NO, params![merchant, no.as_str()], |row| {
                rows::card(row)
            }),
            CardRef::Id(id) => self
                .0
                .first(&BY_ID, params![merchant, id.as_bytes()], |row| {
                    rows::card(row)
                }),
        }?)
    }

    fn card_state(&self, merchant: &MerchantId, card: CardId) -> Loaded<Option<State>> {
        Ok(self.0.first(
            "SELECT state FROM card WHERE id = ?1 AND merchant = ?2",
            params![card.as_bytes(), merchant.as_str()],
            |row| row.name(0),
        )?)
    }

    /// The columns that a decision may change.
    fn save_card(&self, card: &Card) -> Loaded<()> {
        let pin = card.sealed.pin.as_ref();
        self.0.execute(
            "UPDATE card SET state = ?2, label = ?3, updated_at = ?4, pin_dek = ?5, pin = ?6
             WHERE id = ?1",
            params![
                card.id.as_bytes(),
                Value::from(Name(card.state)),
                card.label,
                card.updated_at.millis(),
                pin.map(|pin| &pin.dek),
                pin.map(|pin| &pin.pin),
            ],
        )?;
        Ok(())
    }

    /// The page that a row was in is written anyway, and then the row's bytes are zeroes
    /// (`secure_delete`).
    fn delete_card(&self, card: CardId) -> Loaded<()> {
        // A place that was given is not given again, though its row is gone.
        self.0.execute(
            "UPDATE meta SET last_card = (SELECT coalesce(max(seq), 0) FROM card)
             WHERE last_card < (SELECT coalesce(max(seq), 0) FROM card)",
            [],
        )?;
        for sql in [
            "DELETE FROM wallet_token WHERE card = ?1",
            "DELETE FROM card_guess WHERE card = ?1",
            "DELETE FROM card WHERE id = ?1",
        ] {
            self.0.execute(sql, [card.as_bytes()])?;
        }
        Ok(())
    }

    fn guesses(&self, card: CardId) -> Loaded<Guesses> {
        let kept = self.0.first(
            "SELECT at FROM card_guess WHERE card = ?1",
            [card.as_bytes()],
            |row| row.json(0),
        )?;
        Ok(kept.unwrap_or_default())
    }

    fn save_guesses(&self, card: CardId, guesses: &Guesses) -> Loaded<()> {
        if guesses.is_empty() {
            self.0
                .execute("DELETE FROM card_guess WHERE card = ?1", [card.as_bytes()])?;
        } else {
            self.0.execute(
                "INSERT OR REPLACE INTO card_guess (card, at) VALUES (?1, ?2)",
                params![card.as_bytes(), Value::from(Json(guesses))],
            )?;
        }
        Ok(())
    }

    fn card_of_any_merchant(&self, id: CardId) -> Loaded<Option<Card>> {
        static SQL: Statement =
            Statement::new(|| format!("SELECT {} FROM card WHERE id = ?1", *CARD_COLUMNS));
        Ok(self.0.first(&SQL, [id.as_bytes()], |row| rows::card(row))?)
    }

    fn add_cards(&self, cards: &[&Card]) -> Loaded<Vec<bool>> {
        static ADD: LazyLock<String> = LazyLock::new(|| {
            let insert = CARD.insert_with(&[(
                "seq",
                "(SELECT max(last_card, (SELECT coalesce(max(seq), 0) FROM card)) + 1 FROM meta)",
            )]);
            for_sqlite(&insert)
        });
        let added = cards.iter().map(|card| {
            let values = CARD.values(card);
            let added = self.0.execute(&ADD, params_from_iter(values))?;
            Ok(added > 0)
        });
        added.collect()
    }
}

/// In one read transaction, so that cards and count are of one moment.
fn ask(connection: &Connection, list: &CardList, left_out: &LeftOut) -> rusqlite::Result<CardPage> {
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
    let cards = wallet::ask(&snapshot, &page, |row| {
        let card = keep(left_out, "card", row, rows::card(row))?;
        Ok((rows::place_of_card(row)?, card))
    })?;
    let end = match way {
        Way::Window if cards.len() <= list.paging().limit => {
            match *wallet::ask(&snapshot, &list.window_end(), |row| row.get(0))? {
                [end, _] => Some(end),
                _ => None,
            }
        }
        Way::Whole | Way::Window | Way::Begun => None,
    };
    snapshot.finish()?;
    Ok(list.finish(cards, end, count))
}

fn number(connection: &Connection, asked: &Question) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(&for_sqlite(&asked.sql))?
        .query_row(params_from_iter(&asked.values), |row| row.get(0))
}

#[cfg(test)]
mod tests {
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
