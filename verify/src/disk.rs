//! A disk of its own for a run, small enough to be filled: a tmpfs, which root may mount.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Holds a short run; as much of memory is taken when it is full.
const BYTES: u64 = 768 << 20;
/// What is asked for first, and last, when it is filled.
const CHUNK: u64 = 64 << 20;
const PAGE: u64 = 4_096;
/// Mounts one where nobody sees it.
const TRY: [&str; 7] = [
    "--mount",
    "--",
    "mount",
    "-t",
    "tmpfs",
    "cardveil-verify",
    "/mnt",
];

/// A mounted one.
pub(crate) struct Disk(PathBuf);

/// What fills it, until it is dropped.
pub(crate) struct Ballast(PathBuf);

/// Whether there can be one. If so this program runs once more where its mounts are its own, which
/// go with it however it ends.
pub(crate) fn is_possible() -> bool {
    // Not named as a setting of the program is.
    const APART: &str = "VERIFY_APART";
    if std::env::var_os(APART).is_some() {
        return true;
    }
    // Root alone may, and not in every container.
    let tried = Command::new("unshare")
        .args(TRY)
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|tried| tried.success()) {
        return false;
    }
    if let Ok(this) = std::env::current_exe() {
        let mut again = Command::new("unshare");
        again.args(["--mount", "--"]).arg(this);
        again.args(std::env::args_os().skip(1)).env(APART, "1");
        // It comes back only if that could not be started.
        drop(again.exec());
    }
    false
}

impl Disk {
    pub(crate) fn mount(at: &Path) -> anyhow::Result<Self> {
        let size = format!("size={BYTES},mode=711");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "cardveil-verify"])
            .arg(at)
            .status()?;
        ensure!(mounted.success(), "no tmpfs could be mounted");
        Ok(Self(at.to_owned()))
    }

    /// Leaves no page free.
    pub(crate) fn fill(&self) -> anyhow::Result<Ballast> {
        let ballast = Ballast(self.0.join("ballast"));
        let file = File::create(&ballast.0)?;
        let (mut at, mut chunk) = (0, CHUNK);
        while chunk >= PAGE {
            match fallocate(file.as_fd(), FallocateFlags::empty(), at, chunk) {
                Ok(()) => at += chunk,
                Err(Errno::NOSPC) => chunk /= 2,
                Err(other) => return Err(other.into()),
            }
        }
        Ok(ballast)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // Without it the run would end for want of space, and say so.
        drop(std::fs::remove_file(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that was killed may still be on its way out.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
