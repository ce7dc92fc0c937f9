//! The rows of the store in memory: maps and lists.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::sync::Arc;

use cardveil_core::audit::Event;
use cardveil_core::audit::chain::Link;
use cardveil_core::audit::sink::Progress;
use cardveil_core::budget::{Level, Of};
use cardveil_core::card::{Card, CardRef, Guesses, PanIndexes, State};
use cardveil_core::clock::Time;
use cardveil_core::hook::{self, Delivery, Line, Subscription};
use cardveil_core::id::{
    CardId, CredentialId, DeliveryId, EmbedId, MerchantId, PersonId, SessionId, SinkName,
    SubscriptionId, WalletTokenId,
};
use cardveil_core::keys::{self, ClassKey, Moved, Reindexed};
use cardveil_core::merchant::{Credential, Embed, Merchant};
use cardveil_core::mfa::{Person, Session};
use cardveil_core::port::rows::{
    Accepted, BudgetRows, CardRows, FactorRows, GuardRows, GuardedPage, KeyRows, Loaded, LogRows,
    OutboxRows, RegistryRows, Rows, TokenRows, WalletRows,
};
use cardveil_core::port::{Class, Error, RowPlace};
use cardveil_core::token::{Epoch, Idempotency, Lives, LivesOf, Record, TokenKey};
use cardveil_core::wallet::{Census, Device, WalletToken};

use super::Inner;

/// A commit under way. What a verb has saved stays, should it fail afterwards: it fails first.
pub(super) struct Batch<'a>(RefCell<&'a mut Inner>);

impl<'a> Batch<'a> {
    pub(super) const fn new(inner: &'a mut Inner) -> Self {
        Self(RefCell::new(inner))
    }

    fn get(&self) -> Ref<'_, Inner> {
        Ref::map(self.0.borrow(), |inner| &**inner)
    }

    fn set(&self) -> RefMut<'_, Inner> {
        RefMut::map(self.0.borrow_mut(), |inner| &mut **inner)
    }
}

/// Puts a row in the place of the one that is it.
fn put<T: Clone>(rows: &mut [T], next: &T, is_it: impl Fn(&T) -> bool) {
    if let Some(row) = rows.iter_mut().find(|row| is_it(row)) {
        row.clone_from(next);
    }
}

/// Adds a row where none is it; tells whether.
fn add<T: Clone>(rows: &mut Vec<T>, new: &T, is_it: impl Fn(&T) -> bool) -> bool {
    let free = !rows.iter().any(is_it);
    if free {
        rows.push(new.clone());
    }
    free
}

impl Rows for Batch<'_> {
    fn epoch(&self) -> Epoch {
        Epoch(self.get().epoch)
    }

    fn log(&self, event: &Event) -> Loaded<()> {
        self.set().log(event.clone());
        Ok(())
    }
}

impl TokenRows for Batch<'_> {
    fn token(&self, key: &TokenKey) -> Loaded<Option<Record>> {
        Ok(self.get().tokens.get(key).cloned())
    }

    fn tokens(&self, keys: &[TokenKey]) -> Loaded<Vec<Record>> {
        let inner = self.get();
        let known = keys.iter().filter_map(|key| inner.tokens.get(key));
        Ok(known.cloned().collect())
    }

    fn lives(&self, of: LivesOf) -> Loaded<Arc<Lives>> {
        Ok(Arc::new(self.get().lives(&of)))
    }

    fn add_token(&self, record: &Record) -> Loaded<()> {
        if self.get().tokens.contains_key(&record.key) {
            return Err(Error::Unavailable("a token with this hash exists".into()).into());
        }
        self.save_token(record)
    }

    fn save_token(&self, record: &Record) -> Loaded<()> {
        self.set().tokens.insert(record.key, record.clone());
        Ok(())
    }

    fn count_token(&self, record: &Record) -> Loaded<()> {
        self.save_token(record)
    }

    fn delete_token(&self, key: &TokenKey) -> Loaded<()> {
        self.set().tokens.remove(key);
        Ok(())
    }

    fn named(&self, key: &[u8; 32]) -> Loaded<Option<(Idempotency, Record)>> {
        let inner = self.get();
        let named = inner.names.get(key);
        let named = named.and_then(|(name, token)| {
            let record = inner.tokens.get(token)?;
            Some((name.clone(), record.clone()))
        });
        Ok(named)
    }

    fn save_name(&self, name: &Idempotency, token: &TokenKey) -> Loaded<()> {
        self.set().names.insert(name.key, (name.clone(), *token));
        Ok(())
    }

    fn tokens_due(&self, due: Time, ahead: Time, limit: usize) -> Loaded<Vec<Option<Record>>> {
        let inner = self.get();
        let mut found: Vec<_> = inner.tokens.values().cloned().collect();
        found.retain(|it| it.sweep_due_at().is_some_and(|at| at <= due || at > ahead));
        found.sort_by_key(Record::sweep_due_at);
        Ok(found.into_iter().map(Some).take(limit).collect())
    }

    fn refused_tokens(&self, before: Time, refusals: u32, limit: usize) -> Loaded<Vec<Record>> {
        let inner = self.get();
        let old = inner.tokens.values().filter(|it| is_old(it, before));
        let refused = old.filter(|it| it.refusals > refusals);
        Ok(refused.take(limit).cloned().collect())
    }

    fn old_tokens(&self, before: Time, limit: usize) -> Loaded<Vec<TokenKey>> {
        let inner = self.get();
        let old = inner.tokens.values().filter(|it| is_old(it, before));
        Ok(old.take(limit).map(|it| it.key).collect())
    }

    fn forget_names(&self, until: Time, _: usize) -> Loaded<usize> {
        self.set()
            .names
            .retain(|_, (name, _)| name.expires_at > until);
        Ok(0)
    }
}

fn is_old(record: &Record, before: Time) -> bool {
    record.issued_at < before && record.sweep_due_at().is_none()
}

impl CardRows for Batch<'_> {
    fn card(&self, merchant: &MerchantId, card: &CardRef) -> Loaded<Option<Card>> {
        Ok(self.get().find_card(merchant, card).cloned())
    }

    fn card_state(&self, merchant: &MerchantId, card: CardId) -> Loaded<Option<State>> {
        let card = self.card(merchant, &CardRef::Id(card))?;
        Ok(card.map(|card| card.state))
    }

    fn save_card(&self, next: &Card) -> Loaded<()> {
        put(&mut self.set().cards, next, |card| card.id == next.id);
        Ok(())
    }

    fn delete_card(&self, id: CardId) -> Loaded<()> {
        let mut inner = self.set();
        if let Some(at) = inner.cards.iter().position(|card| card.id == id) {
            inner.cards.remove(at);
            inner.card_places.0.remove(at);
        }
        inner.wallet_tokens.retain(|token| token.card != id);
        inner.guesses.remove(&id);
        Ok(())
    }

    fn guesses(&self, card: CardId) -> Loaded<Guesses> {
        Ok(self.get().guesses.get(&card).cloned().unwrap_or_default())
    }

    fn save_guesses(&self, card: CardId, guesses: &Guesses) -> Loaded<()> {
        self.set().guesses.insert(card, guesses.clone());
        Ok(())
    }

    fn card_of_any_merchant(&self, id: CardId) -> Loaded<Option<Card>> {
        Ok(self.get().cards.iter().find(|card| card.id == id).cloned())
    }

    fn add_cards(&self, cards: &[&Card]) -> Loaded<Vec<bool>> {
        let mut inner = self.set();
        let added = cards.iter().map(|new| {
            let added = add(&mut inner.cards, *new, |card| {
                card.id == new.id || (card.merchant == new.merchant && card.no == new.no)
            });
            if added {
                inner.card_places.1 += 1;
                let place = inner.card_places.1;
                inner.card_places.0.push(place);
            }
            added
        });
        Ok(added.collect())
    }
}

impl WalletRows for Batch<'_> {
    fn wallet_token(&self, id: &WalletTokenId) -> Loaded<Option<WalletToken>> {
        let inner = self.get();
        Ok(inner.wallet_tokens.iter().find(|it| it.id == *id).cloned())
    }

    fn wallet_tokens_of(&self, card: CardId) -> Loaded<Vec<WalletToken>> {
        let inner = self.get();
        let of_card = inner.wallet_tokens.iter().filter(|it| it.card == card);
        Ok(of_card.cloned().collect())
    }

    fn census(&self, indexes: &PanIndexes, device: &Device) -> Loaded<Census> {
        Ok(self.get().census(indexes, device))
    }

    fn add_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        if add(&mut self.set().wallet_tokens, token, |it| it.id == token.id) {
            return Ok(());
        }
        let twice = "a wallet token with this id exists";
        Err(Error::Unavailable(twice.into()).into())
    }

    fn save_wallet_token(&self, next: &WalletToken) -> Loaded<()> {
        put(&mut self.set().wallet_tokens, next, |it| it.id == next.id);
        Ok(())
    }
}

impl FactorRows for Batch<'_> {
    fn session(&self, id: &SessionId) -> Loaded<Option<Session>> {
        Ok(self.get().sessions.get(id).cloned())
    }

    fn save_session(&self, session: &Session) -> Loaded<()> {
        self.set().sessions.insert(session.id, session.clone());
        Ok(())
    }

    fn forget_sessions(&self, before: Time, limit: usize) -> Loaded<usize> {
        let mut inner = self.set();
        let old = inner.sessions.values().filter(|it| it.expires_at < before);
        let old: Vec<_> = old.map(|session| session.id).take(limit).collect();
        for id in &old {
            inner.sessions.remove(id);
        }
        Ok(old.len())
    }

    fn person(&self, merchant: &MerchantId, person: &PersonId) -> Loaded<Option<Person>> {
        let key = (merchant.clone(), *person);
        Ok(self.get().persons.get(&key).cloned())
    }

    fn save_person(&self, person: &Person) -> Loaded<()> {
        let key = (person.merchant.clone(), person.person);
        self.set().persons.insert(key, person.clone());
        Ok(())
    }
}

impl BudgetRows for Batch<'_> {
    fn level(&self, of: &Of) -> Loaded<Option<Level>> {
        Ok(self.get().budgets.get(of).copied())
    }

    fn save_level(&self, of: &Of, level: Level) -> Loaded<()> {
        self.set().budgets.insert(of.clone(), level);
        Ok(())
    }

    fn delete_level(&self, of: &Of) -> Loaded<()> {
        self.set().budgets.remove(of);
        Ok(())
    }

    fn forget_levels(&self, now: Time, _: usize) -> Loaded<usize> {
        self.set().budgets.retain(|_, level| now < level.whole_at);
        Ok(0)
    }
}

impl GuardRows for Batch<'_> {
    fn guard_rows(&self, _: &RowPlace, _: usize) -> Loaded<GuardedPage> {
        Ok(GuardedPage::default())
    }

    fn accept_row(&self, _: &str, _: &str) -> Loaded<Option<Accepted>> {
        Ok(None)
    }

    fn has_guarded(&self, _: u32) -> Loaded<bool> {
        Ok(false)
    }
}

impl KeyRows for Batch<'_> {
    fn class_keys(&self) -> Loaded<Vec<ClassKey>> {
        Ok(self.get().keys.clone())
    }

    fn has_class_keys(&self) -> Loaded<bool> {
        Ok(!self.get().keys.is_empty())
    }

    fn save_class_key(&self, next: &ClassKey) -> Loaded<()> {
        let name = |key: &ClassKey| (key.key.class, key.key.version);
        let keys = &mut self.set().keys;
        keys.retain(|known| name(known) != name(next));
        keys.push(next.clone());
        keys.sort_by_key(name);
        Ok(())
    }

    fn is_retired(&self, class: Class, version: u32) -> Loaded<bool> {
        let is_it = |key: &&ClassKey| (key.key.class, key.key.version) == (class, version);
        let inner = self.get();
        let known = inner.keys.iter().find(is_it);
        Ok(known.is_some_and(|key| matches!(key.state, keys::State::Retired { .. })))
    }

    fn has_records(&self, class: Class, version: u32) -> Loaded<bool> {
        let inner = self.get();
        let is_indexed = class == Class::Index && inner.index_keys().any(|key| key == version);
        Ok(is_indexed || inner.under(class, version).next().is_some())
    }

    fn move_envelope(&self, moved: &Moved) -> Loaded<bool> {
        Ok(self.set().move_one(moved))
    }

    fn move_index(&self, moved: &Reindexed, index_key: u32) -> Loaded<bool> {
        Ok(self.set().move_index(moved, index_key))
    }
}

impl RegistryRows for Batch<'_> {
    fn merchant(&self, id: &MerchantId) -> Loaded<Option<Merchant>> {
        Ok(self.get().merchants.get(id).cloned())
    }

    fn add_merchant(&self, merchant: &Merchant) -> Loaded<bool> {
        let free = !self.get().merchants.contains_key(&merchant.id);
        if free {
            self.save_merchant(merchant)?;
        }
        Ok(free)
    }

    fn save_merchant(&self, merchant: &Merchant) -> Loaded<()> {
        let id = merchant.id.clone();
        self.set().merchants.insert(id, merchant.clone());
        Ok(())
    }

    fn credential(&self, id: &CredentialId) -> Loaded<Option<Credential>> {
        let inner = self.get();
        Ok(inner.credentials.iter().find(|it| it.id == *id).cloned())
    }

    fn key_is_of_another(&self, key_hash: &[u8; 32], id: &CredentialId) -> Loaded<bool> {
        let is_another = |it: &Credential| it.key_hash == *key_hash && it.id != *id;
        Ok(self.get().credentials.iter().any(is_another))
    }

    fn add_credential(&self, new: &Credential) -> Loaded<bool> {
        let is_it = |it: &Credential| it.id == new.id || it.key_hash == new.key_hash;
        Ok(add(&mut self.set().credentials, new, is_it))
    }

    fn save_credential(&self, next: &Credential) -> Loaded<()> {
        put(&mut self.set().credentials, next, |it| it.id == next.id);
        Ok(())
    }

    fn save_allowlist(&self, credential: &Credential) -> Loaded<()> {
        self.save_credential(credential)
    }

    fn save_uses(&self, uses: &BTreeMap<CredentialId, Time>) -> Loaded<()> {
        self.set().uses.extend(uses.clone());
        Ok(())
    }

    fn embed(&self, id: &EmbedId) -> Loaded<Option<Embed>> {
        Ok(self.get().embeds.get(id).cloned())
    }

    fn add_embed(&self, embed: &Embed) -> Loaded<bool> {
        let free = !self.get().embeds.contains_key(&embed.id);
        if free {
            self.save_embed(embed)?;
        }
        Ok(free)
    }

    fn save_embed(&self, embed: &Embed) -> Loaded<()> {
        self.set().embeds.insert(embed.id.clone(), embed.clone());
        Ok(())
    }
}

impl OutboxRows for Batch<'_> {
    fn subscription(&self, id: SubscriptionId) -> Loaded<Option<Subscription>> {
        Ok(self.get().subscription(id).cloned())
    }

    fn subscriptions_of(&self, merchant: &MerchantId) -> Loaded<usize> {
        let inner = self.get();
        let own = inner.subscriptions.iter();
        Ok(own.filter(|it| it.merchant == *merchant).count())
    }

    fn add_subscription(&self, new: &Subscription) -> Loaded<bool> {
        let is_it = |it: &Subscription| it.id == new.id;
        Ok(add(&mut self.set().subscriptions, new, is_it))
    }

    fn save_subscription(&self, next: &Subscription) -> Loaded<()> {
        put(&mut self.set().subscriptions, next, |it| it.id == next.id);
        Ok(())
    }

    fn delete_subscription(&self, id: SubscriptionId) -> Loaded<bool> {
        let mut inner = self.set();
        let known = inner.subscription(id).is_some();
        inner.subscriptions.retain(|it| it.id != id);
        inner.deliveries.retain(|it| it.subscription != id);
        Ok(known)
    }

    fn due_subscriptions(&self, now: Time) -> Loaded<Vec<Subscription>> {
        let inner = self.get();
        let mut due: Vec<Subscription> = Vec::new();
        for head in inner.heads().iter().filter(|head| head.due_at <= now) {
            if !due.iter().any(|known| known.id == head.subscription) {
                due.extend(inner.subscription(head.subscription).cloned());
            }
        }
        Ok(due)
    }

    fn deliveries_under_way(&self, id: SubscriptionId, now: Time) -> Loaded<usize> {
        let inner = self.get();
        let own = inner.deliveries.iter().filter(|it| it.subscription == id);
        Ok(own.filter(|it| it.leased_until > Some(now)).count())
    }

    fn due_deliveries(
        &self,
        id: SubscriptionId,
        now: Time,
        limit: usize,
    ) -> Loaded<Vec<(Delivery, Event)>> {
        let inner = self.get();
        let mut due = inner.heads();
        due.retain(|head| head.subscription == id && head.due_at <= now);
        let with_event = due.into_iter().take(limit).filter_map(|head| {
            let place = usize::try_from(head.seq).ok()?.checked_sub(1)?;
            Some((head.clone(), inner.written.get(place)?.clone()))
        });
        Ok(with_event.collect())
    }

    fn deliveries_due_after(&self, after: Time, limit: usize) -> Loaded<Vec<Delivery>> {
        let inner = self.get();
        let late = inner
            .deliveries
            .iter()
            .filter(|it| it.state == hook::State::Waiting && it.due_at > after);
        Ok(late.take(limit).cloned().collect())
    }

    fn delivery(&self, id: DeliveryId) -> Loaded<Option<Delivery>> {
        Ok(self.get().deliveries.iter().find(|it| it.id == id).cloned())
    }

    fn deliveries(&self, ids: &[DeliveryId]) -> Loaded<Vec<Delivery>> {
        let inner = self.get();
        let known = inner.deliveries.iter().filter(|it| ids.contains(&it.id));
        Ok(known.cloned().collect())
    }

    fn save_delivery(&self, next: &Delivery) -> Loaded<()> {
        put(&mut self.set().deliveries, next, |it| it.id == next.id);
        Ok(())
    }

    fn mend_line(&self, _: SubscriptionId, _: Line) -> Loaded<()> {
        // Which is the head is looked up each time.
        Ok(())
    }

    fn drop_deliveries(&self, subscription: SubscriptionId, limit: usize) -> Loaded<usize> {
        Ok(forget(&mut self.set().deliveries, limit, |it| {
            it.subscription == subscription
        }))
    }

    fn forget_deliveries(&self, before: Time, limit: usize) -> Loaded<usize> {
        Ok(forget(
            &mut self.set().deliveries,
            limit,
            |it| matches!(it.state, hook::State::Delivered(at) if at < before),
        ))
    }

    fn ring(&self) {
        self.get().bell.ring();
    }
}

/// Deletes up to `limit` of those that are chosen; tells how many.
fn forget(rows: &mut Vec<Delivery>, limit: usize, chosen: impl Fn(&Delivery) -> bool) -> usize {
    let before = rows.len();
    let mut left = limit;
    rows.retain(|row| {
        let goes = left > 0 && chosen(row);
        left -= usize::from(goes);
        !goes
    });
    before - rows.len()
}

impl LogRows for Batch<'_> {
    fn has_link(&self, link: &Link) -> Loaded<bool> {
        Ok(self.get().chain.iter().any(|entry| entry.link == *link))
    }

    fn last_entry(&self) -> Loaded<i64> {
        Ok(i64::try_from(self.get().chain.len()).unwrap_or(i64::MAX))
    }

    fn sink(&self, name: &SinkName) -> Loaded<Option<Progress>> {
        Ok(self.get().sinks.get(name).cloned())
    }

    fn save_sink(&self, next: &Progress) -> Loaded<()> {
        self.set().sinks.insert(next.name.clone(), next.clone());
        Ok(())
    }

    fn save_epoch(&self, epoch: Epoch) -> Loaded<()> {
        self.set().epoch = epoch.0;
        Ok(())
    }
}
