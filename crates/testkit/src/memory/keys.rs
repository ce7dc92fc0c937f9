//! Class keys in memory, and the records under them.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Inner, Memory};
use cardveil_core::audit::Entry;
use cardveil_core::card::Card;
use cardveil_core::clock::SystemClock;
use cardveil_core::keys::{
    ClassKey, Envelope, IndexPage, IndexedCards, Moved, Reindexed, Slot, Sought, Use,
};
use cardveil_core::merchant::SealedSecret;
use cardveil_core::port::{CheckedPage, Class, Keys, Result, RowChecks, RowPlace, ShownRow};
use cardveil_core::vault::RowMacs;

impl Inner {
    /// All envelopes, in the order in which their records came.
    fn all_envelopes(&self) -> Vec<Envelope> {
        let mut all = Vec::new();
        let mut push = |slot, dek: &Vec<u8>, sealed: &[&Vec<u8>]| {
            let (dek, sealed) = (dek.clone(), sealed.iter().map(|&s| s.clone()).collect());
            all.push(Envelope { slot, dek, sealed });
        };
        for card in &self.cards {
            let (id, merchant) = (card.id, || card.merchant.clone());
            let mut sealed = card.sealed.clone();
            let (dek, fields) = sealed.under_dek();
            push(
                Slot::Card(id, merchant()),
                dek,
                &fields.map(|field| &*field),
            );
            if let Some(cvv) = &sealed.cvv {
                push(Slot::Cvv(id, merchant()), &cvv.dek, &[&cvv.cvv]);
            }
            if let Some(pin) = &sealed.pin {
                push(Slot::Pin(id, merchant()), &pin.dek, &[&pin.pin]);
            }
        }
        for one in &self.credentials {
            let slot = Slot::Credential(one.id.clone(), one.merchant.clone());
            push(slot, &one.sealed_secret.dek, &[&one.sealed_secret.sealed]);
        }
        for person in self.persons.values() {
            if let Some(totp) = &person.totp {
                let slot = Slot::Totp(person.merchant.clone(), person.person, totp.id);
                push(slot, &totp.sealed.dek, &[&totp.sealed.sealed]);
            }
        }
        for one in &self.subscriptions {
            if let Some(s) = &one.secret {
                let slot = Slot::WebhookSecret(one.id, one.merchant.clone());
                push(slot, &s.dek, &[&s.sealed]);
            }
            if let Some(s) = &one.authorization {
                let slot = Slot::WebhookAuthorization(one.id, one.merchant.clone());
                push(slot, &s.dek, &[&s.sealed]);
            }
        }
        all
    }

    pub(super) fn under(&self, class: Class, version: u32) -> impl Iterator<Item = Envelope> {
        let is_under = move |e: &Envelope| e.slot.class() == class && e.version() == Some(version);
        self.all_envelopes().into_iter().filter(is_under)
    }

    /// The DEK of a slot and what is sealed under it, as they are kept.
    fn kept(&mut self, slot: &Slot) -> Option<(&mut Vec<u8>, Vec<&mut Vec<u8>>)> {
        fn secret(kept: &mut SealedSecret) -> (&mut Vec<u8>, Vec<&mut Vec<u8>>) {
            (&mut kept.dek, vec![&mut kept.sealed])
        }
        match slot {
            Slot::Card(id, _) => {
                let card = self.cards.iter_mut().find(|card| card.id == *id)?;
                let (dek, fields) = card.sealed.under_dek();
                Some((dek, fields.into()))
            }
            Slot::Cvv(id, _) => {
                let card = self.cards.iter_mut().find(|card| card.id == *id)?;
                let cvv = card.sealed.cvv.as_mut()?;
                Some((&mut cvv.dek, vec![&mut cvv.cvv]))
            }
            Slot::Pin(id, _) => {
                let card = self.cards.iter_mut().find(|card| card.id == *id)?;
                let pin = card.sealed.pin.as_mut()?;
                Some((&mut pin.dek, vec![&mut pin.pin]))
            }
            Slot::Credential(id, _) => {
                let one = self.credentials.iter_mut().find(|one| one.id == *id)?;
                Some(secret(&mut one.sealed_secret))
            }
            Slot::Totp(merchant, person, factor) => {
                let person = self.persons.get_mut(&(merchant.clone(), *person))?;
                let totp = person.totp.as_mut().filter(|totp| totp.id == *factor)?;
                Some(secret(&mut totp.sealed))
            }
            Slot::WebhookSecret(id, _) => {
                let one = self.subscriptions.iter_mut().find(|one| one.id == *id)?;
                one.secret.as_mut().map(secret)
            }
            Slot::WebhookAuthorization(id, _) => {
                let one = self.subscriptions.iter_mut().find(|one| one.id == *id)?;
                one.authorization.as_mut().map(secret)
            }
        }
    }

    pub(super) fn move_one(&mut self, moved: &Moved) -> bool {
        let Some((dek, fields)) = self.kept(&moved.slot) else {
            return false;
        };
        if *dek != moved.was {
            return false;
        }
        dek.clone_from(&moved.dek);
        for (field, sealed) in fields.into_iter().zip(moved.sealed.iter().flatten()) {
            field.clone_from(sealed);
        }
        true
    }
}

impl Inner {
    /// The versions that the indexes of cards and digital wallet tokens are under.
    pub(super) fn index_keys(&self) -> impl Iterator<Item = u32> {
        let of_cards = self.cards.iter().map(|card| card.sealed.index_key);
        of_cards.chain(self.wallet_tokens.iter().map(|token| token.index_key))
    }

    pub(super) fn move_index(&mut self, moved: &Reindexed, index_key: u32) -> bool {
        let is_it = |card: &&mut Card| card.id == moved.card && card.sealed.pan_index == moved.was;
        let Some(card) = self.cards.iter_mut().find(is_it) else {
            return false;
        };
        card.sealed.pan_index = moved.index;
        card.sealed.index_key = index_key;
        let of_card = self.wallet_tokens.iter_mut();
        for token in of_card.filter(|token| token.card == moved.card) {
            token.pan_index = moved.index;
            token.index_key = index_key;
        }
        true
    }
}

/// No hand but ours gets at these rows, so they have no MACs.
#[async_trait]
impl RowChecks for Memory {
    async fn check_rows(&self, _: &RowPlace, _: usize) -> Result<CheckedPage> {
        Ok(CheckedPage {
            checked: 0,
            altered: Vec::new(),
            next: None,
        })
    }

    async fn show_row(&self, _: &str, _: &str) -> Result<Option<ShownRow>> {
        Ok(None)
    }
    async fn keeps_version_of(&self, _: &Entry) -> Result<bool> {
        Ok(true)
    }
    async fn person_versions(&self) -> Result<HashSet<(i64, u64)>> {
        Ok(HashSet::new())
    }
    async fn unguarded_rows(&self) -> Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl Keys for Memory {
    async fn class_keys(&self) -> Result<Vec<ClassKey>> {
        Ok(self.inner().keys.clone())
    }

    async fn is_finished(&self) -> Result<bool> {
        Ok(true)
    }

    fn row_macs(&self) -> Arc<RowMacs> {
        let new = || Arc::new(RowMacs::new(Arc::new(SystemClock)));
        Arc::clone(self.inner().row_macs.get_or_insert_with(new))
    }

    async fn key_uses(&self) -> Result<Vec<Use>> {
        let mut uses: Vec<Use> = Vec::new();
        let inner = self.inner();
        let envelopes = inner.all_envelopes().into_iter();
        let sealed = envelopes.filter_map(|one| Some((one.slot.class(), one.version()?)));
        let indexed = inner.index_keys().map(|version| (Class::Index, version));
        for (class, version) in sealed.chain(indexed) {
            let is_it = |known: &&mut Use| (known.class, known.version) == (class, version);
            match uses.iter_mut().find(is_it) {
                Some(known) => known.records += 1,
                None => uses.push(Use {
                    class,
                    version,
                    records: 1,
                }),
            }
        }
        uses.sort_by_key(|known| (known.class, known.version));
        Ok(uses)
    }

    async fn envelopes(&self, sought: Sought) -> Result<Vec<Envelope>> {
        let inner = self.inner();
        let under = inner.under(sought.class, sought.version);
        Ok(under.take(sought.limit).collect())
    }

    async fn indexed_cards(&self, version: u32, page: IndexPage) -> Result<IndexedCards> {
        let mut cards = self.inner().cards.clone();
        cards.retain(|card| page.after.is_none_or(|after| card.id > after));
        cards.sort_by_key(|card| card.id);
        let is_full = cards.len() >= page.limit;
        cards.truncate(page.limit);
        let last = cards.last().map(|card| card.id).filter(|_| is_full);
        cards.retain(|card| card.sealed.index_key == version);
        Ok(IndexedCards {
            cards,
            altered: 0,
            last,
        })
    }
}
