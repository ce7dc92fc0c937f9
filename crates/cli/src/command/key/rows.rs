//! Moving the MACs of rows to another key.

use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::port::{Class, RowPlace};

use super::{Pace, Report};
use crate::deployment::{Deployment, operator};
use crate::print::say;

/// How often it is looked whether the new key is in use.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Goes through all rows that decide, and gives each whose MAC is under another key one under the
/// newest.
pub(super) async fn rewrap(
    deployment: &Deployment,
    from: u32,
    per_second: u32,
) -> anyhow::Result<Report> {
    let to = deployment.service.vault().sealing_version(Class::Row)?;
    let what = format!("row {from} -> {to}");
    if deployment.service.row_macs().0 != Some(to) {
        say(&format!(
            "{what}: waiting until all servers have noticed the key"
        ));
    }
    while deployment.service.row_macs().0 != Some(to) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let mut pace = Pace::new(per_second);
    let (mut moved, mut stuck) = (0_u64, 0_usize);
    let mut next = Some(RowPlace::default());
    while let Some(place) = next {
        let limit = usize::try_from(pace.batch()).context("a batch")?;
        let done = deployment
            .service
            .guard_page(place, limit, &operator())
            .await?;
        moved += u64::try_from(done.moved).context("a count")?;
        stuck += done.altered;
        next = done.next;
        if pace.may_tell() {
            say(&format!("{what}: {moved} rows moved"));
        }
        pace.keep().await;
    }
    deployment.service.tell_altered().await?;
    say(&format!("{what}: done, {moved} rows moved"));
    Ok(Report {
        class: Class::Row.name(),
        from,
        to,
        moved,
        stuck,
    })
}
