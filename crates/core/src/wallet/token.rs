//! The states of a wallet token and the rules between them (Equals, "Update digital wallet
//! tokens").
//!
//! ```text
//! REQUESTED -> ACTIVE, SUSPENDED, TERMINATED     by the merchant or, once verified, the network
//! REQUESTED -> REQUEST_DECLINED                  by the network alone
//! ACTIVE <-> SUSPENDED, both -> TERMINATED
//! ```
//!
//! **Invariant:** `REQUEST_DECLINED` and TERMINATED are final.
//!
//! **Invariant:** no change makes more than [`TOKENS_PER_PAN_MAX`] tokens of one card number active
//! or suspended.

use super::{Device, TOKENS_PER_PAN_MAX};
use crate::audit::{Detail, Event, Kind, Source, Target};
use crate::card::{self, Card, PanIndexes};
use crate::clock::Time;
use crate::id::{CardId, MerchantId, WalletTokenId};
use crate::named;

named! {
    /// What has become of a token, by Equals' name.
    pub enum State {
        /// The network waits for the cardholder to be verified.
        Requested = "REQUESTED",
        /// It pays.
        Active = "ACTIVE",
        /// It does not pay for now.
        Suspended = "SUSPENDED",
        /// It has ended.
        Terminated = "TERMINATED",
        /// The network did not grant it.
        RequestDeclined = "REQUEST_DECLINED",
    }
}

impl State {
    /// Whether nothing can become of it any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Terminated | Self::RequestDeclined => true,
            Self::Requested | Self::Active | Self::Suspended => false,
        }
    }

    /// Whether it counts towards [`TOKENS_PER_PAN_MAX`].
    pub const fn counts(self) -> bool {
        match self {
            Self::Active | Self::Suspended => true,
            Self::Requested | Self::Terminated | Self::RequestDeclined => false,
        }
    }
}

named! {
    /// How far the network has come with a token, by Equals' name (`fulfillmentStatus`).
    pub enum Fulfilment {
        /// Refused without a question.
        DecisionRed = "DECISION_RED",
        /// Granted once the cardholder is verified.
        DecisionYellow = "DECISION_YELLOW",
        /// Granted without a question; not yet on the device.
        DecisionGreen = "DECISION_GREEN",
        /// Not granted in the end.
        Rejected = "REJECTED",
        /// On the device.
        Provisioned = "PROVISIONED",
    }
}

named! {
    /// The network's decision over a request.
    pub enum Decision {
        /// Granted.
        Green = "green",
        /// Granted once the cardholder is verified.
        Yellow = "yellow",
        /// Refused.
        Red = "red",
    }
}

/// A card's token in a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletToken {
    /// Its name; not a number that pays.
    pub id: WalletTokenId,
    /// The card that it stands for.
    pub card: CardId,
    /// Whose card that is.
    pub merchant: MerchantId,
    /// The keyed index of the card's number, by which tokens are counted.
    pub pan_index: [u8; 32],
    /// The version of the key that the index is under.
    pub index_key: u32,
    /// Where it is.
    pub device: Device,
    /// What has become of it.
    pub state: State,
    /// How far the network has come.
    pub fulfilment: Fulfilment,
    /// When it was asked for.
    pub created_at: Time,
    /// When it last changed.
    pub updated_at: Time,
}

/// What moves a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The merchant brings it into use.
    Activate,
    /// The merchant stops it for now.
    Suspend,
    /// The merchant ends it.
    Terminate,
    /// The network has verified the cardholder.
    Verified,
    /// The cardholder could not be verified.
    NotVerified,
}

impl Step {
    pub const ALL: [Self; 5] = [
        Self::Activate,
        Self::Suspend,
        Self::Terminate,
        Self::Verified,
        Self::NotVerified,
    ];

    /// The merchant's step to this state; `None` where the network alone leads.
    pub const fn to(state: State) -> Option<Self> {
        match state {
            State::Active => Some(Self::Activate),
            State::Suspended => Some(Self::Suspend),
            State::Terminated => Some(Self::Terminate),
            State::Requested | State::RequestDeclined => None,
        }
    }
}

/// Why a token stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such token of this merchant.
    Unknown,
    Final(State),
    /// The card number has as many tokens as it may have.
    LimitReached,
    /// The network waits for nothing: the token is not `REQUESTED`.
    NotRequested(State),
}

/// A token with what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// It is so already: there is nothing to write.
    Not(WalletToken),
    /// To be written, with its event, in one commit.
    To(Box<WalletToken>, Box<Event>),
}

impl Changed {
    /// The token as it then is.
    pub fn token(&self) -> &WalletToken {
        match self {
            Self::Not(token) => token,
            Self::To(token, _) => token,
        }
    }
}

/// What a card number has already, at the moment of writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// How many of its tokens count towards [`TOKENS_PER_PAN_MAX`].
    pub counted: usize,
    /// Whether it has a token that is not at its end in this wallet on this device.
    pub on_device: bool,
}

impl Census {
    /// Whether one more token fits.
    pub const fn has_room(self) -> bool {
        self.counted < TOKENS_PER_PAN_MAX
    }
}

/// A wish to move a token.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose token.
    pub merchant: MerchantId,
    pub id: WalletTokenId,
    /// Of its card's number.
    pub indexes: PanIndexes,
    /// How.
    pub step: Step,
    /// Why, in the caller's words.
    pub reason: Option<card::Reason>,
    pub at: Time,
    /// Who and from where.
    pub source: Source,
}

impl Change {
    /// Decides over the row as it is. `counted` as in [`Census`].
    pub fn decide(&self, token: Option<&WalletToken>, counted: usize) -> Result<Changed, Refused> {
        let token = token.filter(|token| token.merchant == self.merchant);
        let token = token.ok_or(Refused::Unknown)?;
        let (state, fulfilment) = token.after(self.step, counted)?;
        if state == token.state {
            return Ok(Changed::Not(token.clone()));
        }
        let next = WalletToken {
            state,
            fulfilment,
            updated_at: self.at,
            ..token.clone()
        };
        let mut event = next.event(&self.source, Kind::WalletTokenChanged, Some(token.state));
        event.detail.reason = self.reason.clone().map(String::from);
        Ok(Changed::To(Box::new(next), Box::new(event)))
    }
}

impl WalletToken {
    /// The rules.
    fn after(&self, step: Step, counted: usize) -> Result<(State, Fulfilment), Refused> {
        let census = Census {
            counted,
            on_device: true,
        };
        match (self.state, step) {
            (State::Requested, Step::Activate | Step::Suspend) if !census.has_room() => {
                Err(Refused::LimitReached)
            }
            (State::Requested | State::Suspended | State::Active, Step::Activate) => {
                Ok((State::Active, Fulfilment::Provisioned))
            }
            (State::Requested | State::Suspended | State::Active, Step::Suspend) => {
                Ok((State::Suspended, self.fulfilment))
            }
            (State::Requested | State::Suspended | State::Active, Step::Terminate) => {
                Ok((State::Terminated, self.fulfilment))
            }
            (State::Requested, Step::Verified) if census.has_room() => {
                Ok((State::Active, Fulfilment::Provisioned))
            }
            // "The 26th fails on the device, not the API": the network declines it.
            (State::Requested, Step::Verified | Step::NotVerified) => {
                Ok((State::RequestDeclined, Fulfilment::Rejected))
            }
            (state, Step::Verified | Step::NotVerified) => Err(Refused::NotRequested(state)),
            (
                state @ (State::Terminated | State::RequestDeclined),
                Step::Activate | Step::Suspend | Step::Terminate,
            ) => Err(Refused::Final(state)),
        }
    }

    /// Ends it because its card has ended (Equals, "About card states"): the token's next form and
    /// its event, which has the actor, the origin and the moment of the card's. `None` when it had
    /// ended before.
    pub fn with_its_card(&self, of_card: &Event) -> Option<(Self, Event)> {
        if self.state.is_final() {
            return None;
        }
        let next = Self {
            state: State::Terminated,
            updated_at: of_card.at,
            ..self.clone()
        };
        let source = Source {
            actor: of_card.actor.clone(),
            origin: of_card.origin.clone(),
        };
        let mut event = next.event(&source, Kind::WalletTokenChanged, Some(self.state));
        event.detail.note = Some("its card was terminated".into());
        Some((next, event))
    }

    fn event(&self, source: &Source, kind: Kind, from: Option<State>) -> Event {
        let target = Target {
            card: Some(self.card),
            wallet_token: Some(self.id),
            ..Target::default()
        };
        let mut event = source.event(self.updated_at, kind, Some(self.merchant.clone()), target);
        event.detail = Detail {
            from: from.map(|state| state.as_str().into()),
            to: Some(self.state.as_str().into()),
            ..Detail::default()
        };
        event
    }
}

/// A device's request for a token, with the network's decision over it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: WalletTokenId,
    /// Whose card.
    pub merchant: MerchantId,
    pub card: CardId,
    /// Of the card's number.
    pub indexes: PanIndexes,
    /// Where it is to go.
    pub device: Device,
    pub decision: Decision,
    pub at: Time,
    /// Who and from where.
    pub source: Source,
}

impl Asked {
    /// What becomes of the request. The network asks the issuer, who grants nothing for a card that
    /// is not in use; it declines a second token on a device and one more than a card may have.
    /// A request that was declined is on record too, as a token that never was active.
    pub fn decide(
        &self,
        card: Option<&Card>,
        census: Census,
    ) -> Result<(WalletToken, Event), Refused> {
        let card = card.filter(|card| card.id == self.card && card.merchant == self.merchant);
        let card = card.ok_or(Refused::Unknown)?;
        let (state, fulfilment) = match self.decision {
            Decision::Red => (State::RequestDeclined, Fulfilment::DecisionRed),
            Decision::Green | Decision::Yellow if card.state != card::State::Active => {
                (State::RequestDeclined, Fulfilment::DecisionRed)
            }
            Decision::Green | Decision::Yellow if census.on_device => {
                (State::RequestDeclined, Fulfilment::Rejected)
            }
            Decision::Green if !census.has_room() => (State::RequestDeclined, Fulfilment::Rejected),
            Decision::Green => (State::Active, Fulfilment::Provisioned),
            Decision::Yellow => (State::Requested, Fulfilment::DecisionYellow),
        };
        let token = WalletToken {
            id: self.id,
            card: self.card,
            merchant: self.merchant.clone(),
            pan_index: card.sealed.pan_index,
            index_key: card.sealed.index_key,
            device: self.device.clone(),
            state,
            fulfilment,
            created_at: self.at,
            updated_at: self.at,
        };
        let event = token.event(&self.source, Kind::WalletTokenAdded, None);
        Ok((token, event))
    }
}
