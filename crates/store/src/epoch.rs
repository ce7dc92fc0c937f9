//! The order of epochs.

use cardveil_core::clock::Time;
use cardveil_core::token::Epoch;

/// What a clock makes of an epoch at most: one that is centuries ahead leaves a million raises.
const CLOCK_MAX: u32 = u32::MAX - (1 << 20);

/// The next epoch. It is also no less than the clock, so that an epoch which a restore has undone
/// is not given a second time.
pub(crate) fn next(latest: Epoch, now: Time) -> Option<Epoch> {
    Some(Epoch(
        latest.0.checked_add(1)?.max(now.secs_u32().min(CLOCK_MAX)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_600_years_ahead_does_not_use_epochs_up() {
        let ahead = Time::from_millis(20_650_000_000_000);
        let mut epoch = next(Epoch(1_800_000_000), ahead).unwrap();
        for _ in 0..1_000 {
            let raised = next(epoch, ahead).unwrap();
            assert!(raised > epoch);
            epoch = raised;
        }
        assert_eq!(next(Epoch(u32::MAX), ahead), None);
    }
}
