//! How a card is changed: a request with everything in it, and a pure decision over the card as it
//! then is, which holds the card's next form and its audit event in one value.
//!
//! **Invariant:** it reads no clock and no store, and there is no next form without its event.

use super::{Card, Label, Reason, State};
use crate::audit::{Event, Kind, Source, Target};
use crate::clock::Time;
use crate::id::MerchantId;
use crate::port::CardRef;

/// What was decided, and what must be durable before anyone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decided {
    /// To be written first, in one commit.
    pub write: Option<(Box<Card>, Event)>,
    /// To be told then.
    pub verdict: Changed,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made; the card as it is now.
    Done(Box<Card>),
    /// It was so already. Nothing was written.
    Already(Box<Card>),
    /// The card's state, which is this one, does not lead there. Nothing was written.
    Refused(State),
    /// The merchant has no such card.
    Unknown,
}

/// A wish that a card go to another state.
#[derive(Clone, Debug)]
pub struct Transition {
    /// Of which merchant.
    pub merchant: MerchantId,
    /// Which card.
    pub card: CardRef,
    /// To which state.
    pub to: State,
    /// Only out of one of these, when a dialect allows less than [`State::next`] does (KeySecure's
    /// card/status/update activates a frozen card and no other). A card that is in `to` already is
    /// no refusal.
    pub from: Option<&'static [State]>,
    /// Why, in the caller's words.
    pub reason: Option<Reason>,
    /// When.
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

impl Transition {
    /// Applies the machine to the card as it is.
    pub fn decide(&self, card: Option<&Card>) -> Decided {
        let Some(card) = card else {
            return nothing(Changed::Unknown);
        };
        if card.state == self.to {
            return nothing(Changed::Already(Box::new(card.clone())));
        }
        let allowed = self.from.is_none_or(|from| from.contains(&card.state));
        if !allowed || !card.state.leads_to(self.to) {
            return nothing(Changed::Refused(card.state));
        }
        let next = Card {
            state: self.to,
            updated_at: self.at,
            ..card.clone()
        };
        let mut event = changed_event(&self.source, self.at, card);
        event.detail.from = Some(card.state.as_str().into());
        event.detail.to = Some(self.to.as_str().into());
        event.detail.reason = self.reason.clone().map(String::from);
        done(next, event)
    }
}

/// A wish that a card be called otherwise.
#[derive(Clone, Debug)]
pub struct Relabel {
    /// Of which merchant.
    pub merchant: MerchantId,
    /// Which card.
    pub card: CardRef,
    /// What people call it.
    pub label: Label,
    /// When.
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

impl Relabel {
    /// A card may be called otherwise in any state. The label itself is not in the event: people
    /// write names of people there.
    pub fn decide(&self, card: Option<&Card>) -> Decided {
        let Some(card) = card else {
            return nothing(Changed::Unknown);
        };
        if card.label == self.label.as_str() {
            return nothing(Changed::Already(Box::new(card.clone())));
        }
        let next = Card {
            label: self.label.clone().into(),
            updated_at: self.at,
            ..card.clone()
        };
        let mut event = changed_event(&self.source, self.at, card);
        event.detail.note = Some("label".into());
        done(next, event)
    }
}

fn changed_event(source: &Source, at: Time, card: &Card) -> Event {
    let target = Target {
        card: Some(card.id),
        ..Target::default()
    };
    source.event(at, Kind::CardChanged, Some(card.merchant.clone()), target)
}

const fn nothing(verdict: Changed) -> Decided {
    Decided {
        write: None,
        verdict,
    }
}

fn done(next: Card, event: Event) -> Decided {
    let next = Box::new(next);
    Decided {
        write: Some((next.clone(), event)),
        verdict: Changed::Done(next),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::audit::Topic;
    use crate::testing::sample::{self, START};

    fn to(state: State, secs: u64) -> Transition {
        Transition {
            merchant: sample::merchant(1).id,
            card: CardRef::Id(sample::card(1).id),
            to: state,
            from: None,
            reason: Some(Reason::parse("as asked").unwrap()),
            at: START.plus(Duration::from_secs(secs)),
            source: sample::operator(),
        }
    }

    proptest! {
        /// Every event says truly where the card came from and where it went, a card that does not
        /// move has none, and one that was asked for what it is has succeeded.
        #[test]
        fn every_event_tells_the_step_that_was_made(
            start in select(State::ALL.to_vec()),
            asked in prop::collection::vec(select(State::ALL.to_vec()), 0..30),
        ) {
            let mut card = sample::card(1);
            card.state = start;
            for (secs, state) in (1..).zip(asked) {
                let before = card.clone();
                let decided = to(state, secs).decide(Some(&card));
                match (&decided.verdict, decided.write) {
                    (Changed::Done(told), Some((next, event))) => {
                        prop_assert_eq!(told, &next);
                        prop_assert_eq!(event.detail.from.as_deref(), Some(before.state.as_str()));
                        prop_assert_eq!(event.detail.to.as_deref(), Some(next.state.as_str()));
                        prop_assert_eq!(event.detail.reason.as_deref(), Some("as asked"));
                        prop_assert_eq!(event.target.card, Some(card.id));
                        prop_assert_eq!(event.topic(), Some(Topic::CardState));
                        prop_assert_eq!((event.at, next.state), (next.updated_at, state));
                        prop_assert!(before.state.leads_to(state));
                        card = *next;
                        prop_assert_eq!(&before, &Card {
                            state: before.state,
                            updated_at: before.updated_at,
                            ..card.clone()
                        });
                    }
                    (Changed::Already(told), None) => {
                        prop_assert_eq!(&**told, &before);
                        prop_assert_eq!(before.state, state);
                    }
                    (Changed::Refused(from), None) => {
                        prop_assert_eq!(*from, before.state);
                        prop_assert!(!before.state.leads_to(state) && before.state != state);
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_dialect_may_allow_fewer_steps_and_never_more() {
        const FROZEN: &[State] = &[State::Suspended];
        const ANY: &[State] = &State::ALL;
        let ask = |from: State, allowed: &'static [State], state: State| {
            let mut card = sample::card(1);
            card.state = from;
            let transition = Transition {
                from: Some(allowed),
                ..to(state, 1)
            };
            transition.decide(Some(&card)).verdict
        };
        assert!(matches!(
            ask(State::Suspended, FROZEN, State::Active),
            Changed::Done(_)
        ));
        assert_eq!(
            ask(State::Unactivated, FROZEN, State::Active),
            Changed::Refused(State::Unactivated)
        );
        assert!(matches!(
            ask(State::Active, FROZEN, State::Active),
            Changed::Already(_)
        ));
        assert_eq!(
            ask(State::Terminated, ANY, State::Active),
            Changed::Refused(State::Terminated)
        );
        assert_eq!(to(State::Active, 1).decide(None).verdict, Changed::Unknown);
    }

    #[test]
    fn a_label_is_no_news_to_merchants_and_not_in_the_record() {
        let relabel = |label: &str| Relabel {
            merchant: sample::merchant(1).id,
            card: CardRef::Id(sample::card(1).id),
            label: Label::parse(label).unwrap(),
            at: START.plus(Duration::from_secs(1)),
            source: sample::operator(),
        };
        let card = sample::card(1);
        let (next, event) = relabel("Petrol").decide(Some(&card)).write.unwrap();
        assert_eq!((next.label.as_str(), event.topic()), ("Petrol", None));
        assert!(!serde_json::to_string(&event).unwrap().contains("Petrol"));
        let same = relabel(&card.label).decide(Some(&card));
        assert_eq!(same.write, None);
    }
}
