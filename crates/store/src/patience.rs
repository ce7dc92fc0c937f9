//! How long a caller's write may wait. Who asked has given up by then, or will in a moment; and a
//! claim that is committed for nobody takes a cardholder's token. So it is refused before its
//! commit, with nothing claimed.

use std::time::Duration;

use cardveil_core::clock::Time;
use cardveil_core::port::Error;

/// From the call to the commit that is sent.
const WAIT_MOST: Duration = Duration::from_secs(5);

/// Until when a write is worth its commit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// A caller asked for it at this moment.
    Since(Time),
    /// As long as it takes: nobody waits, or an operator does.
    Endless,
}

impl Patience {
    pub(crate) fn is_over(self, now: Time) -> bool {
        match self {
            Self::Since(asked) => now >= asked.plus(WAIT_MOST),
            Self::Endless => false,
        }
    }
}

/// What is said of such a write.
pub(crate) fn waited_too_long() -> Error {
    let seconds = WAIT_MOST.as_secs();
    Error::Unavailable(format!("the write has waited for {seconds} s"))
}
