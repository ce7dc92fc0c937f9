//! `cardveil restore`: a backup in the place of the database.
//!
//! **Invariant:** a database is replaced by one rename, when all of the backup has been verified.
//!
//! **Invariant:** no token that was spent after the backup is good again: the epoch is raised in
//! the copy before it gets its place, whatever the fence says.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardveil_core::Time;
use cardveil_core::clock::{Clock as _, SystemClock};
use cardveil_core::token::Epoch;
use cardveil_seal::{Class, Keyring, PublicKey, Roots, SystemEntropy};
use cardveil_store::sqlite::{Copy, OpenError, fence_epoch, put_in_place};
use serde::Serialize;

use crate::deployment::archive::{
    Holds, decrypt, no_copy, refuse_postgres, verify_chain, wrapped_keys,
};
use crate::deployment::config::Config;
use crate::deployment::scratch::Scratch;
use crate::deployment::{Deployment, create_private_folder, operator, roots};
use crate::print::{self, explained, hinted, say};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backup
    file: PathBuf,
    /// Put it in the place of the database that is there, which is kept under another name
    #[arg(long)]
    replace: bool,
}

#[derive(Serialize)]
struct Report {
    made_at: String,
    environment: String,
    holds: Holds,
    last_entry_at: Option<String>,
    lost_secs: Option<i64>,
    epoch_before: u32,
    epoch_after: u32,
    kept: Option<PathBuf>,
}

/// `cardveil restore`.
pub(crate) async fn run(config: &Path, args: Args) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    refuse_postgres(&config)?;
    let database = config.store.database.clone();
    if database.exists() && !args.replace {
        return Err(hinted(
            format!("there is a database at {}", database.display()),
            "stop the server and give --replace to put the backup in its place; it is kept under another \
             name",
        ));
    }
    refuse_root_for_others(&database)?;
    refuse_root_for_others(&config.store.fence)?;
    let root = roots::open(&config.keys)?;
    for path in [&database, &config.store.fence] {
        if let Some(folder) = path.parent() {
            create_private_folder(folder)?;
        }
    }
    let copy = Scratch::take(&database, ".restoring")?;
    let header = decrypt(&root, &args.file, &config, &copy)?;
    say("checking it");
    let now = SystemClock.now();
    let mut opened = Copy::open(&copy.path).map_err(|error| no_copy(&error))?;
    let floor = newest_epoch(&config, args.replace);
    let note = format!("made at {}", header.made_at);
    let revived = opened.revive(floor, (&operator(), now, note), Arc::new(SystemEntropy))?;
    let contents = opened.contents()?;
    let keys = class_keys(&opened, &root, &config)?;
    verify_chain(&opened, &keys)?;
    drop(opened);
    let kept = put_in_place(&copy.path, &database, now).map_err(|error| in_use(&error))?;
    drop(copy);
    // Brings the fence into step, so that the next start has nothing to notice.
    let deployment = Deployment::open(config).await?;
    let epoch_after = cardveil_core::port::Admin::epoch(&*deployment.store)
        .await?
        .0;
    let last_at = revived
        .last
        .and_then(|last| last.event())
        .map(|event| event.at);
    let report = Report {
        made_at: header.made_at,
        environment: header.environment,
        holds: Holds::from(&contents),
        last_entry_at: last_at.map(|at| at.to_string()),
        lost_secs: last_at.map(|at| seconds_between(at, now)),
        epoch_before: revived.before.0,
        epoch_after,
        kept,
    };
    print::object(&report, print_restored)
}

/// What root puts into another account's folder, that account cannot open.
fn refuse_root_for_others(path: &Path) -> anyhow::Result<()> {
    let place = path.ancestors().find(|part| part.exists());
    let owner = place.and_then(|part| part.metadata().ok());
    let (Some(place), Some(owner)) = (place, owner.map(|it| it.uid())) else {
        return Ok(());
    };
    if rustix::process::geteuid().is_root() && owner != 0 {
        return Err(hinted(
            format!("{} is not root's", place.display()),
            format!(
                "run this as the account that serves (uid {owner}): runuser -u cardveil -- cardveil ..."
            ),
        ));
    }
    Ok(())
}

fn print_restored(report: &Report) -> anyhow::Result<()> {
    let holds = &report.holds;
    print::line(&format!(
        "restored the backup of {}: {} merchants, {} cards, {} audit entries",
        report.made_at, holds.merchants, holds.cards, holds.audit_entries
    ))?;
    if let (Some(at), Some(secs)) = (&report.last_entry_at, report.lost_secs) {
        print::line(&format!(
            "its last entry is of {at}: what came in the {secs} s since then is not in it"
        ))?;
    }
    print::line(&format!(
        "epoch {} -> {}: every token and login from before is refused, {} unspent tokens among them",
        report.epoch_before, report.epoch_after, holds.open_tokens
    ))?;
    match &report.kept {
        Some(kept) => print::line(&format!(
            "the database that was there is kept as {}",
            kept.display()
        )),
        None => Ok(()),
    }
}

fn seconds_between(from: Time, to: Time) -> i64 {
    to.millis()
        .saturating_sub(from.millis())
        .checked_div(1_000)
        .unwrap_or(0)
}

/// No epoch that any token has seen comes again: neither the fence's nor that of the database which
/// is there.
fn newest_epoch(config: &Config, replace: bool) -> Option<Epoch> {
    let fence = fence_epoch(&config.store.fence);
    let there = if replace && config.store.database.exists() {
        let there = Copy::open(&config.store.database).and_then(|there| there.contents());
        there.ok().map(|contents| contents.epoch)
    } else {
        None
    };
    fence.max(there)
}

/// The class keys open under this root, or nothing in the backup does; then it tells the keys of
/// its checkpoints.
fn class_keys(copy: &Copy, root: &Roots, config: &Config) -> anyhow::Result<Vec<PublicKey>> {
    let wrapped = wrapped_keys(copy)?;
    let environment = config.environment.as_str();
    if !wrapped.iter().any(|key| key.class == Class::Audit) {
        return Ok(Vec::new());
    }
    let opened = Keyring::open(root, environment, &wrapped)
        .map_err(anyhow::Error::from)
        .and_then(|keyring| Ok(keyring.public_keys(Class::Audit)?));
    opened.map_err(|error| {
        explained(
            error,
            "the class keys in the backup do not open",
            "its root key was changed after it was made: put the root key of that time back",
        )
    })
}

fn in_use(error: &OpenError) -> anyhow::Error {
    let hint = if matches!(error, OpenError::InUse(_)) {
        "stop the server first"
    } else {
        "move what is in the database's folder away, and restore without --replace"
    };
    hinted(error.to_string(), hint)
}
