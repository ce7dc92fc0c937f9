//! The SQLite database as one encrypted file: its form, and what is checked before one is believed.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::Context as _;
use cardveil_core::audit::chain::Verifier;
use cardveil_seal::{
    PublicKey, Root, Roots, StreamError, SystemEntropy, WrappedKey, open_stream, read_header,
    seal_stream,
};
use cardveil_store::sqlite::{Contents, Copy, OpenError};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::scratch::Scratch;
use crate::print::hinted;

/// What the stream is of.
const LABEL: &str = "backup";
pub(crate) const FORM: u32 = 1;
/// How many audit entries are read at a time.
const PAGE: usize = 1_000;

/// What everyone can read of a backup.
#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) form: u32,
    pub(crate) made_at: String,
    pub(crate) environment: String,
    pub(crate) root: String,
    pub(crate) version: String,
}

/// What a backup holds.
#[derive(Serialize)]
pub(crate) struct Holds {
    pub(crate) merchants: u64,
    pub(crate) credentials: u64,
    pub(crate) cards: u64,
    pub(crate) open_tokens: u64,
    pub(crate) audit_entries: u64,
    pub(crate) last_entry: i64,
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

/// PostgreSQL has its own ways.
pub(crate) fn refuse_postgres(config: &Config) -> anyhow::Result<()> {
    match &config.store.postgres {
        None => Ok(()),
        Some(_) => Err(hinted(
            "this deployment is kept in PostgreSQL",
            "back it up and restore it by base backups and WAL: `cardveil help postgresql-backup`",
        )),
    }
}

pub(crate) fn write(
    root: &dyn Root,
    header: &[u8],
    copy: &Scratch,
    partial: &Scratch,
) -> anyhow::Result<u64> {
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
pub(crate) fn read_back(root: &dyn Root, copy: &Scratch, partial: &Scratch) -> anyhow::Result<()> {
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

pub(crate) fn decrypt(
    root: &Roots,
    file: &Path,
    config: &Config,
    copy: &Scratch,
) -> anyhow::Result<Header> {
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

/// Those that are not retired.
pub(crate) fn wrapped_keys(copy: &Copy) -> anyhow::Result<Vec<WrappedKey>> {
    let stored = copy.class_keys()?.into_iter().map(|key| key.key);
    Ok(stored.filter(|key| !key.wrapped.is_empty()).collect())
}

pub(crate) fn verify_chain(copy: &Copy, keys: &[PublicKey]) -> anyhow::Result<()> {
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

pub(crate) fn no_copy(error: &OpenError) -> anyhow::Error {
    hinted(
        format!("the copy is no good: {error}"),
        "look at the database with `cardveil doctor`, and keep older backups",
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
