//! Time, for measuring.

use std::time::{Duration, Instant, SystemTime};

/// A moment to measure from.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "measuring time is what this program is for"
    )]
    Instant::now()
}

/// Milliseconds since the Unix epoch, as KeySecure's `Timestamp` wants them.
pub(crate) fn unix_ms() -> u128 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server checks it against the real time"
    )]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}

/// Waits a little for what another process does.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
