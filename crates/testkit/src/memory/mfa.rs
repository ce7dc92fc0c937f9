//! Second factors in memory.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::budget::Charge;
use cardveil_core::clock::Time;
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::{
    Assertion, Decision, FactorRefused, FactorRequest, Opening, OpeningRefused, Person, RETENTION,
    Session, Use,
};
use cardveil_core::port::{Mfa, Result, Unmet};
use cardveil_core::token::{Cause, Epoch};

impl Inner {
    /// Takes what is granted from its budgets, and passes its second factor for it, or neither.
    pub(super) fn admit(
        &mut self,
        charge: Option<&Charge>,
        mfa: Option<(&Assertion, &Use)>,
    ) -> std::result::Result<(), Unmet> {
        let charged = charge.map(|charge| self.charged(charge)).transpose();
        let charged = charged.map_err(Unmet::Overdrawn)?;
        if let Some((assertion, wanted)) = mfa {
            self.judge(assertion, wanted).map_err(Unmet::Mfa)?;
        }
        self.budgets.extend(charged.unwrap_or_default());
        Ok(())
    }

    pub(super) fn judge(
        &mut self,
        assertion: &Assertion,
        wanted: &Use,
    ) -> std::result::Result<(), Cause> {
        let session = assertion.session.and_then(|id| self.sessions.get(&id));
        let person = (wanted.merchant.clone(), assertion.person);
        let decision = assertion.decide(
            wanted,
            session,
            self.persons.get(&person),
            Epoch(self.epoch),
        );
        self.write_mfa(decision)
    }

    fn write_mfa<V>(&mut self, decision: Decision<V>) -> V {
        let effects = decision.effects;
        if let Some(session) = effects.session {
            self.sessions.insert(session.id, session);
        }
        if let Some(person) = effects.person {
            let key = (person.merchant.clone(), person.person);
            self.persons.insert(key, person);
        }
        self.log(effects.event);
        decision.verdict
    }
}

#[async_trait]
impl Mfa for Memory {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        Ok(self.inner().sessions.get(id).cloned())
    }

    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        let key = (merchant.clone(), *person);
        Ok(self.inner().persons.get(&key).cloned())
    }

    async fn open_mfa(
        &self,
        opening: Opening,
    ) -> Result<std::result::Result<Session, OpeningRefused>> {
        let mut inner = self.inner();
        let key = (opening.merchant.clone(), opening.person);
        let decision = opening.decide(inner.persons.get(&key), Epoch(inner.epoch));
        Ok(inner.write_mfa(decision))
    }

    async fn change_factor(
        &self,
        request: FactorRequest,
    ) -> Result<std::result::Result<(), FactorRefused>> {
        let mut inner = self.inner();
        let key = (request.merchant.clone(), request.person);
        inner.refuse_retired(request.deks())?;
        let decision = request.decide(inner.persons.get(&key));
        Ok(inner.write_mfa(decision))
    }

    async fn sweep_mfa(&self, now: Time, limit: usize) -> Result<usize> {
        let mut inner = self.inner();
        let oldest = now.minus(RETENTION);
        let old: Vec<_> = inner
            .sessions
            .values()
            .filter(|session| session.expires_at < oldest)
            .map(|session| session.id)
            .take(limit)
            .collect();
        for id in &old {
            inner.sessions.remove(id);
        }
        Ok(old.len())
    }
}
