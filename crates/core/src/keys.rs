//! Class keys over their lives, and the records under them.
//!
//! A class has one **active** version, the highest: it seals and opens. Those before it are
//! **retiring**: they open what is under them and seal nothing new. Once no record is under one it
//! can be **retired**: its bytes are destroyed, and of it there remain class, version and dates
//! (PCI DSS 3.7.4, 3.7.5).
//!
//! [`Rotation`], [`RootChange`] and [`Retirement`] decide, over all class keys as they are in the
//! commit, which rows come out; stores write these, with the event. [`Move`] is a batch of records
//! on its way from a version to the active one: each names what it was read as, and one that is
//! otherwise now stays as it is. A record's wrapped DEK names its version, so a move that was cut
//! short goes on where it was.
//!
//! **Invariant:** there is no way from retired back, and none to retired while a record needs the
//! key.
//!
//! To add a kind of record: [`Slot`], then follow the compiler to the vault and the stores.

use std::borrow::Cow;
use std::time::Duration;

pub use cardveil_seal::version_of;
use cardveil_seal::{Class, WrappedKey};

use crate::audit::{Event, Kind, Source, Target};
use crate::card::Card;
use crate::clock::Time;
use crate::id::{CardId, CredentialId, FactorId, MerchantId, PersonId, SubscriptionId};
use crate::token::{ACCESS_TTL, RETENTION};

/// How long after a rotation a server may still be using the version before: longer than the time
/// between two looks at the class keys ([`LOOK_EVERY`]).
pub const NOTICE: Duration = Duration::from_secs(10);

/// How often a server looks at the class keys.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);

/// A class key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassKey {
    /// The key, sealed under the root; empty once it is retired.
    pub key: WrappedKey,
    /// When it was made. Not known of keys that are older than this column.
    pub created_at: Option<Time>,
    /// What it may do.
    pub state: State,
    /// Of the class [`Class::Row`]: since when every row that decides has a MAC.
    pub complete_at: Option<Time>,
}

/// What a class key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Seal and open.
    Active,
    /// Open.
    Retiring {
        /// When another took its place.
        since: Time,
    },
    /// Nothing: it is destroyed.
    Retired {
        /// When another took its place.
        since: Time,
        /// When it was destroyed.
        at: Time,
    },
}

impl State {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring { .. } => "retiring",
            Self::Retired { .. } => "retired",
        }
    }

    /// When another took its place, and when it was destroyed: as stores keep it.
    pub const fn dates(self) -> (Option<Time>, Option<Time>) {
        match self {
            Self::Active => (None, None),
            Self::Retiring { since } => (Some(since), None),
            Self::Retired { since, at } => (Some(since), Some(at)),
        }
    }

    /// The state of these dates.
    pub fn from_dates(retiring_at: Option<Time>, retired_at: Option<Time>) -> Self {
        match (retiring_at, retired_at) {
            (None, None) => Self::Active,
            (Some(since), None) => Self::Retiring { since },
            (since, Some(at)) => Self::Retired {
                since: since.unwrap_or(at),
                at,
            },
        }
    }
}

impl ClassKey {
    /// A key that was made just now.
    pub const fn new(key: WrappedKey, at: Time) -> Self {
        Self {
            key,
            created_at: Some(at),
            state: State::Active,
            complete_at: None,
        }
    }

    /// Whether it opens anything.
    pub const fn opens(&self) -> bool {
        match self.state {
            State::Active | State::Retiring { .. } => true,
            State::Retired { .. } => false,
        }
    }
}

/// The active version of a class.
pub fn active(keys: &[ClassKey], class: Class) -> Option<&ClassKey> {
    keys.iter()
        .filter(|key| key.key.class == class && key.opens())
        .max_by_key(|key| key.key.version)
}

/// The version of the next card verification key.
pub fn next_cvk<'a>(keys: impl Iterator<Item = &'a WrappedKey>) -> Option<u32> {
    let cvks = keys.filter(|key| key.class == Class::Cvk);
    cvks.map(|key| key.version)
        .max()
        .unwrap_or(0)
        .checked_add(1)
}

/// The rows of these keys, where they are all that open.
pub(crate) fn as_read<'a>(from: &[WrappedKey], keys: &'a [ClassKey]) -> Option<Vec<&'a ClassKey>> {
    let opening: Vec<_> = keys.iter().filter(|key| key.opens()).collect();
    let is_same = opening.len() == from.len() && opening.iter().all(|key| from.contains(&key.key));
    is_same.then_some(opening)
}

/// A new version for a class, which takes the place of the one before; or a card verification key.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// All that open, as they were read: the new one is bound to what these are.
    pub from: Vec<WrappedKey>,
    /// The next version of its class.
    pub key: WrappedKey,
    pub event: Event,
}

impl Rotation {
    /// With its event.
    pub fn new(from: Vec<WrappedKey>, key: WrappedKey, at: Time, source: &Source) -> Self {
        let mut event = source.event(at, Kind::KeysRotated, None, target(key.class, key.version));
        event.detail.to = Some(State::Active.as_str().into());
        Self { from, key, event }
    }

    /// A card verification key that was brought here: it takes no other's place, because each card
    /// keeps the one that it was made with.
    pub fn imported(from: Vec<WrappedKey>, key: WrappedKey, at: Time, source: &Source) -> Self {
        let mut event = source.event(at, Kind::KeysCreated, None, target(key.class, key.version));
        event.detail.to = Some(State::Active.as_str().into());
        Self { from, key, event }
    }

    /// The rows that come out; none if the keys are not those that were read, because somebody else
    /// was first.
    pub fn decide(&self, keys: &[ClassKey]) -> Option<Vec<ClassKey>> {
        as_read(&self.from, keys)?;
        if self.key.class == Class::Cvk {
            let new = next_cvk(keys.iter().map(|key| &key.key)) == Some(self.key.version);
            return new.then(|| vec![ClassKey::new(self.key.clone(), self.event.at)]);
        }
        let before = active(keys, self.key.class)?;
        if before.key.version.checked_add(1) != Some(self.key.version) {
            return None;
        }
        let since = self.event.at;
        let retiring = ClassKey {
            state: State::Retiring { since },
            ..before.clone()
        };
        let next = ClassKey {
            complete_at: before.complete_at,
            ..ClassKey::new(self.key.clone(), since)
        };
        Some(vec![retiring, next])
    }
}

/// All class keys under another root, in one commit.
#[derive(Clone, Debug)]
pub struct RootChange {
    /// All that open, as they were read.
    pub from: Vec<WrappedKey>,
    /// The same, under the other root.
    pub to: Vec<WrappedKey>,
    pub event: Event,
}

impl RootChange {
    /// The rows that come out; none if the keys are not those that were read.
    pub fn decide(&self, keys: &[ClassKey]) -> Option<Vec<ClassKey>> {
        let rows = as_read(&self.from, keys)?.into_iter().map(|row| {
            let is_same =
                |to: &&WrappedKey| (to.class, to.version) == (row.key.class, row.key.version);
            let key = self.to.iter().find(is_same)?.clone();
            Some(ClassKey { key, ..row.clone() })
        });
        rows.collect()
    }
}

/// The end of a version.
#[derive(Clone, Debug)]
pub struct Retirement {
    pub class: Class,
    pub version: u32,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

/// What became of a retirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// The key is destroyed.
    Done,
    /// There is no such version, or it is retired already.
    Unknown,
    /// It is the one that seals.
    Active,
    /// Records are under it, or the log holds what it has signed.
    InUse,
    /// What was authenticated under it is good until then.
    NotBefore(Time),
}

impl Retirement {
    /// What comes out, given whether any record is under the version.
    pub fn decide(&self, keys: &[ClassKey], in_use: bool) -> (Retired, Option<(ClassKey, Event)>) {
        let is_it =
            |key: &&ClassKey| (key.key.class, key.key.version) == (self.class, self.version);
        let Some(found) = keys.iter().find(is_it) else {
            return (Retired::Unknown, None);
        };
        let since = match found.state {
            State::Active => return (Retired::Active, None),
            State::Retired { .. } => return (Retired::Unknown, None),
            State::Retiring { since } => since,
        };
        // What an audit key has signed stays in the log, which is never pruned, and its public half
        // is had from the key alone.
        if in_use || self.class == Class::Audit {
            return (Retired::InUse, None);
        }
        let ready = since.plus(lifetime(self.class));
        if self.at < ready {
            return (Retired::NotBefore(ready), None);
        }
        let row = ClassKey {
            key: WrappedKey {
                wrapped: Vec::new(),
                ..found.key
            },
            state: State::Retired { since, at: self.at },
            ..found.clone()
        };
        let place = target(self.class, self.version);
        let mut event = self.source.event(self.at, Kind::KeysRetired, None, place);
        event.detail.from = Some(found.state.as_str().into());
        event.detail.to = Some(row.state.as_str().into());
        (Retired::Done, Some((row, event)))
    }
}

/// How long after its place was taken a version may be needed for what no record shows: by a server
/// that has not noticed, and for what it has authenticated.
fn lifetime(class: Class) -> Duration {
    match class {
        Class::Pan
        | Class::Cvv
        | Class::Pin
        | Class::Credential
        | Class::Index
        | Class::Manifest
        | Class::Audit
        | Class::Cvk => NOTICE,
        // The rows of tokens are not moved: they go by themselves.
        Class::Row => NOTICE.saturating_add(RETENTION),
        Class::Access => NOTICE.saturating_add(ACCESS_TTL),
    }
}

/// How many records are under a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub class: Class,
    pub version: u32,
    /// How many.
    pub records: u64,
}

/// A sealed part of a record, with a DEK of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where it is.
    pub slot: Slot,
    pub dek: Vec<u8>,
    /// What is sealed under the DEK, in the order of [`Slot`].
    pub sealed: Vec<Vec<u8>>,
}

impl Envelope {
    /// The version that it is under, where it says one.
    pub fn version(&self) -> Option<u32> {
        version_of(&self.dek).ok()
    }
}

/// Where a sealed part of a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// What a card's own DEK seals ([`SealedCard::UNDER_DEK`](crate::card::SealedCard::UNDER_DEK)).
    Card(CardId, MerchantId),
    Cvv(CardId, MerchantId),
    Pin(CardId, MerchantId),
    /// A credential's apiSecret.
    Credential(CredentialId, MerchantId),
    /// The secret of an authenticator app.
    Totp(MerchantId, PersonId, FactorId),
    /// What a subscription's messages are signed with.
    WebhookSecret(SubscriptionId, MerchantId),
    /// What a subscription's messages are sent as `Authorization` with.
    WebhookAuthorization(SubscriptionId, MerchantId),
}

impl Slot {
    /// The class of the key that its DEK is under.
    pub const fn class(&self) -> Class {
        match self {
            Self::Card(..) => Class::Pan,
            Self::Cvv(..) => Class::Cvv,
            Self::Pin(..) => Class::Pin,
            Self::Credential(..)
            | Self::Totp(..)
            | Self::WebhookSecret(..)
            | Self::WebhookAuthorization(..) => Class::Credential,
        }
    }

    /// What an audit event names it by.
    pub fn target(&self) -> (Option<MerchantId>, Target) {
        let of = |merchant: &MerchantId, target: Target| (Some(merchant.clone()), target);
        let none = Target::default;
        match self {
            Self::Card(card, merchant) | Self::Cvv(card, merchant) | Self::Pin(card, merchant) => {
                let card = Some(*card);
                of(merchant, Target { card, ..none() })
            }
            Self::Credential(id, merchant) => {
                let credential = Some(id.clone());
                of(
                    merchant,
                    Target {
                        credential,
                        ..none()
                    },
                )
            }
            Self::Totp(merchant, person, _) => {
                let person = Some(*person);
                of(merchant, Target { person, ..none() })
            }
            Self::WebhookSecret(id, merchant) | Self::WebhookAuthorization(id, merchant) => {
                let subscription = Some(*id);
                of(
                    merchant,
                    Target {
                        subscription,
                        ..none()
                    },
                )
            }
        }
    }
}

/// Which envelopes are to be read: those of a class under a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    pub class: Class,
    pub version: u32,
    /// At most so many.
    pub limit: usize,
}

/// A batch of envelopes on its way from one version of a class to another, in one commit.
#[derive(Clone, Debug)]
pub struct Move {
    pub class: Class,
    /// The version that they are under.
    pub from: u32,
    /// The version that they will be under.
    pub to: u32,
    /// Each as it was read, and as it will be. Only where the DEK is still the one that was read is
    /// anything written. What is sealed is written where it is given.
    pub envelopes: Vec<Moved>,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

/// An envelope on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it is.
    pub slot: Slot,
    /// The wrapped DEK as it was read.
    pub was: Vec<u8>,
    /// The wrapped DEK that takes its place.
    pub dek: Vec<u8>,
    /// What is sealed under it, where that is sealed anew: as many as [`Slot`] says.
    pub sealed: Option<Vec<Vec<u8>>>,
}

impl Move {
    /// The event of a batch of which so many were moved; none if there were none.
    pub fn event(&self, moved: usize) -> Option<Event> {
        if moved == 0 {
            return None;
        }
        let place = target(self.class, self.to);
        let mut event = self.source.event(self.at, Kind::KeysRewrapped, None, place);
        let anew = self.envelopes.iter().any(|one| one.sealed.is_some());
        let how = if anew {
            "sealed anew under"
        } else {
            "moved to"
        };
        let (from, to) = (self.from, self.to);
        event.detail.note = Some(format!("{moved} records {how} version {to} from {from}").into());
        Some(event)
    }
}

/// A batch of cards on their way to an index under another version of the key, each with its
/// digital wallet tokens, in one commit. No event is of each card, so its version stays.
#[derive(Clone, Debug)]
pub struct Reindex {
    /// The version that they are under.
    pub from: u32,
    /// The version that they will be under.
    pub to: u32,
    pub cards: Vec<Reindexed>,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

/// A card's index on its way. Only where the index is still the one that was read is anything
/// written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reindexed {
    pub card: CardId,
    /// The index as it was read.
    pub was: [u8; 32],
    /// The index that takes its place.
    pub index: [u8; 32],
}

impl Reindex {
    /// The event of a batch of which so many were moved; none if there were none.
    pub fn event(&self, moved: usize) -> Option<Event> {
        if moved == 0 {
            return None;
        }
        let place = target(Class::Index, self.to);
        let mut event = self.source.event(self.at, Kind::KeysRewrapped, None, place);
        let (from, to) = (self.from, self.to);
        event.detail.note =
            Some(format!("{moved} cards indexed under version {to} from {from}").into());
        Some(event)
    }
}

/// Where a page of all cards begins, and how many it has at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPage {
    /// Behind this card.
    pub after: Option<CardId>,
    pub limit: usize,
}

/// The cards of a page whose index is under a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedCards {
    pub cards: Vec<Card>,
    /// How many of the page are not what was written. Which, [`RowMacs`](crate::vault::RowMacs)
    /// tells.
    pub altered: usize,
    /// The last card of the page; nothing where the page is the last.
    pub last: Option<CardId>,
}

/// How an audit event names a class key.
pub fn target(class: Class, version: u32) -> Target {
    Target {
        resource: Some(Cow::Owned(format!("class key: {class} {version}"))),
        ..Target::default()
    }
}
