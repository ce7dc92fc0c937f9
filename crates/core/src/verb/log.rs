//! The verbs of the audit log, of its sinks, and of the epoch.

use super::Verb;
use crate::audit::Event;
use crate::audit::chain::Link;
use crate::audit::sink::{Fed, Hold, Progress};
use crate::port::rows::{Loaded, Rows};
use crate::port::{Error, Needs};
use crate::token::Epoch;

/// Writes an event that belongs to no other write.
#[derive(Clone, Debug)]
pub struct RecordEvent(pub Event);

impl Verb for RecordEvent {
    type Answer = ();

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<()> {
        rows.log(&self.0)
    }
}

/// Writes a checkpoint, where the log has the link that it is of. It may not, when another database
/// took this one's place since the link was read: a standby that lagged, a backup. Tells whether.
#[derive(Clone, Debug)]
pub struct RecordCheckpoint {
    pub link: Link,
    pub event: Event,
}

impl Verb for RecordCheckpoint {
    type Answer = bool;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<bool> {
        let is_there = rows.has_link(&self.link)?;
        if is_there {
            rows.log(&self.event)?;
        }
        Ok(is_there)
    }
}

/// Raises the epoch: no token and no login issued before is good any more. Returns the new one.
#[derive(Clone, Debug)]
pub struct RaiseEpoch(pub Event);

impl Verb for RaiseEpoch {
    type Answer = Epoch;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Epoch> {
        let exhausted = || Error::Unavailable("the epoch cannot be raised further".into());
        let raised = rows.epoch().next(self.0.at).ok_or_else(exhausted)?;
        rows.save_epoch(raised)?;
        rows.log(&self.0)?;
        Ok(raised)
    }
}

/// Applies [`Hold::decide`], and makes the row of a sink that is new. To one holder at a time, in
/// all processes together. `None` while another has it.
impl Verb for Hold {
    type Answer = Option<Progress>;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Option<Progress>> {
        let row = rows.sink(&self.name)?;
        save(rows, self.decide(row.as_ref(), rows.last_entry()?))
    }
}

/// Applies [`Fed::decide`]. `None` when the sink is another's by now, and nothing was written.
impl Verb for Fed {
    type Answer = Option<Progress>;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Option<Progress>> {
        let row = rows.sink(&self.name)?;
        save(rows, self.decide(row.as_ref()))
    }
}

fn save(rows: &dyn Rows, next: Option<Progress>) -> Loaded<Option<Progress>> {
    if let Some(next) = &next {
        rows.save_sink(next)?;
    }
    Ok(next)
}
