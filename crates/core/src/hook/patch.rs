//! How a subscription is changed: a request with everything in it, and a pure decision over the row
//! as it then is, so that of two changes at once neither undoes the other.

use super::{Endpoint, Subscription};
use crate::audit::settings::changes;
use crate::audit::{Event, Topic};
use crate::clock::Time;
use crate::id::{AccountId, CredentialId, MerchantId, SubscriptionId};
use crate::merchant::SealedSecret;

/// What to change of a subscription; what is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct Patch {
    pub merchant: MerchantId,
    pub id: SubscriptionId,
    /// Of this account's cards only, or of all.
    pub account: Option<Option<AccountId>>,
    /// Where messages go.
    pub url: Option<Endpoint>,
    /// What it is told of; each once, in order.
    pub topics: Option<Vec<Topic>>,
    /// Whether it is told.
    pub enabled: Option<bool>,
    /// What messages are signed with, sealed for this row, and for KeySecure the credential that it
    /// is of.
    pub secret: Option<(Option<SealedSecret>, Option<CredentialId>)>,
    /// What is sent as `Authorization`, sealed for this row, or that nothing is.
    pub authorization: Option<Option<SealedSecret>>,
    pub at: Time,
    /// Its record.
    pub event: Event,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    /// It was made; the subscription as it is now.
    Done(Box<Subscription>),
    /// The merchant has no such subscription. Nothing was written.
    Unknown,
}

/// What was decided, and what must be durable before anyone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct PatchDecided {
    /// To be written first, in one commit.
    pub write: Option<(Box<Subscription>, Event)>,
    /// To be told then.
    pub verdict: Patched,
}

impl Patch {
    /// Decides over the row as it is.
    pub fn decide(&self, known: Option<&Subscription>) -> PatchDecided {
        let Some(known) = known.filter(|known| known.merchant == self.merchant) else {
            return PatchDecided {
                write: None,
                verdict: Patched::Unknown,
            };
        };
        let mut next = Box::new(known.clone());
        if let Some(account) = &self.account {
            next.account.clone_from(account);
        }
        if let Some(url) = &self.url {
            next.url = url.clone();
        }
        if let Some(topics) = &self.topics {
            next.topics.clone_from(topics);
        }
        if let Some((secret, credential)) = &self.secret {
            next.secret.clone_from(secret);
            next.credential.clone_from(credential);
        }
        if let Some(authorization) = &self.authorization {
            next.authorization.clone_from(authorization);
        }
        next.enabled = self.enabled.unwrap_or(next.enabled);
        next.updated_at = self.at;
        let mut event = self.event.clone();
        event.detail.changes = changes(Some(known), Some(&*next));
        PatchDecided {
            write: Some((next.clone(), event)),
            verdict: Patched::Done(next),
        }
    }
}
