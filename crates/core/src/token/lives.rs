//! What a token lives by: the credential that asked for it, that credential's merchant, and the
//! embed that it is redeemed in. It dies with each of them. A claim is judged over these rows as
//! they are in its own commit, so whoever has been told that a credential is out of use need not
//! wait for anything.

use super::{Cause, Claim, Record};
use crate::clock::Time;
use crate::id::{CredentialId, EmbedId, MerchantId, PersonId};
use crate::merchant::{Barred, CredentialState, MerchantState, Scope, Sight, sight_of, usable};

/// Whose rows they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LivesOf {
    /// Who asked for the token.
    pub credential: CredentialId,
    /// Whose token it is.
    pub merchant: MerchantId,
    /// Where it is redeemed.
    pub embed: EmbedId,
}

/// What of these rows decides; `None` for one that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// The credential, if it is that merchant's.
    pub credential: Option<CredentialLife>,
    pub merchant: Option<MerchantLife>,
    /// The embed, whose ever it is.
    pub embed: Option<EmbedLife>,
}

/// Of a [credential](crate::merchant::Credential).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialLife {
    /// Whether it is in use.
    pub state: CredentialState,
    /// The first moment at which it is no longer good.
    pub expires_at: Option<Time>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Bound to one cardholder.
    pub person: Option<PersonId>,
}

/// Of a [merchant](crate::merchant::Merchant).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MerchantLife {
    /// Whether it may call at all.
    pub state: MerchantState,
    /// Whether its cardholders may be shown card data.
    pub pci_enabled: bool,
}

/// Of an [embed](crate::merchant::Embed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedLife {
    pub merchant: MerchantId,
    /// Whether it is in use.
    pub enabled: bool,
    /// Whether pages frame it; an app's has no origins.
    pub is_web: bool,
}

/// A refusal, and what its record says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) cause: Cause,
    pub(super) note: Option<&'static str>,
}

impl From<Cause> for Refused {
    fn from(cause: Cause) -> Self {
        Self { cause, note: None }
    }
}

fn noted(cause: Cause, note: &'static str) -> Result<(), Refused> {
    let note = Some(note);
    Err(Refused { cause, note })
}

impl LivesOf {
    /// Those of a token that is redeemed in this embed.
    pub fn token(record: &Record, embed: &EmbedId) -> Self {
        Self {
            credential: record.credential.clone(),
            merchant: record.merchant.clone(),
            embed: embed.clone(),
        }
    }
}

impl Lives {
    /// Whether a redemption in the embed must carry our own origin: our frame runs in browsers,
    /// which always say it. An app is no page and may say nothing.
    pub fn wants_origin(&self) -> bool {
        self.embed.as_ref().is_some_and(|embed| embed.is_web)
    }

    /// Whether the claim is of a place where the token is good.
    pub(super) fn admit(&self, claim: &Claim, record: &Record) -> Result<(), Refused> {
        match &self.embed {
            None => noted(Cause::Foreign, "no such embed"),
            Some(embed) if embed.merchant != record.merchant => {
                noted(Cause::Foreign, "another merchant's embed")
            }
            Some(embed) if !embed.enabled => noted(Cause::Foreign, "the embed is disabled"),
            Some(_) if record.embed.as_ref().is_some_and(|it| *it != claim.embed) => {
                noted(Cause::Foreign, "bound to another embed")
            }
            Some(embed) if embed.is_web && !claim.with_origin => {
                noted(Cause::Foreign, "without an Origin")
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether those live on whom the token lives by. The credential must also see the card still:
    /// one that was bound to a person since reaches nothing of another.
    pub(super) fn last(&self, claim: &Claim) -> Result<(), Refused> {
        match &self.merchant {
            Some(merchant) if merchant.state == MerchantState::Active && merchant.pci_enabled => {}
            Some(_) | None => return Err(Cause::MerchantBarred.into()),
        }
        let Some(credential) = &self.credential else {
            return noted(Cause::Revoked, "its credential is gone");
        };
        match usable(credential.state, credential.expires_at, claim.at) {
            Err(Barred::Disabled) => return noted(Cause::Revoked, "its credential is disabled"),
            Err(Barred::Expired) => return noted(Cause::Revoked, "its credential has expired"),
            Ok(()) => {}
        }
        let (any, own) = (Scope::CardsReadAny, Scope::CardsReadOwn);
        match sight_of(&credential.scopes, credential.person, any, own) {
            Sight::Any => Ok(()),
            Sight::Own(person) if claim.person.is_none_or(|of_card| of_card == person) => Ok(()),
            Sight::Own(_) | Sight::Nothing => {
                noted(Cause::Revoked, "its credential does not see the card")
            }
        }
    }
}
