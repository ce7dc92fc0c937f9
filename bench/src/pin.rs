//! Which core does what: the server the first ones, the load generator the last. With one core
//! there is nothing to pin.

use std::io;
use std::ops::Range;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread to the generator's core.
pub(crate) fn generator() -> io::Result<()> {
    to(servers_max()..cores())
}

/// Does something as a guest of the server's cores, of which there are so many; threads and
/// processes that it starts stay there.
pub(crate) fn as_server<T>(server_cores: usize, work: impl FnOnce() -> T) -> io::Result<T> {
    to(0..server_cores)?;
    let done = work();
    generator()?;
    Ok(done)
}

/// How many cores a server can have: all but the generator's.
pub(crate) fn servers_max() -> usize {
    cores().saturating_sub(1).max(1)
}

/// Does something on all cores.
pub(crate) fn unpinned<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    sched_setaffinity(None, &all)?;
    let done = work();
    generator()?;
    Ok(done)
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    std::fs::read_to_string("/proc/cpuinfo").map_or(1, |text| {
        text.lines()
            .filter(|line| line.starts_with("processor"))
            .count()
    })
}

fn to(wanted: Range<usize>) -> io::Result<()> {
    if cores() < 2 {
        return Ok(());
    }
    let mut set = CpuSet::new();
    wanted.for_each(|core| set.set(core));
    sched_setaffinity(None, &set)?;
    debug_assert!(sched_getaffinity(None).is_ok_and(|now| now.count() == set.count()));
    Ok(())
}
