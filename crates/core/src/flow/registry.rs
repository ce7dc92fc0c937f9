//! What an operator adds: cards and credentials, with everything secret sealed or hashed on the
//! way.

use std::time::Duration;

use cardveil_seal::{Secret, sha256};
use ipnet::IpNet;

use super::{Fault, Service};
use crate::audit::{Event, Kind, Source, Target};
use crate::card::{Attributes, Card, Kind as CardKind, Label, State};
use crate::clock::Time;
use crate::id::base62;
use crate::id::{AccountId, CardId, CardNo, CredentialId, MerchantId, PersonId};
use crate::merchant::allowlist::Allowlist;
use crate::merchant::{Admission, Credential, CredentialState, Pin, Scope};
use crate::port::{Change, Set, Taken};
use crate::text::{CardNumberIn, NumberedField, Numbering};
use crate::vault::ClearCard;
use crate::verb::{Changes, Commit};

/// A card to be added.
pub struct NewCard {
    /// Equals' id; made when left out.
    pub id: Option<CardId>,
    /// KeySecure's order number.
    pub no: CardNo,
    pub merchant: MerchantId,
    pub account: AccountId,
    pub person: PersonId,
    /// Virtual or physical.
    pub kind: CardKind,
    pub state: State,
    /// What people call it.
    pub label: Label,
    /// What it can be without.
    pub attributes: Attributes,
    /// The clear values.
    pub clear: ClearCard,
}

impl NewCard {
    fn check_numbers(&self, numbering: &Numbering) -> Result<(), CardNumberIn> {
        numbering.check(NumberedField::CardNo, self.no.as_str())?;
        numbering.check(NumberedField::AccountId, self.account.as_str())?;
        self.attributes.check_numbers(numbering)
    }
}

/// A credential to be added.
pub struct NewCredential {
    pub merchant: MerchantId,
    /// Where calls may come from.
    pub allowed_ips: Vec<IpNet>,
    /// Within which networks it may add to them itself, by a contract's call.
    pub ip_ceiling: Vec<IpNet>,
    /// Which client certificates its calls may come with ([`Credential::client_certificates`]).
    pub client_certificates: Vec<Pin>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Bound to one person.
    pub person: Option<PersonId>,
    /// When it ends.
    pub expires_at: Option<Time>,
    /// Fixed keys, for the demo, which publishes them; made when left out.
    pub keys: Option<NewKey>,
}

/// An Api-Key and its secret in clear: to be shown once, and kept nowhere.
pub struct NewKey {
    pub api_key: Secret,
    /// The apiSecret: 32 printable characters, whose bytes are an AES-256 key.
    pub api_secret: Secret,
}

/// A credential that takes another's place.
pub struct Rotated {
    /// The new one.
    pub credential: Credential,
    /// Its keys, to be shown this once.
    pub keys: NewKey,
    /// When the one before ends; or why its end could not be set.
    pub before_ends: Result<Time, Taken>,
}

/// How a credential is rotated.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// How long the one before is good beside the new one.
    pub overlap: Duration,
    /// When the new one ends.
    pub expires_at: Option<Time>,
}

impl Service {
    /// Who holds this Api-Key, and whether its merchant is known.
    pub async fn admission(&self, api_key: &str) -> Result<Option<Admission>, Fault> {
        Ok(self.store.admission(&sha256(&[api_key.as_bytes()])).await?)
    }

    /// Seals a card into the change that adds it. Refused where a field of its own could be a card
    /// number, which would stand in clear.
    pub fn card_change(
        &self,
        new: NewCard,
        source: &Source,
    ) -> Result<Result<(Change, Event), CardNumberIn>, Fault> {
        if let Err(refused) = new.check_numbers(&self.numbering) {
            return Ok(Err(refused));
        }
        let id = new.id.unwrap_or_else(|| CardId::generate(&*self.entropy));
        let index_key = self.index_version()?;
        let sealed = self
            .vault
            .seal_card(id, &new.merchant, &new.clear, index_key)?;
        let now = self.now();
        let target = Target {
            card: Some(id),
            ..Target::default()
        };
        let event = source.event(now, Kind::CardAdded, Some(new.merchant.clone()), target);
        let card = Card {
            id,
            no: new.no,
            merchant: new.merchant,
            account: new.account,
            person: new.person,
            kind: new.kind,
            state: new.state,
            network: new.clear.number.network(),
            last_four: new.clear.number.last_four(),
            label: new.label.into(),
            attributes: new.attributes,
            sealed,
            created_at: now,
            updated_at: now,
        };
        Ok(Ok((Change::AddCard(Box::new(card)), event)))
    }

    /// Adds a credential. The keys are returned this once.
    pub async fn add_credential(
        &self,
        new: NewCredential,
        source: &Source,
    ) -> Result<Result<(Credential, NewKey), Taken>, Fault> {
        let id = CredentialId::generate(&*self.entropy);
        let keys = new.keys.unwrap_or_else(|| self.new_keys());
        let now = self.now();
        let sealed_secret = self
            .vault
            .seal_secret(&id, &new.merchant, keys.api_secret.expose())?;
        let credential = Credential {
            id: id.clone(),
            merchant: new.merchant.clone(),
            key_hash: sha256(&[keys.api_key.expose()]),
            sealed_secret,
            allowed_ips: Allowlist::of(new.allowed_ips, now),
            ip_ceiling: Some(new.ip_ceiling),
            client_certificates: new.client_certificates,
            scopes: new.scopes,
            inherited: false,
            person: new.person,
            state: CredentialState::Enabled,
            expires_at: new.expires_at,
            created_at: now,
        };
        let target = Target {
            credential: Some(id),
            ..Target::default()
        };
        let event = source.event(now, Kind::CredentialAdded, Some(new.merchant), target);
        let changed = self
            .change(Change::AddCredential(credential.clone()), event)
            .await?;
        Ok(changed.map(|()| (credential, keys)))
    }

    /// Adds a credential with the rights of another, which ends when both have been good for a
    /// while: in one commit, each with its event. An end of its own that comes sooner stays.
    pub async fn rotate_credential(
        &self,
        before: &Credential,
        rotation: Rotation,
        source: &Source,
    ) -> Result<Result<Rotated, Taken>, Fault> {
        let id = CredentialId::generate(&*self.entropy);
        let keys = self.new_keys();
        let now = self.now();
        let merchant = before.merchant.clone();
        let sealed_secret = self
            .vault
            .seal_secret(&id, &merchant, keys.api_secret.expose())?;
        let credential = Credential {
            id: id.clone(),
            key_hash: sha256(&[keys.api_key.expose()]),
            sealed_secret,
            state: CredentialState::Enabled,
            expires_at: rotation.expires_at,
            created_at: now,
            ..before.clone()
        };
        let ends = now.plus(rotation.overlap);
        let ends = before.expires_at.map_or(ends, |own| own.min(ends));
        let ending = Credential {
            expires_at: Some(ends),
            ..before.clone()
        };
        let event = |kind, credential: &CredentialId, note: String| {
            let target = Target {
                credential: Some(credential.clone()),
                ..Target::default()
            };
            let mut event = source.event(now, kind, Some(merchant.clone()), target);
            event.detail.note = Some(note.into());
            event
        };
        let added = event(
            Kind::CredentialAdded,
            &id,
            format!("in the place of {}", before.id),
        );
        let ended = event(
            Kind::CredentialChanged,
            &before.id,
            format!("{id} takes its place"),
        );
        let changes = vec![
            (Change::AddCredential(credential.clone()), added),
            (
                Change::SetCredential(Set::boxed(before.clone(), ending)),
                ended,
            ),
        ];
        let mut made = self.store.commit(Changes(changes)).await?.into_iter();
        if let Err(taken) = made.next().unwrap_or(Err(Taken::NoMerchant)) {
            return Ok(Err(taken));
        }
        let set = made.next().unwrap_or(Err(Taken::NoMerchant));
        Ok(Ok(Rotated {
            credential,
            keys,
            before_ends: set.map(|()| ends),
        }))
    }

    /// Makes one change.
    pub async fn change(&self, change: Change, event: Event) -> Result<Result<(), Taken>, Fault> {
        let results = self.store.commit(Changes(vec![(change, event)])).await?;
        Ok(results.into_iter().next().unwrap_or(Err(Taken::NoMerchant)))
    }

    /// 256 random bits as an Api-Key, and 32 random characters as an apiSecret.
    fn new_keys(&self) -> NewKey {
        let environment = match self.vault.environment() {
            crate::card::Environment::Sandbox => "test",
            crate::card::Environment::Live => "live",
        };
        let key = format!("cvk_{environment}_{}", base62::encode(&self.random::<32>()));
        let mut secret = Vec::with_capacity(32);
        while secret.len() < 32 {
            // Rejection keeps every character equally likely: 248 is the last multiple of 62.
            let [byte] = self.random::<1>();
            if byte < 248 {
                secret.push(base62::digit(byte % 62));
            }
        }
        NewKey {
            api_key: Secret::new(key.into_bytes()),
            api_secret: Secret::new(secret),
        }
    }
}
