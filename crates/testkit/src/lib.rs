//! For tests of this and other crates: a clock to turn by hand, stores that live in memory and
//! stores that fail, and the contract suite that every store passes.

pub mod contract;
mod faulty;
mod memory;
mod row_macs;
pub mod sample;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub use faulty::{Fault, Faulty};
pub use memory::Memory;
pub use row_macs::{guard_rows, guard_rows_otherwise, know_row_key};

use cardveil_core::clock::{Clock, Time};

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Standing at `time`.
    pub const fn at(time: Time) -> Self {
        Self(AtomicI64::new(time.millis()))
    }

    /// Turns it on.
    pub fn advance(&self, by: Duration) {
        let moved = self.now().plus(by);
        self.set(moved);
    }

    /// Sets it, forwards or back.
    pub fn set(&self, time: Time) {
        self.0.store(time.millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::SeqCst))
    }
}
