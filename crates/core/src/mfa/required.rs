//! What a use of a card requires besides the card: that its budgets allow it, and a second factor.
//!
//! **Invariant:** both are taken or neither. What a budget refuses spends no session, and what the
//! second factor refuses is charged to no budget.

use super::{Assertion, Effects, Person, Session, Use};
use crate::budget::{Charge, Level, Levels, Of, Overdrawn};
use crate::term::{Cause, Epoch};

#[derive(Clone, Copy, Debug, Default)]
pub struct Required<'a> {
    /// The charge to the budgets of card and person.
    pub charge: Option<&'a Charge>,
    /// The second factor, and what for.
    pub factor: Option<(&'a Assertion, &'a Use)>,
}

/// The rows that the decision needs, as they are in its commit.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The levels that the charge names.
    pub levels: Levels,
    /// The session that the assertion names.
    pub session: Option<Session>,
    /// The person that the assertion names, at the merchant of the use.
    pub person: Option<Person>,
}

/// What is to be written, and whether the use may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Met {
    /// The levels that change.
    pub levels: Vec<(Of, Level)>,
    /// What the second factor changes, with its event.
    pub effects: Option<Effects>,
    /// Whether what is required is met. If not, nothing else of the use is written.
    pub verdict: Result<(), Unmet>,
}

/// Why what is granted only with a budget or a second factor is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A budget does not allow it.
    Overdrawn(Overdrawn),
    /// The second factor is refused. The refusal is written.
    Mfa(Cause),
}

impl Required<'_> {
    /// Decides over the rows; `epoch` is the store's.
    pub fn decide(&self, rows: &Rows, epoch: Epoch) -> Met {
        let (levels, charged) = self.charge.map_or((Vec::new(), Ok(())), |charge| {
            let decided = charge.decide(&rows.levels);
            (charge.levels(decided.write).collect(), decided.verdict)
        });
        let (Ok(()), Some((assertion, wanted))) = (charged, self.factor) else {
            return Met {
                levels,
                effects: None,
                verdict: charged.map_err(Unmet::Overdrawn),
            };
        };
        let (session, person) = (rows.session.as_ref(), rows.person.as_ref());
        let judged = assertion.decide(wanted, session, person, epoch);
        Met {
            levels: if judged.verdict.is_ok() {
                levels
            } else {
                Vec::new()
            },
            effects: Some(judged.effects),
            verdict: judged.verdict.map_err(Unmet::Mfa),
        }
    }
}
