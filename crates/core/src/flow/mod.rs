//! The flows: what happens from an admitted request to its answer. Each one reads top-down:
//! look, check, prepare everything that can fail, commit, answer.
//!
//! Dialects translate into these calls and out of their results; a new dialect needs no change
//! here.

mod access;
mod activate;
mod allowlist;
mod cards;
mod challenge;
mod export;
mod guard;
mod issue;
mod keys;
mod log;
mod mfa;
mod pin;
mod redeem;
mod refused;
mod registry;
mod retention;
mod revoke;
mod sinks;
mod tokens;
mod wallet;
mod webhooks;

use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use self::keys::{LeftOut, Look};
use self::log::Signed;
use self::tokens::Earlier;
pub use access::AccessRefused;
pub use activate::{Activate, Proof};
pub use cards::{CardRefusal, MERCHANT_MOVES, Sought, Step};
pub use challenge::{AskChallenge, ChallengeAnswer, GivenAnswer};
pub use export::ExportRefusal;
use futures_util::lock::Mutex;
pub use issue::{Asked, Caller, IssueRefusal, IssuedToken, Named};
pub use keys::{PageMoved, Rewrap, Rewrapped};
pub use log::Signing;
pub use mfa::{Enrolment, OpenSession, Presented, SessionRefused};
pub use pin::{AskedPin, NewPin, PinRefusal};
pub use redeem::{Redeem, Redeemed, Released, Report};
pub use registry::{NewCard, NewCredential, NewKey, Rotated, Rotation};
pub use retention::{HOLD, Purged};
pub use revoke::REVOKED_TOGETHER;
pub use sinks::SinkStanding;
pub use tokens::{Form, GONE_AFTER, KEY_LOOK_EVERY, NotTaken};
pub use wallet::{CheckWallet, WalletAnswer, WalletChecked, WalletScope};
pub use webhooks::{NewSubscription, Replay, Subscribed, SubscriptionChange, SubscriptionRefusal};

use crate::Entropy;
use crate::audit::sink::Gate;
use crate::audit::{Event, Kind, Source, Target};
use crate::budget::{Budgets, Charge};
use crate::card::Card;
use crate::clock::{Ahead, Clock, Time};
use crate::mfa::Purpose;
use crate::port::{self, Heard, NodeId, Store, Told};
use crate::text::Numbering;
use crate::vault::{self, Vault};
use crate::verb::{Commit, RecordEvent, Sweep, SweepSessions, Swept};

/// Why a flow could not be carried through. It is our fault, so callers learn no more than that.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Store(#[from] port::Error),
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// The same key asked in so many places at once that none of its requests got through.
    #[error("too many claims of one token at once")]
    Contention,
    /// A sink of the audit log that is required is too far behind, so nothing is released.
    #[error("nothing is released until the audit log's sinks have caught up")]
    SinkFull,
    /// This node's clock is too far from the store's for its tokens to be those of its peers.
    #[error("nothing is released until the clock is right: it is {0} of the store's")]
    ClockApart(Ahead),
}

/// The domain at work: a store, a vault, a clock and chance.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    budgets: Budgets,
    numbering: Numbering,
    gate: Gate,
    /// Held while it is looked at the class keys.
    look: Arc<Mutex<Option<Look>>>,
    /// What this process signed last of the audit log. Held while it signs.
    signed: Arc<Mutex<Option<Signed>>>,
    /// The cards that lists have left out, and that were told of.
    left_out: LeftOut,
    /// Held while it is looked for programs of the version before.
    earlier: Arc<Mutex<Option<Earlier>>>,
    /// When it was looked for the key of a token that names one which is not open. Held meanwhile.
    key_looked_at: Arc<Mutex<Option<Time>>>,
    /// How the clocks stood when they were last compared.
    ahead: Arc<StdMutex<Option<Ahead>>>,
}

impl Service {
    /// Puts it together.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            store,
            vault,
            clock,
            entropy,
            budgets: Budgets::default(),
            numbering: Numbering::default(),
            gate: Gate::open(),
            look: Arc::default(),
            signed: Arc::default(),
            left_out: LeftOut::default(),
            earlier: Arc::default(),
            key_looked_at: Arc::default(),
            ahead: Arc::default(),
        }
    }

    /// The same, behind a gate.
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// What stops releases, for whoever keeps it.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Asked first by every flow that could end in a release, so that nothing is spent by what is
    /// not answered.
    fn pass_gate(&self) -> Result<(), Fault> {
        if let Some(ahead) = self.clock_ahead().filter(|ahead| ahead.is_too_far()) {
            return Err(Fault::ClockApart(ahead));
        }
        if self.gate.admits(self.now()) {
            Ok(())
        } else {
            Err(Fault::SinkFull)
        }
    }

    /// The budgets of reveals.
    pub const fn budgets(&self) -> Budgets {
        self.budgets
    }

    /// The same, with budgets of reveals.
    #[must_use]
    pub const fn with_budgets(mut self, budgets: Budgets) -> Self {
        self.budgets = budgets;
        self
    }

    /// The same, where the issuer's own numbers may look like card numbers.
    #[must_use]
    pub fn with_numbering(mut self, numbering: Numbering) -> Self {
        self.numbering = numbering;
        self
    }

    /// What a reveal of a card is charged with.
    fn charge(&self, purpose: Purpose, card: &Card, second_factor: bool) -> Option<Charge> {
        // Whoever sets a PIN knows it, so that counts as being told it.
        let reveals = match purpose {
            Purpose::ViewCard | Purpose::ViewPin | Purpose::SetPin => true,
            Purpose::AddCardToWallet => false,
        };
        let charged = reveals && self.budgets != Budgets::default();
        charged.then(|| Charge {
            budgets: self.budgets,
            merchant: card.merchant.clone(),
            card: card.id,
            person: card.person,
            second_factor,
            at: self.now(),
        })
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The store, for lookups.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// One round of the sweep: unconfirmed releases are recorded, old rows deleted.
    pub async fn sweep(&self, limit: usize) -> Result<Swept, Fault> {
        let mut swept = self
            .store
            .commit(Sweep {
                now: self.now(),
                limit,
            })
            .await?;
        let sessions = self
            .store
            .commit(SweepSessions {
                now: self.now(),
                limit,
            })
            .await?;
        swept.deleted += sessions;
        swept.more |= sessions == limit;
        Ok(swept)
    }

    /// Compares the clock with the store's, where that has one of its own.
    pub async fn compare_clocks(&self) -> Result<Option<Ahead>, Fault> {
        let before = self.now();
        let store = self.store.time().await?;
        let ahead = store.map(|store| Ahead::of(before, store, self.now()));
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
        Ok(ahead)
    }

    /// What [`Self::compare_clocks`] last found.
    pub fn clock_ahead(&self) -> Option<Ahead> {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for this process among those that share the store.
    pub fn name_node(&self) -> NodeId {
        NodeId(self.random())
    }

    /// Tells the other nodes what this one has admitted, and hears what they have; `None` when the
    /// store is of one node.
    pub async fn exchange_counts(
        &self,
        told: Told,
        heard: &Heard,
    ) -> Result<Option<Vec<Told>>, Fault> {
        Ok(self.store.exchange(told, heard).await?)
    }

    /// Records that the server starts or stops (PCI DSS 10.2.1.6).
    pub async fn record_server(&self, kind: Kind) -> Result<(), Fault> {
        let target = Target {
            resource: Some("server".into()),
            ..Target::default()
        };
        let event: Event = Source::server().event(self.now(), kind, None, target);
        Ok(self.store.commit(RecordEvent(event)).await?)
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}
