//! The rows that verbs decide on, as they are in the commit that a verb runs in: what a store
//! loads, keeps from changing until that commit, and saves. It knows rows and no rules.
//!
//! To add a stored row: its methods here, in the store of `testkit` and once for both databases.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::audit::Event;
use crate::audit::chain::Link;
use crate::audit::sink::Progress;
use crate::budget::{Level, Of};
use crate::card::{Card, CardRef, Guesses, PanIndexes, State};
use crate::clock::Time;
use crate::hook::{Delivery, Line, Subscription};
use crate::id::{
    CardId, CredentialId, DeliveryId, EmbedId, MerchantId, PersonId, SessionId, SinkName,
    SubscriptionId, WalletTokenId,
};
use crate::keys::{ClassKey, Moved, Reindexed};
use crate::merchant::{Credential, Embed, Merchant};
use crate::mfa::{Person, Session};
use crate::port::{Class, RowPlace};
use crate::token::{Epoch, Idempotency, Lives, LivesOf, Record, TokenKey};
use crate::wallet::{Census, Device, WalletToken};

/// What goes wrong with a row. It is the store's own, which takes it back from the verb.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What a verb gets of a store.
pub type Loaded<T> = Result<T, Fault>;

/// All of them.
pub trait Rows:
    TokenRows
    + CardRows
    + WalletRows
    + FactorRows
    + BudgetRows
    + KeyRows
    + RegistryRows
    + GuardRows
    + OutboxRows
    + LogRows
{
    fn epoch(&self) -> Epoch;

    /// Appends to the audit log, and queues what merchants are told of.
    fn log(&self, event: &Event) -> Loaded<()>;
}

/// Tokens, and the names of requests.
pub trait TokenRows {
    fn token(&self, key: &TokenKey) -> Loaded<Option<Record>>;

    /// Those of these that there are, which come in the order of their keys.
    fn tokens(&self, keys: &[TokenKey]) -> Loaded<Vec<Record>>;

    fn lives(&self, of: LivesOf) -> Loaded<Arc<Lives>>;

    /// Adds a token. It is never put in the place of another: that would un-spend it.
    fn add_token(&self, record: &Record) -> Loaded<()>;

    /// A token's next form.
    fn save_token(&self, record: &Record) -> Loaded<()>;

    /// A token's next form that is no other to its holder: refusals, or that it was swept. Its version
    /// stays.
    fn count_token(&self, record: &Record) -> Loaded<()>;

    fn delete_token(&self, key: &TokenKey) -> Loaded<()>;

    /// The request that has this name, and the token that it was given.
    fn named(&self, key: &[u8; 32]) -> Loaded<Option<(Idempotency, Record)>>;

    /// Gives a request its name, in the place of one that had it before.
    fn save_name(&self, name: &Idempotency, token: &TokenKey) -> Loaded<()>;

    /// Tokens whose [`Record::sweep_due_at`] is at or before `due`, or after `ahead`, the longest
    /// due first; nothing for one that cannot be read.
    fn tokens_due(&self, due: Time, ahead: Time, limit: usize) -> Loaded<Vec<Option<Record>>>;

    /// Tokens that were issued before `before`, that no sweep is due for, and that were refused
    /// more often than `refusals`.
    fn refused_tokens(&self, before: Time, refusals: u32, limit: usize) -> Loaded<Vec<Record>>;

    /// Tokens that were issued before `before`, and that no sweep is due for.
    fn old_tokens(&self, before: Time, limit: usize) -> Loaded<Vec<TokenKey>>;

    /// Deletes names that expire at `until` or before; tells how many.
    fn forget_names(&self, until: Time, limit: usize) -> Loaded<usize>;
}

/// Cards, and what is known of wrong proofs for them.
pub trait CardRows {
    fn card(&self, merchant: &MerchantId, card: &CardRef) -> Loaded<Option<Card>>;

    fn card_state(&self, merchant: &MerchantId, card: CardId) -> Loaded<Option<State>>;

    /// A card's next form: its state, label and PIN.
    fn save_card(&self, card: &Card) -> Loaded<()>;

    /// Deletes a card with its keys, its digital wallet tokens and its wrong proofs.
    fn delete_card(&self, card: CardId) -> Loaded<()>;

    /// The wrong proofs for a card.
    fn guesses(&self, card: CardId) -> Loaded<Guesses>;

    /// The wrong proofs for a card, in the place of those before.
    fn save_guesses(&self, card: CardId, guesses: &Guesses) -> Loaded<()>;

    /// A card, whosever it is.
    fn card_of_any_merchant(&self, id: CardId) -> Loaded<Option<Card>>;

    /// Adds cards; tells of each whether its id or its number at the merchant was free. Of two that
    /// exclude each other the first is added.
    fn add_cards(&self, cards: &[&Card]) -> Loaded<Vec<bool>>;
}

/// Digital wallet tokens.
pub trait WalletRows {
    fn wallet_token(&self, id: &WalletTokenId) -> Loaded<Option<WalletToken>>;

    /// A card's tokens, in the order in which they came.
    fn wallet_tokens_of(&self, card: CardId) -> Loaded<Vec<WalletToken>>;

    /// What the card number of these keyed indexes has, as seen from this device. Nobody else adds
    /// or changes a token of it until the commit.
    fn census(&self, indexes: &PanIndexes, device: &Device) -> Loaded<Census>;

    /// Adds a token. It is never put in the place of another.
    fn add_wallet_token(&self, token: &WalletToken) -> Loaded<()>;

    /// A token's next form.
    fn save_wallet_token(&self, token: &WalletToken) -> Loaded<()>;
}

/// Second factors.
pub trait FactorRows {
    fn session(&self, id: &SessionId) -> Loaded<Option<Session>>;

    /// A session's next form, or a new one.
    fn save_session(&self, session: &Session) -> Loaded<()>;

    /// Deletes sessions that expire before `before`; tells how many.
    fn forget_sessions(&self, before: Time, limit: usize) -> Loaded<usize>;

    /// What is known of the merchant's person.
    fn person(&self, merchant: &MerchantId, person: &PersonId) -> Loaded<Option<Person>>;

    /// What is known of a person from now on.
    fn save_person(&self, person: &Person) -> Loaded<()>;
}

pub trait BudgetRows {
    /// How far a budget is used.
    fn level(&self, of: &Of) -> Loaded<Option<Level>>;

    /// How far a budget is used from now on.
    fn save_level(&self, of: &Of, level: Level) -> Loaded<()>;

    /// Makes a budget whole.
    fn delete_level(&self, of: &Of) -> Loaded<()>;

    /// Deletes budgets that are whole at `now`; tells how many.
    fn forget_levels(&self, now: Time, limit: usize) -> Loaded<usize>;
}

/// Class keys, and the records under them.
pub trait KeyRows {
    /// All of them, the retired ones too, by class and version.
    fn class_keys(&self) -> Loaded<Vec<ClassKey>>;

    /// Whether there is any, also one that is not what was written.
    fn has_class_keys(&self) -> Loaded<bool>;

    /// A key's next form, or a new one.
    fn save_class_key(&self, key: &ClassKey) -> Loaded<()>;

    /// Whether a key opens nothing any more. If not, that stays so until the commit.
    fn is_retired(&self, class: Class, version: u32) -> Loaded<bool>;

    /// Whether records are under a key. If not, that stays so until the commit.
    fn has_records(&self, class: Class, version: u32) -> Loaded<bool>;

    /// Moves an envelope, where it is as it was; tells whether.
    fn move_envelope(&self, moved: &Moved) -> Loaded<bool>;

    /// Gives a card and its digital wallet tokens another index, under version `index_key`, where
    /// the card's is as it was; tells whether. The card's version stays.
    fn move_index(&self, moved: &Reindexed, index_key: u32) -> Loaded<bool>;
}

/// All rows that decide, whatever their kind, and their MACs.
pub trait GuardRows {
    /// Gives a MAC under the active key to each row of a page that has none, or one under another
    /// key. One that was altered stays as it is.
    fn guard_rows(&self, at: &RowPlace, limit: usize) -> Loaded<GuardedPage>;

    /// Takes a row as it is now for what was written last, or as gone where it is: it gets a MAC and
    /// its next version. The table is one of the store's, the key as [`RowMacs`](crate::vault::RowMacs) tells it. Tells
    /// whether anything is known of such a row.
    fn accept_row(&self, table: &str, key: &str) -> Loaded<Option<Accepted>>;

    /// Whether a row that lives for longer than minutes has a MAC under this version.
    fn has_guarded(&self, version: u32) -> Loaded<bool>;
}

/// How a row was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// As it is.
    AsItIs,
    /// As gone.
    AsGone,
}

impl Accepted {
    /// As it is on record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsItIs => "as it is",
            Self::AsGone => "as gone",
        }
    }
}

/// What became of a page of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardedPage {
    /// The table that they are of.
    pub kind: &'static str,
    /// How many had no MAC before.
    pub given: usize,
    /// How many had one under another key.
    pub moved: usize,
    /// How many are not what was written.
    pub altered: usize,
    /// Where the next page begins; nothing after the last.
    pub next: Option<RowPlace>,
}

/// Merchants, credentials and embeds.
pub trait RegistryRows {
    fn merchant(&self, id: &MerchantId) -> Loaded<Option<Merchant>>;

    /// Adds a merchant; tells whether its id was free.
    fn add_merchant(&self, merchant: &Merchant) -> Loaded<bool>;

    /// A merchant's next form.
    fn save_merchant(&self, merchant: &Merchant) -> Loaded<()>;

    fn credential(&self, id: &CredentialId) -> Loaded<Option<Credential>>;

    /// Whether another credential has the Api-Key with this SHA-256.
    fn key_is_of_another(&self, key_hash: &[u8; 32], id: &CredentialId) -> Loaded<bool>;

    /// Adds a credential; tells whether its id and its Api-Key were free.
    fn add_credential(&self, credential: &Credential) -> Loaded<bool>;

    /// A credential's next form.
    fn save_credential(&self, credential: &Credential) -> Loaded<()>;

    /// A credential's list of allowed networks, and nothing else of it.
    fn save_allowlist(&self, credential: &Credential) -> Loaded<()>;

    /// When credentials were last used.
    fn save_uses(&self, uses: &BTreeMap<CredentialId, Time>) -> Loaded<()>;

    fn embed(&self, id: &EmbedId) -> Loaded<Option<Embed>>;

    /// Adds an embed; tells whether its id was free.
    fn add_embed(&self, embed: &Embed) -> Loaded<bool>;

    /// An embed's next form.
    fn save_embed(&self, embed: &Embed) -> Loaded<()>;
}

/// Subscriptions, and what is queued for them.
pub trait OutboxRows {
    fn subscription(&self, id: SubscriptionId) -> Loaded<Option<Subscription>>;

    /// How many a merchant has.
    fn subscriptions_of(&self, merchant: &MerchantId) -> Loaded<usize>;

    /// Adds a subscription; tells whether its id was free.
    fn add_subscription(&self, subscription: &Subscription) -> Loaded<bool>;

    /// A subscription's next form.
    fn save_subscription(&self, subscription: &Subscription) -> Loaded<()>;

    /// Deletes a subscription and its deliveries; tells whether there was one.
    fn delete_subscription(&self, id: SubscriptionId) -> Loaded<bool>;

    /// Enabled subscriptions with a line whose head is due at `now`, the longest due first; those
    /// that cannot be read are left out.
    fn due_subscriptions(&self, now: Time) -> Loaded<Vec<Subscription>>;

    /// How many deliveries to a subscription are leased beyond `now`.
    fn deliveries_under_way(&self, id: SubscriptionId, now: Time) -> Loaded<usize>;

    /// Heads that are due at `now` to a subscription, with their events, the longest due first.
    fn due_deliveries(
        &self,
        id: SubscriptionId,
        now: Time,
        limit: usize,
    ) -> Loaded<Vec<(Delivery, Event)>>;

    /// Deliveries that wait and are due later than `after`.
    fn deliveries_due_after(&self, after: Time, limit: usize) -> Loaded<Vec<Delivery>>;

    fn delivery(&self, id: DeliveryId) -> Loaded<Option<Delivery>>;

    /// Those of these deliveries that there are.
    fn deliveries(&self, ids: &[DeliveryId]) -> Loaded<Vec<Delivery>>;

    /// A delivery's next form.
    fn save_delivery(&self, delivery: &Delivery) -> Loaded<()>;

    /// Marks the [head](Delivery::head) of a line anew.
    fn mend_line(&self, subscription: SubscriptionId, line: Line) -> Loaded<()>;

    /// Deletes deliveries to a subscription, the heads of lines last; tells how many.
    fn drop_deliveries(&self, subscription: SubscriptionId, limit: usize) -> Loaded<usize>;

    /// Deletes deliveries that arrived before `before`; tells how many.
    fn forget_deliveries(&self, before: Time, limit: usize) -> Loaded<usize>;

    /// Has the bell rung once this is committed.
    fn ring(&self);
}

/// The audit log, its sinks, and the epoch.
pub trait LogRows {
    /// Whether the log has this link.
    fn has_link(&self, link: &Link) -> Loaded<bool>;

    /// The place of the last entry that is committed.
    fn last_entry(&self) -> Loaded<i64>;

    /// How far a sink has come.
    fn sink(&self, name: &SinkName) -> Loaded<Option<Progress>>;

    /// How far a sink has come from now on.
    fn save_sink(&self, progress: &Progress) -> Loaded<()>;

    /// Puts another epoch in the place of the one that is.
    fn save_epoch(&self, epoch: Epoch) -> Loaded<()>;
}
