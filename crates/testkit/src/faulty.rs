//! A store whose next write fails, in each of the two ways in which a write can fail: it was not
//! written, or it was written and the answer was lost. The second is the one that makes one-time
//! tokens hard.

use std::any::type_name;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use cardveil_core::audit::chain::Chained;
use cardveil_core::audit::sink::Progress;
use cardveil_core::audit::{Entry, Event};
use cardveil_core::budget::{Level, Of};
use cardveil_core::card::{Card, CardRef, PanIndexes, Transition};
use cardveil_core::clock::Time;
use cardveil_core::hook::{Bell, Delivery, Subscription};
use cardveil_core::id::{
    CredentialId, DeliveryId, EmbedId, MerchantId, PersonId, SessionId, SubscriptionId,
    WalletTokenId,
};
use cardveil_core::keys::{
    ClassKey, Envelope, IndexPage, IndexedCards, Sought as KeySought, Use as KeyUse,
};
use cardveil_core::merchant::{Admission, Credential, Embed, Merchant};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::{
    Admin, Audit, BudgetLevels, CardFilter, CardPage, Cards, Change, CheckedPage, Commits,
    Counters, Counts, DeliveryFilter, Error, Heard, Keys, ListedToken, Load, Mfa, Outbox, Paging,
    Registry, Result, RowChecks, RowPlace, Selection, ShownRow, Sinks, Store, Tokens, Told,
    WalletFilter, WalletPage, WalletTokens, Work, Writes,
};
use cardveil_core::token::{Attempt, Claim, Epoch, Lives, LivesOf, Record, TokenKey};
use cardveil_core::vault::RowMacs;
use cardveil_core::verb::{Changes, Commit};
use cardveil_core::wallet::{Census, Device};

/// How the next write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written and the caller is told so.
    NotPersisted,
    /// Nothing is written; the caller is told that it may have been.
    UnknownNotPersisted,
    /// It is written; the caller is told that it may have been.
    UnknownPersisted,
}

/// Wraps a store. Without a fault set it does what the inner one does.
pub struct Faulty<S> {
    inner: S,
    next: AtomicU8,
    between: Mutex<Option<Transition>>,
    changed: Mutex<Option<(Change, Event)>>,
    writes: Mutex<Option<Writes>>,
    time: Mutex<Option<Time>>,
    holds_lists: AtomicBool,
}

impl<S: Store> Faulty<S> {
    /// Around `inner`, with no fault set.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            next: AtomicU8::new(0),
            between: Mutex::new(None),
            changed: Mutex::new(None),
            writes: Mutex::new(None),
            time: Mutex::new(None),
            holds_lists: AtomicBool::new(false),
        }
    }

    /// Makes a card move right before the next claim, as if somebody came between its look and it.
    pub fn move_before_next_claim(&self, transition: Transition) {
        let mut between = self.between.lock().unwrap_or_else(PoisonError::into_inner);
        *between = Some(transition);
    }

    /// Makes an operator change something right before the next claim.
    pub fn change_before_next_claim(&self, change: Change, event: Event) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        *changed = Some((change, event));
    }

    /// Has it say how its writes go; `None` for what the inner one says.
    pub fn say_of_writes(&self, writes: Option<Writes>) {
        *self.writes.lock().unwrap_or_else(PoisonError::into_inner) = writes;
    }

    /// Gives it a clock of its own, which stands still; or takes it away.
    pub fn say_the_time(&self, time: Option<Time>) {
        *self.time.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// From now on a list of cards never ends, as if there were too many of them.
    pub fn hold_lists(&self) {
        self.holds_lists.store(true, Ordering::SeqCst);
    }

    /// Makes the next write fail. Reads, and the lookup of an attempt, are not writes here.
    pub fn fail_next(&self, fault: Fault) {
        let code = match fault {
            Fault::NotPersisted => 1,
            Fault::UnknownNotPersisted => 2,
            Fault::UnknownPersisted => 3,
        };
        self.next.store(code, Ordering::SeqCst);
    }

    async fn write<T, F: Future<Output = Result<T>> + Send>(&self, write: F) -> Result<T> {
        match self.next.swap(0, Ordering::SeqCst) {
            0 => write.await,
            1 => Err(Error::Unavailable("planted: not persisted".into())),
            2 => Err(Error::Unknown("planted: not persisted, not told".into())),
            _ => {
                write.await?;
                Err(Error::Unknown("planted: persisted, not told".into()))
            }
        }
    }
}

#[async_trait]
impl<S: Store> Commits for Faulty<S> {
    async fn run(&self, work: Arc<dyn Work>) -> Result<()> {
        if work.verb() == type_name::<Attempt>() {
            return self.inner.run(work).await;
        }
        if work.verb() == type_name::<Claim>() {
            let between = self.between.lock().map(|mut between| between.take());
            if let Some(transition) = between.unwrap_or_default() {
                self.inner.commit(transition).await?;
            }
            let changed = self.changed.lock().map(|mut changed| changed.take());
            if let Some(change) = changed.unwrap_or_default() {
                self.inner.commit(Changes(vec![change])).await?;
            }
        }
        self.write(self.inner.run(work)).await
    }
}

#[async_trait]
impl<S: Store> Registry for Faulty<S> {
    async fn admission(&self, key_hash: &[u8; 32]) -> Result<Option<Admission>> {
        self.inner.admission(key_hash).await
    }
    async fn embed(&self, id: &EmbedId) -> Result<Option<Embed>> {
        self.inner.embed(id).await
    }
    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>> {
        self.inner.merchant(id).await
    }
    async fn lives(&self, of: &LivesOf) -> Result<Lives> {
        self.inner.lives(of).await
    }
    async fn card(&self, merchant: &MerchantId, card: &CardRef) -> Result<Option<Card>> {
        self.inner.card(merchant, card).await
    }
}

#[async_trait]
impl<S: Store> Sinks for Faulty<S> {
    async fn sinks(&self) -> Result<Vec<Progress>> {
        self.inner.sinks().await
    }
}

#[async_trait]
impl<S: Store> BudgetLevels for Faulty<S> {
    async fn budget(&self, of: &Of) -> Result<Option<Level>> {
        self.inner.budget(of).await
    }
}

#[async_trait]
impl<S: Store> Tokens for Faulty<S> {
    async fn token(&self, key: &TokenKey) -> Result<Option<Record>> {
        self.inner.token(key).await
    }
    async fn first_form_last(&self, now: Time) -> Result<Option<Time>> {
        self.inner.first_form_last(now).await
    }
    async fn revocable(
        &self,
        selection: &Selection,
        at: Time,
        after: Option<TokenKey>,
        limit: usize,
    ) -> Result<Vec<TokenKey>> {
        self.inner.revocable(selection, at, after, limit).await
    }
}

#[async_trait]
impl<S: Store> Cards for Faulty<S> {
    async fn list_cards(&self, filter: &CardFilter, paging: Paging) -> Result<CardPage> {
        if self.holds_lists.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.list_cards(filter, paging).await
    }
}

#[async_trait]
impl<S: Store> Audit for Faulty<S> {
    async fn last_entry(&self) -> Result<i64> {
        self.inner.last_entry().await
    }
    async fn chained(&self, after: i64, limit: usize) -> Result<Vec<Chained>> {
        self.inner.chained(after, limit).await
    }
    async fn chain_end(&self) -> Result<Option<Chained>> {
        self.inner.chain_end().await
    }
}

#[async_trait]
impl<S: Store> Admin for Faulty<S> {
    async fn merchants(&self) -> Result<Vec<Merchant>> {
        self.inner.merchants().await
    }
    async fn credentials(&self) -> Result<Vec<Credential>> {
        self.inner.credentials().await
    }
    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>> {
        self.inner.last_uses().await
    }
    async fn embeds(&self) -> Result<Vec<Embed>> {
        self.inner.embeds().await
    }
    async fn epoch(&self) -> Result<Epoch> {
        self.inner.epoch().await
    }
    async fn time(&self) -> Result<Option<Time>> {
        let said = *self.time.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            Some(time) => Ok(Some(time)),
            None => self.inner.time().await,
        }
    }
    fn left_out(&self) -> Vec<String> {
        self.inner.left_out()
    }

    fn writes(&self) -> Writes {
        let said = *self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        said.unwrap_or_else(|| self.inner.writes())
    }

    fn load(&self) -> Load {
        self.inner.load()
    }
}

#[async_trait]
impl<S: Store> RowChecks for Faulty<S> {
    async fn check_rows(&self, at: &RowPlace, limit: usize) -> Result<CheckedPage> {
        self.inner.check_rows(at, limit).await
    }
    async fn show_row(&self, table: &str, key: &str) -> Result<Option<ShownRow>> {
        self.inner.show_row(table, key).await
    }
    async fn keeps_version_of(&self, entry: &Entry) -> Result<bool> {
        self.inner.keeps_version_of(entry).await
    }
    async fn person_versions(&self) -> Result<HashSet<(i64, u64)>> {
        self.inner.person_versions().await
    }
    async fn unguarded_rows(&self) -> Result<u64> {
        self.inner.unguarded_rows().await
    }
}

#[async_trait]
impl<S: Store> Keys for Faulty<S> {
    async fn class_keys(&self) -> Result<Vec<ClassKey>> {
        self.inner.class_keys().await
    }
    async fn is_finished(&self) -> Result<bool> {
        self.inner.is_finished().await
    }
    fn row_macs(&self) -> Arc<RowMacs> {
        self.inner.row_macs()
    }
    async fn key_uses(&self) -> Result<Vec<KeyUse>> {
        self.inner.key_uses().await
    }
    async fn envelopes(&self, sought: KeySought) -> Result<Vec<Envelope>> {
        self.inner.envelopes(sought).await
    }
    async fn indexed_cards(&self, version: u32, page: IndexPage) -> Result<IndexedCards> {
        self.inner.indexed_cards(version, page).await
    }
}

#[async_trait]
impl<S: Store> Outbox for Faulty<S> {
    async fn subscription(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        self.inner.subscription(id).await
    }
    async fn subscriptions(&self, merchant: Option<&MerchantId>) -> Result<Vec<Subscription>> {
        self.inner.subscriptions(merchant).await
    }
    async fn next_due(&self) -> Result<Option<Time>> {
        self.inner.next_due().await
    }
    async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        after: Option<(i64, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>> {
        self.inner.deliveries(filter, after, limit).await
    }
    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        self.inner.delivery(id).await
    }
    async fn outbox_counts(&self) -> Result<Counts> {
        self.inner.outbox_counts().await
    }
    fn bell(&self) -> Bell {
        self.inner.bell()
    }
}

#[async_trait]
impl<S: Store> WalletTokens for Faulty<S> {
    async fn wallet_token(
        &self,
        merchant: &MerchantId,
        id: &WalletTokenId,
    ) -> Result<Option<ListedToken>> {
        self.inner.wallet_token(merchant, id).await
    }
    async fn wallet_tokens(
        &self,
        filter: &WalletFilter,
        page: WalletPage,
    ) -> Result<Vec<ListedToken>> {
        self.inner.wallet_tokens(filter, page).await
    }
    async fn wallet_tokens_count(&self, filter: &WalletFilter) -> Result<usize> {
        self.inner.wallet_tokens_count(filter).await
    }
    async fn wallet_census(&self, indexes: &PanIndexes, device: &Device) -> Result<Census> {
        self.inner.wallet_census(indexes, device).await
    }
}

#[async_trait]
impl<S: Store> Mfa for Faulty<S> {
    async fn mfa_session(&self, id: &SessionId) -> Result<Option<Session>> {
        self.inner.mfa_session(id).await
    }
    async fn mfa_person(&self, merchant: &MerchantId, person: &PersonId) -> Result<Option<Person>> {
        self.inner.mfa_person(merchant, person).await
    }
}

#[async_trait]
impl<S: Store> Counters for Faulty<S> {
    async fn exchange(&self, told: Told, heard: &Heard) -> Result<Option<Vec<Told>>> {
        self.write(self.inner.exchange(told, heard)).await
    }
}
