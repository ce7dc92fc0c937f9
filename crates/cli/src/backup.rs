//! `cardveil backup` and `cardveil restore`: the SQLite database as one encrypted file, and back.
//!
//! **Invariant:** a file under the name that was asked for is whole and was read back; until then it has
//! another name. A database is replaced by one rename, when all of the backup has been verified.
//!
//! **Invariant:** no token that was spent after the backup is good again: the epoch is raised in the copy
//! before it gets its place, whatever the fence says.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cardveil_core::Time;
use cardveil_core::audit::chain::Verifier;
use cardveil_core::audit::{Kind, Target};
use cardveil_core::clock::{Clock as _, SystemClock};
use cardveil_core::token::Epoch;
use cardveil_seal::{
    Class, Keyring, PublicKey, Root, Roots, StreamError, SystemEntropy, WrappedKey, open_stream,
    read_header, seal_stream,
};
use cardveil_store::sqlite::{Contents, Copy, OpenError, copy_to, fence_epoch, put_in_place};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::deployment::{Deployment, create_private_folder, operator};
use crate::print::{self, explained, hinted, say};
use crate::roots;

/// What the stream is of.
const LABEL: &str = "backup";
const FORM: u32 = 1;
/// How many audit entries are read at a time.
const PAGE: usize = 1_000;

#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The file to write; one that is there is never overwritten
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// Put it in the place of the database that is there, which is kept under another name
    #[arg(long)]
    replace: bool,
}

/// What everyone can read of a backup.
#[derive(Serialize, Deserialize)]
struct Header {
    form: u32,
    made_at: String,
    environment: String,
    root: String,
    version: String,
}

/// What a backup holds.
#[derive(Serialize)]
struct Holds {
    merchants: u64,
    credentials: u64,
    cards: u64,
    open_tokens: u64,
    audit_entries: u64,
    last_entry: i64,
}

impl From<&Contents> for Holds {
    fn from(contents: &Contents) -> Self {
        Self {
            merchants: contents.merchants,
            credentials: contents.credentials,
            cards: contents.cards,
            open_tokens: contents.open_tokens,
            audit_entries: contents.entries,
            last_entry: contents.last_entry,
        }
    }
}

#[derive(Serialize)]
struct BackupReport {
    file: PathBuf,
    made_at: String,
    bytes: u64,
    epoch: u32,
    holds: Holds,
}

#[derive(Serialize)]
struct RestoreReport {
    made_at: String,
    environment: String,
    holds: Holds,
    last_entry_at: Option<String>,
    lost_secs: Option<i64>,
    epoch_before: u32,
    epoch_after: u32,
    kept: Option<PathBuf>,
}

/// `cardveil backup`.
pub(crate) async fn backup(config: &Path, args: BackupArgs) -> anyhow::Result<()> {
    let house = Deployment::load(config).await?;
    refuse_postgres(&house.config)?;
    refuse_existing(&args.file)?;
    let partial = Scratch::take(&args.file, ".partial")?;
    let copy = Scratch::take(&house.config.store.database, ".copy")?;
    let now = house.service.now();
    say("copying the database");
    copy_to(&house.config.store.database, &copy.path)?;
    say("checking the copy");
    let opened = Copy::open(&copy.path).map_err(|error| no_copy(&error))?;
    let contents = opened.contents()?;
    verify_chain(&opened, &house.service.vault().audit_keys()?)?;
    let wrapped = wrapped_keys(&opened)?;
    drop(opened);
    let roots = roots::open(&house.config.keys)?;
    // While one root key takes the other's place: under the one that its class keys are under, so that
    // who keeps that one can restore it.
    let root = roots.of(&wrapped, house.config.environment.as_str());
    let header = serde_json::to_vec(&Header {
        form: FORM,
        made_at: now.to_string(),
        environment: house.config.environment.as_str().to_owned(),
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
    let mut event = operator().event(house.service.now(), Kind::BackupMade, None, target);
    let seq = contents.last_entry;
    event.detail.note = Some(format!("as of entry {seq}").into());
    house.store.record(event).await?;
    let report = BackupReport {
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

/// PostgreSQL has its own ways.
fn refuse_postgres(config: &Config) -> anyhow::Result<()> {
    match &config.store.postgres {
        None => Ok(()),
        Some(_) => Err(hinted(
            "this deployment is kept in PostgreSQL",
            "back it up and restore it by base backups and WAL: `cardveil help operations backup`",
        )),
    }
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

/// `cardveil restore`.
pub(crate) async fn restore(config: &Path, args: RestoreArgs) -> anyhow::Result<()> {
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
    let revived = opened.revive(floor, (&operator(), now, note))?;
    let contents = opened.contents()?;
    let keys = class_keys(&opened, &root, &config)?;
    verify_chain(&opened, &keys)?;
    drop(opened);
    let kept = put_in_place(&copy.path, &database, now).map_err(|error| in_use(&error))?;
    drop(copy);
    // Brings the fence into step, so that the next start has nothing to notice.
    let house = Deployment::open(config).await?;
    let epoch_after = cardveil_core::port::Admin::epoch(&*house.store).await?.0;
    let last_at = revived
        .last
        .and_then(|last| last.event())
        .map(|event| event.at);
    let report = RestoreReport {
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

fn print_restored(report: &RestoreReport) -> anyhow::Result<()> {
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

/// No epoch that any token has seen comes again: neither the fence's nor that of the database which is
/// there.
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

/// Those that are not retired.
fn wrapped_keys(copy: &Copy) -> anyhow::Result<Vec<WrappedKey>> {
    let stored = copy.class_keys()?.into_iter().map(|key| key.key);
    Ok(stored.filter(|key| !key.wrapped.is_empty()).collect())
}

/// The class keys open under this root, or nothing in the backup does; then it tells the keys of its
/// checkpoints.
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

fn verify_chain(copy: &Copy, keys: &[PublicKey]) -> anyhow::Result<()> {
    let mut verifier = Verifier::whole(keys.to_vec());
    let mut after = i64::MIN;
    loop {
        let entries = copy.chained(after, PAGE)?;
        let Some(last) = entries.last() else {
            return Ok(());
        };
        after = last.seq;
        for entry in &entries {
            verifier.look(entry).map_err(|finding| {
                hinted(
                    format!("its audit log is not what was written: {finding}"),
                    "see `cardveil audit verify`; find out who had the database before you go on",
                )
            })?;
        }
    }
}

fn write(root: &dyn Root, header: &[u8], copy: &Scratch, partial: &Scratch) -> anyhow::Result<u64> {
    let mut to = BufWriter::new(partial.file.try_clone()?);
    let from = File::open(&copy.path)?;
    let bar = bar(from.metadata()?.len(), "sealing");
    let sealed = seal_stream(
        root,
        (LABEL, header),
        &SystemEntropy,
        &mut bar.wrap_read(from),
        &mut to,
    );
    bar.finish_and_clear();
    sealed.with_context(|| format!("cannot write {}", partial.path.display()))?;
    to.flush()?;
    partial.file.sync_all()?;
    Ok(partial.file.metadata()?.len())
}

/// Opens what was written and compares it with the copy that was checked.
fn read_back(root: &dyn Root, copy: &Scratch, partial: &Scratch) -> anyhow::Result<()> {
    let mut from = BufReader::new(File::open(&partial.path)?);
    let header = read_header(&mut from)?;
    let bar = bar(partial.file.metadata()?.len(), "reading it back");
    let mut same = Same {
        with: BufReader::new(File::open(&copy.path)?),
        differs: false,
    };
    let opened = open_stream(root, (LABEL, &header), &mut bar.wrap_read(from), &mut same);
    bar.finish_and_clear();
    opened.context("the backup cannot be read back")?;
    let mut rest = Vec::new();
    same.with.take(1).read_to_end(&mut rest)?;
    if same.differs || !rest.is_empty() {
        return Err(hinted(
            "the backup is not what was written",
            "the disk may be failing: write it elsewhere",
        ));
    }
    Ok(())
}

/// Takes what is written and compares it with a file.
struct Same {
    with: BufReader<File>,
    differs: bool,
}

impl Write for Same {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut expected = vec![0; bytes.len()];
        let read = self.with.read_exact(&mut expected);
        self.differs |= read.is_err() || expected != bytes;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn decrypt(root: &Roots, file: &Path, config: &Config, copy: &Scratch) -> anyhow::Result<Header> {
    let from = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bar = bar(from.metadata()?.len(), "opening");
    let mut from = BufReader::new(bar.wrap_read(from));
    let unfit = |error: StreamError| unfit(file, &error);
    let bytes = read_header(&mut from).map_err(unfit)?;
    let header: Header = serde_json::from_slice(&bytes).map_err(|_| unfit(StreamError::Foreign))?;
    if header.form != FORM {
        return Err(hinted(
            format!("{} was made by a newer program", file.display()),
            "restore it with the version that made it",
        ));
    }
    if header.environment != config.environment.as_str() {
        return Err(hinted(
            format!("{} is a backup of {}", file.display(), header.environment),
            "restore it under the configuration that it was made with",
        ));
    }
    let mut to = BufWriter::new(copy.file.try_clone()?);
    open_stream(root, (LABEL, &bytes), &mut from, &mut to).map_err(|error| {
        // The same key may have another name since: in shares, or in a token of another label.
        if matches!(error, StreamError::Key(_)) && header.root != root.name() {
            let what = format!(
                "{} was made under the root key {}, and this is {}",
                file.display(),
                header.root,
                root.name()
            );
            hinted(what, "put the root key of that time at keys.root")
        } else {
            unfit(error)
        }
    })?;
    to.flush()?;
    bar.finish_and_clear();
    Ok(header)
}

fn unfit(file: &Path, error: &StreamError) -> anyhow::Error {
    let hint = match error {
        StreamError::Io(_) | StreamError::TooLong => "see whether the disk is full or failing",
        StreamError::Foreign => "give a file that `cardveil backup` has written",
        StreamError::Key(_) => {
            "the beginning of the file was changed, or this is not its root key: take another copy of it"
        }
        StreamError::Damaged(_) | StreamError::Short(_) => {
            "take another copy of it, or an older backup; nothing was restored"
        }
    };
    hinted(format!("{}: {error}", file.display()), hint)
}

fn no_copy(error: &OpenError) -> anyhow::Error {
    hinted(
        format!("the copy is no good: {error}"),
        "look at the database with `cardveil doctor`, and keep older backups",
    )
}

fn in_use(error: &OpenError) -> anyhow::Error {
    let hint = if matches!(error, OpenError::InUse(_)) {
        "stop the server first"
    } else {
        "move what is in the database's folder away, and restore without --replace"
    };
    hinted(error.to_string(), hint)
}

fn refuse_existing(file: &Path) -> anyhow::Result<()> {
    if file.try_exists()? {
        return Err(exists(file));
    }
    Ok(())
}

fn exists(file: &Path) -> anyhow::Error {
    hinted(
        format!("{} exists already", file.display()),
        "name a new file: a backup is never overwritten",
    )
}

fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::new(length).with_message(what);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A file on the way, beside the one that it will be, for its owner's eyes. It goes when it is dropped;
/// what a killed process has left is taken over by the next.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn take(beside: &Path, suffix: &str) -> anyhow::Result<Self> {
        let mut path = beside.as_os_str().to_owned();
        path.push(suffix);
        let path = PathBuf::from(path);
        let cannot = || format!("cannot write {}", path.display());
        let file = match create_new(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                remove_left_over(&path)?;
                create_new(&path)
            }
            created => created,
        };
        let file = file.with_context(cannot)?;
        file.try_lock().map_err(|_| scratch_in_use(&path))?;
        Ok(Self { path, file })
    }

    /// Gives it its name, if that is free still, and makes the name durable.
    fn become_file(self, file: &Path) -> anyhow::Result<()> {
        put_at_free_name(&self.path, file).map_err(|error| {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                exists(file)
            } else {
                hinted(
                    format!("cannot give {} its name: {error}", file.display()),
                    "the file system may have neither links nor renames that overwrite nothing: write it to \
                     a local disk and copy it from there",
                )
            }
        })?;
        drop(self);
        let folder = file.parent().filter(|path| !path.as_os_str().is_empty());
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

/// A new file for its owner's eyes only. It follows no link, and takes nothing that somebody else has put
/// there (`O_EXCL`, open(2)).
fn create_new(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

/// Removes what a backup or restore that was killed has left. A link, and a file of somebody else's or
/// of another name too, is none of ours.
fn remove_left_over(path: &Path) -> anyhow::Result<()> {
    let foreign = || {
        hinted(
            format!(
                "{} is not what a backup or restore has left",
                path.display()
            ),
            "look at who has put it there, and remove it",
        )
    };
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|_| foreign())?;
    let meta = file.metadata()?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    if !meta.is_file() || meta.nlink() != 1 || !ours {
        return Err(foreign());
    }
    file.try_lock().map_err(|_| scratch_in_use(path))?;
    Ok(std::fs::remove_file(path)?)
}

fn scratch_in_use(path: &Path) -> anyhow::Error {
    hinted(
        format!("{} is in use", path.display()),
        "another backup or restore runs: wait for its end",
    )
}

/// Gives a file another name, if that is free.
fn put_at_free_name(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system knows this; one that does not has links, as a rule.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => std::fs::hard_link(from, to),
        renamed => Ok(renamed?),
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that was given its place is gone already.
        let _ = std::fs::remove_file(&self.path);
        for suffix in ["-journal", "-wal", "-shm"] {
            let mut beside = self.path.as_os_str().to_owned();
            beside.push(suffix);
            let _ = std::fs::remove_file(beside);
        }
    }
}
