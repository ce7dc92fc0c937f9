//! Which core does what: the server the first, the load generator the second. With one core there
//! is nothing to pin.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const SERVER: usize = 0;
const GENERATOR: usize = 1;

/// Keeps this thread to the generator's core.
pub(crate) fn generator() -> io::Result<()> {
    to(GENERATOR)
}

/// Does something as the server's core's guest; threads and processes that it starts stay there.
pub(crate) fn as_server<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    to(SERVER)?;
    let done = work();
    to(GENERATOR)?;
    Ok(done)
}

/// Does something on all cores.
pub(crate) fn unpinned<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|core| all.set(core));
    sched_setaffinity(None, &all)?;
    let done = work();
    to(GENERATOR)?;
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

fn to(core: usize) -> io::Result<()> {
    if cores() < 2 {
        return Ok(());
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)?;
    debug_assert!(sched_getaffinity(None).is_ok_and(|now| now.is_set(core)));
    Ok(())
}
