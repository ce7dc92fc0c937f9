//! Issuing a client token: one card, one operation, 300 seconds.

use cardveil_seal::{Class, sha256};

use super::mfa::{FactorMissing, SecondFactor, secs_until};
use super::tokens::Form;
use super::{Fault, Presented, Service};
use crate::audit::{Detail, Kind, Source, Target};
use crate::budget::Overdrawn;
use crate::card::{Card, CardRef, Fields, State};
use crate::clock::Time;
use crate::id::{AccountId, EmbedId, PersonId};
use crate::merchant::{Credential, Lack, Merchant, Need, Sight, judge};
use crate::token::{self, ClientToken, Epoch, Operation, Record, Thumbprint};
use crate::token::{Idempotency, Issue, Issued};
use crate::verb::Commit;

/// An admitted merchant's server.
#[derive(Clone, Debug)]
pub struct Caller {
    /// With which credential it came.
    pub credential: Credential,
    pub merchant: Merchant,
    /// Who and from where, for the audit record.
    pub source: Source,
}

impl Caller {
    /// Whether it may know of this card of its merchant; if not, the card does not exist
    /// (docs/reference/decisions).
    pub fn sees(&self, card: &Card) -> bool {
        match self.credential.sight() {
            Sight::Any => true,
            Sight::Own(person) => card.person == person,
            Sight::Nothing => false,
        }
    }

    /// Whether it may do what something needs.
    pub fn may(&self, need: Need) -> Result<(), Lack> {
        judge(&self.merchant, &self.credential, need)
    }

    /// Whether it may change this card, which it then also sees.
    pub fn reaches(&self, card: &Card) -> bool {
        match self.credential.reach() {
            Sight::Any => true,
            Sight::Own(person) => card.person == person,
            Sight::Nothing => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub card: CardRef,
    /// The card must be of this account, where the dialect names one.
    pub account: Option<AccountId>,
    /// The card must be of this person, where the dialect names one.
    pub person: Option<PersonId>,
    pub operation: Operation,
    /// The fields that may be released, as far as the card has them; all of those when left out.
    pub fields: Option<Fields>,
    /// The only key that may claim it.
    pub bound_to: Option<Thumbprint>,
    /// The only embed that it may be redeemed in; the merchant's own.
    pub embed: Option<EmbedId>,
    /// The caller's name for this request.
    pub named: Option<Named>,
    /// What it brings of a second factor.
    pub mfa: Presented,
}

/// A request that its caller named (`Idempotency-Key`).
#[derive(Clone, Debug)]
pub struct Named {
    pub key: String,
    /// What was asked, in one canonical form: the same name with another request is refused.
    pub request: Vec<u8>,
}

#[derive(Debug)]
pub struct IssuedToken {
    /// The token, for the answer and nothing else.
    pub token: ClientToken,
    /// When it ends.
    pub expires_at: Time,
    /// Whether it is the answer to an earlier request of the same name.
    pub replayed: bool,
}

/// What was looked up and judged before the token is written.
struct Wanted {
    card: Card,
    fields: Fields,
    mfa: SecondFactor,
}

/// Why no token is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueRefusal {
    /// The merchant may not show cards (KeySecure 1013).
    PciDisabled,
    /// There is no such card that this caller may know of.
    UnknownCard,
    /// The card's state does not allow it.
    CardState(State),
    /// The card has none of the fields.
    FieldUnavailable,
    /// Fields were named for an operation that releases none.
    NoFields,
    /// The merchant has no such embed, or it is out of use.
    UnknownEmbed,
    /// The name was used for another request.
    NameReused,
    /// The merchant's policy asks for a second factor, which this dialect cannot carry.
    MfaUnsupported,
    /// The merchant's policy asks for a second factor, and none was brought.
    MfaRequired,
    /// The merchant attests the second factor by something that is no reference.
    MfaReference,
    /// The second factor is refused, whatever is wrong with it.
    MfaRefused,
    /// The card or its person was asked for often: a second factor is needed now.
    BudgetNeedsFactor {
        /// In how many seconds none would be; at least 1.
        retry_after_secs: u64,
    },
    /// The card or its person was asked for too often, whatever stands behind it.
    BudgetExhausted {
        /// In how many seconds to come back; at least 1.
        retry_after_secs: u64,
    },
}

impl Service {
    /// Issues a token. When this returns one, its row and its audit record are durable.
    pub async fn issue(
        &self,
        caller: &Caller,
        epoch: Epoch,
        asked: &Asked,
    ) -> Result<Result<IssuedToken, IssueRefusal>, Fault> {
        self.pass_gate()?;
        if !caller.merchant.pci_enabled {
            return Ok(Err(IssueRefusal::PciDisabled));
        }
        let found = self.store.card(&caller.merchant.id, &asked.card).await?;
        let Some(card) = found.filter(|card| caller.sees(card) && is_asked(card, asked)) else {
            return Ok(Err(IssueRefusal::UnknownCard));
        };
        if asked.operation == Operation::ViewCard && !card.viewable() {
            return Ok(Err(IssueRefusal::CardState(card.state)));
        }
        let fields = match allowed(asked, &card) {
            Ok(fields) => fields,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(embed) = &asked.embed {
            let found = self.store.embed(embed).await?;
            if !found.is_some_and(|it| it.enabled && it.merchant == caller.merchant.id) {
                return Ok(Err(IssueRefusal::UnknownEmbed));
            }
        }
        let purpose = asked.operation.into();
        let factor = self.second_factor(caller, purpose, &asked.mfa, &card);
        let mfa = match factor.await? {
            Ok(mfa) => mfa,
            Err(missing) => return Ok(Err(missing.into())),
        };
        let mut wanted = Wanted { card, fields, mfa };
        let written = self.write_token(caller, epoch, asked, &wanted).await?;
        // Where no policy asks for a second factor, a budget may.
        if let Err(IssueRefusal::BudgetNeedsFactor { .. }) = written
            && let Some(assertion) = self.asserted(caller, &asked.mfa, &wanted.card).await?
        {
            wanted.mfa = SecondFactor::Asserted(assertion);
            return self.write_token(caller, epoch, asked, &wanted).await;
        }
        Ok(written)
    }

    async fn write_token(
        &self,
        caller: &Caller,
        mut epoch: Epoch,
        asked: &Asked,
        wanted: &Wanted,
    ) -> Result<Result<IssuedToken, IssueRefusal>, Fault> {
        let waits = matches!(wanted.mfa, SecondFactor::InFrame);
        // An epoch is raised by hand or at a start: once more is enough.
        for _ in 0..2 {
            let now = self.now();
            let idempotency = asked.named.as_ref().map(|named| Idempotency {
                key: name_hash(caller, named),
                fingerprint: sha256(&[&named.request]),
                seed: self.random(),
                expires_at: now.plus(token::TTL),
            });
            let version = self.vault.sealing_version(Class::Access)?;
            let random = match &idempotency {
                Some(named) => self.vault.mac_under(version, &seeded(&named.seed))?,
                None => self.random(),
            };
            // A node of the version before knows of no embed, and of no factor that is waited for.
            // It must not read what it would not keep to.
            let form = if asked.embed.is_some() || waits {
                Form::Keyed
            } else {
                self.form().await?
            };
            let token = self.write(form, version, (epoch, now), &random)?;
            let record = Record {
                key: token.key(),
                epoch,
                merchant: caller.merchant.id.clone(),
                credential: caller.credential.id.clone(),
                card: wanted.card.id,
                operation: asked.operation,
                allowed: wanted.fields,
                bound_to: asked.bound_to,
                embed: asked.embed.clone(),
                issued_at: now,
                expires_at: now.plus(token::TTL),
                conflict: false,
                refusals: 0,
                state: if waits {
                    token::State::Waiting
                } else {
                    token::State::Issued
                },
            };
            let event = issued_event(caller, &record, &wanted.mfa);
            match self
                .store
                .commit(Issue {
                    record,
                    event,
                    idempotency: idempotency.clone(),
                    mfa: wanted.mfa.assertion().cloned(),
                    charge: self.charge(asked.operation.into(), &wanted.card, wanted.mfa.stands()),
                })
                .await?
            {
                Issued::New => {
                    let expires_at = now.plus(token::TTL);
                    return Ok(Ok(IssuedToken {
                        token,
                        expires_at,
                        replayed: false,
                    }));
                }
                Issued::Before(before, record) => {
                    let of = (caller, asked.operation, &wanted.card);
                    return self.again(idempotency.as_ref(), of, &before, &record);
                }
                Issued::OldEpoch(current) => epoch = current,
                Issued::MfaRefused(_) => return Ok(Err(IssueRefusal::MfaRefused)),
                Issued::Overdrawn(overdrawn) => return Ok(Err(refused_by(now, overdrawn))),
            }
        }
        Err(Fault::Contention)
    }

    /// The answer to a request that was answered before: the same token, made again.
    fn again(
        &self,
        asked: Option<&Idempotency>,
        (caller, operation, card): (&Caller, Operation, &Card),
        before: &Idempotency,
        record: &Record,
    ) -> Result<Result<IssuedToken, IssueRefusal>, Fault> {
        if asked.is_none_or(|asked| asked.fingerprint != before.fingerprint) {
            return Ok(Err(IssueRefusal::NameReused));
        }
        // The same request has a token for the same. The row of a name has no MAC; that of a token
        // has one.
        let is_its = record.merchant == caller.merchant.id
            && record.credential == caller.credential.id
            && record.card == card.id
            && record.operation == operation;
        if !is_its {
            // Whose name it is, and not which: that is a hash, and says nothing to anybody.
            let name = format!("of {}", caller.credential.id.as_str());
            self.store.row_macs().note("name", name);
            return Ok(Err(IssueRefusal::NameReused));
        }
        // It was made under the key of then, and in the form of then.
        let mut found = None;
        for (version, random) in self.vault.macs_by_version(&seeded(&before.seed))? {
            for form in [Form::Keyed, Form::First] {
                let of = (record.epoch, record.issued_at);
                let token = self.write(form, version, of, &random)?;
                if token.key() == record.key {
                    found = Some(token);
                }
            }
        }
        let token = found.ok_or(crate::vault::Error::Form)?;
        Ok(Ok(IssuedToken {
            token,
            expires_at: record.expires_at,
            replayed: true,
        }))
    }
}

/// From what the random bytes of a named request's token are derived.
fn seeded(seed: &[u8; 32]) -> [&[u8]; 2] {
    [b"client-token", seed]
}

/// What may be released: of what is named, or of all where nothing is, what the card has; nothing
/// for a wallet.
fn allowed(asked: &Asked, card: &Card) -> Result<Fields, IssueRefusal> {
    match (asked.operation, asked.fields) {
        (Operation::ViewCard, fields) => {
            let there = fields.unwrap_or(Fields::ALL).and(card.fields());
            there.some().ok_or(IssueRefusal::FieldUnavailable)
        }
        (Operation::AddCardToWallet, None) => Ok(Fields::NONE),
        (Operation::AddCardToWallet, Some(_)) => Err(IssueRefusal::NoFields),
    }
}

impl From<FactorMissing> for IssueRefusal {
    fn from(missing: FactorMissing) -> Self {
        match missing {
            FactorMissing::Unsupported => Self::MfaUnsupported,
            FactorMissing::Required => Self::MfaRequired,
            FactorMissing::Reference => Self::MfaReference,
        }
    }
}

fn refused_by(now: Time, overdrawn: Overdrawn) -> IssueRefusal {
    match overdrawn {
        Overdrawn::NeedsFactor { until } => IssueRefusal::BudgetNeedsFactor {
            retry_after_secs: secs_until(now, until),
        },
        Overdrawn::Exhausted { until } => IssueRefusal::BudgetExhausted {
            retry_after_secs: secs_until(now, until),
        },
    }
}

/// Whether the card is of the account and the person that the caller named.
fn is_asked(card: &Card, asked: &Asked) -> bool {
    asked
        .account
        .as_ref()
        .is_none_or(|account| *account == card.account)
        && asked.person.is_none_or(|person| person == card.person)
}

fn name_hash(caller: &Caller, named: &Named) -> [u8; 32] {
    // No id holds a zero byte, so the parts cannot run into each other.
    sha256(&[
        caller.merchant.id.as_str().as_bytes(),
        b"\0",
        caller.credential.id.as_str().as_bytes(),
        b"\0",
        named.key.as_bytes(),
    ])
}

fn issued_event(caller: &Caller, record: &Record, mfa: &SecondFactor) -> crate::audit::Event {
    let target = Target {
        card: Some(record.card),
        token: Some(record.key.hash),
        embed: record.embed.clone(),
        session: mfa.assertion().and_then(|assertion| assertion.session),
        ..Target::default()
    };
    let merchant = Some(record.merchant.clone());
    let mut event = caller
        .source
        .event(record.issued_at, Kind::TokenIssued, merchant, target);
    event.detail = Detail {
        operation: Some(record.operation.into()),
        fields: record.allowed.some(),
        attested: mfa
            .reference()
            .map(|reference| reference.as_str().to_owned()),
        note: matches!(mfa, SecondFactor::InFrame).then(|| "a second factor in the frame".into()),
        ..Detail::default()
    };
    event
}
