//! What the process takes of its machine, under the names that all Prometheus clients use.

use cardveil_core::Time;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::text::{Kind, Micros, Text};

/// What the system does not tell is left out.
pub(super) fn render(text: &mut Text, started: Time) {
    text.one(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the server started, in Unix time.",
        started.secs_u32(),
    );
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let secs = u64::try_from(used.tv_sec).unwrap_or_default();
    let rest = u64::try_from(used.tv_nsec).unwrap_or_default() / 1_000;
    text.one(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Processor time, the system's on its behalf too.",
        Micros(secs * 1_000_000 + rest),
    );
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let help = "Open files and connections.";
        text.one("process_open_fds", Kind::Gauge, help, open.count());
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        let help = "How many there may be.";
        text.one("process_max_fds", Kind::Gauge, help, most);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (field, name, unit, help) in [
        (
            "VmRSS:",
            "process_resident_memory_bytes",
            1_024,
            "Memory that is there.",
        ),
        (
            "VmSize:",
            "process_virtual_memory_bytes",
            1_024,
            "Memory that is spoken for.",
        ),
        ("Threads:", "process_threads", 1, "Threads."),
    ] {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let value = line.and_then(|line| line.split_whitespace().next());
        if let Some(value) = value.and_then(|value| value.parse::<u64>().ok()) {
            text.one(name, Kind::Gauge, help, value * unit);
        }
    }
}
