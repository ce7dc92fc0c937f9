//! Cards: their lists, from one statement's snapshot, and their changes, inside a batch.

use async_trait::async_trait;
use cardveil_core::card::{Card, Changed, Decided, Relabel, Removal, Removed, State, Transition};
use cardveil_core::clock::Time;
use cardveil_core::id::{AccountId, CardId, CardNo, MerchantId};
use cardveil_core::port::{CardFilter, CardPage, CardRef, Cards, Order, Paging, Result};
use rusqlite::types::ToSql;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::rows::{self, Name, card_columns};
use super::writer::Batch;
use super::{Sqlite, keep, sql_count, wallet};
use crate::left_out::LeftOut;

type Outcome<T> = std::result::Result<T, Fault>;

#[async_trait]
impl Cards for Sqlite {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        let question = Question::new(filter);
        self.readers
            .read(|connection| question.ask(connection, paging, &self.left_out))
    }

    async fn transition_card(&self, transition: Transition) -> Result<Changed> {
        let work = move |batch: &Batch<'_>| make_transition(batch, &transition);
        self.writer.submit(work).await
    }

    async fn relabel_card(&self, relabel: Relabel) -> Result<Changed> {
        let work = move |batch: &Batch<'_>| {
            let card = find(batch, &relabel.merchant, &relabel.card)?;
            write(batch, relabel.decide(card.as_ref()))
        };
        self.writer.submit(work).await
    }

    async fn remove_card(&self, removal: Removal) -> Result<Removed> {
        let work = move |batch: &Batch<'_>| remove(batch, &removal);
        self.writer.submit(work).await
    }
}

pub(super) fn make_transition(batch: &Batch<'_>, transition: &Transition) -> Outcome<Changed> {
    let card = find(batch, &transition.merchant, &transition.card)?;
    write(batch, transition.decide(card.as_ref()))
}

/// The page that a row was in is written anyway, and then the row's bytes are zeroes (`secure_delete`).
fn remove(batch: &Batch<'_>, removal: &Removal) -> Outcome<Removed> {
    let card = find(batch, &removal.merchant, &removal.card)?;
    let (removed, event) = removal.decide(card.as_ref());
    if let (Some(card), Some(event)) = (card, event) {
        // A place that was given is not given again, though its row is gone.
        batch.execute(
            "UPDATE meta SET last_card = (SELECT coalesce(max(seq), 0) FROM card)
             WHERE last_card < (SELECT coalesce(max(seq), 0) FROM card)",
            [],
        )?;
        for sql in [
            "DELETE FROM wallet_token WHERE card = ?1",
            "DELETE FROM card_guess WHERE card = ?1",
            "DELETE FROM card WHERE id = ?1",
        ] {
            batch.execute(sql, [card.id.as_bytes()])?;
        }
        batch.log(&event)?;
    }
    Ok(removed)
}

pub(super) const BY_NO: &str = concat!(
    "SELECT ",
    card_columns!(),
    " FROM card WHERE merchant = ?1 AND no = ?2"
);
pub(super) const BY_ID: &str = concat!(
    "SELECT ",
    card_columns!(),
    " FROM card WHERE id = ?2 AND merchant = ?1"
);

pub(super) fn find(
    batch: &Batch<'_>,
    merchant: &MerchantId,
    card: &CardRef,
) -> Outcome<Option<Card>> {
    let merchant = merchant.as_str();
    Ok(match card {
        CardRef::No(no) => batch.first(BY_NO, params![merchant, no.as_str()], rows::card),
        CardRef::Id(id) => batch.first(BY_ID, params![merchant, id.as_bytes()], rows::card),
    }?)
}

/// The state of a merchant's card.
pub(super) fn state(
    batch: &Batch<'_>,
    merchant: &MerchantId,
    card: CardId,
) -> Outcome<Option<State>> {
    let found = batch.first(
        "SELECT state FROM card WHERE id = ?1 AND merchant = ?2",
        params![card.as_bytes(), merchant.as_str()],
        |row| row.get(0).map(|Name(state)| state),
    )?;
    Ok(found)
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
    batch.execute(
        "UPDATE card SET state = ?2, label = ?3, updated_at = ?4, pin_dek = ?5, pin = ?6
         WHERE id = ?1",
        params![
            card.id.as_bytes(),
            Name(card.state),
            card.label,
            card.updated_at.millis(),
            pin.map(|pin| &pin.dek),
            pin.map(|pin| &pin.pin),
        ],
    )?;
    Ok(())
}

/// A filter as SQL. Every value is a parameter, so the text depends on which filters are given and on
/// how many states, and few statements are ever prepared.
#[derive(Default)]
struct Question {
    condition: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Question {
    fn new(filter: &CardFilter) -> Self {
        let CardFilter {
            merchant,
            sight,
            person,
            account,
            states,
            created_from,
            created_to,
            search,
            holder_no,
            unique_no,
            no,
        } = filter;
        let mut question = Self::default();
        let text = |text: &str| text.to_owned();
        question.and(
            "merchant = ?",
            merchant.as_ref().map(MerchantId::as_str).map(text),
        );
        question.and(
            "account = ?",
            account.as_ref().map(AccountId::as_str).map(text),
        );
        question.and("person = ?", person.map(|person| *person.as_bytes()));
        question.and("person = ?", sight.map(|person| *person.as_bytes()));
        question.and("no = ?", no.as_ref().map(CardNo::as_str).map(text));
        question.and("holder_no = ?", holder_no.clone());
        question.and("unique_no = ?", unique_no.clone());
        question.and("created_at >= ?", created_from.map(Time::millis));
        question.and("created_at <= ?", created_to.map(Time::millis));
        if !states.is_empty() {
            let places = vec!["?"; states.len()].join(", ");
            question.condition.push_str(" AND state IN (");
            question.condition.push_str(&places);
            question.condition.push(')');
            for state in states {
                question.values.push(Box::new(Name(*state)));
            }
        }
        if let Some(search) = search {
            // SQLite's lower() knows ASCII alone, and instr() no letter of special meaning.
            question
                .condition
                .push_str(" AND (instr(lower(label), lower(?)) > 0 OR last_four = ?)");
            question.values.push(Box::new(search.clone()));
            question.values.push(Box::new(search.clone()));
        }
        question
    }

    fn and(&mut self, condition: &str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.condition.push_str(" AND ");
            self.condition.push_str(condition);
            self.values.push(Box::new(value));
        }
    }

    /// In one read transaction, so that cards and count are of one moment.
    fn ask(
        &self,
        connection: &Connection,
        paging: Paging,
        left_out: &LeftOut,
    ) -> rusqlite::Result<CardPage> {
        let snapshot = connection.unchecked_transaction()?;
        let count = paging.count.then(|| self.count(&snapshot)).transpose()?;
        let mut cards = self.page(&snapshot, paging, left_out)?;
        snapshot.finish()?;
        let more = cards.len() > paging.limit;
        cards.truncate(paging.limit);
        Ok(CardPage {
            next: cards.last().filter(|_| more).map(|(place, _)| *place),
            cards: cards.into_iter().filter_map(|(_, card)| card).collect(),
            count,
        })
    }

    fn count(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let sql = format!("SELECT count(*) FROM card WHERE true{}", self.condition);
        let count: i64 = connection
            .prepare_cached(&sql)?
            .query_row(self.parameters(&[]).as_slice(), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// One card more than the page has, to know whether there are any. The inner question is answered
    /// by an index alone, however far the offset is. One that cannot be read has its place.
    fn page(
        &self,
        connection: &Connection,
        paging: Paging,
        left_out: &LeftOut,
    ) -> rusqlite::Result<Vec<(i64, Option<Card>)>> {
        let (after, direction) = match paging.order {
            Order::OldestFirst => ("seq > ?", "ASC"),
            Order::NewestFirst => ("seq < ?", "DESC"),
        };
        let mut own: Vec<Box<dyn ToSql>> = Vec::new();
        let mut inner = self.condition.clone();
        if let Some(place) = paging.after {
            inner.push_str(" AND ");
            inner.push_str(after);
            own.push(Box::new(place));
        }
        own.push(Box::new(sql_count(paging.limit.saturating_add(1))));
        own.push(Box::new(sql_count(paging.offset)));
        let sql = format!(
            concat!(
                "SELECT ",
                card_columns!(),
                " FROM card WHERE seq IN (SELECT seq FROM card WHERE true{} \
                 ORDER BY seq {} LIMIT ? OFFSET ?) ORDER BY seq {}"
            ),
            inner, direction, direction
        );
        connection
            .prepare_cached(&sql)?
            .query_map(self.parameters(&own).as_slice(), |row| {
                let card = keep(left_out, "card", row, rows::card(row))?;
                Ok((rows::place_of_card(row)?, card))
            })?
            .collect()
    }

    fn parameters<'a>(&'a self, own: &'a [Box<dyn ToSql>]) -> Vec<&'a dyn ToSql> {
        self.values
            .iter()
            .chain(own)
            .map(|value| &**value)
            .collect()
    }
}
