//! Budgets of reveals: how often a card, and all cards of a person, may be asked for before a
//! second factor is, and how often at most. A rate limit holds up a caller for seconds; a budget
//! holds up whoever reads cards by the hour with a good credential.
//!
//! A client token for `VIEW_CARD`, an export and the telling of a PIN take one each from the card's
//! budget and from the person's. A budget fills up again evenly over its window: the rule is the
//! generic cell rate algorithm (ITU-T I.371 annex A), so that a budget is one moment in a store:
//! when it will be whole.
//!
//! **Invariant:** like [`crate::token`], no clock and no store are read here. The store applies
//! [`Charge::decide`] in the commit that writes what was charged for, so nodes that share a store
//! share its budgets, and no restart gives any of it back.

use std::time::Duration;

use crate::audit::{Event, Kind, Source, Target};
use crate::clock::Time;
use crate::id::{CardId, MerchantId, PersonId};

/// A budget. Made by [`Budget::new`] only, so that its numbers fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    free: u32,
    most: u32,
    each_ms: i64,
}

/// A budget's numbers do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a budget needs 1 <= most, free <= most, and a window of at least one millisecond each")]
pub struct Unfit;

impl Budget {
    /// `free` without a second factor and `most` with one, within `window`.
    pub fn new(free: u32, most: u32, window: Duration) -> Result<Self, Unfit> {
        let window_ms = i64::try_from(window.as_millis()).map_err(|_| Unfit)?;
        let each_ms = window_ms.checked_div(i64::from(most)).ok_or(Unfit)?;
        if free > most || each_ms < 1 {
            return Err(Unfit);
        }
        Ok(Self {
            free,
            most,
            each_ms,
        })
    }

    fn take(self, kept: Option<Level>, now: Time) -> Taken {
        let each = self.each_ms;
        let before = kept.map_or(0, |kept| self.used_ms(kept, now));
        let next = now.millis().saturating_add(before).saturating_add(each);
        let used = before.saturating_add(each);
        let level = Level {
            whole_at: Time::from_millis(next),
            charged_at: Some(now),
        };
        let until = |count: u32| Time::from_millis(next.saturating_sub(each * i64::from(count)));
        if used > each * i64::from(self.most) {
            Taken::Over {
                until: until(self.most),
                // Only where it was kept under another clock: else there is nothing to write.
                dated_anew: self.dated_anew(kept, now),
            }
        } else if used > each * i64::from(self.free) {
            Taken::WithFactor {
                level,
                until: until(self.free),
                dated_anew: self.dated_anew(kept, now),
            }
        } else {
            Taken::Free { level }
        }
    }

    /// How much of it is used, in milliseconds until it is whole: never more than all of it.
    fn used_ms(self, kept: Level, now: Time) -> i64 {
        let window = self.each_ms * i64::from(self.most);
        let left = |since: Time| kept.whole_at.millis().saturating_sub(since.millis());
        let used = match kept.charged_at {
            // Charged under a clock that was ahead, or this one is behind: what was used then is
            // used now, and no time has passed since.
            Some(charged_at) if charged_at.is_ahead_of(now) => left(charged_at),
            // By a program that does not say when. No clock that is right leads there; one was
            // taken.
            None if kept
                .whole_at
                .minus(Duration::from_millis(window.unsigned_abs()))
                .is_ahead_of(now) =>
            {
                self.each_ms
            }
            Some(_) | None => left(now),
        };
        used.clamp(0, window)
    }

    /// How many are used of it, the last of them perhaps in part.
    pub fn used(self, kept: Level, now: Time) -> u32 {
        let used = self
            .used_ms(kept, now)
            .unsigned_abs()
            .div_ceil(self.each_ms.unsigned_abs());
        u32::try_from(used).unwrap_or(self.most)
    }

    /// How many there are, with a second factor.
    pub const fn most(self) -> u32 {
        self.most
    }

    /// The same level by this clock, where it was kept under one that this one contradicts. Without
    /// it, what is used would stay so until the other clock's time comes.
    fn dated_anew(self, kept: Option<Level>, now: Time) -> Option<Level> {
        let kept = kept?;
        let used = Duration::from_millis(self.used_ms(kept, now).unsigned_abs());
        let anew = Level {
            whole_at: now.plus(used),
            charged_at: Some(now),
        };
        (anew.whole_at < kept.whole_at).then_some(anew)
    }
}

/// What taking one from a budget comes to.
enum Taken {
    Free {
        level: Level,
    },
    WithFactor {
        level: Level,
        until: Time,
        dated_anew: Option<Level>,
    },
    Over {
        until: Time,
        dated_anew: Option<Level>,
    },
}

/// The budgets of a deployment; `None` is without bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Of each card.
    pub card: Option<Budget>,
    /// Of each person at each merchant.
    pub person: Option<Budget>,
}

/// One reveal to be charged for.
#[derive(Clone, Debug)]
pub struct Charge {
    pub budgets: Budgets,
    /// Whose card.
    pub merchant: MerchantId,
    pub card: CardId,
    pub person: PersonId,
    /// Whether a second factor stands behind it.
    pub second_factor: bool,
    pub at: Time,
}

/// Whose budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    Card(CardId),
    /// A person's at one merchant.
    Person(MerchantId, PersonId),
}

impl Of {
    /// The name by which a store keeps it: `c` and the card's id, or `p`, the person's id and the
    /// merchant's.
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Card(card) => [b"c", &card.as_bytes()[..]].concat(),
            Self::Person(merchant, person) => {
                [b"p", &person.as_bytes()[..], merchant.as_str().as_bytes()].concat()
            }
        }
    }
}

/// How far a budget is used, as a store keeps it. What it has not, or what has passed, is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// When it will be whole again.
    pub whole_at: Time,
    /// When it was last charged; unknown where a program of an older version wrote it.
    pub charged_at: Option<Time>,
}

/// The levels of a card's and a person's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    pub card: Option<Level>,
    pub person: Option<Level>,
}

/// An operator's wish that a budget be whole again.
#[derive(Clone, Debug)]
pub struct Reset {
    pub of: Of,
    /// At which merchant.
    pub merchant: MerchantId,
    /// The budget, where it is bounded.
    pub budget: Option<Budget>,
    pub at: Time,
    /// Who wants it.
    pub source: Source,
}

impl Reset {
    /// The record of it, given the level as it is; the store forgets that. `None` where nothing is
    /// kept.
    pub fn decide(&self, kept: Option<Level>) -> Option<Event> {
        let kept = kept?;
        let target = match self.of {
            Of::Card(card) => Target {
                card: Some(card),
                ..Target::default()
            },
            Of::Person(_, person) => Target {
                person: Some(person),
                ..Target::default()
            },
        };
        let merchant = Some(self.merchant.clone());
        let mut event = self
            .source
            .event(self.at, Kind::BudgetReset, merchant, target);
        let used = self.budget.map(|it| (it.used(kept, self.at), it.most));
        let used = used.map_or_else(String::new, |(used, most)| {
            format!("{used} of {most} used, ")
        });
        event.detail.from = Some(format!("{used}whole at {}", kept.whole_at).into());
        event.detail.to = Some("whole".into());
        Some(event)
    }
}

/// What was decided of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decided {
    /// The levels to be written: once what it is for is written, or at once when it is refused.
    /// `None` leaves a level as it is.
    pub write: Levels,
    /// Whether it is granted.
    pub verdict: Result<(), Overdrawn>,
}

/// Why a reveal is not granted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdrawn {
    /// With a second factor it would be. Without one from `until` on.
    NeedsFactor {
        /// When it would be granted without one.
        until: Time,
    },
    /// It is not, whatever stands behind it.
    Exhausted {
        /// When it would be granted.
        until: Time,
    },
}

impl Charge {
    /// The card's budget.
    pub const fn of_card(&self) -> Of {
        Of::Card(self.card)
    }

    pub fn of_person(&self) -> Of {
        Of::Person(self.merchant.clone(), self.person)
    }

    /// Which budgets get which of these levels.
    pub fn levels(&self, write: Levels) -> impl Iterator<Item = (Of, Level)> {
        let card = write.card.map(|level| (self.of_card(), level));
        let person = write.person.map(|level| (self.of_person(), level));
        card.into_iter().chain(person)
    }

    /// Whether it is granted, and what is to be kept. What is refused is not charged; but a level
    /// that was kept under a clock which this one contradicts is dated anew, or nobody would get
    /// anything until that clock's time comes.
    pub fn decide(&self, kept: &Levels) -> Decided {
        let take = |budget: Option<Budget>, level| budget.map(|b| b.take(level, self.at));
        let [card, person] = [
            take(self.budgets.card, kept.card),
            take(self.budgets.person, kept.person),
        ];
        let mut exhausted = None;
        let mut needs_factor = None;
        for taken in [&card, &person].into_iter().flatten() {
            match taken {
                Taken::Over { until, .. } => exhausted = exhausted.max(Some(*until)),
                Taken::WithFactor { until, .. } => needs_factor = needs_factor.max(Some(*until)),
                Taken::Free { .. } => {}
            }
        }
        let needs_factor = needs_factor.filter(|_| !self.second_factor);
        let refused = match (exhausted, needs_factor) {
            (Some(until), _) => Some(Overdrawn::Exhausted { until }),
            (None, Some(until)) => Some(Overdrawn::NeedsFactor { until }),
            (None, None) => None,
        };
        let to_write = |taken: Option<Taken>| match refused {
            Some(_) => taken.and_then(Taken::refused),
            None => taken.and_then(Taken::granted),
        };
        Decided {
            write: Levels {
                card: to_write(card),
                person: to_write(person),
            },
            verdict: refused.map_or(Ok(()), Err),
        }
    }
}

impl Taken {
    const fn granted(self) -> Option<Level> {
        match self {
            Self::Free { level } | Self::WithFactor { level, .. } => Some(level),
            Self::Over { .. } => None,
        }
    }

    const fn refused(self) -> Option<Level> {
        match self {
            Self::Free { .. } => None,
            Self::WithFactor { dated_anew, .. } | Self::Over { dated_anew, .. } => dated_anew,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn charge(budgets: Budgets, at: i64, second_factor: bool) -> Charge {
        Charge {
            budgets,
            merchant: MerchantId::parse("mer_1").unwrap(),
            card: CardId::from_bytes([1; 16]),
            person: PersonId::from_bytes([2; 16]),
            second_factor,
            at: Time::from_millis(at),
        }
    }

    fn of_card(budget: Budget) -> Budgets {
        Budgets {
            card: Some(budget),
            person: None,
        }
    }

    fn granted(charge: &Charge, kept: &Levels) -> Levels {
        let decided = charge.decide(kept);
        assert_eq!(decided.verdict, Ok(()));
        decided.write
    }

    #[test]
    fn first_free_then_with_a_second_factor_then_not_at_all() {
        let budgets = of_card(Budget::new(2, 4, DAY).unwrap());
        let each = 86_400_000 / 4;
        let mut kept = Levels::default();
        for _ in 0..2 {
            kept = granted(&charge(budgets, 0, false), &kept);
        }
        let until = Time::from_millis(each);
        let refused = charge(budgets, 0, false).decide(&kept).verdict;
        assert_eq!(refused, Err(Overdrawn::NeedsFactor { until }));
        for _ in 0..2 {
            kept = granted(&charge(budgets, 0, true), &kept);
        }
        let refused = charge(budgets, 0, true).decide(&kept).verdict;
        assert_eq!(refused, Err(Overdrawn::Exhausted { until }));
        assert!(
            charge(budgets, each - 1, true)
                .decide(&kept)
                .verdict
                .is_err()
        );
        assert!(charge(budgets, each, true).decide(&kept).verdict.is_ok());
    }

    #[test]
    fn the_tighter_of_two_budgets_decides_and_neither_is_charged_alone() {
        let budgets = Budgets {
            card: Some(Budget::new(5, 5, DAY).unwrap()),
            person: Some(Budget::new(1, 1, DAY).unwrap()),
        };
        let kept = granted(&charge(budgets, 0, false), &Levels::default());
        assert!(kept.card.unwrap().whole_at < kept.person.unwrap().whole_at);
        let until = Time::from_millis(86_400_000);
        let refused = charge(budgets, 0, true).decide(&kept).verdict;
        assert_eq!(refused, Err(Overdrawn::Exhausted { until }));
    }

    #[test]
    fn numbers_fit_each_other() {
        assert_eq!(Budget::new(3, 2, DAY), Err(Unfit));
        assert_eq!(Budget::new(0, 0, DAY), Err(Unfit));
        assert_eq!(Budget::new(1, 10, Duration::from_millis(9)), Err(Unfit));
        assert!(Budget::new(0, 1, Duration::from_millis(1)).is_ok());
    }

    proptest! {
        /// However the reveals fall, no window holds more than `most` twice over, and none starts
        /// with more than `most`; those without a second factor never more than `free` at once.
        #[test]
        fn no_window_holds_more_than_twice_the_most(
            free in 0_u32..5, more in 1_u32..5,
            calls in prop::collection::vec((0_i64..2_000, any::<bool>()), 1..200),
        ) {
            let window = 1_000;
            let most = free + more;
            let budget = Budget::new(free, most, Duration::from_millis(window)).unwrap();
            let (mut now, mut kept, mut granted) = (0, Levels::default(), Vec::new());
            for (pause, factor) in calls {
                now += pause / 10;
                let decided = charge(of_card(budget), now, factor).decide(&kept);
                match decided.verdict {
                    Ok(()) => { kept = decided.write; granted.push(now); }
                    Err(Overdrawn::Exhausted { until } | Overdrawn::NeedsFactor { until }) => {
                        prop_assert!(until.millis() > now);
                        prop_assert!(until.millis() <= now + 1_000 + 1);
                        let again = charge(of_card(budget), until.millis(), true).decide(&kept);
                        prop_assert!(again.verdict.is_ok());
                        prop_assert_eq!(decided.write, Levels::default());
                    }
                }
            }
            for (place, from) in granted.iter().enumerate() {
                let within = granted.iter().skip(place).filter(|at| **at < from + 1_000).count();
                // The window's rounding by whole milliseconds may give one more.
                prop_assert!(within <= 2 * usize::try_from(most).unwrap() + 1);
            }
        }

        /// A clock set back refuses rather than renews.
        #[test]
        fn a_clock_set_back_gives_nothing_back(back in 0_i64..10_000) {
            let budgets = of_card(Budget::new(1, 1, Duration::from_secs(1)).unwrap());
            let kept = granted(&charge(budgets, 10_000, false), &Levels::default());
            let again = charge(budgets, 10_000 - back, true).decide(&kept);
            prop_assert!(again.verdict.is_err());
        }

        /// However far a clock jumps and however much is taken there: once it is right again,
        /// nobody waits for longer than a window, and no more is given than the budget holds.
        #[test]
        fn a_clock_that_jumped_locks_nobody_out(
            free in 0_u32..4, more in 1_u32..4, jump in prop_oneof![
                -200_000_000_000_i64..200_000_000_000, Just(i64::MAX), Just(i64::MIN)],
            before in 0_u32..9, there in 0_u32..9, dated in any::<bool>(),
        ) {
            const NOW: i64 = 1_800_000_000_000;
            let most = free + more;
            let budgets = of_card(Budget::new(free, most, DAY).unwrap());
            let mut kept = Levels::default();
            let take = |kept: &mut Levels, at: i64| {
                let decided = charge(budgets, at, true).decide(kept);
                kept.card = decided.write.card.or(kept.card);
                if !dated && let Some(level) = &mut kept.card {
                    level.charged_at = None;
                }
                decided.verdict.is_ok()
            };
            for _ in 0..before { take(&mut kept, NOW); }
            for _ in 0..there { take(&mut kept, NOW.saturating_add(jump)); }
            let now = (0..2 * most).filter(|_| take(&mut kept, NOW)).count();
            prop_assert!(now <= usize::try_from(most).unwrap());
            let later = (0..most).filter(|_| take(&mut kept, NOW + 86_400_000)).count();
            prop_assert_eq!(later, usize::try_from(most).unwrap(), "whole a window later");
        }
    }

    #[test]
    fn one_token_of_a_clock_ahead_counts_as_one() {
        let budgets = of_card(Budget::new(2, 4, DAY).unwrap());
        let (now, day) = (1_800_000_000_000_i64, 86_400_000_i64);
        for ahead in [61_000, day / 2, 2 * day, 80 * 365 * day, 600 * 365 * day] {
            let kept = granted(&charge(budgets, now + ahead, false), &Levels::default());
            let second = granted(&charge(budgets, now, false), &kept);
            assert_eq!(
                second.card.unwrap().whole_at.millis(),
                now + day / 2,
                "{ahead}"
            );
            let third = charge(budgets, now, false).decide(&second).verdict;
            assert!(
                matches!(third, Err(Overdrawn::NeedsFactor { .. })),
                "{ahead}"
            );
        }
    }

    #[test]
    fn what_was_used_up_under_a_clock_ahead_is_whole_a_window_after_it_was_right() {
        let budgets = of_card(Budget::new(1, 1, DAY).unwrap());
        let (now, day) = (1_800_000_000_000_i64, 86_400_000_i64);
        let kept = granted(
            &charge(budgets, now + 80 * 365 * day, true),
            &Levels::default(),
        );
        let refused = charge(budgets, now, true).decide(&kept);
        let until = Time::from_millis(now + day);
        assert_eq!(refused.verdict, Err(Overdrawn::Exhausted { until }));
        let kept = refused.write;
        assert!(
            charge(budgets, now + day - 1, true)
                .decide(&kept)
                .verdict
                .is_err()
        );
        assert!(
            charge(budgets, now + day, true)
                .decide(&kept)
                .verdict
                .is_ok()
        );
    }

    #[test]
    fn clocks_that_differ_as_they_may_share_a_budget() {
        let budgets = of_card(Budget::new(1, 1, DAY).unwrap());
        let (now, day) = (1_800_000_000_000_i64, 86_400_000_i64);
        let kept = granted(&charge(budgets, now + 60_000, true), &Levels::default());
        let behind = charge(budgets, now, true).decide(&kept);
        assert!(behind.verdict.is_err());
        let until = charge(budgets, now + day, true).decide(&kept);
        assert!(
            until.verdict.is_err(),
            "not before the clock that charged it says so"
        );
    }
}
