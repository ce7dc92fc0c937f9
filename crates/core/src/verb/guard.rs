//! The verbs of rows that decide, whatever they say: they get their MACs, and from then on none may
//! be without.

use super::Verb;
use crate::audit::{Kind, Source, Target};
use crate::clock::Time;
use crate::keys::{active, target};
use crate::port::rows::{Accepted, GuardedPage, Loaded, Rows};
use crate::port::{Class, Needs, RowPlace};

/// Gives MACs under the active key to the rows of a page that have none, or one under another key.
#[derive(Clone, Debug)]
pub struct GuardPage {
    /// Where the page begins.
    pub place: RowPlace,
    /// At most so many rows.
    pub limit: usize,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

impl Verb for GuardPage {
    type Answer = GuardedPage;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<GuardedPage> {
        let page = rows.guard_rows(&self.place, self.limit)?;
        let log = |kind: Kind, what: &str, count: usize| {
            if count == 0 {
                return Ok(());
            }
            let mut event = self.source.event(self.at, kind, None, of_rows(page.kind));
            event.detail.note = Some(format!("{count} rows {what}").into());
            rows.log(&event)
        };
        // The versions that rows are given come with the first event after them.
        log(Kind::RowsGuarded, "have a MAC now", page.given)?;
        log(
            Kind::KeysRewrapped,
            "have a MAC under another key",
            page.moved,
        )?;
        Ok(page)
    }
}

fn of_rows(kind: &str) -> Target {
    Target {
        resource: Some(format!("rows: {kind}").into()),
        ..Target::default()
    }
}

/// Takes a row for what was written last, though its MAC or its version says otherwise: an operator
/// has looked at it, and put it right.
#[derive(Clone, Debug)]
pub struct AcceptRow {
    /// Its table.
    pub table: String,
    /// Its key, as the alarm told it.
    pub key: String,
    pub at: Time,
    /// Who says so.
    pub source: Source,
}

impl Verb for AcceptRow {
    type Answer = Option<Accepted>;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Option<Accepted>> {
        let accepted = rows.accept_row(&self.table, &self.key)?;
        if let Some(accepted) = accepted {
            let target = Target {
                resource: Some(format!("row: {} {}", self.table, self.key).into()),
                ..Target::default()
            };
            let mut event = self.source.event(self.at, Kind::RowsAccepted, None, target);
            event.detail.to = Some(accepted.as_str().into());
            rows.log(&event)?;
        }
        Ok(accepted)
    }
}

/// Says that every row that decides has a MAC. From then on one without is refused. Tells whether
/// it was said just now.
#[derive(Clone, Debug)]
pub struct CompleteRows {
    pub at: Time,
    /// Who found it.
    pub source: Source,
}

impl Verb for CompleteRows {
    type Answer = bool;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<bool> {
        let mut keys = rows.class_keys()?;
        keys.retain(|key| key.key.class == Class::Row);
        let Some(active) = active(&keys, Class::Row) else {
            return Ok(false);
        };
        if active.complete_at.is_some() {
            return Ok(false);
        }
        let mut next = active.clone();
        next.complete_at = Some(self.at);
        rows.save_class_key(&next)?;
        let target = target(Class::Row, next.key.version);
        rows.log(&self.source.event(self.at, Kind::RowsComplete, None, target))?;
        Ok(true)
    }
}
