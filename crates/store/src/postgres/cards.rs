//! Cards: their lists, from one snapshot, and their changes, inside a batch.

use std::collections::BTreeSet;

use async_trait::async_trait;
use cardveil_core::card::{
    Card, CardRef, Changed, Decided, Relabel, Removal, Removed, State, Transition,
};
use cardveil_core::id::{CardId, MerchantId};
use cardveil_core::port::{CardFilter, CardPage, Cards, Paging, Result};

use super::batch::Batch;
use super::fault::Fault;
use super::readers::Lent;
use super::rows::{self, card_columns};
use super::value::{Name, Row, Value, values};
use super::writer::Turn;
use super::{Postgres, keep, wallet};
use crate::card_list::{Bound, CardList, Dialect, Statement, Way};
use crate::left_out::LeftOut;

type Outcome<T> = std::result::Result<T, Fault>;

#[async_trait]
impl Cards for Postgres {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        let list = CardList::new(filter, paging, &DIALECT);
        let lent = self.lists.begin().await?;
        let found = ask(&lent, &list, &self.left_out).await;
        self.lists.end(lent, found).await
    }

    async fn transition_card(&self, transition: Transition) -> Result<Changed> {
        let work = move |batch: &Batch<'_>| make_transition(batch, &transition);
        self.writer.submit(Turn::Rows, work).await
    }

    async fn relabel_card(&self, relabel: Relabel) -> Result<Changed> {
        let work = move |batch: &Batch<'_>| {
            let card = hold(batch, &relabel.merchant, &relabel.card)?;
            write(batch, relabel.decide(card.as_ref()))
        };
        self.writer.submit(Turn::Rows, work).await
    }

    async fn remove_card(&self, removal: Removal) -> Result<Removed> {
        let work = move |batch: &Batch<'_>| remove(batch, &removal);
        self.writer.submit(Turn::Rows, work).await
    }
}

pub(super) fn make_transition(batch: &Batch<'_>, transition: &Transition) -> Outcome<Changed> {
    let card = hold(batch, &transition.merchant, &transition.card)?;
    write(batch, transition.decide(card.as_ref()))
}

fn remove(batch: &Batch<'_>, removal: &Removal) -> Outcome<Removed> {
    let card = hold(batch, &removal.merchant, &removal.card)?;
    let (removed, event) = removal.decide(card.as_ref());
    if let (Some(card), Some(event)) = (card, event) {
        for sql in [
            "DELETE FROM wallet_token WHERE card = $1",
            "DELETE FROM card_guess WHERE card = $1",
            "DELETE FROM card WHERE id = $1",
        ] {
            batch.execute(sql, values![card.id.as_bytes()])?;
        }
        batch.log(&event)?;
    }
    Ok(removed)
}

pub(super) const BY_NO: &str = concat!(
    "SELECT ",
    card_columns!(),
    ", wanted.place
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (merchant, no, place)
         CROSS JOIN LATERAL
         (SELECT * FROM card WHERE merchant = wanted.merchant AND no = wanted.no LIMIT 1) AS card"
);
pub(super) const BY_ID: &str = concat!(
    "SELECT ",
    card_columns!(),
    ", wanted.place
     FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS wanted (merchant, id, place)
         CROSS JOIN LATERAL
         (SELECT * FROM card WHERE id = wanted.id AND merchant = wanted.merchant LIMIT 1) AS card"
);
const HOLD_BY_NO: &str = concat!(
    "SELECT ",
    card_columns!(),
    " FROM card WHERE merchant = $1 AND no = $2 FOR UPDATE"
);
const HOLD_BY_ID: &str = concat!(
    "SELECT ",
    card_columns!(),
    " FROM card WHERE merchant = $1 AND id = $2 FOR UPDATE"
);

/// One lookup by the index for each, in the order in which they are named.
const HOLD_STATES: &str = "SELECT card.id, card.merchant, card.state
     FROM unnest($1::bytea[]) AS wanted (id) CROSS JOIN LATERAL
         (SELECT * FROM card WHERE id = wanted.id FOR UPDATE) AS card";

/// What is decided on of a card that is held: as it is in this transaction.
pub(super) struct Held {
    merchant: MerchantId,
    state: State,
}

/// The card, held until the commit.
pub(super) fn hold(
    batch: &Batch<'_>,
    merchant: &MerchantId,
    card: &CardRef,
) -> Outcome<Option<Card>> {
    let merchant = merchant.as_str();
    match card {
        CardRef::No(no) => batch.first(HOLD_BY_NO, values![merchant, no.as_str()], rows::card),
        CardRef::Id(id) => batch.first(HOLD_BY_ID, values![merchant, id.as_bytes()], rows::card),
    }
}

/// The state of a merchant's card, which is held.
pub(super) fn state(
    batch: &Batch<'_>,
    merchant: &MerchantId,
    card: CardId,
) -> Outcome<Option<State>> {
    if !batch.card_states.borrow().contains_key(&card) {
        hold_states(batch, [card].into_iter())?;
    }
    let states = batch.card_states.borrow();
    let found = states.get(&card).filter(|held| held.merchant == *merchant);
    Ok(found.map(|held| held.state))
}

/// Holds these cards until the commit, for [`state`].
pub(super) fn hold_states(batch: &Batch<'_>, cards: impl Iterator<Item = CardId>) -> Outcome<()> {
    // Each once, and all batches in the same order.
    let cards: BTreeSet<_> = cards.map(|card| *card.as_bytes()).collect();
    let held = batch.all(HOLD_STATES, [cards.into_iter().collect()], |row| {
        let held = Held {
            merchant: rows::id(row, 1)?,
            state: rows::name(row, 2)?,
        };
        Ok((CardId::from_bytes(row.get(0)?), held))
    })?;
    batch.card_states.borrow_mut().extend(held);
    Ok(())
}

fn write(batch: &Batch<'_>, decided: Decided) -> Outcome<Changed> {
    if let Some((card, event)) = &decided.write {
        update(batch, card)?;
        batch.log(event)?;
        if card.state == State::Terminated && event.detail.to.is_some() {
            wallet::end_with_card(batch, &card.id, event)?;
        }
    }
    Ok(decided.verdict)
}

/// The columns that a decision may change.
pub(super) fn update(batch: &Batch<'_>, card: &Card) -> Outcome<()> {
    let pin = card.sealed.pin.as_ref();
    batch.send(
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
    if let Some(held) = batch.card_states.borrow_mut().get_mut(&card.id) {
        held.state = card.state;
    }
    Ok(())
}

const DIALECT: Dialect = Dialect {
    numbered: true,
    find: "strpos",
    columns: card_columns!(),
};

impl From<Bound> for Value {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Number(value) => value.into(),
            Bound::Text(value) => value.into(),
            Bound::Bytes(value) => value.into(),
        }
    }
}

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

async fn number(lent: &Lent<'_>, asked: Statement) -> Outcome<i64> {
    let found = rows_of(lent, asked, |row| row.get(0)).await?;
    Ok(found.first().copied().unwrap_or_default())
}

async fn rows_of<T>(
    lent: &Lent<'_>,
    asked: Statement,
    read: impl Fn(&Row) -> Outcome<T>,
) -> Outcome<Vec<T>> {
    let values: Vec<_> = asked.values.into_iter().map(Value::from).collect();
    let rows = lent.link()?.query(&asked.sql, &values).await?;
    rows.iter().map(read).collect()
}

/// What narrows a list, as SQL. Every value is a parameter, so the text depends on which filters
/// are given alone, and few statements are ever prepared.
#[derive(Default)]
pub(super) struct Question {
    condition: String,
    values: Vec<Value>,
}

impl Question {
    /// Each `?` is the same value.
    pub(super) fn and(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.values.push(value.into());
            let place = format!("${}", self.values.len());
            self.condition.push_str(" AND ");
            self.condition.push_str(&condition.replace('?', &place));
        }
    }

    pub(super) fn condition(&self) -> &str {
        &self.condition
    }

    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }
}

/// The names of variants, as an array of texts.
pub(super) fn name_array<T: serde::Serialize>(variants: &[T]) -> Value {
    variants.iter().map(Name).collect()
}
