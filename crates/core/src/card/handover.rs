//! What a merchant's server gets of a card's secret values, or proves to know of them: an export of
//! its data, and the activation of a physical card by its CVV and last four digits. Each is a request
//! and a pure decision over the card as it then is, with everything to write in the same value.
//!
//! **Invariant:** an export is decided together with its record: no state in which a card is not
//! shown lets one out, whatever happened since it was looked at.
//!
//! **Invariant:** an activation that proves nothing counts. After [`GUESSES_MAX`] within
//! [`GUESSES_WINDOW`] a card is not activated by any proof, right ones included, so that three digits
//! cannot be tried out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Card, Changed, Kind, Reason, State, Transition};
use crate::audit::{Event, Kind as EventKind, Outcome, Source, Target};
use crate::budget::{Charge, Overdrawn};
use crate::clock::Time;
use crate::id::MerchantId;
use crate::port::CardRef;

/// So many wrong proofs block the way.
pub const GUESSES_MAX: usize = 5;
/// For so long each of them counts.
pub const GUESSES_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// Card data is about to leave for a merchant's server.
#[derive(Clone, Debug)]
pub struct Export {
    /// Of which merchant.
    pub merchant: MerchantId,
    /// Which card.
    pub card: CardRef,
    /// Its record.
    pub event: Event,
    /// Who, and from where.
    pub source: Source,
    /// Set when it is charged to budgets: charged in the commit that records it.
    pub charge: Option<Charge>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// It may leave: the record is durable.
    Recorded,
    /// The card is in this state by now. Nothing was written.
    Refused(State),
    /// The merchant has no such card. Nothing was written.
    Unknown,
    /// A budget does not allow it. Nothing was written.
    Overdrawn(Overdrawn),
}

/// What is to be written in one commit, and told then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decided<V> {
    /// The card's next form, where it changes.
    pub card: Option<Box<Card>>,
    /// The wrong proofs that count from now on, where they change.
    pub guesses: Option<Guesses>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// What to tell.
    pub verdict: V,
}

impl<V> Decided<V> {
    pub(in crate::card) const fn nothing(verdict: V) -> Self {
        Self {
            card: None,
            guesses: None,
            events: Vec::new(),
            verdict,
        }
    }
}

impl Export {
    /// Decides over the card as it is. A virtual card that was never used comes into use when its
    /// details are first shown (Equals, "About card states"), to a merchant's server too.
    pub fn decide(&self, card: Option<&Card>) -> Decided<Exported> {
        let Some(card) = card else {
            return Decided::nothing(Exported::Unknown);
        };
        if !card.viewable() {
            return Decided::nothing(Exported::Refused(card.state));
        }
        let mut decided = Decided::nothing(Exported::Recorded);
        decided.events.push(self.event.clone());
        if card.state == State::Unactivated {
            let shown = Transition {
                merchant: self.merchant.clone(),
                card: self.card.clone(),
                to: State::Active,
                from: None,
                reason: Some(Reason::details_shown()),
                at: self.event.at,
                source: self.source.clone(),
            };
            if let Some((next, event)) = shown.decide(Some(card)).write {
                decided.card = Some(next);
                decided.events.push(event);
            }
        }
        decided
    }
}

/// When wrong proofs were brought for a card, oldest first; at most [`GUESSES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Guesses(Vec<Time>);

impl Guesses {
    /// Those that still count. One of a clock that was ahead counts from now on.
    fn counting(&self, now: Time) -> Vec<Time> {
        let dated = |at: &Time| if at.is_ahead_of(now) { now } else { *at };
        let counts = |at: &Time| now < at.plus(GUESSES_WINDOW);
        self.0.iter().map(dated).filter(counts).collect()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A merchant's server wants a physical card activated.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Of which merchant.
    pub merchant: MerchantId,
    /// Which card.
    pub card: CardRef,
    /// Whether what it brought proves that somebody has the card.
    pub proven: bool,
    /// When.
    pub at: Time,
    /// Who, and from where.
    pub source: Source,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// The card is in use.
    Done,
    /// The proof is wrong. It counts.
    Wrong,
    /// There were too many wrong ones. This one was not looked at.
    Blocked,
    /// The card is virtual.
    NotPhysical,
    /// The card is in this state, which does not lead there.
    Refused(State),
    /// The merchant has no such card.
    Unknown,
}

impl Activation {
    /// Decides over the card and its wrong proofs as they are. A card that is in use already is no
    /// refusal to who proves to have it: an answer may have been lost.
    pub fn decide(&self, card: Option<&Card>, guesses: &Guesses) -> Decided<Activated> {
        let Some(card) = card else {
            return Decided::nothing(Activated::Unknown);
        };
        if card.kind != Kind::Physical {
            return Decided::nothing(Activated::NotPhysical);
        }
        if !matches!(card.state, State::Unactivated | State::Active) {
            return Decided::nothing(Activated::Refused(card.state));
        }
        let mut counting = guesses.counting(self.at);
        if counting.len() >= GUESSES_MAX {
            return Decided {
                // Kept as they are dated now, or they would count until another clock's time.
                guesses: Some(Guesses(counting))
                    .filter(|dated| dated.0.iter().any(|at| !guesses.0.contains(at))),
                ..Decided::nothing(Activated::Blocked)
            };
        }
        if !self.proven {
            counting.push(self.at);
            return Decided {
                guesses: Some(Guesses(counting)),
                events: vec![self.refused(card)],
                ..Decided::nothing(Activated::Wrong)
            };
        }
        let transition = Transition {
            merchant: self.merchant.clone(),
            card: self.card.clone(),
            to: State::Active,
            from: None,
            reason: None,
            at: self.at,
            source: self.source.clone(),
        };
        let moved = transition.decide(Some(card));
        let (next, event) = moved.write.unzip();
        Decided {
            card: next,
            guesses: Some(Guesses::default()).filter(|none| none != guesses),
            events: event.into_iter().collect(),
            verdict: match moved.verdict {
                Changed::Done(_) | Changed::Already(_) => Activated::Done,
                Changed::Refused(state) => Activated::Refused(state),
                Changed::Unknown => Activated::Unknown,
            },
        }
    }

    fn refused(&self, card: &Card) -> Event {
        let target = Target {
            card: Some(card.id),
            ..Target::default()
        };
        let merchant = Some(card.merchant.clone());
        Event {
            outcome: Outcome::Failure,
            ..self
                .source
                .event(self.at, EventKind::CardActivationRefused, merchant, target)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::testing::sample::{self, START};

    fn card(kind: Kind, state: State) -> Card {
        Card {
            kind,
            state,
            ..sample::card(1)
        }
    }

    fn activation(proven: bool, at: Time) -> Activation {
        Activation {
            merchant: sample::merchant(1).id,
            card: CardRef::Id(sample::card(1).id),
            proven,
            at,
            source: sample::operator(),
        }
    }

    #[test]
    fn only_a_physical_card_that_waits_for_it_is_activated() {
        for kind in [Kind::Physical, Kind::Virtual] {
            for state in State::ALL {
                let card = card(kind, state);
                let decided = activation(true, START).decide(Some(&card), &Guesses::default());
                let expected = match (kind, state) {
                    (Kind::Virtual, _) => Activated::NotPhysical,
                    (Kind::Physical, State::Unactivated | State::Active) => Activated::Done,
                    (Kind::Physical, _) => Activated::Refused(state),
                };
                assert_eq!(decided.verdict, expected, "{kind:?} {state:?}");
                let moves = (kind, state) == (Kind::Physical, State::Unactivated);
                assert_eq!(decided.card.is_some(), moves);
                assert_eq!(decided.events.len(), usize::from(moves));
            }
        }
    }

    #[test]
    fn the_sixth_within_a_day_is_not_looked_at_and_a_day_later_it_is() {
        let card = card(Kind::Physical, State::Unactivated);
        let mut guesses = Guesses::default();
        for n in 0..5 {
            let at = START.plus(Duration::from_secs(n));
            let decided = activation(false, at).decide(Some(&card), &guesses);
            assert_eq!(decided.verdict, Activated::Wrong);
            assert_eq!(decided.events[0].outcome, Outcome::Failure);
            guesses = decided.guesses.unwrap();
        }
        let day = START.plus(GUESSES_WINDOW);
        for at in [
            START.plus(Duration::from_secs(5)),
            Time::from_millis(day.millis() - 1),
        ] {
            let right = activation(true, at).decide(Some(&card), &guesses);
            assert_eq!(right, Decided::nothing(Activated::Blocked));
        }
        let right = activation(true, day).decide(Some(&card), &guesses);
        assert_eq!(right.verdict, Activated::Done);
        assert_eq!(right.guesses, Some(Guesses::default()));
    }

    #[test]
    fn wrong_ones_of_a_clock_ahead_block_for_a_day_after_it_was_right() {
        let card = card(Kind::Physical, State::Unactivated);
        for ahead_days in [2, 80 * 365, 600 * 365] {
            let ahead = START.plus(Duration::from_secs(ahead_days * 86_400));
            let mut guesses = Guesses::default();
            for _ in 0..5 {
                let decided = activation(false, ahead).decide(Some(&card), &guesses);
                guesses = decided.guesses.unwrap();
            }
            let blocked = activation(true, START).decide(Some(&card), &guesses);
            assert_eq!(blocked.verdict, Activated::Blocked);
            let guesses = blocked.guesses.unwrap();
            let again = activation(true, START).decide(Some(&card), &guesses);
            assert_eq!(again, Decided::nothing(Activated::Blocked), "written once");
            let day = START.plus(GUESSES_WINDOW);
            let before = Time::from_millis(day.millis() - 1);
            let right = |at| activation(true, at).decide(Some(&card), &guesses).verdict;
            assert_eq!(right(before), Activated::Blocked);
            assert_eq!(right(day), Activated::Done);
        }
    }

    proptest! {
        /// However the tries lie in time, no window of a day has more than five that were looked at,
        /// and a card is never activated by a wrong one.
        #[test]
        fn no_day_has_more_than_five_guesses(waits in proptest::collection::vec(0_u64..30_000, 1..200)) {
            let card = card(Kind::Physical, State::Unactivated);
            let mut guesses = Guesses::default();
            let (mut at, mut looked_at) = (START, Vec::new());
            for secs in waits {
                at = at.plus(Duration::from_secs(secs));
                let decided = activation(false, at).decide(Some(&card), &guesses);
                prop_assert!(decided.card.is_none());
                if decided.verdict == Activated::Wrong {
                    looked_at.push(at);
                }
                guesses = decided.guesses.unwrap_or(guesses);
                prop_assert!(guesses.0.len() <= GUESSES_MAX);
            }
            for six in looked_at.windows(6) {
                prop_assert!(six[5] >= six[0].plus(GUESSES_WINDOW));
            }
        }

        #[test]
        fn an_export_is_recorded_only_of_a_card_that_is_shown(
            state in select(State::ALL.to_vec()),
            kind in select(vec![Kind::Virtual, Kind::Physical]),
        ) {
            let card = card(kind, state);
            let export = Export {
                merchant: card.merchant.clone(),
                card: CardRef::Id(card.id),
                event: sample::event(EventKind::CardExported, START),
                source: sample::operator(),
                charge: None,
            };
            let decided = export.decide(Some(&card));
            if card.viewable() {
                prop_assert_eq!(decided.verdict, Exported::Recorded);
                prop_assert_eq!(decided.events[0].kind, EventKind::CardExported);
                let comes_into_use = state == State::Unactivated;
                prop_assert_eq!(decided.card.is_some(), comes_into_use);
                prop_assert_eq!(decided.events.len(), 1 + usize::from(comes_into_use));
            } else {
                prop_assert_eq!(decided, Decided::nothing(Exported::Refused(state)));
            }
        }
    }
}
