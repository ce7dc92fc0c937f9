//! Budgets of reveals: how often a card, and all cards of a person, may be asked for before a second
//! factor is, and how often at most. A rate limit holds up a caller for seconds; a budget holds up
//! whoever reads cards by the hour with a good credential.
//!
//! A client token for `VIEW_CARD`, an export and the telling of a PIN take one each from the card's
//! budget and from the person's. A budget fills up again evenly over its window: the rule is the generic cell rate
//! algorithm (ITU-T I.371 annex A), so that a budget is one moment in a store: when it will be whole.
//!
//! **Invariant:** like [`crate::token`], no clock and no store are read here. The store applies
//! [`Charge::decide`] in the commit that writes what was charged for, so nodes that share a store
//! share its budgets, and no restart gives any of it back.

use std::time::Duration;

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

    /// Takes one, given when the budget would be whole again.
    fn take(self, whole_at: Option<Time>, now: Time) -> Taken {
        let each = self.each_ms;
        let from = whole_at.unwrap_or(now).max(now).millis();
        let next = from.saturating_add(each);
        let used = next.saturating_sub(now.millis());
        let until = |count: u32| Time::from_millis(next.saturating_sub(each * i64::from(count)));
        if used > each * i64::from(self.most) {
            Taken::Over {
                until: until(self.most),
            }
        } else if used > each * i64::from(self.free) {
            Taken::WithFactor {
                whole_at: Time::from_millis(next),
                until: until(self.free),
            }
        } else {
            Taken::Free {
                whole_at: Time::from_millis(next),
            }
        }
    }
}

/// What taking one from a budget comes to.
enum Taken {
    Free { whole_at: Time },
    WithFactor { whole_at: Time, until: Time },
    Over { until: Time },
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
    /// The budgets.
    pub budgets: Budgets,
    /// Whose card.
    pub merchant: MerchantId,
    /// Which one.
    pub card: CardId,
    /// Of which person.
    pub person: PersonId,
    /// Whether a second factor stands behind it.
    pub second_factor: bool,
    /// When.
    pub at: Time,
}

/// What a store keeps of a card's and a person's budget: when each will be whole again. What it has
/// not, or what has passed, is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WholeAt {
    /// The card's.
    pub card: Option<Time>,
    /// The person's.
    pub person: Option<Time>,
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
    /// What is to be kept once it is granted, or why it is not. What is refused is not charged.
    pub fn decide(&self, kept: &WholeAt) -> Result<WholeAt, Overdrawn> {
        let take = |budget: Option<Budget>, whole_at| budget.map(|b| b.take(whole_at, self.at));
        let taken = [
            take(self.budgets.card, kept.card),
            take(self.budgets.person, kept.person),
        ];
        let mut exhausted = None;
        let mut needs_factor = None;
        for taken in taken.iter().flatten() {
            match taken {
                Taken::Over { until } => exhausted = exhausted.max(Some(*until)),
                Taken::WithFactor { until, .. } => needs_factor = needs_factor.max(Some(*until)),
                Taken::Free { .. } => {}
            }
        }
        if let Some(until) = exhausted {
            return Err(Overdrawn::Exhausted { until });
        }
        if let Some(until) = needs_factor.filter(|_| !self.second_factor) {
            return Err(Overdrawn::NeedsFactor { until });
        }
        let [card, person] = taken.map(|taken| taken.and_then(Taken::whole_at));
        Ok(WholeAt { card, person })
    }
}

impl Taken {
    const fn whole_at(self) -> Option<Time> {
        match self {
            Self::Free { whole_at } | Self::WithFactor { whole_at, .. } => Some(whole_at),
            Self::Over { .. } => None,
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

    #[test]
    fn first_free_then_with_a_second_factor_then_not_at_all() {
        let budgets = of_card(Budget::new(2, 4, DAY).unwrap());
        let each = 86_400_000 / 4;
        let mut kept = WholeAt::default();
        for _ in 0..2 {
            kept = charge(budgets, 0, false).decide(&kept).unwrap();
        }
        let until = Time::from_millis(each);
        let refused = charge(budgets, 0, false).decide(&kept);
        assert_eq!(refused, Err(Overdrawn::NeedsFactor { until }));
        for _ in 0..2 {
            kept = charge(budgets, 0, true).decide(&kept).unwrap();
        }
        let refused = charge(budgets, 0, true).decide(&kept);
        assert_eq!(refused, Err(Overdrawn::Exhausted { until }));
        assert!(charge(budgets, each - 1, true).decide(&kept).is_err());
        assert!(charge(budgets, each, true).decide(&kept).is_ok());
    }

    #[test]
    fn the_tighter_of_two_budgets_decides_and_neither_is_charged_alone() {
        let budgets = Budgets {
            card: Some(Budget::new(5, 5, DAY).unwrap()),
            person: Some(Budget::new(1, 1, DAY).unwrap()),
        };
        let kept = charge(budgets, 0, false).decide(&WholeAt::default());
        let kept = kept.unwrap();
        assert!(kept.card < kept.person);
        let until = Time::from_millis(86_400_000);
        let refused = charge(budgets, 0, true).decide(&kept);
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
            let (mut now, mut kept, mut granted) = (0, WholeAt::default(), Vec::new());
            for (pause, factor) in calls {
                now += pause / 10;
                match charge(of_card(budget), now, factor).decide(&kept) {
                    Ok(next) => { kept = next; granted.push(now); }
                    Err(Overdrawn::Exhausted { until } | Overdrawn::NeedsFactor { until }) => {
                        prop_assert!(until.millis() > now);
                        prop_assert!(until.millis() <= now + 1_000 + 1);
                        let again = charge(of_card(budget), until.millis(), true).decide(&kept);
                        prop_assert!(again.is_ok());
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
            let kept = charge(budgets, 10_000, false).decide(&WholeAt::default()).unwrap();
            prop_assert!(charge(budgets, 10_000 - back, true).decide(&kept).is_err());
        }
    }
}
