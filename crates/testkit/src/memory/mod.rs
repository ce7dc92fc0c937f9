//! A store in memory: the contract in its plainest form. It is lost when dropped.

mod budgets;
mod cards;
mod counters;
mod keys;
mod mfa;
mod outbox;
mod rows;
mod sinks;
mod wallet;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use cardveil_core::audit::chain::{Chained, Link};
use cardveil_core::audit::personal::{Form, Salts, Written};
use cardveil_core::audit::sink::Progress;
use cardveil_core::audit::{Event, Target};
use cardveil_core::budget::{Level, Of};
use cardveil_core::card::{Card, CardRef, Guesses};
use cardveil_core::clock::Time;
use cardveil_core::hook::{Bell, Delivery, Subscription};
use cardveil_core::id::{
    CardId, ChainId, CredentialId, EmbedId, MerchantId, PersonId, SessionId, SinkName,
};
use cardveil_core::keys::ClassKey;
use cardveil_core::merchant::{Admission, Credential, Embed, Merchant};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::rows::Fault;
use cardveil_core::port::{
    Admin, Audit, Commits, Error, Load, NodeId, Registry, Result, Selection, Tokens, Told, Work,
    Writes,
};
use cardveil_core::token::{
    CredentialLife, EmbedLife, Epoch, Idempotency, Lives, LivesOf, MerchantLife, Record, TokenKey,
};
use cardveil_core::vault::RowMacs;
use cardveil_core::wallet::WalletToken;

use cardveil_seal::SeededEntropy;

use self::rows::Batch;

/// A store in memory.
#[derive(Default)]
pub struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    budgets: BTreeMap<Of, Level>,
    epoch: u32,
    row_macs: Option<Arc<RowMacs>>,
    first_form_last: Option<Time>,
    tokens: BTreeMap<TokenKey, Record>,
    names: BTreeMap<[u8; 32], (Idempotency, TokenKey)>,
    written: Vec<Event>,
    chain: Vec<Chained>,
    salts: SeededSalts,
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

struct SeededSalts(Salts);

impl Default for SeededSalts {
    fn default() -> Self {
        Self(Salts::new(Arc::new(SeededEntropy::new(0))))
    }
}

impl Memory {
    /// Takes the last entries of the audit log away, as somebody who has the database could.
    pub fn cut_log(&self, entries: usize) {
        let mut inner = self.inner();
        let left = inner.chain.len().saturating_sub(entries);
        inner.chain.truncate(left);
        inner.written.truncate(left);
    }

    /// Erases the personal values of all entries.
    pub fn erase_personal(&self) {
        for entry in &mut self.inner().chain {
            entry.personal = None;
        }
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
        let written = event.write(Form::Two, &mut self.salts.0);
        let Written { stored, personal } = written.unwrap_or_default();
        self.chain.push(Chained {
            seq: i64::try_from(self.chain.len() + 1).unwrap_or(i64::MAX),
            link: last.next(stored.as_bytes()),
            stored,
            personal,
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
}

#[async_trait]
impl Commits for Memory {
    async fn run(&self, work: Arc<dyn Work>) -> Result<()> {
        let mut inner = self.inner();
        let refused = |fault: Fault| match fault.downcast() {
            Ok(error) => *error,
            Err(fault) => Error::Unavailable(fault.to_string()),
        };
        work.run(&Batch::new(&mut inner)).map_err(refused)
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
}

#[async_trait]
impl Audit for Memory {
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
    async fn merchants(&self) -> Result<Vec<Merchant>> {
        Ok(self.inner().merchants.values().cloned().collect())
    }

    async fn credentials(&self) -> Result<Vec<Credential>> {
        let mut all = self.inner().credentials.clone();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>> {
        Ok(self.inner().uses.clone())
    }

    async fn embeds(&self) -> Result<Vec<Embed>> {
        Ok(self.inner().embeds.values().cloned().collect())
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
