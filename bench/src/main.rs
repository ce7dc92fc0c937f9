//! `cardveil-bench`: how fast Cardveil is, beside what it is built on, in one run on one machine.
//!
//! It starts the program that is released as an operator would, pins it to one core and itself to
//! another, and drives it over loopback. Every figure stands beside a baseline that was measured in
//! the same round, because absolute figures move with the machine's neighbours and ratios move
//! less. `docs/reports/measuring.md` says how to read what it prints.
//!
//! **Invariant:** a figure counts right answers only. One wrong answer ends the run.
//!
//! To add a case: a module in [`cases`], its rows in the table, its line in [`Part`].

mod bare;
mod cases;
mod clock;
mod cluster;
mod http1;
mod load;
mod log;
mod machine;
mod pin;
mod report;
mod requests;
mod served;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Cardveil beside what it is built on
#[derive(Parser)]
#[command(name = "cardveil-bench")]
struct Cli {
    #[command(subcommand)]
    child: Option<Child>,
    #[command(flatten)]
    run: Run,
}

/// What this program starts of itself.
#[derive(Subcommand)]
enum Child {
    /// The bare endpoints that Cardveil is measured against
    #[command(hide = true)]
    Bare,
}

#[derive(clap::Args)]
struct Run {
    /// About five minutes in place of half an hour: shorter rounds, and fewer
    #[arg(long)]
    quick: bool,
    /// Only these parts; all when left out
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds of each case; the table shows medians
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each case takes in a round
    #[arg(long)]
    secs: Option<f64>,
    /// Connections for issue by KeySecure, in place of 1, 16, 64 and 256
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,
    /// Cards that are drawn from; the part `cards` has ten times as many too
    #[arg(long, default_value_t = 100_000)]
    cards: usize,
    /// From which the order of the cards is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The `cardveil` to measure; the one beside this program when left out
    #[arg(long, env = "CARDVEIL_BIN")]
    binary: Option<PathBuf>,
    /// Where the databases go: a folder on the disk that is to be measured
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Where `bench/peers/setup.sh` put the peers
    #[arg(long, default_value = ".tools/peers")]
    peers: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Issue by each dialect
    Issue,
    /// Redeem
    Redeem,
    /// Issue and redeem, one after the other
    Pairs,
    /// Budgets, rates and a second factor, beside none of them
    Checks,
    /// Two and more server cores beside one, where the machine has them
    Cores,
    /// The store alone, and the disk
    Store,
    /// Import, and how much the number of cards matters
    Cards,
    /// PostgreSQL with one node and with three, beside SQLite
    Postgres,
    /// A system of the same kind, installed by `bench/peers/setup.sh`
    Peers,
}

/// What a case is told.
pub(crate) struct Plan {
    rounds: usize,
    time: Duration,
    connections: Vec<usize>,
    cards: usize,
    seed: u64,
    binary: PathBuf,
    peers: PathBuf,
    /// A folder of this run alone.
    dir: tempfile::TempDir,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.child {
        Some(Child::Bare) => bare::serve(),
        None => run(cli.run),
    }
}

fn run(run: Run) -> anyhow::Result<()> {
    let (rounds, secs) = if run.quick { (3, 0.7) } else { (5, 2.5) };
    let binary = match run.binary {
        Some(binary) => binary,
        None => std::env::current_exe()?.with_file_name("cardveil"),
    };
    anyhow::ensure!(
        binary.exists(),
        "there is no {}: build it with `cargo build --profile dist -p cardveil`, or give --binary",
        binary.display()
    );
    let plan = Plan {
        rounds: run.rounds.unwrap_or(rounds).max(1),
        time: Duration::from_secs_f64(run.secs.unwrap_or(secs)),
        connections: if run.connections.is_empty() {
            vec![1, 16, 64, 256]
        } else {
            run.connections
        },
        cards: run.cards,
        seed: run.seed,
        binary,
        peers: run.peers,
        dir: tempfile::Builder::new()
            .prefix("cardveil-bench-")
            .tempdir_in(&run.dir)?,
    };
    let wanted = |part| run.only.is_empty() || run.only.contains(&part);
    report::say(&machine::describe(&plan)?)?;
    pin::generator()?;
    if [Part::Issue, Part::Redeem, Part::Pairs]
        .into_iter()
        .any(wanted)
    {
        cases::http::run(&plan, wanted)?;
    }
    if wanted(Part::Checks) {
        cases::http::checks(&plan)?;
    }
    if wanted(Part::Cores) {
        cases::http::cores(&plan)?;
    }
    if wanted(Part::Store) {
        cases::store::run(&plan)?;
    }
    if wanted(Part::Cards) {
        cases::cards::run(&plan)?;
    }
    if wanted(Part::Postgres) {
        cases::cluster::run(&plan)?;
    }
    if wanted(Part::Peers) {
        cases::peers::run(&plan)?;
    }
    report::say(&machine::load_after()?)
}
