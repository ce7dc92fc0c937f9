//! A card's PIN: setting it, and telling it to a merchant's server.
//!
//! One contract brings a PIN encrypted under the credential's secret and never asks for it
//! (KeySecure: card/pin/set). The other lets clear PINs cross the merchant's server in both
//! directions (Equals: "Retrieve a PIN", "Update a card's PIN"). Setting and telling are
//! permissions of their own; what crosses in the clear is, like an export, for merchants alone that
//! may have clear card data. What is told is a release: its record is durable before it goes out
//! (P2).

use cardveil_seal::Secret;

use super::keys::slot_of_secret;
use super::mfa::{FactorMissing, SecondFactor, secs_until};
use super::{Caller, Fault, Presented, Service, Sought};
use crate::audit::{Detail, Event, Kind, Target};
use crate::budget::Overdrawn;
use crate::card::{
    Card, CardRef, InvalidPin, Kind as CardKind, Pin, PinLength, PinRelease, PinReleased, PinSet,
    PinSetting, State, Verification,
};
use crate::clock::Time;
use crate::keys::Slot;
use crate::merchant::Need;
use crate::mfa::{Assertion, Purpose, Use};
use crate::verb::Commit;

/// How often a telling starts again because the PIN was set meanwhile.
const ROUNDS_MAX: usize = 3;

/// What a merchant's server asks with.
#[derive(Clone, Debug)]
pub struct AskedPin {
    /// The card.
    pub sought: Sought,
    /// How it says that it has verified the cardholder.
    pub verification: Option<Verification>,
    /// What it brings of a second factor.
    pub mfa: Presented,
}

/// A PIN that is to be set, by which contract it comes.
#[derive(Clone, Copy, Debug)]
pub enum NewPin<'a> {
    /// Six digits, encrypted under the credential's secret, for a physical card (KeySecure).
    Encrypted(&'a str),
    /// Four digits (Equals).
    Clear(&'a Secret),
    /// Four digits that we choose (Equals).
    Generated,
}

impl NewPin<'_> {
    /// Whether it crosses the merchant's server in the clear.
    const fn is_clear(self) -> bool {
        match self {
            Self::Encrypted(_) => false,
            Self::Clear(_) | Self::Generated => true,
        }
    }
}

/// Why a PIN is not set or not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinRefusal {
    /// The merchant or the credential may not set or be told PINs, or not in the clear.
    NotPermitted,
    /// There is no such card that this caller may know of.
    UnknownCard,
    /// The card is virtual, and the contract sets PINs of physical cards.
    NotPhysical,
    /// The card's state does not allow it.
    CardState(State),
    /// The digits are no PIN.
    Invalid(InvalidPin),
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

impl From<FactorMissing> for PinRefusal {
    fn from(missing: FactorMissing) -> Self {
        match missing {
            FactorMissing::Unsupported => Self::MfaUnsupported,
            FactorMissing::Required => Self::MfaRequired,
            FactorMissing::Reference => Self::MfaReference,
        }
    }
}

impl Service {
    /// Sets a card's PIN; the answer is what it is now. When this returns it, it is durable, with
    /// its record.
    pub async fn set_pin(
        &self,
        caller: &Caller,
        asked: &AskedPin,
        new: NewPin<'_>,
    ) -> Result<Result<Pin, PinRefusal>, Fault> {
        if new.is_clear() {
            self.pass_gate()?;
        }
        let clear = new.is_clear() && !caller.merchant.pci_enabled;
        if clear || caller.may(Need::SetPins).is_err() {
            return Ok(Err(PinRefusal::NotPermitted));
        }
        let Some(card) = self.find_card(caller, &asked.sought).await? else {
            return Ok(Err(PinRefusal::UnknownCard));
        };
        let physical_only = !new.is_clear();
        if physical_only && card.kind != CardKind::Physical {
            return Ok(Err(PinRefusal::NotPhysical));
        }
        if card.state != State::Active {
            return Ok(Err(PinRefusal::CardState(card.state)));
        }
        let pin = match self.chosen(caller, new).await? {
            Ok(pin) => pin,
            Err(invalid) => return Ok(Err(PinRefusal::Invalid(invalid))),
        };
        let factor = self.second_factor(caller, Purpose::SetPin, &asked.mfa, &card);
        let mut factor = match factor.await? {
            Ok(factor) => factor,
            Err(missing) => return Ok(Err(missing.into())),
        };
        let wanted = (&pin, physical_only);
        let mut set = self.put(caller, asked, &card, wanted, &factor).await?;
        // Where no policy asks for a second factor, a budget may.
        if let PinSet::Overdrawn(Overdrawn::NeedsFactor { .. }) = set
            && let Some(assertion) = self.asserted(caller, &asked.mfa, &card).await?
        {
            factor = SecondFactor::Asserted(assertion);
            set = self.put(caller, asked, &card, wanted, &factor).await?;
        }
        Ok(match set {
            PinSet::Done => Ok(pin),
            PinSet::NotPhysical => Err(PinRefusal::NotPhysical),
            PinSet::Refused(state) => Err(PinRefusal::CardState(state)),
            PinSet::Unknown => Err(PinRefusal::UnknownCard),
            PinSet::MfaRefused(_) => Err(PinRefusal::MfaRefused),
            PinSet::Overdrawn(overdrawn) => Err(self.overdrawn(overdrawn)),
        })
    }

    async fn put(
        &self,
        caller: &Caller,
        asked: &AskedPin,
        card: &Card,
        (pin, physical_only): (&Pin, bool),
        factor: &SecondFactor,
    ) -> Result<PinSet, Fault> {
        let now = self.now();
        let setting = PinSetting {
            merchant: card.merchant.clone(),
            card: CardRef::Id(card.id),
            pin: self.vault.seal_pin(card, pin)?,
            physical_only,
            mfa: to_judge(caller, Purpose::SetPin, now, card, factor),
            charge: self.charge(Purpose::SetPin, card, factor.stands()),
            event: pin_event(caller, (Kind::PinSet, now), asked, card, factor),
        };
        Ok(self.store.commit(setting).await?)
    }

    fn overdrawn(&self, overdrawn: Overdrawn) -> PinRefusal {
        match overdrawn {
            Overdrawn::NeedsFactor { until } => PinRefusal::BudgetNeedsFactor {
                retry_after_secs: secs_until(self.now(), until),
            },
            Overdrawn::Exhausted { until } => PinRefusal::BudgetExhausted {
                retry_after_secs: secs_until(self.now(), until),
            },
        }
    }

    async fn chosen(
        &self,
        caller: &Caller,
        new: NewPin<'_>,
    ) -> Result<Result<Pin, InvalidPin>, Fault> {
        Ok(match new {
            NewPin::Encrypted(text) => {
                let credential = &caller.credential;
                self.open(
                    || slot_of_secret(credential),
                    |vault| vault.read_pin(credential, text),
                )
                .await?
            }
            NewPin::Clear(digits) => Pin::parse(digits.expose(), PinLength::Four),
            NewPin::Generated => Ok(Pin::generate(&*self.entropy)),
        })
    }

    /// Tells a card's PIN; none when the card has none, or one of another length than the
    /// contract's four digits.
    pub async fn show_pin(
        &self,
        caller: &Caller,
        asked: &AskedPin,
    ) -> Result<Result<Option<Pin>, PinRefusal>, Fault> {
        self.pass_gate()?;
        if caller.may(Need::ReadPins).is_err() {
            return Ok(Err(PinRefusal::NotPermitted));
        }
        for _ in 0..ROUNDS_MAX {
            let Some(card) = self.find_card(caller, &asked.sought).await? else {
                return Ok(Err(PinRefusal::UnknownCard));
            };
            if card.state != State::Active {
                return Ok(Err(PinRefusal::CardState(card.state)));
            }
            let factor = self.second_factor(caller, Purpose::ViewPin, &asked.mfa, &card);
            let mut factor = match factor.await? {
                Ok(factor) => factor,
                Err(missing) => return Ok(Err(missing.into())),
            };
            // Everything that can fail comes before the record, so that what is on record went out.
            let slot = || Slot::Pin(card.id, card.merchant.clone());
            let opened = self.open(slot, |vault| vault.open_pin(&card)).await?;
            let pin = opened.filter(|pin| pin.is_of(PinLength::Four));
            let mut released = self.release(caller, asked, &card, (&pin, &factor)).await?;
            // Where no policy asks for a second factor, a budget may.
            if let PinReleased::Overdrawn(Overdrawn::NeedsFactor { .. }) = released
                && let Some(assertion) = self.asserted(caller, &asked.mfa, &card).await?
            {
                factor = SecondFactor::Asserted(assertion);
                released = self.release(caller, asked, &card, (&pin, &factor)).await?;
            }
            match self.told(released) {
                None => {}
                Some(Ok(())) => return Ok(Ok(pin)),
                Some(Err(refusal)) => return Ok(Err(refusal)),
            }
        }
        Err(Fault::Contention)
    }

    async fn release(
        &self,
        caller: &Caller,
        asked: &AskedPin,
        card: &Card,
        (pin, factor): (&Option<Pin>, &SecondFactor),
    ) -> Result<PinReleased, Fault> {
        let now = self.now();
        let event = |_: &Pin| pin_event(caller, (Kind::PinReleased, now), asked, card, factor);
        let charge = |_: &Pin| self.charge(Purpose::ViewPin, card, factor.stands());
        let release = PinRelease {
            merchant: card.merchant.clone(),
            card: CardRef::Id(card.id),
            opened: card.sealed.pin.clone(),
            mfa: to_judge(caller, Purpose::ViewPin, now, card, factor),
            charge: pin.as_ref().and_then(charge),
            event: pin.as_ref().map(event),
        };
        Ok(self.store.commit(release).await?)
    }

    /// `None` when the PIN was set meanwhile.
    fn told(&self, released: PinReleased) -> Option<Result<(), PinRefusal>> {
        Some(match released {
            PinReleased::Superseded => return None,
            PinReleased::Recorded => Ok(()),
            PinReleased::Refused(state) => Err(PinRefusal::CardState(state)),
            PinReleased::Unknown => Err(PinRefusal::UnknownCard),
            PinReleased::MfaRefused(_) => Err(PinRefusal::MfaRefused),
            PinReleased::Overdrawn(overdrawn) => Err(self.overdrawn(overdrawn)),
        })
    }
}

/// What the commit is to judge, and for what.
fn to_judge(
    caller: &Caller,
    purpose: Purpose,
    at: Time,
    card: &Card,
    factor: &SecondFactor,
) -> Option<(Assertion, Use)> {
    let wanted = Use {
        merchant: card.merchant.clone(),
        card: card.id,
        token: None,
        purpose,
        at,
        source: caller.source.clone(),
    };
    factor
        .assertion()
        .map(|assertion| (assertion.clone(), wanted))
}

fn pin_event(
    caller: &Caller,
    (kind, at): (Kind, Time),
    asked: &AskedPin,
    card: &Card,
    factor: &SecondFactor,
) -> Event {
    let target = Target {
        card: Some(card.id),
        credential: Some(caller.credential.id.clone()),
        session: factor.assertion().and_then(|assertion| assertion.session),
        ..Target::default()
    };
    let merchant = Some(card.merchant.clone());
    let attested = factor.reference();
    Event {
        detail: Detail {
            attested: attested.map(|reference| reference.as_str().to_owned()),
            claimed_verification: asked.verification,
            ..Detail::default()
        },
        ..caller.source.event(at, kind, merchant, target)
    }
}
