//! What the machine says of itself and of its processes, from `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::{Plan, pin};

/// One paragraph: machine, disk, command.
pub(crate) fn describe(plan: &Plan) -> anyhow::Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let command: Vec<String> = std::env::args().skip(1).collect();
    Ok(format!(
        "# Cardveil, measured\n\n\
         {} cores of {model}, Linux {}, data on {}, load average before {}. \
         Command: `cardveil-bench{}{}`. Rounds: {} of {:.1} s each, medians shown; seed {}. \
         The server's core is the first, the load generator's the second; \
         the access log goes to a file on the same disk.\n",
        pin::cores(),
        kernel.trim(),
        filesystem(plan.dir.path())?,
        load_average()?,
        if command.is_empty() { "" } else { " " },
        command.join(" "),
        plan.rounds,
        plan.time.as_secs_f64(),
        plan.seed,
    ))
}

/// One line.
pub(crate) fn load_after() -> anyhow::Result<String> {
    Ok(format!("Load average after: {}.", load_average()?))
}

fn load_average() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// The type of the file system that holds a folder.
fn filesystem(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let holding = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    Ok(holding.map_or("unknown", |(_, kind)| kind).to_owned())
}

/// How long the threads of processes have run.
pub(crate) fn cpu_of(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in pids {
        // A database's process may end meanwhile, and so may a thread; a server that does is missed
        // soon.
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        for task in tasks.map_while(Result::ok) {
            if let Ok(text) = fs::read_to_string(task.path().join("schedstat")) {
                sum += on_cpu(&text)?;
            }
        }
    }
    Ok(sum)
}

/// A process and its children.
pub(crate) fn family(first: u32) -> anyhow::Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
    let children = children.split_whitespace().map(str::parse);
    let mut all = vec![first];
    for child in children {
        all.push(child?);
    }
    Ok(all)
}

/// How long this thread has run.
pub(crate) fn own_cpu() -> anyhow::Result<Duration> {
    on_cpu(&fs::read_to_string("/proc/thread-self/schedstat")?)
}

fn on_cpu(schedstat: &str) -> anyhow::Result<Duration> {
    let nanos = schedstat
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok());
    Ok(Duration::from_nanos(nanos.context("schedstat")?))
}

/// The most memory that a process has held, in KiB.
pub(crate) fn peak_memory_kib(pid: u32) -> anyhow::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(kib.context("VmHWM")?.parse()?)
}
