//! Moving cards, and their digital wallet tokens, to an index under another key.

use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::keys::{ClassKey, IndexPage, State};
use cardveil_core::port::Class;

use super::{Pace, Report};
use crate::deployment::{Deployment, operator};
use crate::print::{hinted, say};

/// How often it is looked whether the new key is in use.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Cards of one number are told by at most two indexes, and by programs that know of no other key
/// than the first by one.
pub(super) async fn refuse_rotation(deployment: &Deployment) -> anyhow::Result<()> {
    if !deployment.store.is_finished().await? {
        return Err(hinted(
            "programs may serve that know of one index key alone",
            "exchange all of them, then run cardveil migrate --finish",
        ));
    }
    let keys = deployment.store.class_keys().await?;
    let is_retiring = |key: &&ClassKey| {
        key.key.class == Class::Index && matches!(key.state, State::Retiring { .. })
    };
    match keys.iter().find(is_retiring) {
        None => Ok(()),
        Some(key) => {
            let version = key.key.version;
            Err(hinted(
                format!("version {version} of the index key is still retiring"),
                format!(
                    "end that rotation first: cardveil key rewrap --class index, then cardveil key \
                     retire --class index --version {version}"
                ),
            ))
        }
    }
}

/// Goes through all cards, and gives each whose index is under version `from` one under the newest.
pub(super) async fn rewrap(
    deployment: &Deployment,
    from: u32,
    per_second: u32,
) -> anyhow::Result<Report> {
    let to = deployment.service.vault().sealing_version(Class::Index)?;
    let what = format!("index {from} -> {to}");
    if deployment.service.index_version()? != to {
        say(&format!(
            "{what}: waiting until all servers have noticed the key"
        ));
    }
    while deployment.service.index_version()? != to {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let mut pace = Pace::new(per_second);
    let (mut moved, mut stuck) = (0_u64, 0_usize);
    let mut cards = IndexPage {
        after: None,
        limit: usize::try_from(pace.batch()).context("a batch")?,
    };
    loop {
        let done = deployment.service.reindex(from, cards, &operator()).await?;
        moved += u64::try_from(done.moved).context("a count")?;
        stuck += done.stuck;
        cards.after = done.last;
        if cards.after.is_none() {
            break;
        }
        if pace.may_tell() {
            say(&format!("{what}: {moved} cards moved"));
        }
        // Past those that are moved already it goes as fast as they are read.
        if done.found > 0 {
            pace.keep().await;
        }
    }
    deployment.service.tell_altered().await?;
    say(&format!("{what}: done, {moved} cards moved"));
    Ok(Report {
        class: Class::Index.name(),
        from,
        to,
        moved,
        stuck,
    })
}
