//! A store in memory: the contract in its plainest form. It is lost when dropped.

mod allowlists;
mod budgets;
mod cards;
mod counters;
mod handovers;
mod keys;
mod mfa;
mod outbox;
mod sinks;
mod wallet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use cardveil_core::audit::chain::{Chained, Link};
use cardveil_core::audit::sink::Progress;
use cardveil_core::audit::{Entry, Event, Source, Target};
use cardveil_core::budget::{Charge, Level, Levels, Of, Overdrawn};
use cardveil_core::card::{Card, CardRef, Guesses};
use cardveil_core::clock::Time;
use cardveil_core::hook::{Bell, Delivery, SUBSCRIPTIONS_MAX, Subscription};
use cardveil_core::id::{
    CardId, ChainId, CredentialId, EmbedId, MerchantId, PersonId, SessionId, SinkName,
};
use cardveil_core::keys::ClassKey;
use cardveil_core::merchant::{Admission, Credential, Embed, Merchant};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::{
    Admin, Audit, Change, Idempotency, Issue, Issued, Load, NodeId, Registry, Result, Selection,
    Swept, Taken, Tokens, Told, Writes, apply,
};
use cardveil_core::token::{
    Around, Attempt, Cause, Claim, CredentialLife, Decision, EmbedLife, Epoch, Grant, IssueRows,
    Lives, LivesOf, MerchantLife, Observation, RETENTION, Record, TokenKey, Verdict,
};
use cardveil_core::wallet::WalletToken;

/// A store in memory.
#[derive(Default)]
pub struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    budgets: BTreeMap<Of, Level>,
    epoch: u32,
    first_form_last: Option<Time>,
    tokens: BTreeMap<TokenKey, Record>,
    names: BTreeMap<[u8; 32], (Idempotency, TokenKey)>,
    written: Vec<Event>,
    chain: Vec<Chained>,
    merchants: BTreeMap<MerchantId, Merchant>,
    credentials: Vec<Credential>,
    uses: BTreeMap<CredentialId, Time>,
    embeds: BTreeMap<EmbedId, Embed>,
    cards: Vec<Card>,
    /// The places of the cards, and the last that was given.
    card_places: (Vec<i64>, i64),
    guesses: BTreeMap<CardId, Guesses>,
    keys: Vec<ClassKey>,
    subscriptions: Vec<Subscription>,
    deliveries: Vec<Delivery>,
    bell: Bell,
    sinks: BTreeMap<SinkName, Progress>,
    wallet_tokens: Vec<WalletToken>,
    sessions: BTreeMap<SessionId, Session>,
    persons: BTreeMap<(MerchantId, PersonId), Person>,
    told: BTreeMap<(NodeId, i64), Told>,
}

impl Memory {
    /// Takes the last entries of the audit log away, as somebody who has the database could.
    pub fn cut_log(&self, entries: usize) {
        let mut inner = self.inner();
        let left = inner.chain.len().saturating_sub(entries);
        inner.chain.truncate(left);
        inner.written.truncate(left);
    }

    /// A program that knows only the first form of tokens writes, as a node of the version before.
    pub fn write_as_the_version_before(&self, at: Time) {
        self.inner().first_form_last = Some(at);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Appends to the log, and queues what merchants are told of. Nothing else writes to it.
    fn log(&mut self, event: Event) {
        assert_ne!(
            event.target,
            Target::default(),
            "an event names what it was done to (PCI DSS 10.2.2): {event:?}"
        );
        let start = Link::start(ChainId::from_bytes([0xc4; 16]));
        let last = self.chain.last().map_or(start, |entry| entry.link);
        // An event is texts and numbers, which always have a form.
        let stored = event.to_json().unwrap_or_default();
        self.chain.push(Chained {
            seq: i64::try_from(self.chain.len() + 1).unwrap_or(i64::MAX),
            link: last.next(stored.as_bytes()),
            stored,
        });
        self.written.push(event);
        self.queue_last();
    }

    fn lives(&self, of: &LivesOf) -> Lives {
        let mut credentials = self.credentials.iter();
        let credential = credentials.find(|c| c.id == of.credential && c.merchant == of.merchant);
        let merchant = self.merchants.get(&of.merchant);
        Lives {
            credential: credential.map(|credential| CredentialLife {
                state: credential.state,
                expires_at: credential.expires_at,
                scopes: credential.scopes.clone(),
                person: credential.person,
            }),
            merchant: merchant.map(|merchant| MerchantLife {
                state: merchant.state,
                pci_enabled: merchant.pci_enabled,
            }),
            embed: self.embeds.get(&of.embed).map(|embed| EmbedLife {
                merchant: embed.merchant.clone(),
                enabled: embed.enabled,
                is_web: !embed.origins.is_empty(),
            }),
        }
    }

    fn levels(&self, charge: &Charge) -> Levels {
        Levels {
            card: self.budgets.get(&charge.of_card()).copied(),
            person: self.budgets.get(&charge.of_person()).copied(),
        }
    }

    fn charge(&mut self, charge: &Charge) -> std::result::Result<(), Overdrawn> {
        let decided = charge.decide(&self.levels(charge));
        self.budgets.extend(charge.levels(decided.write));
        decided.verdict
    }

    fn apply<V>(&mut self, decision: Decision<V>) -> V {
        let written = apply(decision, |record, event| {
            if let Some(record) = record {
                self.tokens.insert(record.key, record.clone());
            }
            if let Some(event) = event {
                self.log(event.clone());
            }
            Ok::<(), std::convert::Infallible>(())
        });
        match written {
            Ok(verdict) => verdict,
        }
    }

    fn change(&mut self, change: Change, event: &Event) -> std::result::Result<(), Taken> {
        let event = change.record(event).into_owned();
        let merchants = &self.merchants;
        let known = |merchant: &MerchantId| {
            if merchants.contains_key(merchant) {
                Ok(())
            } else {
                Err(Taken::NoMerchant)
            }
        };
        let free = |taken: bool| if taken { Err(Taken::Exists) } else { Ok(()) };
        match change {
            Change::AddMerchant(merchant) => {
                free(self.merchants.contains_key(&merchant.id))?;
                self.merchants.insert(merchant.id.clone(), merchant);
            }
            Change::SetMerchant(set) => {
                let to = set.decide(self.merchants.get(&set.to.id))?;
                self.merchants.insert(to.id.clone(), to.clone());
            }
            Change::AddCredential(new) => {
                known(&new.merchant)?;
                free(
                    self.credentials
                        .iter()
                        .any(|c| c.id == new.id || c.key_hash == new.key_hash),
                )?;
                self.credentials.push(new);
            }
            Change::SetCredential(set) => {
                let row = self.credentials.iter_mut().find(|c| c.id == set.to.id);
                let to = set.decide(row.as_deref())?;
                row.ok_or(Taken::NoMerchant)?.clone_from(to);
            }
            Change::AddEmbed(new) => {
                known(&new.merchant)?;
                free(self.embeds.contains_key(&new.id))?;
                self.embeds.insert(new.id.clone(), new);
            }
            Change::SetEmbed(set) => {
                let to = set.decide(self.embeds.get(&set.to.id))?;
                self.embeds.insert(to.id.clone(), to.clone());
            }
            Change::AddCard(new) => {
                known(&new.merchant)?;
                free(self.cards.iter().any(|card| {
                    card.id == new.id || (card.merchant == new.merchant && card.no == new.no)
                }))?;
                self.cards.push(*new);
                self.card_places.1 += 1;
                self.card_places.0.push(self.card_places.1);
            }
            Change::AddSubscription(new) => {
                known(&new.merchant)?;
                free(self.subscriptions.iter().any(|s| s.id == new.id))?;
                let own = self.subscriptions.iter();
                let count = own.filter(|s| s.merchant == new.merchant).count();
                if count >= SUBSCRIPTIONS_MAX {
                    return Err(Taken::Full);
                }
                self.subscriptions.push(*new);
            }
            Change::RemoveSubscription(id) => {
                let known = self.subscriptions.iter().any(|s| s.id == id);
                known.then_some(()).ok_or(Taken::NoMerchant)?;
                self.subscriptions.retain(|s| s.id != id);
                self.deliveries.retain(|d| d.subscription != id);
            }
        }
        self.log(event);
        Ok(())
    }
}

#[async_trait]
impl Registry for Memory {
    async fn admission(&self, key_hash: &[u8; 32]) -> Result<Option<Admission>> {
        let inner = self.inner();
        let credential = inner
            .credentials
            .iter()
            .find(|c| c.key_hash == *key_hash)
            .cloned();
        Ok(credential.map(|credential| Admission {
            merchant: inner.merchants.get(&credential.merchant).cloned(),
            epoch: Epoch(inner.epoch),
            credential,
        }))
    }

    async fn embed(&self, id: &EmbedId) -> Result<Option<Embed>> {
        Ok(self.inner().embeds.get(id).cloned())
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>> {
        Ok(self.inner().merchants.get(id).cloned())
    }

    async fn lives(&self, of: &LivesOf) -> Result<Lives> {
        Ok(self.inner().lives(of))
    }

    async fn card(&self, merchant: &MerchantId, card: &CardRef) -> Result<Option<Card>> {
        Ok(self.inner().find_card(merchant, card).cloned())
    }
}

#[async_trait]
impl Tokens for Memory {
    async fn token(&self, key: &TokenKey) -> Result<Option<Record>> {
        Ok(self.inner().tokens.get(key).cloned())
    }

    async fn first_form_last(&self, _: Time) -> Result<Option<Time>> {
        Ok(self.inner().first_form_last)
    }

    async fn issue(&self, issue: Issue) -> Result<Issued> {
        let mut inner = self.inner();
        let wanted = issue.second_factor_use();
        let named = issue.idempotency.as_ref().and_then(|name| {
            let (before, token) = inner.names.get(&name.key)?;
            Some((before.clone(), inner.tokens.get(token)?.clone()))
        });
        let decided = issue.decide(IssueRows {
            epoch: Epoch(inner.epoch),
            named,
            required: inner.required_rows(issue.required(&wanted)),
        });
        if let Some(met) = decided.met {
            inner.write_met(met);
        }
        if decided.verdict == Issued::New {
            if let Some(name) = issue.idempotency {
                inner.names.insert(name.key, (name, issue.record.key));
            }
            inner.tokens.insert(issue.record.key, issue.record);
            inner.log(issue.event);
        }
        Ok(decided.verdict)
    }

    async fn redeem(&self, claim: Claim) -> Result<Verdict> {
        let mut inner = self.inner();
        let record = inner.tokens.get(&claim.token);
        let card = record.and_then(|record| {
            let card = inner.find_card(&record.merchant, &CardRef::Id(record.card));
            card.map(|card| card.state)
        });
        let lives = record.map(|record| LivesOf::token(record, &claim.embed));
        let lives = lives.map(|of| inner.lives(&of)).unwrap_or_default();
        let around = Around {
            card,
            lives: &lives,
            epoch: Epoch(inner.epoch),
        };
        let decision = claim.decide(record, &around);
        let verdict = inner.apply(decision);
        if let Some(step) = claim.step_of(&verdict) {
            inner.transition(step);
        }
        Ok(verdict)
    }

    async fn settle(&self, attempt: Attempt) -> Result<Option<Grant>> {
        let mut inner = self.inner();
        let decision = attempt.decide(inner.tokens.get(&attempt.token));
        Ok(inner.apply(decision))
    }

    async fn observe(&self, observation: Observation) -> Result<std::result::Result<(), Cause>> {
        let mut inner = self.inner();
        let decision = observation.decide(inner.tokens.get(&observation.token), Epoch(inner.epoch));
        Ok(inner.apply(decision))
    }

    async fn revocable(
        &self,
        selection: &Selection,
        at: Time,
        after: Option<TokenKey>,
        limit: usize,
    ) -> Result<Vec<TokenKey>> {
        let inner = self.inner();
        let chosen = inner.tokens.values().filter(|record| {
            let named = match selection {
                Selection::Hash(hash) => record.key.hash == *hash,
                Selection::Card(card) => record.card == *card,
                Selection::Merchant(merchant) => record.merchant == *merchant,
            };
            named && Some(record.key) > after && record.is_revocable(at)
        });
        Ok(chosen.map(|record| record.key).take(limit).collect())
    }

    async fn revoke(&self, tokens: Vec<TokenKey>, at: Time, source: Source) -> Result<usize> {
        let mut inner = self.inner();
        let tokens: BTreeSet<_> = tokens.into_iter().collect();
        let known = tokens.iter().filter_map(|key| inner.tokens.get(key));
        let chosen: Vec<_> = known
            .filter_map(|record| record.revoke(at, &source))
            .collect();
        let count = chosen.len();
        for (record, event) in chosen {
            inner.tokens.insert(record.key, record);
            inner.log(event);
        }
        Ok(count)
    }

    async fn sweep(&self, now: Time, limit: usize) -> Result<Swept> {
        let mut inner = self.inner();
        let mut swept = Swept::default();
        let due: Vec<_> = inner
            .tokens
            .values()
            .filter_map(|record| record.sweep(now))
            .take(limit)
            .collect();
        swept.more |= due.len() == limit;
        for (record, event) in due {
            swept.unconfirmed += usize::from(event.is_some());
            inner.tokens.insert(record.key, record);
            if let Some(event) = event {
                inner.log(event);
            }
        }
        let oldest = now.minus(RETENTION);
        let old: Vec<_> = inner
            .tokens
            .values()
            .filter(|record| record.issued_at < oldest && record.sweep_due_at().is_none())
            .map(|record| record.key)
            .take(limit)
            .collect();
        swept.deleted = old.len();
        swept.more |= old.len() == limit;
        for key in old {
            let told = inner.tokens.remove(&key);
            if let Some(event) = told.and_then(|record| record.refusals_told(now)) {
                inner.log(event);
            }
        }
        inner.names.retain(|_, (name, _)| now < name.expires_at);
        inner.budgets.retain(|_, level| now < level.whole_at);
        Ok(swept)
    }
}

#[async_trait]
impl Audit for Memory {
    async fn record(&self, event: Event) -> Result<()> {
        self.inner().log(event);
        Ok(())
    }

    async fn record_checkpoint(&self, link: Link, event: Event) -> Result<bool> {
        let mut inner = self.inner();
        let is_there = inner.chain.iter().any(|entry| entry.link == link);
        if is_there {
            inner.log(event);
        }
        Ok(is_there)
    }

    async fn entries(&self, after: i64, limit: usize) -> Result<Vec<Entry>> {
        let numbered = (1_i64..).zip(self.inner().written.clone());
        Ok(numbered
            .skip_while(|(seq, _)| *seq <= after)
            .take(limit)
            .map(|(seq, event)| Entry { seq, event })
            .collect())
    }

    async fn last_entry(&self) -> Result<i64> {
        Ok(i64::try_from(self.inner().written.len()).unwrap_or(i64::MAX))
    }

    async fn chained(&self, after: i64, limit: usize) -> Result<Vec<Chained>> {
        let inner = self.inner();
        let later = inner.chain.iter().skip_while(|entry| entry.seq <= after);
        Ok(later.take(limit).cloned().collect())
    }

    async fn chain_end(&self) -> Result<Option<Chained>> {
        Ok(self.inner().chain.last().cloned())
    }
}

#[async_trait]
impl Admin for Memory {
    async fn change(
        &self,
        changes: Vec<(Change, Event)>,
    ) -> Result<Vec<std::result::Result<(), Taken>>> {
        let mut inner = self.inner();
        for (change, _) in &changes {
            inner.refuse_retired(change.deks())?;
        }
        Ok(changes
            .into_iter()
            .map(|(change, event)| inner.change(change, &event))
            .collect())
    }

    async fn merchants(&self) -> Result<Vec<Merchant>> {
        Ok(self.inner().merchants.values().cloned().collect())
    }

    async fn credentials(&self) -> Result<Vec<Credential>> {
        let mut all = self.inner().credentials.clone();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    async fn note_uses(&self, uses: BTreeMap<CredentialId, Time>) -> Result<()> {
        self.inner().uses.extend(uses);
        Ok(())
    }

    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>> {
        Ok(self.inner().uses.clone())
    }

    async fn embeds(&self) -> Result<Vec<Embed>> {
        Ok(self.inner().embeds.values().cloned().collect())
    }

    async fn raise_epoch(&self, event: Event) -> Result<Epoch> {
        let mut inner = self.inner();
        inner.epoch += 1;
        inner.log(event);
        Ok(Epoch(inner.epoch))
    }

    async fn epoch(&self) -> Result<Epoch> {
        Ok(Epoch(self.inner().epoch))
    }

    async fn time(&self) -> Result<Option<Time>> {
        Ok(None)
    }

    fn left_out(&self) -> Vec<String> {
        Vec::new()
    }

    fn writes(&self) -> Writes {
        Writes::Fine
    }

    fn load(&self) -> Load {
        Load::default()
    }
}
