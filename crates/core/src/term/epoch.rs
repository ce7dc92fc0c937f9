//! The number that ends all tokens of before.

use serde::{Deserialize, Serialize};

use crate::clock::Time;

/// What a clock makes of an epoch at most: one that is centuries ahead leaves a million raises.
const CLOCK_MAX: u32 = u32::MAX - (1 << 20);

/// A number in every token, raised at each restore or promotion, so that no token survives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// The next one. It is also no less than the clock, so that an epoch which a restore has undone
    /// is not given a second time.
    pub fn next(self, now: Time) -> Option<Self> {
        let next = self.0.checked_add(1)?;
        Some(Self(next.max(now.secs_u32().min(CLOCK_MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_600_years_ahead_does_not_use_epochs_up() {
        let ahead = Time::from_millis(20_650_000_000_000);
        let mut epoch = Epoch(1_800_000_000).next(ahead).unwrap();
        for _ in 0..1_000 {
            let raised = epoch.next(ahead).unwrap();
            assert!(raised > epoch);
            epoch = raised;
        }
        assert_eq!(Epoch(u32::MAX).next(ahead), None);
    }
}
