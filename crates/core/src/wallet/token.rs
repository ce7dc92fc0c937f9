//! The states of a wallet token and the rules between them (Equals, "Update digital wallet tokens").
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

use super::{Device, TOKENS_PER_PAN_MAX, named};
use crate::audit::{Detail, Event, Kind, Source, Target};
use crate::card::{self, Card};
use crate::clock::Time;
use crate::id::{CardId, MerchantId, WalletTokenId};

named! {
    /// What has become of a token, by Equals' name.
    State {
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
    Fulfilment {
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
    Decision {
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
    /// All of them.
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
    /// Its state is final.
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
    /// Which one.
    pub id: WalletTokenId,
    /// How.
    pub step: Step,
    /// Why, in the caller's words.
    pub reason: Option<card::Reason>,
    /// When.
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
    /// The token's name to be.
    pub id: WalletTokenId,
    /// Whose card.
    pub merchant: MerchantId,
    /// Which card.
    pub card: CardId,
    /// Where it is to go.
    pub device: Device,
    /// The decision.
    pub decision: Decision,
    /// When.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::sample::{self, START};

    fn token(state: State, fulfilment: Fulfilment) -> WalletToken {
        let asked = sample::wallet_asked(1, START);
        let (token, _) = asked
            .decide(Some(&sample::card(1)), Census::default())
            .unwrap();
        WalletToken {
            state,
            fulfilment,
            ..token
        }
    }

    fn moved(state: State, step: Step, counted: usize) -> Result<State, Refused> {
        let token = token(state, Fulfilment::DecisionYellow);
        let changed = sample::wallet_change(1, step, START).decide(Some(&token), counted)?;
        Ok(changed.token().state)
    }

    #[test]
    fn every_state_and_step() {
        use State::{Active, RequestDeclined, Requested, Suspended, Terminated};
        let refused = |state| Err(Refused::Final(state));
        let waits = |state| Err(Refused::NotRequested(state));
        for (state, expected) in [
            (
                Requested,
                [
                    Ok(Active),
                    Ok(Suspended),
                    Ok(Terminated),
                    Ok(Active),
                    Ok(RequestDeclined),
                ],
            ),
            (
                Active,
                [
                    Ok(Active),
                    Ok(Suspended),
                    Ok(Terminated),
                    waits(Active),
                    waits(Active),
                ],
            ),
            (
                Suspended,
                [
                    Ok(Active),
                    Ok(Suspended),
                    Ok(Terminated),
                    waits(Suspended),
                    waits(Suspended),
                ],
            ),
            (
                Terminated,
                [
                    refused(Terminated),
                    refused(Terminated),
                    refused(Terminated),
                    waits(Terminated),
                    waits(Terminated),
                ],
            ),
            (
                RequestDeclined,
                [
                    refused(RequestDeclined),
                    refused(RequestDeclined),
                    refused(RequestDeclined),
                    waits(RequestDeclined),
                    waits(RequestDeclined),
                ],
            ),
        ] {
            assert_eq!(
                Step::ALL.map(|step| moved(state, step, 0)),
                expected,
                "{state:?}"
            );
        }
    }

    #[test]
    fn the_26th_token_of_a_number_does_not_come_into_use() {
        use State::{Active, RequestDeclined, Requested, Suspended, Terminated};
        let last = TOKENS_PER_PAN_MAX - 1;
        let full = TOKENS_PER_PAN_MAX;
        for (step, at_last, at_full) in [
            (Step::Activate, Ok(Active), Err(Refused::LimitReached)),
            (Step::Suspend, Ok(Suspended), Err(Refused::LimitReached)),
            (Step::Terminate, Ok(Terminated), Ok(Terminated)),
            (Step::Verified, Ok(Active), Ok(RequestDeclined)),
            (Step::NotVerified, Ok(RequestDeclined), Ok(RequestDeclined)),
        ] {
            assert_eq!(moved(Requested, step, last), at_last, "{step:?}");
            assert_eq!(moved(Requested, step, full), at_full, "{step:?}");
        }
        assert_eq!(
            moved(Suspended, Step::Activate, full),
            Ok(Active),
            "it counts already"
        );
        assert_eq!(moved(Active, Step::Suspend, full), Ok(Suspended));
    }

    #[test]
    fn a_request_becomes_what_network_and_issuer_decide() {
        use Decision::{Green, Red, Yellow};
        let room = Census::default();
        let full = Census {
            counted: TOKENS_PER_PAN_MAX,
            on_device: false,
        };
        let there = Census {
            counted: 1,
            on_device: true,
        };
        let active = card::State::Active;
        let declined = |fulfilment| (State::RequestDeclined, fulfilment);
        let rejected = declined(Fulfilment::Rejected);
        let red = declined(Fulfilment::DecisionRed);
        let requested = (State::Requested, Fulfilment::DecisionYellow);
        for (decision, state, census, expected) in [
            (
                Green,
                active,
                room,
                (State::Active, Fulfilment::Provisioned),
            ),
            (Yellow, active, room, requested),
            (Red, active, room, red),
            (Green, active, full, rejected),
            (Yellow, active, full, requested),
            (Green, active, there, rejected),
            (Yellow, active, there, rejected),
            (Green, card::State::Suspended, room, red),
            (Yellow, card::State::Terminated, room, red),
            (Green, card::State::Unactivated, there, red),
        ] {
            let card = Card {
                state,
                ..sample::card(1)
            };
            let mut asked = sample::wallet_asked(1, START);
            asked.decision = decision;
            let (token, event) = asked.decide(Some(&card), census).unwrap();
            let about = (decision, state, census);
            assert_eq!((token.state, token.fulfilment), expected, "{about:?}");
            assert_eq!(event.detail.to.as_deref(), Some(token.state.as_str()));
        }
        let asked = sample::wallet_asked(1, START);
        let of_other = sample::card(2);
        assert_eq!(
            asked.decide(Some(&of_other), room).err(),
            Some(Refused::Unknown)
        );
        assert_eq!(asked.decide(None, room).err(), Some(Refused::Unknown));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(*state));
            let json = serde_json::to_string(state).unwrap();
            assert_eq!(json, format!("{:?}", state.as_str()));
        }
        assert_eq!(State::parse("active"), None);
        assert_eq!(Step::to(State::Requested), None);
        assert_eq!(Step::to(State::RequestDeclined), None);
    }

    fn steps() -> impl Strategy<Value = Vec<(Step, usize)>> {
        let step = prop::sample::select(Step::ALL.to_vec());
        prop::collection::vec((step, 0..=TOKENS_PER_PAN_MAX), 0..24)
    }

    proptest! {
        /// Over any history: final states stay, a change has its event from what was to what is, and
        /// nothing comes into use over the limit.
        #[test]
        fn any_history_keeps_the_rules(
            first in prop::sample::select(State::ALL.to_vec()),
            steps in steps(),
        ) {
            let mut token = token(first, Fulfilment::DecisionYellow);
            for (n, (step, counted)) in (1..).zip(steps) {
                // The token itself is among those that count.
                let counted = counted.max(usize::from(token.state.counts()));
                let at = START.plus(std::time::Duration::from_secs(n));
                let change = sample::wallet_change(1, step, at);
                match change.decide(Some(&token), counted) {
                    Err(Refused::Final(state)) => {
                        prop_assert_eq!(state, token.state);
                        prop_assert!(state.is_final());
                    }
                    Err(Refused::NotRequested(_)) => {
                        prop_assert_ne!(token.state, State::Requested);
                    }
                    Err(Refused::LimitReached) => {
                        prop_assert!(counted >= TOKENS_PER_PAN_MAX && !token.state.counts());
                    }
                    Err(Refused::Unknown) => prop_assert!(false, "it is there"),
                    Ok(Changed::Not(same)) => prop_assert_eq!(&same, &token),
                    Ok(Changed::To(next, event)) => {
                        prop_assert!(!token.state.is_final());
                        prop_assert_ne!(next.state, token.state);
                        prop_assert_ne!(next.state, State::Requested);
                        let came_in = next.state.counts() && !token.state.counts();
                        prop_assert!(!came_in || counted < TOKENS_PER_PAN_MAX);
                        prop_assert_eq!(event.detail.from.as_deref(), Some(token.state.as_str()));
                        prop_assert_eq!(event.detail.to.as_deref(), Some(next.state.as_str()));
                        prop_assert_eq!((event.at, next.updated_at), (at, at));
                        let kept = WalletToken {
                            state: token.state,
                            fulfilment: token.fulfilment,
                            updated_at: token.updated_at,
                            ..(*next).clone()
                        };
                        prop_assert_eq!(&kept, &token, "nothing else changes");
                        token = *next;
                    }
                }
            }
            let of_card = sample::event(Kind::CardChanged, START);
            match token.with_its_card(&of_card) {
                Some((ended, event)) => {
                    prop_assert!(!token.state.is_final());
                    prop_assert_eq!(ended.state, State::Terminated);
                    prop_assert_eq!(event.detail.from.as_deref(), Some(token.state.as_str()));
                }
                None => prop_assert!(token.state.is_final()),
            }
        }
    }
}
