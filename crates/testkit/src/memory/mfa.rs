//! Second factors in memory.

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::clock::Time;
use cardveil_core::id::{MerchantId, PersonId, SessionId};
use cardveil_core::mfa::required::{Met, Rows};
use cardveil_core::mfa::{
    Decision, Effects, FactorRefused, FactorRequest, Opening, OpeningRefused, Person, RETENTION,
    Required, Session, Unmet,
};
use cardveil_core::port::{Mfa, Result};
use cardveil_core::token::Epoch;

impl Inner {
    pub(super) fn required_rows(&self, required: Required<'_>) -> Rows {
        let mut rows = Rows::default();
        if let Some(charge) = required.charge {
            rows.levels = self.levels(charge);
        }
        if let Some((assertion, wanted)) = required.factor {
            let person = (wanted.merchant.clone(), assertion.person);
            rows.person = self.persons.get(&person).cloned();
            let session = assertion.session.and_then(|id| self.sessions.get(&id));
            rows.session = session.cloned();
        }
        rows
    }

    pub(super) fn write_met(&mut self, met: Met) {
        self.budgets.extend(met.levels);
        if let Some(effects) = met.effects {
            self.write_effects(effects);
        }
    }

    pub(super) fn admit(&mut self, required: Required<'_>) -> std::result::Result<(), Unmet> {
        let met = required.decide(&self.required_rows(required), Epoch(self.epoch));
        let verdict = met.verdict;
        self.write_met(met);
        verdict
    }

    fn write_mfa<V>(&mut self, decision: Decision<V>) -> V {
        self.write_effects(decision.effects);
        decision.verdict
    }

    fn write_effects(&mut self, effects: Effects) {
        if let Some(session) = effects.session {
            self.sessions.insert(session.id, session);
        }
        if let Some(person) = effects.person {
            let key = (person.merchant.clone(), person.person);
            self.persons.insert(key, person);
        }
        self.log(effects.event);
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
