//! How a list of cards is asked for: which conditions an index takes, and which cards are looked at
//! for the others. Both adapters run the same statements, so both do the same work.
//!
//! **Invariant:** a page that says how much it may look at ([`Paging::look_at`]) looks at no more,
//! whatever its filter and however many cards there are.

use cardveil_core::card::Card;
use cardveil_core::clock::Time;
use cardveil_core::id::{AccountId, CardNo, MerchantId};
use cardveil_core::port::{CardFilter, CardPage, Order, Paging, end_of_those_that_begin_with};

use crate::sql::question::Question;
use crate::sql::rows::CARD_COLUMNS;
use crate::sql::value::Value;
use crate::text;

/// How the cards of a page are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By [`CardList::page`] alone.
    Whole,
    /// By [`CardList::window`], and where it is not full [`CardList::window_end`] tells where it
    /// ended.
    Window,
    /// By [`CardList::begun`] if there are as few as [`CardList::begun_count`] may find, else by a
    /// window.
    Begun,
}

/// A list that was asked for.
pub(crate) struct CardList {
    paging: Paging,
    /// What an index takes: the merchant, and one more.
    place: Vec<Condition>,
    rest: Vec<Condition>,
    /// The merchant, where an index finds what begins with a text.
    begins: Option<(String, String)>,
}

/// `sql` has a `?` for each of its values.
struct Condition {
    column: &'static str,
    sql: String,
    values: Vec<Value>,
}

impl Condition {
    fn new(column: &'static str, sql: impl Into<String>, values: Vec<Value>) -> Self {
        Self {
            column,
            sql: sql.into(),
            values,
        }
    }
}

impl CardList {
    pub(crate) fn new(filter: &CardFilter, paging: Paging) -> Self {
        let text = |value: &str| Value::Text(value.to_owned());
        let merchant = filter.merchant.as_ref().map(MerchantId::as_str);
        let mut list = Self {
            paging,
            place: Vec::new(),
            rest: Vec::new(),
            begins: merchant
                .zip(filter.begins.as_deref())
                .map(|(merchant, begins)| (merchant.to_owned(), begins.to_ascii_lowercase())),
        };
        let place = |column, value: &str| {
            Condition::new(column, format!("{column} = ?"), vec![text(value)])
        };
        list.place.extend(merchant.map(|id| place("merchant", id)));
        // The fewest first.
        let person = |id: cardveil_core::id::PersonId| {
            Condition::new("person", "person = ?", vec![Value::from(id.as_bytes())])
        };
        let equal = [
            filter
                .no
                .as_ref()
                .map(CardNo::as_str)
                .map(|no| place("no", no)),
            filter.unique_no.as_deref().map(|no| place("unique_no", no)),
            filter.holder_no.as_deref().map(|no| place("holder_no", no)),
            filter.sight.map(person),
            filter.person.map(person),
            filter
                .account
                .as_ref()
                .map(AccountId::as_str)
                .map(|id| place("account", id)),
        ];
        for condition in equal.into_iter().flatten() {
            // A list by time has an index of its own, but for those that are a few anyway.
            let few = condition.column != "account" || !paging.by_time;
            if list.place.len() == 1 && few {
                list.place.push(condition);
            } else {
                list.rest.push(condition);
            }
        }
        list.rest.extend(rest(filter));
        list
    }

    pub(crate) fn paging(&self) -> Paging {
        self.paging
    }

    pub(crate) fn way(&self) -> Way {
        match (self.paging.look_at, &self.begins) {
            (None, _) => Way::Whole,
            (Some(_), _) if self.rest.is_empty() => Way::Whole,
            (Some(_), Some(_)) => Way::Begun,
            (Some(_), None) => Way::Window,
        }
    }

    /// How many there are in all.
    pub(crate) fn count(&self) -> Question {
        let mut count = Builder::of("SELECT count(*) FROM card WHERE true");
        count.all(&self.place);
        count.all(&self.rest);
        count.statement
    }

    /// One card more than the page has, to know whether there are any. The inner question is
    /// answered by an index alone, however far the offset is.
    pub(crate) fn page(&self) -> Question {
        let direction = self.direction();
        let order = if self.paging.by_time {
            format!("created_at {direction}, seq {direction}")
        } else {
            format!("seq {direction}")
        };
        let mut page = Builder::of(&Self::of_places("SELECT seq FROM card WHERE true"));
        page.all(&self.place);
        page.all(&self.rest);
        page.after("seq", self.paging);
        page.push(&format!(" ORDER BY {order} LIMIT ? OFFSET ?"));
        page.bind([
            count(self.paging.limit.saturating_add(1)),
            count(self.paging.offset),
        ]);
        page.push(&format!(") ORDER BY {order}"));
        page.statement
    }

    /// The same, of the next cards that may be looked at.
    pub(crate) fn window(&self) -> Question {
        let mut columns = vec!["seq"];
        for condition in &self.rest {
            if !columns.contains(&condition.column) {
                columns.push(condition.column);
            }
        }
        let direction = self.direction();
        let looked_at = format!(
            "SELECT seq FROM (SELECT {} FROM card WHERE true",
            columns.join(", ")
        );
        let mut window = Builder::of(&Self::of_places(&looked_at));
        window.all(&self.place);
        window.after("seq", self.paging);
        window.push(&format!(
            " ORDER BY seq {direction} LIMIT ?) AS looked_at WHERE true"
        ));
        window.bind([count(self.look_at())]);
        window.all(&self.rest);
        self.last_of(window, "seq")
    }

    /// The place of the last card that is looked at, and of one behind it. No two: the list ends
    /// there.
    pub(crate) fn window_end(&self) -> Question {
        let mut end = Builder::of("SELECT seq FROM card WHERE true");
        end.all(&self.place);
        end.after("seq", self.paging);
        end.push(&format!(
            " ORDER BY seq {} LIMIT 2 OFFSET ?",
            self.direction()
        ));
        end.bind([count(self.look_at().saturating_sub(1))]);
        end.statement
    }

    /// How many cards an index finds by the beginning of their label or their last four digits; no
    /// more are counted than one over what may be looked at.
    pub(crate) fn begun_count(&self) -> Question {
        let mut few = Builder::of("SELECT (SELECT count(*) FROM (SELECT 1 FROM card");
        let most = || count(self.look_at().saturating_add(1));
        few.with_label(self.begins.as_ref());
        few.push(" LIMIT ?) AS labels) + (SELECT count(*) FROM (SELECT 1 FROM card");
        few.bind([most()]);
        few.with_last_four(self.begins.as_ref());
        few.push(" LIMIT ?) AS last_fours)");
        few.bind([most()]);
        few.statement
    }

    /// Those of them that the filter admits.
    pub(crate) fn begun(&self) -> Question {
        let found = Self::of_places("SELECT card.seq FROM (SELECT seq FROM card");
        let mut begun = Builder::of(&found);
        begun.with_label(self.begins.as_ref());
        begun.push(" UNION SELECT seq FROM card");
        begun.with_last_four(self.begins.as_ref());
        begun.push(") AS begun CROSS JOIN card WHERE card.seq = begun.seq");
        begun.all(&self.place);
        begun.all(&self.rest);
        begun.after("card.seq", self.paging);
        self.last_of(begun, "card.seq")
    }

    /// Whether [`Self::begun`] looks at few enough.
    pub(crate) fn are_few(&self, counted: i64) -> bool {
        usize::try_from(counted).is_ok_and(|counted| counted <= self.look_at())
    }

    /// The page that these cards, one more than it has, make. One that cannot be read has its place
    /// alone. `end` is where the window ended.
    pub(crate) fn finish(
        &self,
        mut cards: Vec<(i64, Option<Card>)>,
        end: Option<i64>,
        count: Option<i64>,
    ) -> CardPage {
        let more = cards.len() > self.paging.limit;
        cards.truncate(self.paging.limit);
        let last = cards.last().map(|(place, _)| *place);
        CardPage {
            next: if more { last } else { end },
            cards: cards.into_iter().filter_map(|(_, card)| card).collect(),
            count: count.map(i64::unsigned_abs),
        }
    }

    fn of_places(inner: &str) -> String {
        format!("SELECT {} FROM card WHERE seq IN ({inner}", *CARD_COLUMNS)
    }

    fn last_of(&self, mut page: Builder, seq: &str) -> Question {
        let direction = self.direction();
        page.push(&format!(
            " ORDER BY {seq} {direction} LIMIT ?) ORDER BY seq {direction}"
        ));
        page.bind([count(self.paging.limit.saturating_add(1))]);
        page.statement
    }

    const fn direction(&self) -> &'static str {
        match self.paging.order {
            Order::OldestFirst => "ASC",
            Order::NewestFirst => "DESC",
        }
    }

    fn look_at(&self) -> usize {
        self.paging.look_at.unwrap_or(usize::MAX)
    }
}

fn rest(filter: &CardFilter) -> Vec<Condition> {
    let time = |sql, time: Time| Condition::new("created_at", sql, vec![Value::Int(time.millis())]);
    let mut rest: Vec<_> = [
        filter
            .created_from
            .map(|from| time("created_at >= ?", from)),
        filter.created_to.map(|to| time("created_at <= ?", to)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !filter.states.is_empty() {
        // The names of states are the variants', so there is always one.
        let names = filter
            .states
            .iter()
            .map(|state| text::name(state).unwrap_or_default());
        let names: Vec<_> = names.map(Value::Text).collect();
        let places = vec!["?"; names.len()].join(", ");
        rest.push(Condition::new(
            "state",
            format!("state IN ({places})"),
            names,
        ));
    }
    if let Some(search) = &filter.search {
        // lower() knows ASCII alone, in SQLite and in the collation "C".
        let sql = "(strpos(lower(label), ?) > 0 OR last_four = ?)";
        let values = vec![
            Value::Text(search.to_ascii_lowercase()),
            Value::Text(search.clone()),
        ];
        rest.push(Condition::new("label, last_four", sql, values));
    }
    if let Some(begins) = &filter.begins {
        let start = begins.to_ascii_lowercase();
        let mut values = vec![Value::Text(start.clone())];
        let mut sql = "(lower(label) >= ?".to_owned();
        if let Some(end) = end_of_those_that_begin_with(&start) {
            sql.push_str(" AND lower(label) < ?");
            values.push(Value::Text(end));
        }
        sql.push_str(" OR last_four = ?)");
        values.push(Value::Text(start));
        rest.push(Condition::new("label, last_four", sql, values));
    }
    rest
}

fn count(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

struct Builder {
    places: usize,
    statement: Question,
}

impl Builder {
    fn of(sql: &str) -> Self {
        let mut builder = Self {
            places: 0,
            statement: Question::default(),
        };
        builder.push(sql);
        builder
    }

    /// Appends SQL in which each parameter is a `?`.
    fn push(&mut self, sql: &str) {
        for char in sql.chars() {
            if char == '?' {
                self.places += 1;
                self.statement.sql.push('$');
                self.statement.sql.push_str(&self.places.to_string());
            } else {
                self.statement.sql.push(char);
            }
        }
    }

    fn bind(&mut self, values: impl IntoIterator<Item = Value>) {
        self.statement.values.extend(values);
    }

    fn all(&mut self, conditions: &[Condition]) {
        for condition in conditions {
            self.push(" AND ");
            self.push(&condition.sql);
            self.bind(condition.values.iter().cloned());
        }
    }

    fn after(&mut self, seq: &str, paging: Paging) {
        let Some(after) = paging.after else {
            return;
        };
        let comes = match paging.order {
            Order::OldestFirst => '>',
            Order::NewestFirst => '<',
        };
        self.push(&format!(" AND {seq} {comes} ?"));
        self.bind([Value::Int(after)]);
    }

    fn with_label(&mut self, begins: Option<&(String, String)>) {
        let (merchant, start) = begins.cloned().unwrap_or_default();
        let end = end_of_those_that_begin_with(&start);
        self.push(" WHERE merchant = ? AND lower(label) >= ?");
        self.bind([Value::Text(merchant), Value::Text(start)]);
        if let Some(end) = end {
            self.push(" AND lower(label) < ?");
            self.bind([Value::Text(end)]);
        }
    }

    fn with_last_four(&mut self, begins: Option<&(String, String)>) {
        let (merchant, start) = begins.cloned().unwrap_or_default();
        self.push(" WHERE merchant = ? AND last_four = ?");
        self.bind([Value::Text(merchant), Value::Text(start)]);
    }
}
