//! The store alone, driven in this process on the server's core: how many issues a second it makes
//! durable for so many callers at once. Beside it, how often the disk can sync.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cardveil_core::audit::Kind;
use cardveil_core::clock::{Clock as _, SystemClock};
use cardveil_core::port::{Admin as _, Change};
use cardveil_core::token::{Epoch, Issue, Issued, TokenHash};
use cardveil_core::verb::{Changes, Commit};
use cardveil_seal::{SystemEntropy, sha256};
use cardveil_store::sqlite::{Options, Sqlite};
use cardveil_testkit::sample;

use crate::report::{Measured, Rounds, Table, thousands};
use crate::{Plan, clock, machine, pin};

const CALLERS: [u32; 4] = [1, 16, 64, 256];
const PAGE: [u8; 4_096] = [0x5a; 4_096];
/// The file that is synced is written over and over within this length, as a log with room is.
const SYNCED_PAGES: u64 = 1_024;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let mut disk = Rounds::default();
    let mut store: Vec<(u32, Rounds)> = CALLERS.map(|callers| (callers, Rounds::default())).into();
    for round in 0..plan.rounds {
        disk.push(sync(&plan.dir.path().join("synced"), plan.time)?);
        for (callers, rounds) in &mut store {
            let folder = plan.dir.path().join(format!("store-{round}-{callers}"));
            rounds.push(pin::as_server(1, || issue(&folder, *callers, plan.time))??);
        }
    }
    let mut table = Table::new(&[
        "the store alone",
        "callers",
        "a second",
        "to a sync of 4 kB",
        "p50; p99 ms",
        "CPU µs each, callers included",
    ]);
    table.row(row("write 4 kB and fdatasync", 1, &disk, &disk));
    for (callers, rounds) in &store {
        table.row(row("issue, durable", *callers, rounds, &disk));
    }
    table.print("The store's group commit, and the disk")
}

fn row(name: &str, callers: u32, rounds: &Rounds, disk: &Rounds) -> Vec<String> {
    let (ratio, ..) = rounds.ratio(disk, |one| one.rate);
    vec![
        name.to_owned(),
        callers.to_string(),
        thousands(rounds.median(|one| one.rate)),
        format!("{ratio:.1}"),
        format!(
            "{:.2}; {:.2}",
            rounds.median(|one| one.p50_ms),
            rounds.median(|one| one.p99_ms)
        ),
        format!("{:.1}", rounds.median(|one| one.server_us)),
    ]
}

fn sync(path: &Path, time: Duration) -> anyhow::Result<Measured> {
    let file = File::create(path)?;
    for page in 0..SYNCED_PAGES {
        file.write_all_at(&PAGE, page * 4_096)?;
    }
    file.sync_all()?;
    let began = clock::now();
    let mut latencies = Vec::new();
    let own = machine::own_cpu()?;
    for page in (0..SYNCED_PAGES).cycle() {
        let at = clock::now();
        if at - began >= time {
            break;
        }
        file.write_all_at(&PAGE, page * 4_096)?;
        file.sync_data()?;
        latencies.push(micros_since(at));
    }
    let own = machine::own_cpu()?.saturating_sub(own);
    Measured::new(latencies, began.elapsed(), own, own)
}

fn issue(folder: &Path, callers: u32, time: Duration) -> anyhow::Result<Measured> {
    let options = Options {
        database: folder.join("data/store.db"),
        fence: folder.join("fence/store.fence"),
    };
    for path in [&options.database, &options.fence] {
        std::fs::create_dir_all(path.parent().context("a path without a folder")?)?;
    }
    let (store, _) = Sqlite::open(&options, Arc::new(SystemClock), Arc::new(SystemEntropy))?;
    let store = Arc::new(store);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let measured = runtime.block_on(async {
        let change = |change| {
            (
                change,
                sample::event(Kind::MerchantAdded, SystemClock.now()),
            )
        };
        let changes = vec![
            change(Change::AddMerchant(sample::merchant(1))),
            change(Change::AddCredential(sample::credential(1))),
            change(Change::AddCard(Box::new(sample::card(1)))),
        ];
        store
            .commit(Changes(changes))
            .await?
            .into_iter()
            .collect::<Result<(), _>>()?;
        let epoch = store.epoch().await?;
        let pid = std::process::id();
        let cpu = machine::cpu_of(&[pid])?;
        let began = clock::now();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| tokio::spawn(call(Arc::clone(&store), caller, epoch, began + time)))
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await??);
        }
        let took = began.elapsed();
        let cpu = machine::cpu_of(&[pid])?.saturating_sub(cpu);
        Measured::new(latencies, took, cpu, cpu)
    });
    store.close();
    measured
}

/// One caller: issues, waits, issues again.
async fn call(
    store: Arc<Sqlite>,
    caller: u32,
    epoch: Epoch,
    until: Instant,
) -> anyhow::Result<Vec<u32>> {
    let mut latencies = Vec::new();
    for count in 0_u32.. {
        let at = clock::now();
        if at >= until {
            break;
        }
        let issue = numbered(caller, count, epoch);
        let issued = store.commit(issue).await?;
        anyhow::ensure!(issued == Issued::New, "a token was not written");
        latencies.push(micros_since(at));
    }
    Ok(latencies)
}

/// An issue like the server's, with a hash of its own.
fn numbered(caller: u32, count: u32, epoch: Epoch) -> Issue {
    let mut issue = sample::issue(1, SystemClock.now(), epoch);
    let hash = TokenHash(sha256(&[&caller.to_be_bytes(), &count.to_be_bytes()]));
    issue.record.key.hash = hash;
    issue.event.origin = sample::origin();
    issue.event.merchant = Some(issue.record.merchant.clone());
    issue.event.target.token = Some(hash);
    issue.event.target.card = Some(issue.record.card);
    issue
}

fn micros_since(at: Instant) -> u32 {
    u32::try_from(at.elapsed().as_micros()).unwrap_or(u32::MAX)
}
