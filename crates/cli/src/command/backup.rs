//! `cardveil backup`: the SQLite database as one encrypted file, while it serves.
//!
//! **Invariant:** a file under the name that was asked for is whole and was read back; until then
//! it has another name.

use std::path::{Path, PathBuf};

use cardveil_core::audit::{Kind, Target};
use cardveil_core::verb::{Commit, RecordEvent};
use cardveil_store::sqlite::{Copy, copy_to};
use serde::Serialize;

use crate::deployment::archive::{
    FORM, Header, Holds, no_copy, read_back, refuse_postgres, verify_chain, wrapped_keys, write,
};
use crate::deployment::scratch::{Scratch, exists};
use crate::deployment::{Deployment, operator, roots};
use crate::print::{self, say};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file to write; one that is there is never overwritten
    file: PathBuf,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    made_at: String,
    bytes: u64,
    epoch: u32,
    holds: Holds,
}

/// `cardveil backup`.
pub(crate) async fn run(config: &Path, args: Args) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    refuse_postgres(&deployment.config)?;
    refuse_existing(&args.file)?;
    let partial = Scratch::take(&args.file, ".partial")?;
    let copy = Scratch::take(&deployment.config.store.database, ".copy")?;
    let now = deployment.service.now();
    say("copying the database");
    copy_to(&deployment.config.store.database, &copy.path)?;
    say("checking the copy");
    let opened = Copy::open(&copy.path).map_err(|error| no_copy(&error))?;
    let contents = opened.contents()?;
    verify_chain(&opened, &deployment.service.vault().audit_keys()?)?;
    let wrapped = wrapped_keys(&opened)?;
    drop(opened);
    let roots = roots::open(&deployment.config.keys)?;
    // While one root key takes the other's place: under the one that its class keys are under, so
    // that who keeps that one can restore it.
    let root = roots.of(&wrapped, deployment.config.environment.as_str());
    let header = serde_json::to_vec(&Header {
        form: FORM,
        made_at: now.to_string(),
        environment: deployment.config.environment.as_str().to_owned(),
        root: root.name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    let bytes = write(root, &header, &copy, &partial)?;
    read_back(root, &copy, &partial)?;
    drop(copy);
    partial.become_file(&args.file)?;
    let target = Target {
        resource: Some("database".into()),
        ..Target::default()
    };
    let mut event = operator().event(deployment.service.now(), Kind::BackupMade, None, target);
    let seq = contents.last_entry;
    event.detail.note = Some(format!("as of entry {seq}").into());
    deployment.store.commit(RecordEvent(event)).await?;
    let report = Report {
        file: args.file,
        made_at: now.to_string(),
        bytes,
        epoch: contents.epoch.0,
        holds: Holds::from(&contents),
    };
    print::object(&report, |report| {
        print::line(&format!(
            "{}: {} cards, {} audit entries, as of {}; read back and verified",
            report.file.display(),
            report.holds.cards,
            report.holds.audit_entries,
            report.made_at
        ))
    })
}

fn refuse_existing(file: &Path) -> anyhow::Result<()> {
    if file.try_exists()? {
        return Err(exists(file));
    }
    Ok(())
}
