//! What a merchant and its credentials may do: each thing asked for by name, in both places.
//!
//! **Invariant:** a merchant and a credential that ask for nothing can issue client tokens and read
//! their own cards' list, state and last four, and change nothing. docs/reference/permissions.md
//! has the table.
//!
//! To add a scope: its variant, its name, the [`Need`] of the routes that ask for it, and whether
//! [`Credential::scopes_before`] may show it.

use serde::{Deserialize, Serialize};

use super::{Credential, Merchant};
use crate::audit::Topic;
use crate::id::PersonId;
use crate::named;

/// What a merchant may have beside frames that show its cards. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Its own servers may have card data (KeySecure's `private/info`, Equals' `expiration`).
    pub export: bool,
    /// Its own servers may be told PINs (Equals' `GET` of a PIN).
    pub read_pins: bool,
    /// Its own servers may set PINs (KeySecure's `card/pin/set`, Equals' `PUT` of a PIN).
    pub set_pins: bool,
}

impl Permissions {
    /// Whether a need is among them; what needs no permission of the merchant is.
    pub const fn gives(self, need: Need) -> bool {
        match need {
            Need::ExportCards => self.export,
            Need::ReadPins => self.read_pins,
            Need::SetPins => self.set_pins,
            Need::ReadCards
            | Need::WriteCards
            | Need::ProvisionWallets
            | Need::ManageWebhooks
            | Need::ManageIpAddresses
            | Need::ManageMfa => true,
        }
    }
}

named! {
    /// What a credential may do. The names are in the family of Equals Money's (`CommonAuth`).
    pub enum Scope {
        /// The cards of the person that the credential is bound to.
        CardsReadOwn = "cards:read:own",
        /// All cards of the merchant.
        CardsReadAny = "cards:read:any",
        /// Changing the states and names of the cards of the person that the credential is bound to.
        CardsWriteOwn = "cards:write:own",
        /// Changing the states and names of all cards of the merchant.
        CardsWriteAny = "cards:write:any",
        /// Having the data of the cards that it sees.
        CardsExport = "cards:export",
        /// Being told the PINs of the cards that it sees.
        PinsRead = "pins:read",
        /// Setting the PINs of the cards that it sees.
        PinsSet = "pins:set",
        /// Having a wallet's provisioning payload for the cards that it sees.
        WalletsProvision = "wallets:provision",
        /// The merchant's subscriptions to events.
        WebhooksManage = "webhooks:manage",
        /// Subscriptions that carry cardholders' one-time codes.
        MfaCodes = "mfa:codes",
        /// The addresses from which the credential may call, within the operator's ceiling.
        IpAddressesManage = "ip-addresses:manage",
        /// Enrolling people's second factors.
        MfaManage = "mfa:manage",
    }
}

impl Scope {
    /// What it lets a credential do, in a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CardsReadOwn => "issue tokens for, list and read the cards of its person",
            Self::CardsReadAny => "issue tokens for, list and read all of the merchant's cards",
            Self::CardsWriteOwn => "change states and names of its person's cards",
            Self::CardsWriteAny => "change states and names of all of the merchant's cards",
            Self::CardsExport => "have card data on the merchant's own servers",
            Self::PinsRead => "be told PINs",
            Self::PinsSet => "set PINs",
            Self::WalletsProvision => "have wallets' provisioning payloads",
            Self::WebhooksManage => "manage webhooks; not for a credential of one person",
            Self::MfaCodes => "subscribe to cardholders' one-time codes",
            Self::IpAddressesManage => "change from where it may call, within its ceiling",
            Self::MfaManage => "enrol people's authenticator apps",
        }
    }

    /// Whether it is of one person's cards, and so means nothing without a person.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::CardsReadOwn | Self::CardsWriteOwn)
    }

    /// Whether it is of more than one person, and so means nothing to a credential that is bound to
    /// one.
    pub const fn is_of_all(self) -> bool {
        matches!(
            self,
            Self::CardsReadAny | Self::CardsWriteAny | Self::WebhooksManage | Self::MfaCodes
        )
    }
}

/// What a call needs. The same for every API; KeySecure's has no scopes of its own and follows
/// these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To see cards: `cards:read:own` or `cards:read:any`.
    ReadCards,
    /// To change cards: `cards:write:own` or `cards:write:any`, of those it sees.
    WriteCards,
    /// To have card data: the merchant's permission, and `cards:export`, of the cards it sees.
    ExportCards,
    /// To be told PINs: the merchant's permission, and `pins:read`, of the cards it sees.
    ReadPins,
    /// To set PINs: the merchant's permission, and `pins:set`, of the cards it sees.
    SetPins,
    /// To have provisioning payloads: `wallets:provision`, of the cards it sees.
    ProvisionWallets,
    /// `webhooks:manage`, of a credential that is not bound to a person.
    ManageWebhooks,
    /// `ip-addresses:manage`.
    ManageIpAddresses,
    /// `mfa:manage`.
    ManageMfa,
}

impl Need {
    pub const ALL: [Self; 9] = [
        Self::ReadCards,
        Self::WriteCards,
        Self::ExportCards,
        Self::ReadPins,
        Self::SetPins,
        Self::ProvisionWallets,
        Self::ManageWebhooks,
        Self::ManageIpAddresses,
        Self::ManageMfa,
    ];
}

/// Why a call may not do what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The credential lacks the scope.
    Scope,
    /// The merchant lacks the permission.
    Permission,
}

/// Which of its merchant's cards a credential sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of them (`cards:read:any`).
    Any,
    /// Those of the person it is bound to.
    Own(PersonId),
    /// None.
    Nothing,
}

/// Whether a merchant's credential may do what a call needs. Every gate and every flow that gives
/// away or changes something asks here.
pub fn judge(merchant: &Merchant, credential: &Credential, need: Need) -> Result<(), Lack> {
    if !credential.meets(need) {
        return Err(Lack::Scope);
    }
    if !merchant.permits(need) {
        return Err(Lack::Permission);
    }
    Ok(())
}

/// Which cards a credential reaches by one scope for all of them and one for a person's own.
pub(crate) fn sight_of(
    scopes: &[Scope],
    person: Option<PersonId>,
    any: Scope,
    own: Scope,
) -> Sight {
    let has = |scope| scopes.contains(&scope);
    match person {
        Some(person) if has(any) || has(own) => Sight::Own(person),
        None if has(any) => Sight::Any,
        Some(_) | None => Sight::Nothing,
    }
}

impl Merchant {
    /// Whether it may have what a call needs. What is told in the clear needs `pci_enabled`, too.
    pub fn permits(&self, need: Need) -> bool {
        let clear = matches!(need, Need::ExportCards | Need::ReadPins);
        self.permissions.gives(need) && (self.pci_enabled || !clear)
    }
}

impl Credential {
    /// Which of the merchant's cards it sees: all, one person's, or none. One that is bound to a
    /// person never sees another's, whatever its scopes say.
    pub fn sight(&self) -> Sight {
        self.sight_by(Scope::CardsReadAny, Scope::CardsReadOwn)
    }

    /// Which of the merchant's cards it may change; never one that it does not see.
    pub fn reach(&self) -> Sight {
        match self.sight_by(Scope::CardsWriteAny, Scope::CardsWriteOwn) {
            Sight::Nothing => Sight::Nothing,
            Sight::Any | Sight::Own(_) => self.sight(),
        }
    }

    fn sight_by(&self, any: Scope, own: Scope) -> Sight {
        sight_of(&self.scopes, self.person, any, own)
    }

    fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether its scopes are those that a call needs.
    pub fn meets(&self, need: Need) -> bool {
        let sees = self.sight() != Sight::Nothing;
        match need {
            Need::ReadCards => sees,
            Need::WriteCards => self.reach() != Sight::Nothing,
            Need::ExportCards => sees && self.has(Scope::CardsExport),
            Need::ReadPins => sees && self.has(Scope::PinsRead),
            Need::SetPins => sees && self.has(Scope::PinsSet),
            Need::ProvisionWallets => sees && self.has(Scope::WalletsProvision),
            Need::ManageWebhooks => self.person.is_none() && self.has(Scope::WebhooksManage),
            Need::ManageIpAddresses => self.has(Scope::IpAddressesManage),
            Need::ManageMfa => self.has(Scope::MfaManage),
        }
    }

    /// Whether it may have a subscription told of a topic, change one that is, or have it sent
    /// elsewhere.
    pub fn may_tell(&self, topic: Topic) -> bool {
        let codes = match topic {
            Topic::MfaCode => self.has(Scope::MfaCodes),
            Topic::CardState | Topic::WalletToken | Topic::RevealConflict => true,
        };
        codes && self.meets(Need::ManageWebhooks)
    }

    /// Its scopes as programs of the version before may know them. To those, who reads cards may
    /// export them and be told PINs, who writes may set PINs, and who manages webhooks has one-time
    /// codes; they know no ceiling, and bind `any` to nobody. So they are shown a scope only where
    /// all of that is granted, and refuse the credential otherwise: beside them it is never more
    /// than it is here.
    pub fn scopes_before(&self) -> Vec<Scope> {
        let whole = |scope: Scope| match scope {
            Scope::CardsReadOwn => self.has(Scope::CardsExport) && self.has(Scope::PinsRead),
            Scope::CardsReadAny => {
                self.person.is_none() && self.has(Scope::CardsExport) && self.has(Scope::PinsRead)
            }
            Scope::CardsWriteOwn => self.has(Scope::PinsSet),
            Scope::CardsWriteAny => self.person.is_none() && self.has(Scope::PinsSet),
            Scope::WebhooksManage => self.person.is_none() && self.has(Scope::MfaCodes),
            Scope::IpAddressesManage => self.ip_ceiling.is_none(),
            Scope::MfaManage => true,
            Scope::CardsExport
            | Scope::PinsRead
            | Scope::PinsSet
            | Scope::WalletsProvision
            | Scope::MfaCodes => false,
        };
        let scopes = self.scopes.iter().copied();
        scopes.filter(|scope| whole(*scope)).collect()
    }
}
