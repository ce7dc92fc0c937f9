//! The verbs of second factors and budgets, and what others require of both.

use super::Verb;
use super::keys::refuse_retired;
use crate::budget::{Charge, Levels, Overdrawn, Reset};
use crate::clock::Time;
use crate::id::MerchantId;
use crate::mfa::required::Rows as RequiredRows;
use crate::mfa::{
    Assertion, Decision, Effects, FactorRefused, FactorRequest, Opening, OpeningRefused, Person,
    RETENTION, Required, Session, Unmet, Use,
};
use crate::port::Needs;
use crate::port::rows::{Loaded, Rows};
use crate::term::{Cause, TokenHash};

/// What a charge and a second factor at a merchant hold.
pub(super) fn needs_of(
    charge: Option<&Charge>,
    factor: Option<(&MerchantId, &Assertion)>,
) -> Needs {
    let budgets = charge.map(|charge| [charge.of_card(), charge.of_person()]);
    Needs {
        budgets: budgets.into_iter().flatten().collect(),
        person: factor.map(|(merchant, assertion)| (merchant.clone(), assertion.person)),
        ..Needs::default()
    }
}

fn required_rows(rows: &dyn Rows, required: Required<'_>) -> Loaded<RequiredRows> {
    let mut loaded = RequiredRows::default();
    if let Some(charge) = required.charge {
        loaded.levels = levels(rows, charge)?;
    }
    if let Some((assertion, wanted)) = required.factor {
        loaded.person = rows.person(&wanted.merchant, &assertion.person)?;
        if let Some(id) = &assertion.session {
            loaded.session = rows.session(id)?;
        }
    }
    Ok(loaded)
}

/// Whether what is required is met; what that changes is saved.
pub(super) fn met(rows: &dyn Rows, required: Required<'_>) -> Loaded<Result<(), Unmet>> {
    let met = required.decide(&required_rows(rows, required)?, rows.epoch());
    for (of, level) in &met.levels {
        rows.save_level(of, *level)?;
    }
    if let Some(effects) = &met.effects {
        save(rows, effects)?;
    }
    Ok(met.verdict)
}

/// Whether a second factor that a frame brought is right. What counts is saved; a refusal that
/// changes nothing is on record where `tells`, so that nobody fills the log with them.
pub(super) fn brought(
    rows: &dyn Rows,
    factor: (&Assertion, &Use),
    tells: bool,
) -> Loaded<Result<(), Cause>> {
    let required = Required {
        charge: None,
        factor: Some(factor),
    };
    let loaded = required_rows(rows, required)?;
    let (assertion, wanted) = factor;
    let (session, person) = (loaded.session.as_ref(), loaded.person.as_ref());
    let decided = assertion.decide(wanted, session, person, rows.epoch());
    if tells || decided.effects.session.is_some() {
        save(rows, &decided.effects)?;
    }
    Ok(decided.verdict)
}

/// Whether the budgets allow a charge, where there is one; it is saved.
pub(super) fn charged(rows: &dyn Rows, charge: Option<&Charge>) -> Loaded<Result<(), Overdrawn>> {
    let Some(charge) = charge else {
        return Ok(Ok(()));
    };
    let decided = charge.decide(&levels(rows, charge)?);
    for (of, level) in charge.levels(decided.write) {
        rows.save_level(&of, level)?;
    }
    Ok(decided.verdict)
}

fn levels(rows: &dyn Rows, charge: &Charge) -> Loaded<Levels> {
    Ok(Levels {
        card: rows.level(&charge.of_card())?,
        person: rows.level(&charge.of_person())?,
    })
}

fn save(rows: &dyn Rows, effects: &Effects) -> Loaded<()> {
    if let Some(session) = &effects.session {
        rows.save_session(session)?;
    }
    if let Some(person) = &effects.person {
        rows.save_person(person)?;
    }
    rows.log(&effects.event)
}

fn save_decision<V>(rows: &dyn Rows, decision: Decision<V>) -> Loaded<V> {
    save(rows, &decision.effects)?;
    Ok(decision.verdict)
}

/// As [`brought`], of a session that a frame wants to open for a token.
pub(super) fn opened(
    rows: &dyn Rows,
    opening: &Opening,
    person: Option<&Person>,
    (token, tells): (TokenHash, bool),
) -> Loaded<Result<Session, OpeningRefused>> {
    let mut decided = opening.decide(person, rows.epoch());
    decided.effects.event.target.token = Some(token);
    if tells || decided.effects.session.is_some() {
        save(rows, &decided.effects)?;
    }
    Ok(decided.verdict)
}

/// Applies [`Opening::decide`].
impl Verb for Opening {
    type Answer = Result<Session, OpeningRefused>;

    fn needs(&self) -> Needs {
        Needs {
            person: Some((self.merchant.clone(), self.person)),
            ..Needs::default()
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Self::Answer> {
        let person = rows.person(&self.merchant, &self.person)?;
        save_decision(rows, self.decide(person.as_ref(), rows.epoch()))
    }
}

/// Applies [`FactorRequest::decide`].
impl Verb for FactorRequest {
    type Answer = Result<(), FactorRefused>;

    fn needs(&self) -> Needs {
        Needs {
            person: Some((self.merchant.clone(), self.person)),
            ..Needs::default()
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Self::Answer> {
        refuse_retired(rows, self.deks())?;
        let person = rows.person(&self.merchant, &self.person)?;
        save_decision(rows, self.decide(person.as_ref()))
    }
}

/// Deletes up to `limit` sessions that ended before `now` less [`RETENTION`]; tells how many.
#[derive(Clone, Copy, Debug)]
pub struct SweepSessions {
    /// When.
    pub now: Time,
    /// At most so many.
    pub limit: usize,
}

impl Verb for SweepSessions {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        rows.forget_sessions(self.now.minus(RETENTION), self.limit)
    }
}

/// Applies [`Reset::decide`]. Tells whether there was a level; without one it writes nothing.
impl Verb for Reset {
    type Answer = bool;

    fn needs(&self) -> Needs {
        Needs {
            budgets: vec![self.of.clone()],
            ..Needs::default()
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<bool> {
        let Some(event) = self.decide(rows.level(&self.of)?) else {
            return Ok(false);
        };
        rows.delete_level(&self.of)?;
        rows.log(&event)?;
        Ok(true)
    }
}
