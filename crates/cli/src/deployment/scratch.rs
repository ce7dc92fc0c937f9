//! A file on its way: under a name of its own until it is whole.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::print::hinted;

/// A file on the way, beside the one that it will be, for its owner's eyes. It goes when it is
/// dropped; what a killed process has left is taken over by the next.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

impl Scratch {
    pub(crate) fn take(beside: &Path, suffix: &str) -> anyhow::Result<Self> {
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
        // SQLite would bring the journal of the one before into this one.
        for left in of_sqlite(&path) {
            if left.symlink_metadata().is_ok() {
                remove_left_over(&left)?;
            }
        }
        Ok(Self { path, file })
    }

    /// Gives it its name, if that is free still, and makes the name durable.
    pub(crate) fn become_file(self, file: &Path) -> anyhow::Result<()> {
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

/// A new file for its owner's eyes only. It follows no link, and takes nothing that somebody else
/// has put there (`O_EXCL`, open(2)).
fn create_new(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

/// Removes what a backup or restore that was killed has left. A link, and a file of somebody else's
/// or of another name too, is none of ours.
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
        for beside in of_sqlite(&self.path) {
            let _ = std::fs::remove_file(beside);
        }
    }
}

/// What SQLite may have put beside a file.
fn of_sqlite(path: &Path) -> [PathBuf; 3] {
    ["-journal", "-wal", "-shm"].map(|suffix| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        beside.into()
    })
}

pub(crate) fn exists(file: &Path) -> anyhow::Error {
    hinted(
        format!("{} exists already", file.display()),
        "name a new file: a backup is never overwritten",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A restore that was killed while SQLite wrote leaves a journal, which is of other pages.
    #[test]
    fn nothing_that_sqlite_left_of_a_killed_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("cardveil.db");
        let left = folder.path().join("cardveil.db.restoring");
        for file in of_sqlite(&left).iter().chain([&left]) {
            std::fs::write(file, "of the one before").unwrap();
        }
        let taken = Scratch::take(&database, ".restoring").unwrap();
        assert_eq!(taken.file.metadata().unwrap().len(), 0);
        assert!(!of_sqlite(&taken.path).iter().any(|file| file.exists()));
        drop(taken);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // Nobody has it remove what a link names.
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "kept").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &of_sqlite(&left)[0]).unwrap();
        assert!(Scratch::take(&database, ".restoring").is_err());
        assert!(elsewhere.exists());
    }
}
