//! The order of epochs.

use cardveil_core::clock::Time;
use cardveil_core::token::Epoch;

/// The next epoch. It is also no less than the clock, so that an epoch which a restore has undone
/// is not given a second time.
pub(crate) fn next(latest: Epoch, now: Time) -> Option<Epoch> {
    Some(Epoch(latest.0.checked_add(1)?.max(now.secs_u32())))
}
