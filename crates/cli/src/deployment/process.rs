//! What the process asks of the machine: that its memory stays its own (P3), and to be told about
//! to the service manager.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::Context as _;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::set_dumpable_behavior;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_no_new_privs};

/// No core dumps, no debugger but root's, and no program started from here gets more rights than
/// this one has.
pub(crate) fn harden() -> anyhow::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).context("cannot forbid core dumps")?;
    // Where dumps are piped to a program, the limit does not count (core(5)).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid core dumps")?;
    set_no_new_privs(true).context("cannot give up new privileges")
}

/// As many as three full listeners hold, and some: for files, the store and receivers.
const OPEN_FILES_LEAST: u64 = 3 * 4_096 + 1_024;

/// How many files and connections the process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// At most; nothing where there is no limit.
    pub(crate) most: Option<u64>,
}

impl OpenFiles {
    /// Whether full listeners would come to the limit.
    pub(crate) fn are_few(self) -> bool {
        self.most.is_some_and(|most| most < OPEN_FILES_LEAST)
    }

    /// How many are enough.
    pub(crate) const fn enough() -> u64 {
        OPEN_FILES_LEAST
    }
}

/// Raises the soft limit of open files to the hard one. The soft one is 1,024 in many places, for
/// programs that cannot use more (select(2)).
pub(crate) fn raise_open_files() -> OpenFiles {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let most = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    OpenFiles { most }
}

/// Whether memory can go to swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    /// It is locked, or may be.
    Locked,
    /// It is not, and there is no swap.
    NoneThere,
    /// It is not, and there is swap: keys and card data could be written to it.
    Possible,
}

/// Keeps all memory out of swap, where the limit allows as much as is ever needed. Pages are locked
/// as they are used, so nothing grows by it.
pub(crate) fn lock_memory() -> Swap {
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    match swap() {
        // Under a limit, an allocation would fail one day, and the server with it.
        Swap::Locked if mlockall(all).is_ok() => Swap::Locked,
        Swap::Locked | Swap::Possible if has_swap() => Swap::Possible,
        Swap::Locked | Swap::NoneThere | Swap::Possible => Swap::NoneThere,
    }
}

/// What [`lock_memory`] would come to.
pub(crate) fn swap() -> Swap {
    // Who has the capability has no limit (capabilities(7)).
    let unlimited = getrlimit(Resource::Memlock).current.is_none()
        || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if unlimited {
        Swap::Locked
    } else if has_swap() {
        Swap::Possible
    } else {
        Swap::NoneThere
    }
}

/// Below its header, each line of the file is a swap area (proc(5)). What cannot be read may be
/// there.
fn has_swap() -> bool {
    std::fs::read_to_string("/proc/swaps").map_or(true, |areas| areas.lines().count() > 1)
}

/// Tells the service manager, where there is one that wants to know (`sd_notify(3)`): `READY=1`,
/// `STOPPING=1`.
pub(crate) fn notify(state: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = tell(socket.as_encoded_bytes(), state)
    {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// How often the service manager wants to hear that all is well (`sd_watchdog_enabled(3)`): twice
/// in the time after which it would restart the process.
pub(crate) fn watchdog() -> Option<Duration> {
    let told = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = told("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let micros = told("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 1)?;
    Some(Duration::from_micros(micros / 2))
}

/// A path, or after an `@` a name without a file.
fn tell(socket: &[u8], state: &str) -> io::Result<()> {
    let to = match socket.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::str::from_utf8(socket).map_err(io::Error::other)?)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_by_path_and_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("cardveil-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, to) in [
            (by_path, path.to_str().unwrap().to_owned()),
            (by_name, format!("@{name}")),
        ] {
            tell(to.as_bytes(), "READY=1").unwrap();
            let mut message = [0; 16];
            let length = socket.recv(&mut message).unwrap();
            assert_eq!(&message[..length], b"READY=1");
        }
        assert!(
            tell(
                folder.path().join("none").as_os_str().as_encoded_bytes(),
                "x"
            )
            .is_err()
        );
    }
}
