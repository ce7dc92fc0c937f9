//! Cards: their lists and their changes. Adding one is an operator's change ([`super::Change`]),
//! and looking one up is [`super::Registry::card`].

use async_trait::async_trait;

use super::Result;
use crate::card::{Card, State};
use crate::clock::Time;
use crate::id::{AccountId, CardNo, MerchantId, PersonId};

/// Which cards to list: those that meet everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardFilter {
    /// Of this merchant. Only operators leave it out.
    pub merchant: Option<MerchantId>,
    /// Of this person, because the caller sees no other's cards.
    pub sight: Option<PersonId>,
    /// Of this person, because the caller asks for theirs.
    pub person: Option<PersonId>,
    pub account: Option<AccountId>,
    /// In one of these states; in any when empty.
    pub states: Vec<State>,
    /// Added at this moment or later.
    pub created_from: Option<Time>,
    /// Added at this moment or earlier.
    pub created_to: Option<Time>,
    /// Whose label holds this text, whatever the case of its ASCII letters, or whose last four
    /// digits are this. No index finds them, so each card that meets the rest is looked at.
    pub search: Option<String>,
    /// Whose label begins with this text, whatever the case of its ASCII letters, or whose last
    /// four digits are this. Within a merchant an index finds them.
    pub begins: Option<String>,
    pub holder_no: Option<String>,
    /// That the merchant named so.
    pub unique_no: Option<String>,
    /// With this order number.
    pub no: Option<CardNo>,
}

impl CardFilter {
    /// Whether `card` is one of them. For stores without a language for questions, and for tests.
    pub fn admits(&self, card: &Card) -> bool {
        fn is<T: PartialEq>(asked: Option<&T>, given: &T) -> bool {
            asked.is_none_or(|asked| asked == given)
        }
        let folded = |text: &str| text.to_ascii_lowercase();
        let found = self.search.as_ref().is_none_or(|text| {
            folded(&card.label).contains(&folded(text)) || card.last_four.as_str() == text
        });
        let begun = self.begins.as_ref().is_none_or(|text| {
            folded(&card.label).starts_with(&folded(text)) || card.last_four.as_str() == text
        });
        is(self.merchant.as_ref(), &card.merchant)
            && is(self.sight.as_ref(), &card.person)
            && is(self.person.as_ref(), &card.person)
            && is(self.account.as_ref(), &card.account)
            && (self.states.is_empty() || self.states.contains(&card.state))
            && self.created_from.is_none_or(|from| from <= card.created_at)
            && self.created_to.is_none_or(|to| card.created_at <= to)
            && found
            && begun
            && (self.holder_no.is_none() || self.holder_no == card.attributes.holder_no)
            && (self.unique_no.is_none() || self.unique_no == card.attributes.unique_no)
            && is(self.no.as_ref(), &card.no)
    }
}

/// In which order a list runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order in which the cards came.
    #[default]
    OldestFirst,
    /// Against it.
    NewestFirst,
}

/// How many cards a page by place looks at for a caller: some milliseconds of work, however many
/// there are.
pub const LOOK_AT: usize = 20_000;

/// Which part of a list to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paging {
    pub order: Order,
    /// Run by the time at which cards were added, and by their places within a moment. An index
    /// finds a range of times then. There is no `after` in such a list.
    pub by_time: bool,
    /// Only what comes after this place, which [`CardPage::next`] told. Unlike an offset it stays
    /// right when cards are added meanwhile.
    pub after: Option<i64>,
    /// Skip so many.
    pub offset: usize,
    /// Answer at most so many.
    pub limit: usize,
    /// Look at so many cards at most, without an offset, and answer those of them that the filter
    /// admits. So a page may be short, or empty, and [`CardPage::next`] leads on.
    pub look_at: Option<usize>,
    /// Count the whole list too: that takes longer the more cards there are, however few are
    /// answered.
    pub count: bool,
}

/// Part of a list and, where it was asked for, the length of the whole, of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardPage {
    pub cards: Vec<Card>,
    /// How many there are in all, if [`Paging::count`] asks.
    pub count: Option<u64>,
    /// Where to go on, when there may be more: after the last card here, or the last that was
    /// looked at.
    pub next: Option<i64>,
}

/// Texts that begin with `start` are not less than it and less than this one, by their code points.
/// None is above all texts.
pub fn end_of_those_that_begin_with(start: &str) -> Option<String> {
    let mut end = start.to_owned();
    while let Some(last) = end.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[async_trait]
pub trait Cards: Send + Sync {
    /// The cards that `filter` admits, and how many where that is asked, in one snapshot. A place
    /// in the list, once given to a card, is never another's.
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_one_beginning_end_where_the_next_beginning_is() {
        let end = |start: &str| end_of_those_that_begin_with(start);
        assert_eq!(end("ab"), Some("ac".into()));
        assert_eq!(end("a\u{d7ff}"), Some("a\u{e000}".into()));
        assert_eq!(end("a\u{10ffff}"), Some("b".into()));
        assert_eq!(end("\u{10ffff}"), None);
        assert_eq!(end(""), None);
    }
}
