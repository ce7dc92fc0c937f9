//! Second factors: enrolling an app, opening a session, and what a code is before the commit that
//! judges it.
//!
//! Codes and secrets are in memory here and nowhere else: a secret is opened, compared and wiped; a
//! code to be delivered is derived from its session's id by a key of the vault, so that there is no
//! row to steal it from.

use std::sync::Arc;

use cardveil_seal::{Secret, totp};

use super::{Caller, Fault, Service};
use crate::audit::Source;
use crate::card::{Card, CardRef};
use crate::clock::Time;
use crate::id::{AccountId, FactorId, MerchantId, PersonId, SessionId};
use crate::keys::Slot;
use crate::merchant::{Credential, Merchant};
use crate::mfa::{
    self, Assertion, Factor, FactorChange, FactorRefused, FactorRequest, Opening, OpeningRefused,
    Policy, Proof, Purpose, Reference, Session, Totp, base32,
};
use crate::port::{CardFilter, Paging};
use crate::vault::FactorOf;
use crate::verb::Commit;

/// What a caller brings of a second factor with its wish.
#[derive(Clone, Debug)]
pub enum Presented {
    /// Nothing: its dialect cannot carry one.
    Impossible,
    /// What its dialect has for it, as it was sent.
    Given {
        /// The session, or the merchant's own reference.
        session: Option<String>,
        code: Option<Arc<Secret>>,
    },
}

#[derive(Clone, Debug)]
pub struct OpenSession {
    pub card: CardRef,
    /// The card must be of this account, where the dialect names one.
    pub account: Option<AccountId>,
    /// The card must be of this person, where the dialect names one.
    pub person: Option<PersonId>,
    /// For which operation.
    pub purpose: Purpose,
    /// By what; by the strongest that the person has when it is left out.
    pub factor: Option<Factor>,
}

/// Why no session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRefused {
    /// There is no such card that this caller may know of.
    UnknownCard,
    /// The person has no such factor, it is locked, or it does not count.
    FactorUnavailable,
    /// The person has a stronger one, and this one is no fallback for it.
    StrongerEnrolled,
    /// The person has opened too many, or was wrong too often.
    TooOften {
        /// In how many seconds to come back; at least 1.
        retry_after_secs: u64,
    },
}

/// A new enrolment, to be shown once.
pub struct Enrolment {
    /// The secret in Base32, as apps take it.
    pub secret: Secret,
    /// The same as `otpauth://`, for a QR code. It never becomes an address that anyone calls.
    pub uri: Secret,
}

/// Why what was brought cannot be a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FactorMissing {
    /// The dialect cannot carry one.
    Unsupported,
    /// None was brought.
    Required,
    /// The merchant attests it by something that is no reference.
    Reference,
}

/// What a token needs of a second factor, as far as it can be said before the commit.
pub(super) enum SecondFactor {
    /// The policy is off.
    None,
    /// The merchant has asked for it itself.
    Attested(Reference),
    /// The commit judges it.
    Asserted(Assertion),
    /// The frame asks for it.
    InFrame,
}

impl SecondFactor {
    pub(super) const fn assertion(&self) -> Option<&Assertion> {
        match self {
            Self::Asserted(assertion) => Some(assertion),
            Self::None | Self::Attested(_) | Self::InFrame => None,
        }
    }

    /// Whether there is one, if the commit finds it good, or nothing opens before there is.
    pub(super) const fn stands(&self) -> bool {
        match self {
            Self::Attested(_) | Self::Asserted(_) | Self::InFrame => true,
            Self::None => false,
        }
    }

    pub(super) const fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Attested(reference) => Some(reference),
            Self::None | Self::Asserted(_) | Self::InFrame => None,
        }
    }
}

impl Service {
    /// What the merchant's policy asks for, of what was brought.
    pub(super) async fn second_factor(
        &self,
        caller: &Caller,
        purpose: Purpose,
        presented: &Presented,
        card: &Card,
    ) -> Result<Result<SecondFactor, FactorMissing>, Fault> {
        let policy = caller.merchant.mfa.of(purpose);
        Ok(match (policy, presented) {
            (Policy::Off, _) => Ok(SecondFactor::None),
            // Where no frame shows what is asked for, nobody would ask.
            (Policy::InFrame, _) if !Policy::InFrame.fits(purpose) => {
                Err(FactorMissing::Unsupported)
            }
            (Policy::InFrame, _) => Ok(SecondFactor::InFrame),
            (Policy::Delegated | Policy::Required, Presented::Impossible) => {
                Err(FactorMissing::Unsupported)
            }
            (Policy::Delegated, Presented::Given { session, .. }) => match session {
                None => Err(FactorMissing::Required),
                Some(text) => Reference::parse(text)
                    .map(SecondFactor::Attested)
                    .ok_or(FactorMissing::Reference),
            },
            (Policy::Required, Presented::Given { .. }) => {
                let asserted = self.asserted(caller, presented, card).await?;
                asserted
                    .map(SecondFactor::Asserted)
                    .ok_or(FactorMissing::Required)
            }
        })
    }

    /// What the commit is to judge, if a session and a code were brought.
    pub(super) async fn asserted(
        &self,
        caller: &Caller,
        presented: &Presented,
        card: &Card,
    ) -> Result<Option<Assertion>, Fault> {
        let Presented::Given {
            session: Some(session),
            code: Some(code),
        } = presented
        else {
            return Ok(None);
        };
        // One of a frame passes in that frame alone.
        let session = SessionId::parse(session).ok().filter(|id| !id.is_derived());
        let merchant = &caller.merchant.id;
        let proof = self.prove(merchant, session, card.person, code).await?;
        Ok(Some(Assertion {
            session,
            person: card.person,
            proof,
        }))
    }

    /// What a code is. The commit judges it, over the session as it then is.
    pub(super) async fn prove(
        &self,
        merchant: &MerchantId,
        session: Option<SessionId>,
        person: PersonId,
        code: &Secret,
    ) -> Result<Proof, Fault> {
        let session = match session {
            Some(id) => self.store.mfa_session(&id).await?,
            None => None,
        };
        let own = |session: &Session| session.merchant == *merchant && session.person == person;
        let Some(session) = session.filter(own) else {
            return Ok(Proof::Nothing);
        };
        match session.factor {
            Factor::Otp => Ok(Proof::Otp {
                right: self.is_otp_code(&session.id, code)?,
            }),
            Factor::Totp => {
                let known = self.store.mfa_person(&session.merchant, &person).await?;
                let Some(totp) = known.and_then(|known| known.totp) else {
                    return Ok(Proof::Nothing);
                };
                let step = self
                    .matched(&session.merchant, &person, &totp, code)
                    .await?;
                Ok(Proof::Totp {
                    factor: totp.id,
                    step,
                })
            }
        }
    }

    async fn matched(
        &self,
        merchant: &MerchantId,
        person: &PersonId,
        totp: &Totp,
        code: &Secret,
    ) -> Result<Option<u64>, Fault> {
        let of = FactorOf {
            merchant,
            person,
            factor: &totp.id,
        };
        let slot = || Slot::Totp(merchant.clone(), *person, totp.id);
        let secret = self
            .open(slot, |vault| vault.open_totp(&of, &totp.sealed))
            .await?;
        Ok(mfa::matching_step(&secret, self.now(), code.expose()))
    }

    /// Opens a session for one card, person and operation.
    pub async fn open_session(
        &self,
        caller: &Caller,
        asked: &OpenSession,
    ) -> Result<Result<Session, SessionRefused>, Fault> {
        let found = self.store.card(&caller.merchant.id, &asked.card).await?;
        let is_asked = |card: &Card| {
            let account = asked.account.as_ref();
            account.is_none_or(|account| *account == card.account)
                && asked.person.is_none_or(|person| person == card.person)
        };
        let Some(card) = found.filter(|card| caller.sees(card) && is_asked(card)) else {
            return Ok(Err(SessionRefused::UnknownCard));
        };
        let now = self.now();
        let opening = Opening {
            id: SessionId::generate(&*self.entropy),
            merchant: caller.merchant.id.clone(),
            person: card.person,
            card: card.id,
            purpose: asked.purpose,
            factor: asked.factor,
            factors: caller.merchant.mfa.factors,
            at: now,
            source: caller.source.clone(),
        };
        let opened = self.store.commit(opening).await?;
        Ok(opened.map_err(|refused| not_opened(now, refused)))
    }

    /// The code of a session whose code the merchant delivers: for whoever delivers it, and for
    /// nobody else. The same one each time.
    pub fn otp_code(&self, session: &SessionId) -> Result<Secret, Fault> {
        Ok(otp_of(&self.vault.mac(&[b"mfa-otp", session.as_bytes()])?))
    }

    /// A code that was told before a rotation of the key that it is made with is right after it.
    pub fn is_otp_code(&self, session: &SessionId, code: &Secret) -> Result<bool, Fault> {
        let macs = self.vault.macs(&[b"mfa-otp", session.as_bytes()])?;
        let right = macs.iter().map(|mac| otp_of(mac).ct_eq(code.expose()));
        Ok(right.fold(false, |any, right| any | right))
    }

    /// Whether a credential may manage this person's factors; if not, the person does not exist. A
    /// person is known by their cards.
    pub async fn may_manage(
        &self,
        credential: &Credential,
        person: PersonId,
    ) -> Result<bool, Fault> {
        if credential.person.is_some_and(|own| own != person) {
            return Ok(false);
        }
        let filter = CardFilter {
            merchant: Some(credential.merchant.clone()),
            person: Some(person),
            ..CardFilter::default()
        };
        let paging = Paging {
            limit: 1,
            ..Paging::default()
        };
        let page = self.store.list_cards(&filter, paging).await?;
        Ok(!page.cards.is_empty())
    }

    /// Enrols an app in the place of the one before. It proves nothing until its first code has
    /// come. `secret` is for the demo, which publishes its own; made when left out.
    pub async fn enrol(
        &self,
        merchant: &Merchant,
        person: PersonId,
        secret: Option<Secret>,
        source: &Source,
    ) -> Result<Result<Enrolment, FactorRefused>, Fault> {
        let made = || Secret::new(self.random::<{ totp::SECRET_LEN }>().to_vec());
        let secret = secret.unwrap_or_else(made);
        let id = FactorId::generate(&*self.entropy);
        let of = FactorOf {
            merchant: &merchant.id,
            person: &person,
            factor: &id,
        };
        let totp = Totp {
            id,
            sealed: self.vault.seal_totp(&of, &secret)?,
            enrolled_at: self.now(),
            confirmed_at: None,
            last_step: None,
        };
        let change = FactorChange::Enrol(Box::new(totp));
        let changed = self
            .change_factor(&merchant.id, person, change, source)
            .await?;
        let secret = base32::encode(&secret);
        let uri = otpauth(&merchant.name, &person, &secret);
        Ok(changed.map(|()| Enrolment { secret, uri }))
    }

    /// Takes an app's first code, after which it can prove something.
    pub async fn confirm(
        &self,
        merchant: &MerchantId,
        person: PersonId,
        code: &Secret,
        source: &Source,
    ) -> Result<Result<(), FactorRefused>, Fault> {
        let known = self.store.mfa_person(merchant, &person).await?;
        let waiting = known
            .and_then(|known| known.totp)
            .filter(|totp| totp.confirmed_at.is_none());
        let Some(totp) = waiting else {
            return Ok(Err(FactorRefused::Unavailable));
        };
        let change = FactorChange::Confirm {
            factor: totp.id,
            step: self.matched(merchant, &person, &totp, code).await?,
        };
        self.change_factor(merchant, person, change, source).await
    }

    /// Changes a person's factors.
    pub async fn change_factor(
        &self,
        merchant: &MerchantId,
        person: PersonId,
        change: FactorChange,
        source: &Source,
    ) -> Result<Result<(), FactorRefused>, Fault> {
        let request = FactorRequest {
            merchant: merchant.clone(),
            person,
            change,
            at: self.now(),
            source: source.clone(),
        };
        Ok(self.store.commit(request).await?)
    }
}

pub(super) fn not_opened(now: Time, refused: OpeningRefused) -> SessionRefused {
    match refused {
        OpeningRefused::FactorUnavailable => SessionRefused::FactorUnavailable,
        OpeningRefused::StrongerEnrolled => SessionRefused::StrongerEnrolled,
        OpeningRefused::TooOften { until } => SessionRefused::TooOften {
            retry_after_secs: secs_until(now, until),
        },
    }
}

/// Whole seconds, so many that it is over when they are.
pub(super) fn secs_until(now: Time, until: Time) -> u64 {
    let left_ms = until.millis().saturating_sub(now.millis());
    u64::try_from(left_ms)
        .unwrap_or_default()
        .div_ceil(1_000)
        .max(1)
}

/// The form that authenticator apps scan ("Key URI Format" of Google Authenticator). All that they
/// take for granted is written out. An issuer has no colon there, escaped or not: apps take the
/// first one for the end of the issuer, and compare what comes before with the parameter.
fn otpauth(issuer: &str, person: &PersonId, secret: &Secret) -> Secret {
    let words: Vec<_> = issuer
        .split([':', ' '])
        .filter(|word| !word.is_empty())
        .collect();
    let issuer = percent(&words.join(" "));
    let head = format!("otpauth://totp/{issuer}:{person}?secret=");
    let digits = totp::DIGITS;
    let period = totp::STEP_SECS;
    let tail = format!("&issuer={issuer}&algorithm=SHA1&digits={digits}&period={period}");
    // Its exact size, so that no growing leaves a copy behind.
    let mut uri = Vec::with_capacity(head.len() + secret.expose().len() + tail.len());
    uri.extend_from_slice(head.as_bytes());
    uri.extend_from_slice(secret.expose());
    uri.extend_from_slice(tail.as_bytes());
    Secret::new(uri)
}

/// RFC 3986 section 2.1: everything but unreserved characters.
fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The six digits of a digest.
fn otp_of(mac: &[u8; 32]) -> Secret {
    // 64 bits over a million codes: none is likelier than another by more than one in 10^13.
    let bits = mac.first_chunk::<8>().copied().unwrap_or_default();
    totp::digits(u64::from_be_bytes(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_that_an_app_scans() {
        let person = PersonId::from_bytes([1; 16]);
        let secret = Secret::new(b"GEZDGNBV".to_vec());
        let uri = otpauth("Salt & Söhne: 1", &person, &secret);
        insta::assert_snapshot!(std::str::from_utf8(uri.expose()).unwrap(), @"otpauth://totp/Salt%20%26%20S%C3%B6hne%201:01010101-0101-0101-0101-010101010101?secret=GEZDGNBV&issuer=Salt%20%26%20S%C3%B6hne%201&algorithm=SHA1&digits=6&period=30");
    }

    /// What the names of merchants may hold, as those who were misread had them.
    #[test]
    fn an_issuer_ends_where_apps_end_it_fusionauth_3011_gitea_6634() {
        let person = PersonId::from_bytes([1; 16]);
        for (name, issuer) in [
            ("Acme: Cards", "Acme%20Cards"),
            ("Acme & Söhne +1", "Acme%20%26%20S%C3%B6hne%20%2B1"),
            ("王記銀行", "%E7%8E%8B%E8%A8%98%E9%8A%80%E8%A1%8C"),
            (
                "Ünïcode/Slash?x=1#f%41",
                "%C3%9Cn%C3%AFcode%2FSlash%3Fx%3D1%23f%2541",
            ),
            ("A:B:C", "A%20B%20C"),
            (" :A: ", "A"),
        ] {
            let uri = otpauth(name, &person, &Secret::new(b"GEZDGNBV".to_vec()));
            let text = std::str::from_utf8(uri.expose()).unwrap();
            let (label, parameters) = text
                .strip_prefix("otpauth://totp/")
                .and_then(|rest| rest.split_once('?'))
                .unwrap();
            assert_eq!(label, format!("{issuer}:{person}"), "{name}");
            assert!(!label.contains("%3A"), "{name}");
            assert!(parameters.contains(&format!("&issuer={issuer}&")), "{name}");
        }
    }

    #[test]
    fn who_waits_as_long_as_told_is_not_told_to_wait_again() {
        let at = Time::from_millis;
        assert_eq!(secs_until(at(0), at(1)), 1);
        assert_eq!(secs_until(at(0), at(1_000)), 1);
        assert_eq!(secs_until(at(0), at(1_001)), 2);
        assert_eq!(secs_until(at(5), at(0)), 1);
    }
}
