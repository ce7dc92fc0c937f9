//! What is known of a person's second factor at one merchant: the enrolled app, and how often they
//! were wrong.

use cardveil_seal::Class;
use serde::{Deserialize, Serialize};

use super::{
    Decision, Effects, Factor, PAUSE, SESSIONS_MAX, SESSIONS_WITHIN, WRONG_CODES_MAX,
    WRONG_IN_A_ROW_MAX, step_at,
};
use crate::audit::{Detail, Event, Kind, Outcome, Source, Target};
use crate::clock::{CLOCKS_APART, Time};
use crate::id::{FactorId, MerchantId, PersonId};
use crate::term::{Cause, SealedSecret};

/// A person at a merchant. There is a row once they were enrolled, or have opened a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Whose cardholder.
    pub merchant: MerchantId,
    /// Who.
    pub person: PersonId,
    /// The enrolled authenticator app.
    pub totp: Option<Totp>,
    /// Wrong codes in a row, over all sessions. A right one sets it back; enrolling anew does not.
    pub wrong: u32,
    /// Until when they get no session, because wrong codes have ended one.
    pub paused_until: Option<Time>,
    /// When sessions were opened, of the last hour; at most [`SESSIONS_MAX`].
    pub opened: Vec<Time>,
}

/// An enrolled authenticator app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// This enrolment: a code that matched another one's secret is no proof.
    pub id: FactorId,
    /// Its secret, sealed under the credential class key.
    pub sealed: SealedSecret,
    pub enrolled_at: Time,
    /// When its first right code came; until then it proves nothing.
    pub confirmed_at: Option<Time>,
    /// The last step whose code was taken (RFC 6238 section 5.2: one code, one use).
    pub last_step: Option<u64>,
}

/// A change to a person's factors.
#[derive(Clone, Debug)]
pub struct FactorRequest {
    /// At which merchant.
    pub merchant: MerchantId,
    pub person: PersonId,
    pub change: FactorChange,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

#[derive(Clone, Debug)]
pub enum FactorChange {
    /// A new app takes the place of the one before, if any.
    Enrol(Box<Totp>),
    /// The first code of the app has come.
    Confirm {
        /// Of the enrolment with which it was compared.
        factor: FactorId,
        /// The step that it matched.
        step: Option<u64>,
    },
    /// The app is taken away.
    Remove,
    /// An operator lets a person try again who was wrong too often.
    Reset,
}

/// Why a person's factors are not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorRefused {
    /// There is no such app, or it is confirmed already, or it is locked.
    Unavailable,
    /// The code is not the app's.
    WrongCode,
}

impl Person {
    /// Nothing is known of them yet.
    pub const fn new(merchant: MerchantId, person: PersonId) -> Self {
        Self {
            merchant,
            person,
            totp: None,
            wrong: 0,
            paused_until: None,
            opened: Vec::new(),
        }
    }

    /// Whether they were wrong so often that an operator must look into it.
    pub const fn locked(&self) -> bool {
        self.wrong >= WRONG_IN_A_ROW_MAX
    }

    /// The app that a session can ask, if there is one.
    pub fn confirmed(&self) -> Option<&Totp> {
        self.totp
            .as_ref()
            .filter(|totp| totp.confirmed_at.is_some())
    }

    /// As a clock would have kept it that says `at` now: what lies further ahead than it ever can
    /// was written under a clock that was ahead, or this one is behind. A pause and the sessions of
    /// the last hour begin anew, and of an app the codes count as used that could be brought now,
    /// so that nobody gains by it and nobody waits for the other clock's time. Whoever writes the
    /// row writes this one.
    #[must_use]
    pub(super) fn dated(mut self, at: Time) -> Self {
        let paused = |until: Time| {
            let ahead = until.minus(PAUSE).is_ahead_of(at);
            if ahead { at.plus(PAUSE) } else { until }
        };
        self.paused_until = self.paused_until.map(paused);
        for opened in &mut self.opened {
            if opened.is_ahead_of(at) {
                *opened = at;
            }
        }
        if let Some(step) = self.totp.as_mut().and_then(|totp| totp.last_step.as_mut())
            && *step > step_at(at.plus(CLOCKS_APART)).saturating_add(1)
        {
            *step = step_at(at).saturating_add(1);
        }
        self
    }

    /// Whether they can prove a factor at all.
    pub(super) fn has(&self, factor: Factor) -> bool {
        let enrolled = match factor {
            Factor::Totp => self.confirmed().is_some(),
            Factor::Otp => true,
        };
        enrolled && !self.locked()
    }

    /// Until when they get no session at `at`, if they get none.
    pub(super) fn barred_until(&self, at: Time) -> Option<Time> {
        let paused = self.paused_until.filter(|until| at < *until);
        let recent = self.recent(at);
        let full = (recent.len() >= SESSIONS_MAX)
            .then(|| recent.iter().min().map(|first| first.plus(SESSIONS_WITHIN)))
            .flatten();
        paused.max(full)
    }

    /// With a session more.
    pub(super) fn opening(&self, at: Time) -> Self {
        let mut opened = self.recent(at);
        opened.push(at);
        Self {
            opened,
            ..self.clone()
        }
    }

    fn recent(&self, at: Time) -> Vec<Time> {
        let within = |opened: &&Time| at < opened.plus(SESSIONS_WITHIN);
        self.opened.iter().filter(within).copied().collect()
    }
}

impl FactorRequest {
    /// The wrapped DEK that it writes, if it does, with its class.
    pub fn deks(&self) -> Vec<(Class, &[u8])> {
        match &self.change {
            FactorChange::Enrol(totp) => vec![(Class::Credential, &*totp.sealed.dek)],
            FactorChange::Confirm { .. } | FactorChange::Remove | FactorChange::Reset => Vec::new(),
        }
    }

    /// The rules of enrolment. `person` is the row, if there is one.
    pub fn decide(&self, person: Option<&Person>) -> Decision<Result<(), FactorRefused>> {
        let unknown = || Person::new(self.merchant.clone(), self.person);
        let known = person.is_some();
        let person = person.cloned().unwrap_or_else(unknown);
        match &self.change {
            FactorChange::Enrol(totp) => self.done(
                Kind::MfaEnrolled,
                Person {
                    totp: Some((**totp).clone()),
                    ..person
                },
            ),
            FactorChange::Confirm { factor, step } => self.confirm(person, *factor, *step),
            FactorChange::Remove if person.totp.is_some() => self.done(
                Kind::MfaRemoved,
                Person {
                    totp: None,
                    ..person
                },
            ),
            FactorChange::Remove => self.refused(None, FactorRefused::Unavailable),
            FactorChange::Reset if !known => self.refused(None, FactorRefused::Unavailable),
            FactorChange::Reset => self.done(
                Kind::MfaReset,
                Person {
                    wrong: 0,
                    paused_until: None,
                    ..person
                },
            ),
        }
    }

    fn confirm(
        &self,
        person: Person,
        factor: FactorId,
        step: Option<u64>,
    ) -> Decision<Result<(), FactorRefused>> {
        // A confirmed app is not asked here: it would be a way to try codes without a session.
        let waiting = |totp: &&Totp| totp.id == factor && totp.confirmed_at.is_none();
        let Some(totp) = person.totp.as_ref().filter(waiting) else {
            return self.refused(None, FactorRefused::Unavailable);
        };
        if person.locked() {
            return self.refused(None, FactorRefused::Unavailable);
        }
        let Some(step) = step else {
            let wrong = person.wrong.saturating_add(1);
            return self.refused(Some(Person { wrong, ..person }), FactorRefused::WrongCode);
        };
        let confirmed = Totp {
            confirmed_at: Some(self.at),
            last_step: Some(step),
            ..totp.clone()
        };
        self.done(
            Kind::MfaConfirmed,
            Person {
                totp: Some(confirmed),
                ..person
            },
        )
    }

    fn done(&self, kind: Kind, person: Person) -> Decision<Result<(), FactorRefused>> {
        Decision {
            effects: Effects {
                session: None,
                person: Some(person),
                event: self.event(kind),
            },
            verdict: Ok(()),
        }
    }

    fn refused(
        &self,
        person: Option<Person>,
        refused: FactorRefused,
    ) -> Decision<Result<(), FactorRefused>> {
        let cause = match refused {
            FactorRefused::Unavailable => Cause::FactorUnavailable,
            FactorRefused::WrongCode => Cause::WrongCode,
        };
        let mut event = self.event(Kind::MfaRefused);
        event.outcome = Outcome::Failure;
        event.detail = Detail {
            cause: Some(cause),
            ..Detail::default()
        };
        Decision {
            effects: Effects {
                session: None,
                person,
                event,
            },
            verdict: Err(refused),
        }
    }

    fn event(&self, kind: Kind) -> Event {
        let target = Target {
            person: Some(self.person),
            ..Target::default()
        };
        self.source
            .event(self.at, kind, Some(self.merchant.clone()), target)
    }
}

// A person is locked before the count can run over.
const _: () = assert!((WRONG_CODES_MAX as u32) < WRONG_IN_A_ROW_MAX);
