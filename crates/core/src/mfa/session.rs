//! The states of a session and the rules by which a code passes it.

use serde::{Deserialize, Serialize};

use super::{
    Decision, Effects, Factor, FactorPolicy, PAUSE, Person, Purpose, SESSION_TTL, WRONG_CODES_MAX,
};
use crate::audit::{Detail, Event, Kind, Outcome, Source, Target};
use crate::clock::Time;
use crate::id::{CardId, FactorId, MerchantId, PersonId, SessionId};
use crate::term::{Cause, Epoch, TokenHash};

/// A session as stores keep it: for one person, card and operation of one merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name. It is no secret on its own.
    pub id: SessionId,
    /// The epoch of its opening.
    pub epoch: Epoch,
    pub merchant: MerchantId,
    /// Who must prove it.
    pub person: PersonId,
    pub card: CardId,
    /// The one operation.
    pub purpose: Purpose,
    /// What they must prove.
    pub factor: Factor,
    pub opened_at: Time,
    /// The first moment at which no code passes it any more.
    pub expires_at: Time,
    /// What has become of it.
    pub state: State,
}

/// What has become of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for a code.
    Open {
        /// How many were wrong; fewer than [`WRONG_CODES_MAX`].
        wrong: u8,
    },
    /// A right code has come, and what it was for was written with it.
    Spent { at: Time },
    /// Wrong codes have ended it.
    Locked { at: Time },
}

impl State {
    /// Its name in the audit record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Spent { .. } => "spent",
            Self::Locked { .. } => "locked",
        }
    }
}

/// A wish to open a session. The card was looked up: it is the person's.
#[derive(Clone, Debug)]
pub struct Opening {
    pub id: SessionId,
    /// At which merchant.
    pub merchant: MerchantId,
    /// Who.
    pub person: PersonId,
    pub card: CardId,
    /// For which operation.
    pub purpose: Purpose,
    /// By what; by the strongest that the person has when it is left out.
    pub factor: Option<Factor>,
    /// Which factors count.
    pub factors: FactorPolicy,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

/// Why no session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningRefused {
    /// The person has no such factor, it is locked, or it does not count.
    FactorUnavailable,
    /// The person has a stronger one, and this one is no fallback for it.
    StrongerEnrolled,
    /// They have opened too many, or were wrong too often.
    TooOften {
        /// When to come back.
        until: Time,
    },
}

/// What a second factor is to be used for, once: a token that is to be issued, a PIN that is to
/// pass.
#[derive(Clone, Debug)]
pub struct Use {
    /// At which merchant.
    pub merchant: MerchantId,
    pub card: CardId,
    /// Which token is to be opened; none where one is to be issued, and for a PIN.
    pub token: Option<TokenHash>,
    /// For which operation.
    pub purpose: Purpose,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

/// A session's id and what its code has turned out to be, with what it is to be used for.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// The session; `None` when what was sent cannot be one.
    pub session: Option<SessionId>,
    /// The cardholder of the card.
    pub person: PersonId,
    /// The code.
    pub proof: Proof,
}

/// What a code has turned out to be, before the commit that judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It was compared with an app's secret.
    Totp {
        /// The enrolment whose secret it was.
        factor: FactorId,
        /// The step that it matched, if any.
        step: Option<u64>,
    },
    /// It was compared with the code that the session's id gives.
    Otp {
        /// Whether it is that.
        right: bool,
    },
    /// There was nothing to compare it with.
    Nothing,
}

impl Proof {
    /// Whether it can pass at all. The commit still judges it.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Totp { step, .. } => step.is_some(),
            Self::Otp { right } => *right,
            Self::Nothing => false,
        }
    }
}

impl Opening {
    /// The rules of opening. `person` is the row, if there is one; `epoch` the store's at the
    /// moment of writing.
    pub fn decide(
        &self,
        person: Option<&Person>,
        epoch: Epoch,
    ) -> Decision<Result<Session, OpeningRefused>> {
        let unknown = || Person::new(self.merchant.clone(), self.person);
        let kept = person;
        let person = person.cloned().unwrap_or_else(unknown).dated(self.at);
        // The strongest of those that count.
        let asked_for = self
            .factors
            .accepts
            .iter()
            .find(|factor| person.has(*factor));
        let Some(factor) = self.factor.or(asked_for) else {
            return self.refused(Cause::FactorUnavailable, OpeningRefused::FactorUnavailable);
        };
        if !self.factors.accepts.contains(factor) || !person.has(factor) {
            return self.refused(Cause::FactorUnavailable, OpeningRefused::FactorUnavailable);
        }
        let stronger = asked_for.filter(|strongest| *strongest != factor);
        if stronger.is_some() && !self.factors.fallback.contains(factor) {
            return self.refused(Cause::WeakerFactor, OpeningRefused::StrongerEnrolled);
        }
        if let Some(until) = person.barred_until(self.at) {
            let mut refused = self.refused(Cause::TooOften, OpeningRefused::TooOften { until });
            refused.effects.person = Some(person).filter(|dated| Some(dated) != kept);
            return refused;
        }
        let session = Session {
            id: self.id,
            epoch,
            merchant: self.merchant.clone(),
            person: self.person,
            card: self.card,
            purpose: self.purpose,
            factor,
            opened_at: self.at,
            expires_at: self.at.plus(SESSION_TTL),
            state: State::Open { wrong: 0 },
        };
        // The event of a code to be delivered is what the merchant is told of.
        let kind = match factor {
            Factor::Totp => Kind::MfaOpened,
            Factor::Otp => Kind::MfaCode,
        };
        Decision {
            effects: Effects {
                session: Some(session.clone()),
                person: Some(person.opening(self.at)),
                event: self.opened(kind, factor, stronger),
            },
            verdict: Ok(session),
        }
    }

    fn refused(
        &self,
        cause: Cause,
        refused: OpeningRefused,
    ) -> Decision<Result<Session, OpeningRefused>> {
        let mut event = self.event(Kind::MfaRefused);
        event.outcome = Outcome::Failure;
        event.target.session = None;
        event.detail.cause = Some(cause);
        Decision {
            effects: Effects {
                session: None,
                person: None,
                event,
            },
            verdict: Err(refused),
        }
    }

    /// The record says when a weaker factor stands in for a stronger one.
    fn opened(&self, kind: Kind, factor: Factor, stronger: Option<Factor>) -> Event {
        let name = factor.as_str();
        let note = match stronger {
            None => name.into(),
            Some(stronger) => format!("{name}, a fallback for {}", stronger.as_str()).into(),
        };
        let mut event = self.event(kind);
        event.detail.note = Some(note);
        event
    }

    fn event(&self, kind: Kind) -> Event {
        let target = Target {
            card: Some(self.card),
            person: Some(self.person),
            session: Some(self.id),
            ..Target::default()
        };
        let merchant = Some(self.merchant.clone());
        let mut event = self.source.event(self.at, kind, merchant, target);
        event.detail = Detail {
            operation: Some(self.purpose),
            note: self.factor.map(|factor| factor.as_str().into()),
            ..Detail::default()
        };
        event
    }
}

/// What a code does to a session.
enum Judged {
    /// It passes; with the step that it used.
    Right(Option<u64>),
    /// It is wrong, which counts.
    Wrong(Cause),
    /// It was not looked at: nothing counts, so nobody ends another's session.
    Void(Cause),
}

impl Assertion {
    /// The rules of a code, for the commit of `wanted`. The rows are the session of this name and
    /// the cardholder at its merchant; `epoch` is the store's.
    pub fn decide(
        &self,
        wanted: &Use,
        session: Option<&Session>,
        person: Option<&Person>,
        epoch: Epoch,
    ) -> Decision<Result<(), Cause>> {
        let unknown = || Person::new(wanted.merchant.clone(), self.person);
        let person = person.cloned().unwrap_or_else(unknown).dated(wanted.at);
        let event = |kind| self.event(kind, wanted);
        let Some(session) = session else {
            return refused(event(Kind::MfaRefused), Cause::Unknown);
        };
        match self.judge(wanted, session, &person, epoch) {
            Judged::Right(step) => passed(event(Kind::MfaPassed), session, person, step),
            Judged::Wrong(cause) => wrong(event(Kind::MfaRefused), session, person, cause),
            Judged::Void(cause) => refused(event(Kind::MfaRefused), cause),
        }
    }

    fn judge(&self, wanted: &Use, session: &Session, person: &Person, epoch: Epoch) -> Judged {
        if session.merchant != wanted.merchant {
            return Judged::Void(Cause::Foreign);
        }
        if session.epoch != epoch {
            return Judged::Void(Cause::OldEpoch);
        }
        if session.card != wanted.card || session.person != self.person {
            return Judged::Void(Cause::Foreign);
        }
        if session.purpose != wanted.purpose {
            return Judged::Void(Cause::WrongOperation);
        }
        match session.state {
            State::Open { .. } => {}
            State::Spent { .. } => return Judged::Void(Cause::SessionSpent),
            State::Locked { .. } => return Judged::Void(Cause::SessionLocked),
        }
        let at = wanted.at;
        if session.expires_at <= at || session.opened_at.is_ahead_of(at) {
            return Judged::Void(Cause::Expired);
        }
        // A person whose session was locked cannot go on in another that was open already.
        if person.paused_until.is_some_and(|until| at < until) {
            return Judged::Void(Cause::TooOften);
        }
        if !person.has(session.factor) {
            return Judged::Void(Cause::FactorUnavailable);
        }
        self.compare(session, person)
    }

    fn compare(&self, session: &Session, person: &Person) -> Judged {
        match (session.factor, self.proof) {
            (Factor::Totp, Proof::Totp { factor, step }) => {
                let Some(totp) = person.confirmed().filter(|totp| totp.id == factor) else {
                    return Judged::Void(Cause::FactorUnavailable);
                };
                match step {
                    None => Judged::Wrong(Cause::WrongCode),
                    // RFC 6238 section 5.2: not accepted a second time; nor one from before it.
                    Some(step) if totp.last_step.is_some_and(|last| step <= last) => {
                        Judged::Wrong(Cause::CodeReused)
                    }
                    Some(step) => Judged::Right(Some(step)),
                }
            }
            (Factor::Otp, Proof::Otp { right: true }) => Judged::Right(None),
            (Factor::Otp, Proof::Otp { right: false } | Proof::Totp { .. } | Proof::Nothing)
            | (Factor::Totp, Proof::Otp { .. } | Proof::Nothing) => Judged::Wrong(Cause::WrongCode),
        }
    }

    fn event(&self, kind: Kind, wanted: &Use) -> Event {
        let target = Target {
            card: Some(wanted.card),
            token: wanted.token,
            person: Some(self.person),
            session: self.session,
            ..Target::default()
        };
        let merchant = Some(wanted.merchant.clone());
        let mut event = wanted.source.event(wanted.at, kind, merchant, target);
        event.detail = Detail {
            operation: Some(wanted.purpose),
            ..Detail::default()
        };
        event
    }
}

fn refused(mut event: Event, cause: Cause) -> Decision<Result<(), Cause>> {
    event.outcome = Outcome::Failure;
    event.detail.cause = Some(cause);
    Decision {
        effects: Effects {
            session: None,
            person: None,
            event,
        },
        verdict: Err(cause),
    }
}

fn passed(
    event: Event,
    session: &Session,
    person: Person,
    step: Option<u64>,
) -> Decision<Result<(), Cause>> {
    let next = Session {
        state: State::Spent { at: event.at },
        ..session.clone()
    };
    let totp = person.totp.map(|totp| super::Totp {
        last_step: step.or(totp.last_step),
        ..totp
    });
    Decision {
        verdict: Ok(()),
        effects: Effects {
            person: Some(Person {
                totp,
                wrong: 0,
                ..person
            }),
            event: moved(event, session, &next),
            session: Some(next),
        },
    }
}

fn wrong(
    event: Event,
    session: &Session,
    person: Person,
    cause: Cause,
) -> Decision<Result<(), Cause>> {
    let at = event.at;
    let before = match session.state {
        State::Open { wrong } => wrong,
        // Cannot be: only an open one is compared.
        State::Spent { .. } | State::Locked { .. } => WRONG_CODES_MAX,
    };
    let count = before.saturating_add(1);
    let ends = count >= WRONG_CODES_MAX;
    let state = if ends {
        State::Locked { at }
    } else {
        State::Open { wrong: count }
    };
    let next = Session {
        state,
        ..session.clone()
    };
    let person = Person {
        wrong: person.wrong.saturating_add(1),
        paused_until: if ends {
            Some(at.plus(PAUSE))
        } else {
            person.paused_until
        },
        ..person
    };
    let refused = refused(moved(event, session, &next), cause);
    Decision {
        effects: Effects {
            session: Some(next),
            person: Some(person),
            ..refused.effects
        },
        ..refused
    }
}

/// A change of state is on record by the names of the states.
fn moved(mut event: Event, from: &Session, to: &Session) -> Event {
    if from.state.as_str() != to.state.as_str() {
        event.detail.from = Some(from.state.as_str().into());
        event.detail.to = Some(to.state.as_str().into());
    }
    event
}
