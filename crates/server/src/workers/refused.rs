//! Calls that were refused at the door are written into the audit log each minute and at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::http::app::App;
use crate::http::listener::stopped;

/// How long calls are gathered.
const EVERY: Duration = Duration::from_secs(60);

/// Writes what was gathered, each minute until it is told to stop. What comes after that is written
/// by whoever stops the server: [`App::record_refused`].
pub async fn record_refused(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(EVERY) => app.record_refused().await,
        }
    }
}
