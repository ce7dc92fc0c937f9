//! Issuing a token: what is asked of a store, and the rules of its commit.

use super::{Cause, Epoch, Record};
use crate::audit::{Event, Source};
use crate::budget::{Charge, Overdrawn};
use crate::clock::Time;
use crate::mfa::{Assertion, Required, Unmet, Use};

/// A token's row that is to be written with its event.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The row.
    pub record: Record,
    pub event: Event,
    /// Set when the caller named its request.
    pub idempotency: Option<Idempotency>,
    /// Set when the token needs a second factor: judged in the commit, which spends its session and
    /// writes the token, or writes the refusal alone.
    pub mfa: Option<Assertion>,
    /// Set when the token is charged to budgets: charged in the commit that writes it.
    pub charge: Option<Charge>,
}

impl Issue {
    /// What is answered at once, over the epoch and the request that had the name before; `None`
    /// where it is decided by what it requires. One that was answered before has been charged, and
    /// has spent its session.
    pub fn decide(&self, epoch: Epoch, named: Option<(Idempotency, Record)>) -> Option<Issued> {
        if self.record.epoch != epoch {
            return Some(Issued::OldEpoch(epoch));
        }
        let (before, record) = named?;
        let answers = before.answers(&record, epoch, self.record.issued_at);
        answers.then(|| Issued::Before(before, Box::new(record)))
    }

    /// What it requires besides the card; `wanted` is its [`Self::second_factor_use`], where it has
    /// a second factor.
    pub fn required<'a>(&'a self, wanted: Option<&'a Use>) -> Required<'a> {
        Required {
            charge: self.charge.as_ref(),
            factor: self.mfa.as_ref().zip(wanted),
        }
    }

    /// What its second factor is used for.
    pub fn second_factor_use(&self) -> Use {
        Use {
            merchant: self.record.merchant.clone(),
            card: self.record.card,
            token: None,
            purpose: self.record.operation.into(),
            at: self.record.issued_at,
            source: Source {
                actor: self.event.actor.clone(),
                origin: self.event.origin.clone(),
            },
        }
    }
}

/// A request that its caller named, so that it may send it twice and mean it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 over merchant, credential and the caller's `Idempotency-Key`.
    pub key: [u8; 32],
    /// SHA-256 over what was asked.
    pub fingerprint: [u8; 32],
    /// Random bytes from which the token is derived with a key of the vault, so that the same
    /// token can be answered again and none is ever stored.
    pub seed: [u8; 32],
    /// Until when the name is remembered.
    pub expires_at: Time,
}

impl Idempotency {
    /// Whether a request of this name is answered with the token that it was given. It is not once
    /// the name has expired or the epoch was raised, nor where a clock that was ahead has given it:
    /// no key could claim that token.
    fn answers(&self, record: &Record, epoch: Epoch, now: Time) -> bool {
        now < self.expires_at && record.epoch == epoch && !record.issued_at.is_ahead_of(now)
    }
}

/// What became of an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issued {
    /// The row was written.
    New,
    /// A request of this name was answered before, with a token from this seed.
    Before(Idempotency, Box<Record>),
    /// The epoch has been raised meanwhile. Nothing was written: make the token again.
    OldEpoch(Epoch),
    /// The second factor is refused. The refusal was written, and no token.
    MfaRefused(Cause),
    /// A budget does not allow it. Nothing was written.
    Overdrawn(Overdrawn),
}

impl From<Unmet> for Issued {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::Overdrawn(overdrawn) => Self::Overdrawn(overdrawn),
            Unmet::Mfa(cause) => Self::MfaRefused(cause),
        }
    }
}
