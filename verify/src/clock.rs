//! Time, for telling when something was asked and what came.

use std::time::Instant;

pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "what happened when is what this program records"
        )]
        Self(Instant::now())
    }

    /// Since the start.
    pub(crate) fn millis(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
