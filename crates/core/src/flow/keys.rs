//! The vault at work: opening with an alarm where a record was tampered with, noticing other class
//! keys, and moving records to the active key of their class.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::{Arc, PoisonError};

use cardveil_seal::{Class, WrappedKey};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use super::{Fault, Service};
use crate::audit::{Event, Kind, Outcome, Source};
use crate::card::{Card, Expiry};
use crate::clock::Time;
use crate::id::CardId;
use crate::keys::{IndexPage, LOOK_EVERY, Move, Reindex, Reindexed, Slot, Sought};
use crate::merchant::Credential;
use crate::vault::{Error, Vault};
use crate::verb::{Commit, RecordEvent};

/// The cards of which it was told that lists leave them out. Bounded: of more than that nothing
/// more is told.
#[derive(Clone, Default)]
pub(super) struct LeftOut(Arc<std::sync::Mutex<BTreeSet<CardId>>>);

/// How many cards that lists leave out are told of.
const LEFT_OUT_MAX: usize = 1_000;

impl LeftOut {
    fn is_told(&self, card: CardId) -> bool {
        let cards = self.cards();
        cards.contains(&card) || cards.len() >= LEFT_OUT_MAX
    }

    fn tell(&self, card: CardId) {
        self.cards().insert(card);
    }

    fn cards(&self) -> std::sync::MutexGuard<'_, BTreeSet<CardId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch of records that is to be moved.
#[derive(Clone, Copy, Debug)]
pub struct Rewrap<'a> {
    pub class: Class,
    /// From under which version.
    pub version: u32,
    /// Those that could not be moved until now: they are passed over.
    pub stuck: &'a [Slot],
    /// At most so many.
    pub limit: usize,
    /// Whether each gets a new DEK too.
    pub anew: bool,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// How many were found.
    pub found: usize,
    /// How many were moved. Others had changed meanwhile.
    pub moved: usize,
    /// Those that do not open. They stay as they are.
    pub stuck: Vec<Slot>,
}

/// What became of a page of cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageMoved {
    /// How many have an index under the version before.
    pub found: usize,
    /// How many were moved. Others had changed meanwhile.
    pub moved: usize,
    /// How many are not what was written, or do not open. They stay as they are.
    pub stuck: usize,
    /// The last card of the page; nothing where the page is the last.
    pub last: Option<CardId>,
}

/// Other class keys than those that are open.
pub(super) struct Look {
    keys: Vec<WrappedKey>,
    came: Came,
}

/// What came of them.
enum Came {
    /// They are being opened. Whoever comes next goes on waiting where the one before gave up.
    Opening(Shared<BoxFuture<'static, Result<bool, Arc<Error>>>>),
    /// They do not open.
    Failed { at: Time, why: String },
}

impl Service {
    /// Looks whether there are other class keys in store than those that are open; tells whether
    /// there were, and they are open now.
    ///
    /// One look at a time: many requests may meet a new key at once, and a hardware module is asked
    /// once for all of them, also where the first of them gives up. If it did not open, it is not
    /// asked again before [`LOOK_EVERY`] has passed.
    pub async fn look_at_keys(&self) -> Result<bool, Fault> {
        let mut look = self.look.lock().await;
        self.look_under(&mut look).await
    }

    async fn look_under(&self, look: &mut Option<Look>) -> Result<bool, Fault> {
        let keys = self.store.wrapped_keys().await?;
        let now = self.now();
        let before = look.take().filter(|look| look.keys == keys);
        let opening = match before.map(|look| look.came) {
            Some(Came::Opening(opening)) => opening,
            Some(Came::Failed { at, why }) if at <= now && now < at.plus(LOOK_EVERY) => {
                let told = unopened(&why);
                let came = Came::Failed { at, why };
                *look = Some(Look { keys, came });
                return Err(told);
            }
            Some(Came::Failed { .. }) | None => {
                let (vault, keys) = (Arc::clone(&self.vault), keys.clone());
                let reload = async move { vault.reload(keys).await.map_err(Arc::new) };
                reload.boxed().shared()
            }
        };
        *look = Some(Look {
            keys: keys.clone(),
            came: Came::Opening(opening.clone()),
        });
        match opening.await {
            Ok(are_new) => {
                *look = None;
                Ok(are_new)
            }
            Err(error) => {
                let why = error
                    .source()
                    .map_or_else(|| error.to_string(), ToString::to_string);
                let told = unopened(&why);
                let at = self.now();
                let came = Came::Failed { at, why };
                *look = Some(Look { keys, came });
                Err(told)
            }
        }
    }

    /// Opens something of the record at `slot`. A record under a class key that is not known here
    /// was written after a rotation, so the class keys are looked at and it is tried once more. One
    /// that was altered or moved is told of: in the figures, and in the audit log.
    pub async fn open<T: Send>(
        &self,
        slot: impl FnOnce() -> Slot + Send,
        open: impl Fn(&Vault) -> Result<T, Error> + Send + Sync,
    ) -> Result<T, Fault> {
        let mut opened = open(&self.vault);
        if opened.as_ref().err().is_some_and(Error::is_unknown_key) {
            let mut look = self.look.lock().await;
            // Another request may have looked meanwhile.
            opened = open(&self.vault);
            if opened.as_ref().err().is_some_and(Error::is_unknown_key) {
                self.look_under(&mut look).await?;
                opened = open(&self.vault);
            }
        }
        match opened {
            Ok(opened) => Ok(opened),
            Err(error) => {
                if error.is_tampering() {
                    self.alarm(&slot(), &error).await?;
                }
                Err(error.into())
            }
        }
    }

    /// A card's expiry, for the lists that merchants' servers ask for.
    pub async fn expiry(&self, card: &Card) -> Result<Expiry, Fault> {
        self.open(|| slot_of(card), |vault| vault.expiry(card))
            .await
    }

    /// A card's expiry, for a list. `None` where it was tampered with: the list leaves that card
    /// out, so that it hides no other. It is an alarm once a card, or whoever lists would fill the
    /// log.
    pub async fn listed_expiry(&self, card: &Card) -> Result<Option<Expiry>, Fault> {
        if self.left_out.is_told(card.id) {
            return Ok(self.vault.expiry(card).ok());
        }
        match self.expiry(card).await {
            Ok(expiry) => Ok(Some(expiry)),
            Err(Fault::Vault(error)) if error.is_tampering() => {
                self.left_out.tell(card.id);
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Moves a batch of records to the active key of their class. Where it is killed it goes on
    /// from, because each record names its key itself.
    pub async fn rewrap(&self, asked: Rewrap<'_>, source: &Source) -> Result<Rewrapped, Fault> {
        let to = self.vault.sealing_version(asked.class)?;
        let sought = Sought {
            class: asked.class,
            version: asked.version,
            // However they come, there are as many others among them as there are to be.
            limit: asked.limit.saturating_add(asked.stuck.len()),
        };
        let mut found = self.store.envelopes(sought).await?;
        found.retain(|envelope| !asked.stuck.contains(&envelope.slot));
        found.truncate(asked.limit);
        let mut rewrapped = Rewrapped {
            found: found.len(),
            moved: 0,
            stuck: Vec::new(),
        };
        let mut envelopes = Vec::new();
        for envelope in found {
            match self.vault.rewrap(&envelope, asked.anew) {
                Ok(moved) => envelopes.extend(moved),
                Err(error) if error.is_tampering() => {
                    self.alarm(&envelope.slot, &error).await?;
                    rewrapped.stuck.push(envelope.slot);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !envelopes.is_empty() {
            let batch = Move {
                class: asked.class,
                from: asked.version,
                to,
                envelopes,
                at: self.now(),
                source: source.clone(),
            };
            rewrapped.moved = self.store.commit(batch).await?;
        }
        Ok(rewrapped)
    }

    /// The version that new indexes of numbers are under.
    pub fn index_version(&self) -> Result<u32, Fault> {
        match self.store.row_macs().index_version() {
            Some(version) => Ok(version),
            None => Ok(self.vault.sealing_version(Class::Index)?),
        }
    }

    /// Moves the cards of a page whose index is under `from` to an index under the version that new
    /// ones are under. Where it is killed it goes on from, because each card names its key itself.
    pub async fn reindex(
        &self,
        from: u32,
        page: IndexPage,
        source: &Source,
    ) -> Result<PageMoved, Fault> {
        let to = self.index_version()?;
        let found = self.store.indexed_cards(from, page).await?;
        let mut done = PageMoved {
            found: found.cards.len(),
            moved: 0,
            stuck: found.altered,
            last: found.last,
        };
        let mut cards = Vec::new();
        for card in found.cards {
            match self.vault.pan_index(&card, to) {
                Ok(index) => cards.push(Reindexed {
                    card: card.id,
                    was: card.sealed.pan_index,
                    index,
                }),
                Err(error) if error.is_tampering() => {
                    self.alarm(&slot_of(&card), &error).await?;
                    done.stuck += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !cards.is_empty() {
            let batch = Reindex {
                from,
                to,
                cards,
                at: self.now(),
                source: source.clone(),
            };
            done.moved = self.store.commit(batch).await?;
        }
        Ok(done)
    }

    /// PCI DSS 3.7.6: a substituted key or record is noticed.
    async fn alarm(&self, slot: &Slot, error: &Error) -> Result<(), Fault> {
        self.vault.alarm();
        let (merchant, target) = slot.target();
        let source = Source::server();
        let mut event: Event = source.event(self.now(), Kind::VaultTampered, merchant, target);
        event.outcome = Outcome::Failure;
        let class = slot.class();
        event.detail.note = Some(format!("{class}: {}", cause_of(error)).into());
        Ok(self.store.commit(RecordEvent(event)).await?)
    }
}

fn unopened(why: &str) -> Fault {
    Error::Seal(cardveil_seal::Error::KeysUnopened(why.to_owned())).into()
}

/// What of an error helps an auditor. It holds nothing of the record.
fn cause_of(error: &Error) -> String {
    match error {
        Error::Seal(error) => error.to_string(),
        Error::Card(_) | Error::NoSuchField(_) | Error::Form => error.to_string(),
    }
}

/// The part of a card that its number is in.
pub(super) fn slot_of(card: &Card) -> Slot {
    Slot::Card(card.id, card.merchant.clone())
}

/// Where a credential's apiSecret is.
pub(super) fn slot_of_secret(credential: &Credential) -> Slot {
    Slot::Credential(credential.id.clone(), credential.merchant.clone())
}
