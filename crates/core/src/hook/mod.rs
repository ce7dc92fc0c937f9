//! Telling merchants what has happened: subscriptions, and the deliveries that the outbox keeps.
//!
//! The audit event is the source. The commit that writes an event with a [`Topic`] writes a
//! [`Delivery`] for each subscription that [hears](Subscription::hears) it; no payload is stored.
//! A courier takes what is due under a lease, sends it, and records what became of it
//! ([`delivery`]); the message is made at that moment, from the event and what it names.
//!
//! **Invariant:** an event reaches a subscription once or more, and those of one [`Line`] (a card)
//! in their order: only the first that waits may be taken, and it is taken by one courier at a
//! time.
//!
//! To add a topic: `audit/mod.rs` ([`Topic`], `Event::topic`), then follow the compiler. To add a
//! form of message: [`Form`], its schedule in [`delivery`], then follow the compiler.

mod bell;
pub mod delivery;
mod endpoint;
pub mod message;
mod patch;
mod settings;

pub use bell::Bell;
pub use delivery::{Answer, Attempted, Delivery, Line, Settled, State, Tried};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use message::Message;
pub use patch::{Patch, PatchDecided, Patched};

use cardveil_seal::Class;

use crate::audit::{Event, Topic};
use crate::clock::Time;
use crate::id::{AccountId, CredentialId, MerchantId, SubscriptionId};
use crate::merchant::SealedSecret;
use crate::named;

/// How many subscriptions a merchant may have (P8).
pub const SUBSCRIPTIONS_MAX: usize = 50;

/// A merchant's wish to be told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub id: SubscriptionId,
    pub merchant: MerchantId,
    /// Told of this account's cards only (Equals: `accountId`).
    pub account: Option<AccountId>,
    /// What messages look like and how they are signed. It never changes.
    pub form: Form,
    /// Where they go.
    pub url: Endpoint,
    /// What it is told of.
    pub topics: Vec<Topic>,
    /// Whether it is told now. Nothing is queued for it while it is not, and what waits is held.
    pub enabled: bool,
    /// What messages are signed with. For KeySecure the Api-Key, which its signature covers.
    pub secret: Option<SealedSecret>,
    /// Sent as `Authorization` (Equals: `authorizationHeader`).
    pub authorization: Option<SealedSecret>,
    /// KeySecure: the credential whose apiSecret signs.
    pub credential: Option<CredentialId>,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

impl Subscription {
    /// Its wrapped DEKs, each with its class.
    pub fn deks(&self) -> Vec<(Class, &[u8])> {
        let sealed = [&self.secret, &self.authorization].into_iter().flatten();
        sealed.map(|s| (Class::Credential, &*s.dek)).collect()
    }

    /// Whether an event of `topic` about a card of `account` is for it.
    pub fn hears(&self, topic: Topic, account: Option<&AccountId>) -> bool {
        let of_account = match &self.account {
            None => true,
            wanted @ Some(_) => wanted.as_ref() == account,
        };
        self.enabled && of_account && self.topics.contains(&topic)
    }

    /// Whether a delivery of an event is one that it was [queued](Self::queue) for, as far as the
    /// event says whose it is.
    pub fn is_told(&self, delivery: &Delivery, event: &Event) -> bool {
        delivery.merchant == self.merchant
            && event.merchant.as_ref() == Some(&self.merchant)
            && event.topic() == Some(delivery.topic)
    }

    /// The delivery of the event at `seq` of the audit log, due at once.
    pub fn queue(&self, seq: i64, event: &Event, topic: Topic) -> Delivery {
        Delivery {
            id: delivery::message_id(self.id, seq, event.at),
            subscription: self.id,
            merchant: self.merchant.clone(),
            line: Line::of(event, topic),
            seq,
            topic,
            queued_at: event.at,
            since: event.at,
            attempts: 0,
            due_at: event.at,
            leased_until: None,
            state: State::Waiting,
            last: None,
        }
    }
}

named! {
    /// What messages look like: whose receivers understand them.
    pub enum Form {
        /// `KeySecure`'s `Card_update` callback.
        KeySecure = "keysecure",
        /// Equals' webhooks.
        Equals = "equals",
        /// Standard Webhooks (standardwebhooks.com).
        Standard = "standard",
    }
}

impl Form {
    /// Whether it has a message for this topic. KeySecure's only callback of ours is `Card_update`.
    pub const fn tells(self, topic: Topic) -> bool {
        match (self, topic) {
            (Self::KeySecure, Topic::CardState) | (Self::Equals | Self::Standard, _) => true,
            (Self::KeySecure, Topic::WalletToken | Topic::RevealConflict | Topic::MfaCode) => false,
        }
    }
}
