//! Cards: their lists, from one snapshot, and their states, held inside a batch.

use std::collections::BTreeSet;

use async_trait::async_trait;
use cardveil_core::card::State;
use cardveil_core::id::{CardId, MerchantId};
use cardveil_core::port::{CardFilter, CardPage, Cards, Paging, Result};
use cardveil_core::vault::RowMacs;

use super::Postgres;
use super::batch::Batch;
use super::fault::Fault;
use super::readers::Lent;
use super::row::Row;
use crate::card_list::{CardList, Way};
use crate::left_out::LeftOut;
use crate::sql::question::Question;
use crate::sql::rows::{self, CARD};
use crate::sql::table::Statement;
use crate::sql::value::Row as _;

type Outcome<T> = std::result::Result<T, Fault>;

#[async_trait]
impl Cards for Postgres {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        let list = CardList::new(filter, paging);
        let lent = self.lists.begin().await?;
        let found = ask(&lent, &list, (&self.left_out, &self.macs)).await;
        self.lists.end(lent, found).await
    }
}

/// One lookup by the index for each, in the order in which they are named.
static HOLD_STATES: Statement = Statement::new(|| {
    let columns = CARD.select();
    format!(
        "SELECT {columns} FROM unnest($1::bytea[]) AS wanted (id) CROSS JOIN LATERAL
             (SELECT * FROM card WHERE id = wanted.id FOR UPDATE) AS card"
    )
});

/// What is decided on of a card that is held: as it is in this transaction.
pub(super) struct Held {
    pub(super) merchant: MerchantId,
    pub(super) state: State,
}

/// Holds these cards until the commit, for the jobs that decide on their states.
pub(super) fn hold_states(batch: &Batch<'_>, cards: impl Iterator<Item = CardId>) -> Outcome<()> {
    // Each once, and all batches in the same order.
    let cards: BTreeSet<_> = cards.map(|card| *card.as_bytes()).collect();
    let held = batch.all(&HOLD_STATES, [cards.into_iter().collect()], |row| {
        let guards = (batch.macs(), &batch.checked().cards);
        let Some(state) = rows::card_state(guards, row)? else {
            return Ok(None);
        };
        let merchant = row.text(2)?;
        let card = CardId::from_bytes(row.get(0)?);
        Ok(Some((card, Held { merchant, state })))
    })?;
    let mut states = batch.card_states.borrow_mut();
    states.extend(held.into_iter().flatten());
    Ok(())
}

async fn ask(
    lent: &Lent<'_>,
    list: &CardList,
    (left_out, macs): (&LeftOut, &RowMacs),
) -> Outcome<CardPage> {
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
        let card = CARD.load(macs, row, 0, || rows::card(row));
        let card = row.keep(left_out, "card", card)?.flatten();
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
