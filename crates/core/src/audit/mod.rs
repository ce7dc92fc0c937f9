//! The audit record: who did what to which card, when, from where, and with what outcome.
//!
//! The fields are those of PCI DSS 10.2.2. Nothing secret is in an event: tokens appear as their
//! SHA-256, keys as their thumbprint, cards by their id.
//!
//! The records of a log are chained by their hashes, and the chain is signed now and then:
//! [`chain`].

pub mod chain;
mod exported;
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

/// The types of events. Their names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A login token was given to a merchant's server.
    #[serde(rename = "access.granted")]
    AccessGranted,
    /// Calls were refused at the door: [`refused`].
    #[serde(rename = "access.refused")]
    AccessRefused,
    /// A client token was issued.
    #[serde(rename = "token.issued")]
    TokenIssued,
    /// A client token was revoked.
    #[serde(rename = "token.revoked")]
    TokenRevoked,
    /// Fields were released to a key for the first time.
    #[serde(rename = "reveal.released")]
    RevealReleased,
    /// Fields that the key had already got were released to it again.
    #[serde(rename = "reveal.repeated")]
    RevealRepeated,
    /// A second key asked: possible theft. Recorded once a token.
    #[serde(rename = "reveal.conflict")]
    RevealConflict,
    /// A redemption was refused.
    #[serde(rename = "reveal.refused")]
    RevealRefused,
    /// The browser claims to have shown fields.
    #[serde(rename = "reveal.displayed")]
    RevealDisplayed,
    /// The browser claims that a field was copied.
    #[serde(rename = "reveal.copied")]
    RevealCopied,
    /// The browser claims that the fields were hidden.
    #[serde(rename = "reveal.hidden")]
    RevealHidden,
    /// The browser claims that the display time ran out.
    #[serde(rename = "reveal.expired")]
    RevealExpired,
    /// A release whose display was never confirmed.
    #[serde(rename = "reveal.unconfirmed")]
    RevealUnconfirmed,
    /// The outcome of an attempt was looked up after a commit that did not answer.
    #[serde(rename = "reveal.settled")]
    RevealSettled,
    /// Card data went to a merchant's own server, encrypted under its credential's secret.
    #[serde(rename = "card.exported")]
    CardExported,
    /// A merchant's server wanted a card activated and did not prove that somebody has it.
    #[serde(rename = "card.activation_refused")]
    CardActivationRefused,
    /// A card's PIN was set.
    #[serde(rename = "pin.set")]
    PinSet,
    /// A card's PIN went to a merchant's own server.
    #[serde(rename = "pin.released")]
    PinReleased,
    /// A merchant was added.
    #[serde(rename = "merchant.added")]
    MerchantAdded,
    /// A merchant was changed.
    #[serde(rename = "merchant.changed")]
    MerchantChanged,
    /// A credential was added.
    #[serde(rename = "credential.added")]
    CredentialAdded,
    /// A credential was changed.
    #[serde(rename = "credential.changed")]
    CredentialChanged,
    /// An embed was added.
    #[serde(rename = "embed.added")]
    EmbedAdded,
    /// An embed was changed.
    #[serde(rename = "embed.changed")]
    EmbedChanged,
    /// A card was added.
    #[serde(rename = "card.added")]
    CardAdded,
    /// A card was changed.
    #[serde(rename = "card.changed")]
    CardChanged,
    /// A card's record and its keys were deleted.
    #[serde(rename = "card.removed")]
    CardRemoved,
    /// A key was told whether its card can go into a wallet.
    #[serde(rename = "wallet.checked")]
    WalletChecked,
    /// A digital wallet token was asked for.
    #[serde(rename = "wallet_token.added")]
    WalletTokenAdded,
    /// A digital wallet token was changed.
    #[serde(rename = "wallet_token.changed")]
    WalletTokenChanged,
    /// An authenticator app was enrolled; it proves nothing until it is confirmed.
    #[serde(rename = "mfa.enrolled")]
    MfaEnrolled,
    /// An authenticator app gave its first right code.
    #[serde(rename = "mfa.confirmed")]
    MfaConfirmed,
    /// An authenticator app was taken away.
    #[serde(rename = "mfa.removed")]
    MfaRemoved,
    /// An operator lets a person try again who was wrong too often.
    #[serde(rename = "mfa.reset")]
    MfaReset,
    /// An operator made a card's or a person's budget of reveals whole again.
    #[serde(rename = "budget.reset")]
    BudgetReset,
    /// A session was opened that waits for the code of an authenticator app.
    #[serde(rename = "mfa.opened")]
    MfaOpened,
    /// A session was opened that waits for a code which the merchant delivers.
    #[serde(rename = "mfa.code")]
    MfaCode,
    /// A code was right, and its session is spent.
    #[serde(rename = "mfa.passed")]
    MfaPassed,
    /// A code, a session or an enrolment was refused.
    #[serde(rename = "mfa.refused")]
    MfaRefused,
    /// The epoch was raised: no older token is good.
    #[serde(rename = "epoch.raised")]
    EpochRaised,
    /// The class keys were made.
    #[serde(rename = "keys.created")]
    KeysCreated,
    /// A class has got a new key; the one before opens, and seals nothing new.
    #[serde(rename = "keys.rotated")]
    KeysRotated,
    /// The class keys were put under another root key.
    #[serde(rename = "keys.root_changed")]
    KeysRootChanged,
    /// Records were moved to the active key of their class.
    #[serde(rename = "keys.rewrapped")]
    KeysRewrapped,
    /// A class key was destroyed.
    #[serde(rename = "keys.retired")]
    KeysRetired,
    /// A record did not open: it was altered, or is not where it was sealed.
    #[serde(rename = "vault.tampered")]
    VaultTampered,
    /// The audit log was read (10.2.1.3).
    #[serde(rename = "audit.read")]
    AuditRead,
    /// A backup was made.
    #[serde(rename = "backup.made")]
    BackupMade,
    /// A backup was put in the place of the database.
    #[serde(rename = "backup.restored")]
    BackupRestored,
    /// How far a chain of the log had come was signed.
    #[serde(rename = "audit.checkpoint")]
    AuditCheckpoint,
    /// A subscription to events was added.
    #[serde(rename = "webhook.added")]
    WebhookAdded,
    /// A subscription to events was changed.
    #[serde(rename = "webhook.changed")]
    WebhookChanged,
    /// A subscription to events was removed, with what still waited for it.
    #[serde(rename = "webhook.removed")]
    WebhookRemoved,
    /// An event could not be delivered in time. It is kept and can be replayed.
    #[serde(rename = "webhook.failed")]
    WebhookFailed,
    /// Events were queued once more, by an operator.
    #[serde(rename = "webhook.replayed")]
    WebhookReplayed,
    /// The server started (10.2.1.6).
    #[serde(rename = "server.started")]
    ServerStarted,
    /// The server stopped (10.2.1.6).
    #[serde(rename = "server.stopped")]
    ServerStopped,
}

/// What merchants may be told of as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// A card changed its state.
    #[serde(rename = "card.state")]
    CardState,
    /// A digital wallet token changed its state.
    #[serde(rename = "wallet_token.state")]
    WalletToken,
    /// A second key asked for a card: possible theft.
    #[serde(rename = "reveal.conflict")]
    RevealConflict,
    /// A person asked for a one-time code, which the merchant delivers.
    #[serde(rename = "mfa.code")]
    MfaCode,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::CardState,
        Self::WalletToken,
        Self::RevealConflict,
        Self::MfaCode,
    ];

    /// The topic's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CardState => "card.state",
            Self::WalletToken => "wallet_token.state",
            Self::RevealConflict => "reveal.conflict",
            Self::MfaCode => "mfa.code",
        }
    }

    /// The topic of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == text)
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
            | Kind::KeysRetired
            | Kind::VaultTampered
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
    /// A person with the command line; who the machine says that they are.
    Operator(String),
    /// The server itself.
    System,
}

/// Where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A request over the network.
    Network {
        /// The caller's address, after the rules for trusted proxies.
        ip: IpAddr,
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
    /// A card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardId>,
    /// A client token, by its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenHash>,
    /// A redemption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redemption: Option<RedemptionId>,
    /// A credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// An embed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embed: Option<EmbedId>,
    /// A person.
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
    /// The event.
    #[serde(flatten)]
    pub event: Event,
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
            actor: Actor::Operator(name),
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
