//! What the domain needs of a store, split by guarantee. One contract suite
//! (in the crate `testkit`) holds every adapter to these words.
//!
//! Common to all verbs:
//!
//! - **Atomic**: a verb happens whole or not at all; two of them on the same row happen one after
//!   the other, in every process that shares the store.
//! - **Durable**: when a verb that writes returns `Ok`, what it wrote survives the loss of power.
//! - **Audited**: what a verb writes and the event that it takes are one commit.
//! - **Errors**: [`Error::Unavailable`] says that nothing was written. [`Error::Unknown`] says that
//!   it may or may not have been; for a redemption, look it up with [`crate::token::Attempt`].
//!   Adapters never retry a write whose outcome is unknown.
//! - Lookups read what is committed. What is not there is `Ok(None)`.
//!
//! What changes is a [`crate::verb::Verb`], which loads and saves [`rows`] and stands once for all
//! stores. Here are the lookups, the lists and what only a store can do.
//!
//! To add a lookup: here, with its guarantee; in the two stores of `testkit`; a case in the
//! contract suite; then in each adapter.

mod budgets;
mod cards;
mod counters;
mod keys;
mod mfa;
mod outbox;
pub mod rows;
mod sinks;
mod wallet;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use budgets::BudgetLevels;
pub use cards::{
    CardFilter, CardPage, Cards, LOOK_AT, Order, Paging, end_of_those_that_begin_with,
};
pub use mfa::Mfa;

use crate::audit::chain::Chained;
use crate::audit::settings::changes;
use crate::audit::{Entry, Event};
use crate::budget::Of;
use crate::card::{Card, CardRef};
use crate::clock::Time;
use crate::hook::Subscription;
use crate::id::{CardId, CredentialId, EmbedId, MerchantId, PersonId, SubscriptionId};
use crate::merchant::{Admission, Credential, Embed, Merchant};
use crate::token::{Epoch, Lives, LivesOf, Record, TokenHash, TokenKey};

use self::rows::{Loaded, Rows};

pub use counters::{Count, Counters, Heard, NodeId, ROUNDS_KEPT, Told};
pub use keys::{CheckedPage, Keys, RowChecks, RowPlace, ShownRow};
pub use outbox::{Counts, DeliveryFilter, Due, Outbox, Take};
pub use sinks::Sinks;
pub use wallet::{ListedToken, WalletFilter, WalletPage, WalletTokens};

/// Why a store could not do it. The text is for the log, never for a caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing was written, nothing was read: try again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The commit did not answer: it may be there or not.
    #[error("the outcome of a commit is not known: {0}")]
    Unknown(String),
    /// What was read is not what this program writes.
    #[error("the store holds what this program cannot read: {0}")]
    Corrupt(String),
}

/// A result of a store.
pub type Result<T> = std::result::Result<T, Error>;

/// What a verb holds together with others, and how long its caller waits. A store may need to know
/// it before the verb runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The one token that it decides on, with its card.
    pub token: Option<TokenKey>,
    /// The budgets that it decides on.
    pub budgets: Vec<Of>,
    /// The merchant's person whose second factor it decides on.
    pub person: Option<(MerchantId, PersonId)>,
    /// It decides on more than the rows that it loads (the registry, the outbox): no other commit
    /// may come between its loads and its own.
    pub alone: bool,
    /// Its caller waits, and gives up when it takes long.
    pub soon: bool,
}

impl Needs {
    /// The rows that it loads, and nothing else.
    pub const ROWS: Self = Self {
        token: None,
        budgets: Vec::new(),
        person: None,
        alone: false,
        soon: false,
    };

    /// No other commit in between.
    pub const ALONE: Self = Self {
        token: None,
        budgets: Vec::new(),
        person: None,
        alone: true,
        soon: false,
    };
}

/// What runs inside a commit: a [`crate::verb::Verb`] with a place for its answer.
pub trait Work: Send + Sync {
    /// Which verb it is, by the name of its type.
    fn verb(&self) -> &'static str;

    /// What it holds.
    fn needs(&self) -> Needs;

    /// Loads, decides and saves. Where it fails, nothing of it is committed; it may be run again.
    fn run(&self, rows: &dyn Rows) -> Loaded<()>;
}

/// The one way to write: [`crate::verb::Commit`] is its face.
#[async_trait]
pub trait Commits: Send + Sync {
    /// Runs the work with others in one commit, and answers once that is durable. It goes on
    /// without its caller, should the caller not wait.
    async fn run(&self, work: Arc<dyn Work>) -> Result<()>;
}

/// Who may call, and which cards there are. Read at every call, so that a change is seen at once.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The credential of the Api-Key with this SHA-256, its merchant and the epoch, read together.
    async fn admission(&self, key_hash: &[u8; 32]) -> Result<Option<Admission>>;

    async fn embed(&self, id: &EmbedId) -> Result<Option<Embed>>;

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>>;

    /// What a token lives by, all of one moment.
    async fn lives(&self, of: &LivesOf) -> Result<Lives>;

    /// The merchant's card. Another merchant's is not found.
    async fn card(&self, merchant: &MerchantId, card: &CardRef) -> Result<Option<Card>>;
}

/// Which tokens to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Hash(TokenHash),
    Card(CardId),
    Merchant(MerchantId),
}

#[async_trait]
pub trait Tokens: Send + Sync {
    /// The token's row, for looking before the claim. It decides nothing.
    async fn token(&self, key: &TokenKey) -> Result<Option<Record>>;

    /// When a program that knows only the first form of tokens last wrote, by a clock that says
    /// `now`. It may have issued some until then, and may be serving still. `None` where none ever
    /// has.
    async fn first_form_last(&self, now: Time) -> Result<Option<Time>>;

    /// Up to `limit` tokens of a selection that are [revocable](Record::is_revocable) at `at` and
    /// come after the place `after`, in the order of their keys.
    async fn revocable(
        &self,
        selection: &Selection,
        at: Time,
        after: Option<TokenKey>,
        limit: usize,
    ) -> Result<Vec<TokenKey>>;
}

/// The audit log: append, and read in order. There is no verb that changes an entry.
///
/// Each entry is chained to the one before ([`crate::audit::chain`]) in the commit that writes it,
/// over the bytes that are stored. An adapter has one function through which entries are written,
/// and a column for the hash that cannot be left empty.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Up to `limit` entries after the place `after`, oldest first.
    async fn entries(&self, after: i64, limit: usize) -> Result<Vec<Entry>> {
        let chained = self.chained(after, limit).await?;
        let entry = |chained: &Chained| {
            let seq = chained.seq;
            let unreadable = || Error::Corrupt(format!("audit entry {seq} is no event"));
            chained.entry().ok_or_else(unreadable)
        };
        chained.iter().map(entry).collect()
    }

    /// The place of the last entry; 0 when there is none.
    async fn last_entry(&self) -> Result<i64>;

    /// Up to `limit` entries after the place `after`, oldest first, as they are stored and with
    /// their links: whatever is there, even if it is no event.
    async fn chained(&self, after: i64, limit: usize) -> Result<Vec<Chained>>;

    /// The last entry of the chain that this store's own writes continue, if there is one.
    async fn chain_end(&self) -> Result<Option<Chained>>;
}

/// Why a change was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Taken {
    /// The id or the card order number is in use.
    #[error("it exists already")]
    Exists,
    /// It names a merchant that does not exist.
    #[error("there is no such merchant")]
    NoMerchant,
    /// The merchant has as many as it may.
    #[error("the merchant has as many as it may have")]
    Full,
    /// The row is no longer what it was read as.
    #[error("it was changed meanwhile")]
    Stale,
}

/// A row in place of the one that was read. Whoever changes one field writes the others as they
/// were, so a change that came between would be lost: a disabled credential would be in use again.
#[derive(Clone, Debug)]
pub struct Set<T> {
    /// As it was read.
    pub was: T,
    /// As it will be.
    pub to: T,
}

impl<T: PartialEq> Set<T> {
    /// As a [`Change`] has it.
    pub fn boxed(was: T, to: T) -> Box<Self> {
        Box::new(Self { was, to })
    }

    /// What is to be written, given the row as it is in the commit.
    pub fn decide(&self, row: Option<&T>) -> std::result::Result<&T, Taken> {
        match row {
            None => Err(Taken::NoMerchant),
            Some(row) if *row != self.was => Err(Taken::Stale),
            Some(_) => Ok(&self.to),
        }
    }
}

/// A change to one row of the registry, by an operator.
#[derive(Clone, Debug)]
pub enum Change {
    AddMerchant(Merchant),
    /// Puts a merchant in place of the one with its id.
    SetMerchant(Box<Set<Merchant>>),
    AddCredential(Credential),
    /// Puts a credential in place of the one with its id.
    SetCredential(Box<Set<Credential>>),
    AddEmbed(Embed),
    /// Puts an embed in place of the one with its id.
    SetEmbed(Box<Set<Embed>>),
    AddCard(Box<Card>),
    /// Adds a subscription, where the merchant has fewer than
    /// [`SUBSCRIPTIONS_MAX`](crate::hook::SUBSCRIPTIONS_MAX). A [`crate::hook::Patch`] changes
    /// one.
    AddSubscription(Box<Subscription>),
    /// Removes a subscription and its deliveries.
    RemoveSubscription(SubscriptionId),
}

impl Change {
    /// Its record: the event, and from what to what. Adapters write this one, in the commit of the
    /// change, so whoever changes a row cannot leave that out. A subscription that is removed is
    /// not at hand here.
    pub fn record<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        let changes = match self {
            Self::AddMerchant(new) => changes(None, Some(new)),
            Self::SetMerchant(set) => changes(Some(&set.was), Some(&set.to)),
            Self::AddCredential(new) => changes(None, Some(new)),
            Self::SetCredential(set) => changes(Some(&set.was), Some(&set.to)),
            Self::AddEmbed(new) => changes(None, Some(new)),
            Self::SetEmbed(set) => changes(Some(&set.was), Some(&set.to)),
            Self::AddSubscription(new) => changes(None, Some(&**new)),
            Self::AddCard(_) | Self::RemoveSubscription(_) => return Cow::Borrowed(event),
        };
        let mut event = event.clone();
        event.detail.changes = changes;
        Cow::Owned(event)
    }

    /// The version of the key that an index which it writes is under.
    pub fn index_key(&self) -> Option<u32> {
        match self {
            Self::AddCard(card) => Some(card.sealed.index_key),
            Self::AddMerchant(_)
            | Self::SetMerchant(_)
            | Self::AddCredential(_)
            | Self::SetCredential(_)
            | Self::AddEmbed(_)
            | Self::SetEmbed(_)
            | Self::AddSubscription(_)
            | Self::RemoveSubscription(_) => None,
        }
    }

    /// The wrapped DEKs that it writes, each with its class.
    pub fn deks(&self) -> Vec<(Class, &[u8])> {
        match self {
            Self::AddCard(card) => card.sealed.deks(),
            Self::AddCredential(new) => vec![(Class::Credential, &*new.sealed_secret.dek)],
            Self::SetCredential(set) => vec![(Class::Credential, &*set.to.sealed_secret.dek)],
            Self::AddSubscription(new) => new.deks(),
            Self::AddMerchant(_)
            | Self::SetMerchant(_)
            | Self::AddEmbed(_)
            | Self::SetEmbed(_)
            | Self::RemoveSubscription(_) => Vec::new(),
        }
    }
}

/// How a store's writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// What was tried last was committed; or none was tried yet.
    Fine,
    /// Since this moment writes are tried and none was committed.
    Pending {
        /// When the first of them began.
        since: Time,
        /// Whether one of them has ended in vain. Otherwise the first is under way.
        failed: bool,
    },
    /// Another program holds the lock that every write needs, and has for longer than a write
    /// takes. Writes wait since this moment.
    LockedOut {
        /// When the first of them began.
        since: Time,
    },
    /// No write is taken any more, until the process starts again.
    Ended,
}

/// How much of a store's bounded means this process takes up. What has none of a kind has none of
/// it at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Writes that wait for their commit to begin.
    pub writes_waiting: usize,
    /// How many may.
    pub writes_most: usize,
    /// Connections that look something up.
    pub lookups_busy: usize,
    /// How many there may be.
    pub lookups_most: usize,
}

/// The registry, for operators.
#[async_trait]
pub trait Admin: Send + Sync {
    /// All merchants, by id.
    async fn merchants(&self) -> Result<Vec<Merchant>>;

    /// All credentials, by id.
    async fn credentials(&self) -> Result<Vec<Credential>>;

    /// When each credential was last used, of those of which that is kept.
    async fn last_uses(&self) -> Result<BTreeMap<CredentialId, Time>>;

    /// All embeds, by id.
    async fn embeds(&self) -> Result<Vec<Embed>>;

    /// The epoch now.
    async fn epoch(&self) -> Result<Epoch>;

    /// The hour by the store's own clock; none where it has no other than ours.
    async fn time(&self) -> Result<Option<Time>>;

    /// The rows that lists have left out since the store was opened, because they cannot be read: a
    /// table and a key each, and at most a hundred. One altered row hides no other.
    fn left_out(&self) -> Vec<String>;

    /// How this process' own writes go. It asks nobody. When writes have failed, whatever is
    /// written next shows whether they go again: [`crate::verb::Sweep`] does, though it may find nothing
    /// to do.
    fn writes(&self) -> Writes;

    /// How busy this process keeps the store. It asks nobody.
    fn load(&self) -> Load;
}

/// A wrapped class key, as stores keep it, and the class that it is of.
pub use cardveil_seal::{Class, WrappedKey};

/// Everything a deployment needs of its store.
pub trait Store:
    Commits
    + Registry
    + Tokens
    + Cards
    + Audit
    + Admin
    + Keys
    + RowChecks
    + Outbox
    + WalletTokens
    + Mfa
    + Counters
    + Sinks
    + BudgetLevels
{
}

impl<
    S: Commits
        + Registry
        + Tokens
        + Cards
        + Audit
        + Admin
        + Keys
        + RowChecks
        + Outbox
        + WalletTokens
        + Mfa
        + Counters
        + Sinks
        + BudgetLevels,
> Store for S
{
}
