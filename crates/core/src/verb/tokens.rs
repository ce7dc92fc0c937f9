//! The verbs of tokens: the linearisable heart.

use std::sync::Arc;

use super::Verb;
use super::cards::make_transition;
use super::factors::{brought, met, needs_of, opened};
use crate::audit::{Outcome, Source};
use crate::clock::Time;
use crate::id::{MerchantId, PersonId};
use crate::mfa::Opening;
use crate::port::Needs;
use crate::port::rows::{Loaded, Rows};
use crate::token::{
    Around, Attempt, CLOCKS_APART, Cause, Challenge, Challenged, Claim, Decision, Grant, Issue,
    Issued, LivesOf, Observation, REFUSALS_RECORDED_MAX, RETENTION, REVEAL_WINDOW, Record,
    TokenKey, Verdict, Write,
};

/// Applies [`Issue::decide`], over the name, the budgets and the second factor. One assertion gives
/// one token at most, however often and wherever it is sent; what an overdrawn budget refuses
/// spends no assertion.
impl Verb for Issue {
    type Answer = Issued;

    fn needs(&self) -> Needs {
        let factor = self.mfa.as_ref().map(|it| (&self.record.merchant, it));
        Needs {
            soon: true,
            ..needs_of(self.charge.as_ref(), factor)
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Issued> {
        let epoch = rows.epoch();
        let name = self.idempotency.as_ref();
        // A name that nothing is decided by is not held.
        let named = match name {
            Some(name) if self.record.epoch == epoch => rows.named(&name.key)?,
            Some(_) | None => None,
        };
        if let Some(answer) = self.decide(epoch, named) {
            return Ok(answer);
        }
        let wanted = self.mfa.as_ref().map(|_| self.second_factor_use());
        if let Err(unmet) = met(rows, self.required(wanted.as_ref()))? {
            return Ok(unmet.into());
        }
        rows.add_token(&self.record)?;
        if let Some(name) = name {
            rows.save_name(name, &self.record.key)?;
        }
        rows.log(&self.event)?;
        Ok(Issued::New)
    }
}

/// Applies [`Claim::decide`], over the token, its card's state and what it lives by: nothing is
/// granted past a change of these that was answered before. To at most one key, ever: of concurrent
/// claims by different keys exactly one is granted, in all processes together.
impl Verb for Claim {
    type Answer = Verdict;

    fn needs(&self) -> Needs {
        Needs {
            token: Some(self.token),
            soon: true,
            person: person_of(self),
            ..Needs::default()
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Verdict> {
        let (record, decision) = decided(self, rows)?;
        if let (Verdict::Granted(_), Some(record)) = (&decision.verdict, &record)
            && let Some((assertion, wanted)) = self.second_factor(record)
            && let Err(cause) = brought(rows, (&assertion, &wanted), record.tells_refusals())?
        {
            rows.count_token(&record.refused_once())?;
            return Ok(Verdict::FactorRefused(cause));
        }
        let verdict = save(rows, decision)?;
        if let Some(step) = self.step_of(&verdict) {
            make_transition(rows, step)?;
        }
        Ok(verdict)
    }
}

fn person_of(claim: &Claim) -> Option<(MerchantId, PersonId)> {
    let answered = claim.answered.as_ref();
    answered.map(|it| (it.merchant.clone(), it.person))
}

/// What a claim comes to, over its token's row, which it finds.
fn decided(claim: &Claim, rows: &dyn Rows) -> Loaded<(Option<Record>, Decision<Verdict>)> {
    let record = rows.token(&claim.token)?;
    let (card, lives) = match &record {
        Some(record) => (
            rows.card_state(&record.merchant, record.card)?,
            rows.lives(LivesOf::token(record, &claim.embed))?,
        ),
        None => (None, Arc::default()),
    };
    let around = Around {
        card,
        lives: &lives,
        epoch: rows.epoch(),
    };
    let decision = claim.decide(record.as_ref(), &around);
    Ok((record, decision))
}

/// Judges the claim that the challenge is for, and opens its session where that wants a factor and
/// nothing else. Claims nothing.
impl Verb for Challenge {
    type Answer = Challenged;

    fn needs(&self) -> Needs {
        Needs {
            token: Some(self.claim.token),
            person: Some((self.opening.merchant.clone(), self.opening.person)),
            soon: true,
            ..Needs::default()
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Challenged> {
        let (record, decision) = decided(&self.claim, rows)?;
        let Some(record) = record else {
            return Ok(Challenged::Refused(Cause::Unknown));
        };
        match decision.verdict {
            Verdict::WantsFactor => {}
            Verdict::Refused(cause) => {
                save(rows, self.refused(decision))?;
                return Ok(Challenged::Refused(cause));
            }
            Verdict::Granted(_) | Verdict::FactorRefused(_) | Verdict::Superseded => {
                return Ok(Challenged::NotWanted);
            }
        }
        let Opening {
            merchant, person, ..
        } = &self.opening;
        let person = rows.person(merchant, person)?;
        // Asked again, it opens no other: that would give the wrong codes of this one back.
        if let Some(session) = rows.session(&self.opening.id)? {
            return Ok(self.asked_again(session, person.as_ref()));
        }
        let of = (record.key.hash, record.tells_refusals());
        Ok(match opened(rows, &self.opening, person.as_ref(), of)? {
            Ok(session) => Challenged::Asked(session),
            Err(refused) => {
                rows.count_token(&record.refused_once())?;
                Challenged::Unavailable(refused)
            }
        })
    }
}

/// Applies [`Attempt::decide`], and is answered only once that which it has read is durable.
impl Verb for Attempt {
    type Answer = Option<Grant>;

    fn needs(&self) -> Needs {
        Needs {
            token: Some(self.token),
            ..Needs::default()
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Option<Grant>> {
        let record = rows.token(&self.token)?;
        save(rows, self.decide(record.as_ref()))
    }
}

/// Applies [`Observation::decide`].
impl Verb for Observation {
    type Answer = Result<(), Cause>;

    fn needs(&self) -> Needs {
        Needs {
            token: Some(self.token),
            ..Needs::default()
        }
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Self::Answer> {
        let record = rows.token(&self.token)?;
        save(rows, self.decide(record.as_ref(), rows.epoch()))
    }
}

/// Nobody forgets the event of a change: it is in the same value.
fn save<V>(rows: &dyn Rows, decision: Decision<V>) -> Loaded<V> {
    match &decision.write {
        Write::Nothing => {}
        Write::Event(event) => rows.log(event)?,
        // Of a refusal there remain a count and what was told: the token is as good as before.
        Write::Change(record, event) if event.outcome == Outcome::Failure => {
            rows.count_token(record)?;
            rows.log(event)?;
        }
        Write::Change(record, event) => {
            rows.save_token(record)?;
            rows.log(event)?;
        }
        Write::Count(record) => rows.count_token(record)?,
    }
    Ok(decision.verdict)
}

/// Applies [`Record::revoke`](crate::token::Record::revoke) to each of these that there is; tells
/// how many it changed. All of them are held until the commit, so a caller names no more than
/// others can wait for.
#[derive(Clone, Debug)]
pub struct Revoke {
    pub tokens: Vec<TokenKey>,
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

impl Verb for Revoke {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        let mut keys = self.tokens.clone();
        keys.sort_unstable();
        keys.dedup();
        let known = rows.tokens(&keys)?;
        let revoked = known
            .iter()
            .filter_map(|it| it.revoke(self.at, &self.source));
        let revoked: Vec<_> = revoked.collect();
        for (record, event) in &revoked {
            rows.save_token(record)?;
            rows.log(event)?;
        }
        Ok(revoked.len())
    }
}

/// Applies [`Record::sweep`](crate::token::Record::sweep) to tokens whose window has ended, and
/// deletes rows that were issued before `now` less [`RETENTION`], with the events of
/// [`Record::refusals_told`](crate::token::Record::refusals_told), names that have expired and
/// budgets that are whole; at most `limit` of each.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// When.
    pub now: Time,
    /// At most so many of each kind.
    pub limit: usize,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Releases recorded as never confirmed.
    pub unconfirmed: usize,
    /// Rows past their retention that were deleted.
    pub deleted: usize,
    /// Whether there is more to do: the limit was reached.
    pub more: bool,
}

impl Verb for Sweep {
    type Answer = Swept;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Swept> {
        let Self { now, limit } = *self;
        // Those that a clock ahead has released are due too: see `Record::sweep`.
        let ahead = now.plus(REVEAL_WINDOW + CLOCKS_APART);
        let due = rows.tokens_due(now, ahead, limit)?;
        let mut swept = Swept {
            more: due.len() == limit,
            ..Swept::default()
        };
        for (record, event) in due.iter().flatten().filter_map(|record| record.sweep(now)) {
            let Some(event) = event else {
                rows.count_token(&record)?;
                continue;
            };
            rows.save_token(&record)?;
            rows.log(&event)?;
            swept.unconfirmed += 1;
        }
        let oldest = now.minus(RETENTION);
        for record in rows.refused_tokens(oldest, REFUSALS_RECORDED_MAX, limit)? {
            if let Some(event) = record.refusals_told(now) {
                rows.log(&event)?;
            }
            rows.delete_token(&record.key)?;
            swept.deleted += 1;
        }
        for key in rows.old_tokens(oldest, limit)? {
            rows.delete_token(&key)?;
            swept.deleted += 1;
        }
        let forgotten = [
            rows.forget_names(now, limit)?,
            rows.forget_levels(now, limit)?,
        ];
        swept.more |= swept.deleted >= limit || forgotten.contains(&limit);
        Ok(swept)
    }
}
