//! How a list of cards is asked for: which conditions an index takes, and which cards are looked at
//! for the others. Both adapters run the same statements, so both do the same work.
//!
//! **Invariant:** a page that says how much it may look at ([`Paging::look_at`]) looks at no more,
//! whatever its filter and however many cards there are.

use cardveil_core::card::Card;
use cardveil_core::clock::Time;
use cardveil_core::id::{AccountId, CardNo, MerchantId};
use cardveil_core::port::{CardFilter, CardPage, Order, Paging, end_of_those_that_begin_with};

use crate::text;

/// What a database calls things.
pub(crate) struct Dialect {
    /// Whether a parameter is `$1` and not `?`.
    pub(crate) numbered: bool,
    /// The function that finds a text in a text.
    pub(crate) find: &'static str,
    /// What is read of a card, its place last.
    pub(crate) columns: &'static str,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Number(i64),
    Text(String),
    Bytes([u8; 16]),
}

/// Every value is a parameter, so the text depends on which filters are given and on how many
/// states, and few statements are ever prepared.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Bound>,
}

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
    dialect: &'static Dialect,
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
    values: Vec<Bound>,
}

impl Condition {
    fn new(column: &'static str, sql: impl Into<String>, values: Vec<Bound>) -> Self {
        Self {
            column,
            sql: sql.into(),
            values,
        }
    }
}

impl CardList {
    pub(crate) fn new(filter: &CardFilter, paging: Paging, dialect: &'static Dialect) -> Self {
        let text = |value: &str| Bound::Text(value.to_owned());
        let merchant = filter.merchant.as_ref().map(MerchantId::as_str);
        let mut list = Self {
            dialect,
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
            Condition::new("person", "person = ?", vec![Bound::Bytes(*id.as_bytes())])
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
        list.rest.extend(rest(filter, dialect));
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
    pub(crate) fn count(&self) -> Statement {
        let mut count = Builder::of(self, "SELECT count(*) FROM card WHERE true");
        count.all(&self.place);
        count.all(&self.rest);
        count.statement
    }

    /// One card more than the page has, to know whether there are any. The inner question is
    /// answered by an index alone, however far the offset is.
    pub(crate) fn page(&self) -> Statement {
        let direction = self.direction();
        let order = if self.paging.by_time {
            format!("created_at {direction}, seq {direction}")
        } else {
            format!("seq {direction}")
        };
        let mut page = Builder::of(self, &self.of_places("SELECT seq FROM card WHERE true"));
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
    pub(crate) fn window(&self) -> Statement {
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
        let mut window = Builder::of(self, &self.of_places(&looked_at));
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
    pub(crate) fn window_end(&self) -> Statement {
        let mut end = Builder::of(self, "SELECT seq FROM card WHERE true");
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
    pub(crate) fn begun_count(&self) -> Statement {
        let mut few = Builder::of(self, "SELECT (SELECT count(*) FROM (SELECT 1 FROM card");
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
    pub(crate) fn begun(&self) -> Statement {
        let found = self.of_places("SELECT card.seq FROM (SELECT seq FROM card");
        let mut begun = Builder::of(self, &found);
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

    fn of_places(&self, inner: &str) -> String {
        format!(
            "SELECT {} FROM card WHERE seq IN ({inner}",
            self.dialect.columns
        )
    }

    fn last_of(&self, mut page: Builder, seq: &str) -> Statement {
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

fn rest(filter: &CardFilter, dialect: &Dialect) -> Vec<Condition> {
    let time =
        |sql, time: Time| Condition::new("created_at", sql, vec![Bound::Number(time.millis())]);
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
        let names: Vec<_> = names.map(Bound::Text).collect();
        let places = vec!["?"; names.len()].join(", ");
        rest.push(Condition::new(
            "state",
            format!("state IN ({places})"),
            names,
        ));
    }
    if let Some(search) = &filter.search {
        // lower() knows ASCII alone, in SQLite and in the collation "C".
        let sql = format!("({}(lower(label), ?) > 0 OR last_four = ?)", dialect.find);
        let values = vec![
            Bound::Text(search.to_ascii_lowercase()),
            Bound::Text(search.clone()),
        ];
        rest.push(Condition::new("label, last_four", sql, values));
    }
    if let Some(begins) = &filter.begins {
        let start = begins.to_ascii_lowercase();
        let mut values = vec![Bound::Text(start.clone())];
        let mut sql = "(lower(label) >= ?".to_owned();
        if let Some(end) = end_of_those_that_begin_with(&start) {
            sql.push_str(" AND lower(label) < ?");
            values.push(Bound::Text(end));
        }
        sql.push_str(" OR last_four = ?)");
        values.push(Bound::Text(start));
        rest.push(Condition::new("label, last_four", sql, values));
    }
    rest
}

fn count(count: usize) -> Bound {
    Bound::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

struct Builder {
    numbered: bool,
    places: usize,
    statement: Statement,
}

impl Builder {
    fn of(list: &CardList, sql: &str) -> Self {
        let mut builder = Self {
            numbered: list.dialect.numbered,
            places: 0,
            statement: Statement::default(),
        };
        builder.push(sql);
        builder
    }

    /// Appends SQL in which each parameter is a `?`.
    fn push(&mut self, sql: &str) {
        for char in sql.chars() {
            self.statement.sql.push(if char == '?' && self.numbered {
                '$'
            } else {
                char
            });
            if char == '?' && self.numbered {
                self.places += 1;
                self.statement.sql.push_str(&self.places.to_string());
            }
        }
    }

    fn bind(&mut self, values: impl IntoIterator<Item = Bound>) {
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
        self.bind([Bound::Number(after)]);
    }

    fn with_label(&mut self, begins: Option<&(String, String)>) {
        let (merchant, start) = begins.cloned().unwrap_or_default();
        let end = end_of_those_that_begin_with(&start);
        self.push(" WHERE merchant = ? AND lower(label) >= ?");
        self.bind([Bound::Text(merchant), Bound::Text(start)]);
        if let Some(end) = end {
            self.push(" AND lower(label) < ?");
            self.bind([Bound::Text(end)]);
        }
    }

    fn with_last_four(&mut self, begins: Option<&(String, String)>) {
        let (merchant, start) = begins.cloned().unwrap_or_default();
        self.push(" WHERE merchant = ? AND last_four = ?");
        self.bind([Bound::Text(merchant), Bound::Text(start)]);
    }
}
