//! Cards: their lists, from one snapshot, and their rows, inside a batch.

use std::collections::BTreeSet;

use async_trait::async_trait;
use cardveil_core::card::{Card, CardRef, Guesses, State};
use cardveil_core::id::{CardId, MerchantId};
use cardveil_core::port::rows::{CardRows, Loaded};
use cardveil_core::port::{CardFilter, CardPage, Cards, Paging, Result};

use super::batch::Batch;
use super::fault::Fault;
use super::readers::Lent;
use super::row::Row;
use super::{Postgres, keep};
use crate::card_list::{CardList, Way};
use crate::left_out::LeftOut;
use crate::sql::Loads;
use crate::sql::question::Question;
use crate::sql::rows::{self, CARD, CARD_COLUMNS};
use crate::sql::table::Statement;
use crate::sql::value::{Json, Name, Row as _, columns, values};

type Outcome<T> = std::result::Result<T, Fault>;

#[async_trait]
impl Cards for Postgres {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        let list = CardList::new(filter, paging);
        let lent = self.lists.begin().await?;
        let found = ask(&lent, &list, &self.left_out).await;
        self.lists.end(lent, found).await
    }
}

pub(super) static BY_NO: Statement = Statement::new(|| {
    format!(
        "SELECT {}, wanted.place
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (merchant, no, place)
         CROSS JOIN LATERAL
         (SELECT * FROM card WHERE merchant = wanted.merchant AND no = wanted.no LIMIT 1) AS card",
        *CARD_COLUMNS
    )
});
pub(super) static BY_ID: Statement = Statement::new(|| {
    format!(
        "SELECT {}, wanted.place
     FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS wanted (merchant, id, place)
         CROSS JOIN LATERAL
         (SELECT * FROM card WHERE id = wanted.id AND merchant = wanted.merchant LIMIT 1) AS card",
        *CARD_COLUMNS
    )
});
static HOLD_BY_NO: Statement = Statement::new(|| {
    format!(
        "SELECT {} FROM card WHERE merchant = $1 AND no = $2 FOR UPDATE",
        *CARD_COLUMNS
    )
});
static HOLD_BY_ID: Statement = Statement::new(|| {
    format!(
        "SELECT {} FROM card WHERE merchant = $1 AND id = $2 FOR UPDATE",
        *CARD_COLUMNS
    )
});

/// One lookup by the index for each, in the order in which they are named.
const HOLD_STATES: &str = "SELECT card.id, card.merchant, card.state
     FROM unnest($1::bytea[]) AS wanted (id) CROSS JOIN LATERAL
         (SELECT * FROM card WHERE id = wanted.id FOR UPDATE) AS card";

/// What is decided on of a card that is held: as it is in this transaction.
pub(super) struct Held {
    merchant: MerchantId,
    state: State,
}

impl CardRows for Loads<'_, Batch<'_>> {
    /// Held until the commit, as all cards here are.
    fn card(&self, merchant: &MerchantId, card: &CardRef) -> Loaded<Option<Card>> {
        let merchant = merchant.as_str();
        Ok(match card {
            CardRef::No(no) => {
                self.0
                    .first(&HOLD_BY_NO, values![merchant, no.as_str()], rows::card)
            }
            CardRef::Id(id) => {
                self.0
                    .first(&HOLD_BY_ID, values![merchant, id.as_bytes()], rows::card)
            }
        }?)
    }

    fn card_state(&self, merchant: &MerchantId, card: CardId) -> Loaded<Option<State>> {
        if !self.0.card_states.borrow().contains_key(&card) {
            hold_states(self.0, [card].into_iter())?;
        }
        let states = self.0.card_states.borrow();
        let found = states.get(&card).filter(|held| held.merchant == *merchant);
        Ok(found.map(|held| held.state))
    }

    /// The columns that a decision may change.
    fn save_card(&self, card: &Card) -> Loaded<()> {
        let pin = card.sealed.pin.as_ref();
        self.0.send(
            "UPDATE card SET state = $2, label = $3, updated_at = $4, pin_dek = $5, pin = $6
             WHERE id = $1",
            values![
                card.id.as_bytes(),
                Name(card.state),
                &card.label,
                card.updated_at.millis(),
                pin.map(|pin| &pin.dek),
                pin.map(|pin| &pin.pin),
            ],
        )?;
        if let Some(held) = self.0.card_states.borrow_mut().get_mut(&card.id) {
            held.state = card.state;
        }
        Ok(())
    }

    fn delete_card(&self, card: CardId) -> Loaded<()> {
        for sql in [
            "DELETE FROM wallet_token WHERE card = $1",
            "DELETE FROM card_guess WHERE card = $1",
            "DELETE FROM card WHERE id = $1",
        ] {
            self.0.execute(sql, values![card.as_bytes()])?;
        }
        Ok(())
    }

    fn guesses(&self, card: CardId) -> Loaded<Guesses> {
        let kept = self.0.first(
            "SELECT at FROM card_guess WHERE card = $1",
            values![card.as_bytes()],
            |row| row.get(0).map(|Json(guesses)| guesses),
        )?;
        Ok(kept.unwrap_or_default())
    }

    fn save_guesses(&self, card: CardId, guesses: &Guesses) -> Loaded<()> {
        if guesses.is_empty() {
            let card = values![card.as_bytes()];
            self.0
                .execute("DELETE FROM card_guess WHERE card = $1", card)?;
        } else {
            self.0.execute(
                "INSERT INTO card_guess (card, at) VALUES ($1, $2)
                 ON CONFLICT (card) DO UPDATE SET at = excluded.at",
                values![card.as_bytes(), Json(guesses)],
            )?;
        }
        Ok(())
    }

    fn card_of_any_merchant(&self, id: CardId) -> Loaded<Option<Card>> {
        static SQL: Statement = Statement::new(|| {
            format!(
                "SELECT {} FROM card WHERE id = $1 FOR UPDATE",
                *CARD_COLUMNS
            )
        });
        Ok(self.0.first(&SQL, values![id.as_bytes()], rows::card)?)
    }

    fn add_cards(&self, cards: &[&Card]) -> Loaded<Vec<bool>> {
        if cards.is_empty() {
            return Ok(Vec::new());
        }
        let rows = cards.iter().map(|card| CARD.values(card)).collect();
        let ids = self
            .0
            .all(ADD_CARDS, columns(rows), |row| row.get::<[u8; 16]>(0))?;
        let mut added: BTreeSet<_> = ids.into_iter().collect();
        let is_added = cards.iter().map(|card| added.remove(card.id.as_bytes()));
        Ok(is_added.collect())
    }
}

/// Holds these cards until the commit, for [`CardRows::card_state`].
pub(super) fn hold_states(batch: &Batch<'_>, cards: impl Iterator<Item = CardId>) -> Outcome<()> {
    // Each once, and all batches in the same order.
    let cards: BTreeSet<_> = cards.map(|card| *card.as_bytes()).collect();
    let held = batch.all(HOLD_STATES, [cards.into_iter().collect()], |row| {
        let held = Held {
            merchant: row.text(1)?,
            state: row.name(2)?,
        };
        Ok((CardId::from_bytes(row.get(0)?), held))
    })?;
    batch.card_states.borrow_mut().extend(held);
    Ok(())
}

const ADD_CARDS: &str = "INSERT INTO card (id, no, merchant, account, person, kind, state, network,
         last_four, label, dek, pan, expiry, name, cvv_dek, cvv, pan_index, created_at, updated_at,
         product, unique_no, holder_no, pin_dek, pin)
     SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[],
         $7::text[], $8::text[], $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::bytea[],
         $14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[], $18::bigint[], $19::bigint[],
         $20::text[], $21::text[], $22::text[], $23::bytea[], $24::bytea[])
     ON CONFLICT DO NOTHING RETURNING id";

async fn ask(lent: &Lent<'_>, list: &CardList, left_out: &LeftOut) -> Outcome<CardPage> {
    let count = if list.paging().count {
        Some(number(lent, list.count()).await?)
    } else {
        None
    };
    let way = match list.way() {
        Way::Begun if !list.are_few(number(lent, list.begun_count()).await?) => Way::Window,
        way @ (Way::Whole | Way::Window | Way::Begun) => way,
    };
    let page = match way {
        Way::Whole => list.page(),
        Way::Window => list.window(),
        Way::Begun => list.begun(),
    };
    let cards = rows_of(lent, page, |row| {
        let card = keep(left_out, "card", row, rows::card(row))?;
        Ok((rows::place_of_card(row)?, card))
    });
    let cards = cards.await?;
    let end = match way {
        Way::Window if cards.len() <= list.paging().limit => {
            match *rows_of(lent, list.window_end(), |row| row.get(0)).await? {
                [end, _] => Some(end),
                _ => None,
            }
        }
        Way::Whole | Way::Window | Way::Begun => None,
    };
    Ok(list.finish(cards, end, count))
}

async fn number(lent: &Lent<'_>, asked: Question) -> Outcome<i64> {
    let found = rows_of(lent, asked, |row| row.get(0)).await?;
    Ok(found.first().copied().unwrap_or_default())
}

async fn rows_of<T>(
    lent: &Lent<'_>,
    asked: Question,
    read: impl Fn(&Row) -> Outcome<T>,
) -> Outcome<Vec<T>> {
    let rows = lent.link()?.query(&asked.sql, &asked.values).await?;
    rows.iter().map(read).collect()
}
