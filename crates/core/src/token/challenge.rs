//! The second factor that is proved in the frame: which one a token waits for, and what its key
//! answers.

use std::time::Duration;

use cardveil_seal::sha256;

use super::state::{Decision, State, Verdict, Write};
use super::{Cause, Claim, REFUSALS_RECORDED_MAX, Record, Thumbprint, TokenHash};
use crate::audit::{Actor, Source};
use crate::id::{AttemptId, MerchantId, PersonId, SessionId};
use crate::mfa::{self, Assertion, Opening, OpeningRefused, Person, Proof, Session, Use};

/// A frame's wish to have the factor asked for that its token waits for.
///
/// **Invariant:** it claims nothing: whatever becomes of it, the token is as good as before, and
/// for the same keys.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The claim that it is for. What refuses that, refuses the challenge, in the same words (P6).
    pub claim: Claim,
    /// The session of its code, which is [`session_of`] the claim.
    pub opening: Opening,
}

/// What becomes of a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenged {
    /// This session waits for the code.
    Asked(Session),
    /// The token waits for none.
    NotWanted,
    /// Nobody is asked now.
    Unavailable(OpeningRefused),
    /// The one refusal.
    Refused(Cause),
}

/// What a key answers to a challenge: nothing opens a token that waits without it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The challenge, by the frame's own name for it.
    pub challenge: AttemptId,
    /// The token's merchant.
    pub merchant: MerchantId,
    /// The cardholder of the card.
    pub person: PersonId,
    /// What the code has turned out to be.
    pub proof: Proof,
}

/// The session that a challenge opens. It is named by what it is for, so its code passes for no
/// other token and no other key, without a row that says so; and a challenge that is sent twice
/// opens one.
pub fn session_of(token: &TokenHash, by: Thumbprint, challenge: AttemptId) -> SessionId {
    // All of them have one length each, so the parts cannot run into each other.
    SessionId::derived(sha256(&[
        b"cardveil/challenge/v1",
        &token.0,
        &by.0,
        challenge.as_bytes(),
    ]))
}

impl Challenge {
    /// What becomes of it when it is sent once more, and its session is there.
    pub fn asked_again(&self, session: Session, person: Option<&Person>) -> Challenged {
        let at = self.opening.at;
        let paused = person.and_then(|person| person.paused_until);
        let waits = match session.state {
            mfa::State::Open { .. } => None,
            // For this one no code is right any more: another may be asked for at once.
            mfa::State::Spent { .. } | mfa::State::Locked { .. } => Some(at.plus(AT_ONCE)),
        };
        match paused.filter(|until| at < *until).max(waits) {
            None => Challenged::Asked(session),
            Some(until) => Challenged::Unavailable(OpeningRefused::TooOften { until }),
        }
    }

    /// The record of a refusal says that nothing was asked for but a code.
    pub fn refused(&self, mut decision: Decision<Verdict>) -> Decision<Verdict> {
        if let Write::Change(_, event) = &mut decision.write {
            event.detail.fields = None;
            event
                .detail
                .note
                .get_or_insert_with(|| "a challenge".into());
        }
        decision
    }
}

/// The least that anyone is told to wait.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Record {
    /// Whether a refusal of it is a record of its own, or counted alone.
    pub fn tells_refusals(&self) -> bool {
        self.refusals < REFUSALS_RECORDED_MAX
    }

    /// With a refusal more.
    #[must_use]
    pub fn refused_once(&self) -> Self {
        Self {
            refusals: self.refusals.saturating_add(1),
            ..self.clone()
        }
    }

    /// Whether nobody gets anything for it without a second factor.
    pub fn waits_for_factor(&self) -> bool {
        self.state == State::Waiting
    }
}

impl Claim {
    /// What its commit judges, where the token waits for a second factor and this claim brings one.
    pub fn second_factor(&self, record: &Record) -> Option<(Assertion, Use)> {
        let answered = self.answered.as_ref()?;
        record.waits_for_factor().then(|| {
            let assertion = Assertion {
                session: Some(session_of(&self.token.hash, self.by, answered.challenge)),
                person: answered.person,
                proof: answered.proof,
            };
            let wanted = Use {
                merchant: record.merchant.clone(),
                card: record.card,
                token: Some(self.token.hash),
                purpose: record.operation.into(),
                at: self.at,
                source: Source {
                    actor: Actor::Holder(self.by),
                    origin: self.origin.clone(),
                },
            };
            (assertion, wanted)
        })
    }
}
