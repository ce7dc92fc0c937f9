//! The audit record: who did what to which card, when, from where, and with what outcome.
//!
//! The fields are those of PCI DSS 10.2.2. Nothing secret is in an event: tokens appear as their
//! SHA-256, keys as their thumbprint, cards by their id.
//!
//! The records of a log are chained by their hashes, and the chain is signed now and then:
//! [`chain`]. The chain holds no personal value, only a commitment to each: [`personal`].

pub mod chain;
mod exported;
pub mod personal;
pub mod refused;
pub mod settings;
pub mod sink;
mod written;

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use self::chain::Checkpoint;
pub use self::exported::exported;
use self::refused::RefusedCalls;
pub use self::settings::FieldChange;
use crate::clock::Time;
use crate::id::{
    AttemptId, CardId, CredentialId, EmbedId, MerchantId, PersonId, RedemptionId, SessionId,
    SubscriptionId, WalletTokenId,
};
use crate::named;
use crate::term::{Cause, Fields, Purpose, Thumbprint, TokenHash, Verification};

/// One audit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When (10.2.2: date and time).
    pub at: Time,
    /// What (10.2.2: type of event).
    pub kind: Kind,
    /// Who (10.2.2: user identification).
    pub actor: Actor,
    /// From where (10.2.2: origination of event).
    pub origin: Origin,
    /// 10.2.2: success or failure indication.
    pub outcome: Outcome,
    /// Whose data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<MerchantId>,
    /// 10.2.2: identity of the affected data, component, resource or service.
    pub target: Target,
    /// What else an auditor needs.
    #[serde(default, skip_serializing_if = "Detail::is_empty")]
    pub detail: Detail,
}

named! {
    /// The types of events. Their names are stable.
    pub enum Kind {
        /// A login token was given to a merchant's server.
        AccessGranted = "access.granted",
        /// Calls were refused at the door: [`refused`].
        AccessRefused = "access.refused",
        /// A client token was issued.
        TokenIssued = "token.issued",
        /// A client token was revoked.
        TokenRevoked = "token.revoked",
        /// Fields were released to a key for the first time.
        RevealReleased = "reveal.released",
        /// Fields that the key had already got were released to it again.
        RevealRepeated = "reveal.repeated",
        /// A second key asked: possible theft. Recorded once a token.
        RevealConflict = "reveal.conflict",
        /// A redemption was refused.
        RevealRefused = "reveal.refused",
        /// The browser claims to have shown fields.
        RevealDisplayed = "reveal.displayed",
        /// The browser claims that a field was copied.
        RevealCopied = "reveal.copied",
        /// The browser claims that the fields were hidden.
        RevealHidden = "reveal.hidden",
        /// The browser claims that the display time ran out.
        RevealExpired = "reveal.expired",
        /// A release whose display was never confirmed.
        RevealUnconfirmed = "reveal.unconfirmed",
        /// The outcome of an attempt was looked up after a commit that did not answer.
        RevealSettled = "reveal.settled",
        /// Card data went to a merchant's own server, encrypted under its credential's secret.
        CardExported = "card.exported",
        /// A merchant's server wanted a card activated and did not prove that somebody has it.
        CardActivationRefused = "card.activation_refused",
        /// A card's PIN was set.
        PinSet = "pin.set",
        /// A card's PIN went to a merchant's own server.
        PinReleased = "pin.released",
        MerchantAdded = "merchant.added",
        MerchantChanged = "merchant.changed",
        CredentialAdded = "credential.added",
        CredentialChanged = "credential.changed",
        EmbedAdded = "embed.added",
        EmbedChanged = "embed.changed",
        CardAdded = "card.added",
        CardChanged = "card.changed",
        /// A card's record and its keys were deleted.
        CardRemoved = "card.removed",
        /// A key was told whether its card can go into a wallet.
        WalletChecked = "wallet.checked",
        /// A digital wallet token was asked for.
        WalletTokenAdded = "wallet_token.added",
        /// A digital wallet token was changed.
        WalletTokenChanged = "wallet_token.changed",
        /// An authenticator app was enrolled; it proves nothing until it is confirmed.
        MfaEnrolled = "mfa.enrolled",
        /// An authenticator app gave its first right code.
        MfaConfirmed = "mfa.confirmed",
        /// An authenticator app was taken away.
        MfaRemoved = "mfa.removed",
        /// An operator lets a person try again who was wrong too often.
        MfaReset = "mfa.reset",
        /// An operator made a card's or a person's budget of reveals whole again.
        BudgetReset = "budget.reset",
        /// A session was opened that waits for the code of an authenticator app.
        MfaOpened = "mfa.opened",
        /// A session was opened that waits for a code which the merchant delivers.
        MfaCode = "mfa.code",
        /// A code was right, and its session is spent.
        MfaPassed = "mfa.passed",
        /// A code, a session or an enrolment was refused.
        MfaRefused = "mfa.refused",
        /// The epoch was raised: no older token is good.
        EpochRaised = "epoch.raised",
        /// The class keys were made.
        KeysCreated = "keys.created",
        /// A class has got a new key; the one before opens, and seals nothing new.
        KeysRotated = "keys.rotated",
        /// The class keys were put under another root key.
        KeysRootChanged = "keys.root_changed",
        /// Records were moved to the active key of their class.
        KeysRewrapped = "keys.rewrapped",
        /// The class keys are bound to each other, and say that every row has a MAC.
        KeysBound = "keys.bound",
        /// A class key was destroyed.
        KeysRetired = "keys.retired",
        /// Rows that decide from before they had MACs were given them.
        RowsGuarded = "rows.guarded",
        /// An operator took a row that was altered, or is gone, for what is right.
        RowsAccepted = "rows.accepted",
        /// Every row that decides has a MAC: from then on one without is refused.
        RowsComplete = "rows.complete",
        /// A record did not open: it was altered, or is not where it was sealed.
        VaultTampered = "vault.tampered",
        /// The audit log was read (10.2.1.3).
        AuditRead = "audit.read",
        BackupMade = "backup.made",
        /// A backup was put in the place of the database.
        BackupRestored = "backup.restored",
        /// How far a chain of the log had come was signed.
        AuditCheckpoint = "audit.checkpoint",
        /// A subscription to events was added.
        WebhookAdded = "webhook.added",
        /// A subscription to events was changed.
        WebhookChanged = "webhook.changed",
        /// A subscription to events was removed, with what still waited for it.
        WebhookRemoved = "webhook.removed",
        /// An event could not be delivered in time. It is kept and can be replayed.
        WebhookFailed = "webhook.failed",
        /// Events were queued once more, by an operator.
        WebhookReplayed = "webhook.replayed",
        /// The server started (10.2.1.6).
        ServerStarted = "server.started",
        /// The server stopped (10.2.1.6).
        ServerStopped = "server.stopped",
    }
}

named! {
    /// What merchants may be told of as it happens.
    pub enum Topic {
        /// A card changed its state.
        CardState = "card.state",
        /// A digital wallet token changed its state.
        WalletToken = "wallet_token.state",
        /// A second key asked for a card: possible theft.
        RevealConflict = "reveal.conflict",
        /// A person asked for a one-time code, which the merchant delivers.
        MfaCode = "mfa.code",
    }
}

impl Event {
    /// What the merchant is told of this event as, if anything. The store that writes the event
    /// queues it, in the same commit, for the merchant's subscriptions to that topic: so whatever
    /// merchants are told of is on record, and nothing on record is forgotten to be told.
    pub fn topic(&self) -> Option<Topic> {
        let moved = self.detail.to.is_some();
        match self.kind {
            Kind::CardChanged if moved => Some(Topic::CardState),
            Kind::WalletTokenAdded | Kind::WalletTokenChanged if moved => Some(Topic::WalletToken),
            Kind::RevealConflict => Some(Topic::RevealConflict),
            Kind::MfaCode => Some(Topic::MfaCode),
            Kind::CardChanged
            | Kind::AccessGranted
            | Kind::AccessRefused
            | Kind::TokenIssued
            | Kind::TokenRevoked
            | Kind::RevealReleased
            | Kind::RevealRepeated
            | Kind::RevealRefused
            | Kind::RevealDisplayed
            | Kind::RevealCopied
            | Kind::RevealHidden
            | Kind::RevealExpired
            | Kind::RevealUnconfirmed
            | Kind::RevealSettled
            | Kind::CardExported
            | Kind::CardActivationRefused
            | Kind::PinSet
            | Kind::PinReleased
            | Kind::MerchantAdded
            | Kind::MerchantChanged
            | Kind::CredentialAdded
            | Kind::CredentialChanged
            | Kind::EmbedAdded
            | Kind::EmbedChanged
            | Kind::CardAdded
            | Kind::CardRemoved
            | Kind::WalletChecked
            | Kind::WalletTokenAdded
            | Kind::WalletTokenChanged
            | Kind::MfaEnrolled
            | Kind::MfaConfirmed
            | Kind::MfaRemoved
            | Kind::MfaReset
            | Kind::BudgetReset
            | Kind::MfaOpened
            | Kind::MfaPassed
            | Kind::MfaRefused
            | Kind::EpochRaised
            | Kind::KeysCreated
            | Kind::KeysRotated
            | Kind::KeysRootChanged
            | Kind::KeysRewrapped
            | Kind::KeysBound
            | Kind::KeysRetired
            | Kind::VaultTampered
            | Kind::RowsGuarded
            | Kind::RowsAccepted
            | Kind::RowsComplete
            | Kind::AuditRead
            | Kind::AuditCheckpoint
            | Kind::BackupMade
            | Kind::BackupRestored
            | Kind::WebhookAdded
            | Kind::WebhookChanged
            | Kind::WebhookRemoved
            | Kind::WebhookFailed
            | Kind::WebhookReplayed
            | Kind::ServerStarted
            | Kind::ServerStopped => None,
        }
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A merchant's server.
    Credential(CredentialId),
    /// A browser or device, by its key.
    Holder(Thumbprint),
    /// Somebody who called with no Api-Key that anybody has.
    Stranger,
    /// A person with the command line; who the machine says that they are. `None` where that was
    /// erased.
    Operator(Option<String>),
    /// The server itself.
    System,
}

/// Where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A request over the network.
    Network {
        /// The caller's address, after the rules for trusted proxies. `None` where it was erased.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ip: Option<IpAddr>,
        /// The request's id, which the log carries too.
        request: Cow<'static, str>,
    },
    /// A request of which nobody can tell the caller's address, so that it was refused.
    Untold {
        /// As above.
        request: Cow<'static, str>,
    },
    /// The command line.
    Console,
    /// The server itself.
    Server,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused.
    Failure,
}

/// What it was done to. Empty fields do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardId>,
    /// A client token, by its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redemption: Option<RedemptionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embed: Option<EmbedId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
    /// An MFA session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// A digital wallet token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet_token: Option<WalletTokenId>,
    /// A subscription to events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionId>,
    /// Anything else: a part of the system, or a setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Cow<'static, str>>,
    /// The version of the row after the event, where the event wrote a row that has versions: greater
    /// with each write, by chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What else is worth knowing. Empty fields do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The operation of the token, or what a second factor was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Purpose>,
    /// The fields that were released, shown or asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Fields>,
    /// Why it was refused. The browser is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The merchant's own reference for a second factor that it says it has asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<String>,
    /// How the merchant says that it has verified the cardholder. Its claim, which nobody can
    /// check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_verification: Option<Verification>,
    /// The frame's attempt: the same for a request and its retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
    /// Set on what a browser says of itself and nobody can check.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claim: bool,
    /// Whether the browser has looked if the cardholder could see the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// The state before a change of state, by its name in the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cow<'static, str>>,
    /// The state after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Cow<'static, str>>,
    /// Why the caller says that it was changed. Checked to hold no card number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was changed, in words that hold no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Cow<'static, str>>,
    /// The settings that are no longer what they were, or that a new row starts with: [`settings`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// The calls that were refused alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Box<RefusedCalls>>,
    /// How far the log had come, signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<Checkpoint>>,
}

/// Whether what a frame shows could be seen, as its browser says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Nothing hid the frame.
    Seen,
    /// The browser cannot tell, or did not.
    NotLookedAt,
}

impl Detail {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The place; grows, without promise of having no gaps.
    pub seq: i64,
    #[serde(flatten)]
    pub event: Event,
    /// The personal members that it was written with, and whose values were erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<String>,
}

/// Who is acting and from where: what a flow needs to write an event.
#[derive(Clone, Debug)]
pub struct Source {
    /// Who.
    pub actor: Actor,
    /// From where.
    pub origin: Origin,
}

impl Source {
    /// A person at the command line.
    pub fn operator(name: String) -> Self {
        Self {
            actor: Actor::Operator(Some(name)),
            origin: Origin::Console,
        }
    }

    /// The server itself.
    pub const fn server() -> Self {
        Self {
            actor: Actor::System,
            origin: Origin::Server,
        }
    }

    /// An event that succeeded.
    pub fn event(
        &self,
        at: Time,
        kind: Kind,
        merchant: Option<MerchantId>,
        target: Target,
    ) -> Event {
        Event {
            at,
            kind,
            actor: self.actor.clone(),
            origin: self.origin.clone(),
            outcome: Outcome::Success,
            merchant,
            target,
            detail: Detail::default(),
        }
    }
}
