//! PostgreSQL in place of SQLite: one node and three, beside one node on SQLite with as many cards.
//! What serves has the server's core together, PostgreSQL's processes among it, and all of their CPU time
//! is counted.

use anyhow::Context as _;

use super::cards::deployment;
use super::http::{issue_load, redeem};
use crate::cluster::Cluster;
use crate::report::{Rounds, Table, real, say, thousands};
use crate::requests::{Dialect, Holders, Issue};
use crate::served::Served;
use crate::{Plan, machine};

const CONNECTIONS: usize = 256;
const NODES: usize = 3;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let cluster = Cluster::start(&plan.dir.path().join("postgres"))?;
    let sqlite = [deployment(plan, "sqlite", plan.cards, false, None)?.serve()?];
    let imported = deployment(plan, "one", plan.cards, false, Some(&cluster))?;
    let rate = imported.rate;
    let one = [imported.serve()?];
    let mut table = Table::comparing();
    let holders = Holders::generate()?;
    let issue = |nodes: &[Served], database: &[u32]| {
        let first = nodes.first().context("no node")?;
        let mut issue = Issue::new(Dialect::KeySecure, first, plan.seed);
        issue_load(plan, nodes, database, CONNECTIONS).measure(&mut issue)
    };
    let redeem =
        |nodes: &[Served], database: &[u32]| redeem(plan, nodes, database, &holders, CONNECTIONS);
    let mut compare = |name: &str, nodes: &[Served]| -> anyhow::Result<()> {
        let database = cluster.pids()?;
        let (mut issued, mut issued_beside) = (Rounds::default(), Rounds::default());
        let (mut redeemed, mut redeemed_beside) = (Rounds::default(), Rounds::default());
        for _ in 0..plan.rounds {
            issued_beside.push(issue(&sqlite, &[])?);
            issued.push(issue(nodes, &database)?);
            redeemed_beside.push(redeem(&sqlite, &[])?);
            redeemed.push(redeem(nodes, &database)?);
        }
        for (what, ours, beside) in [
            ("issue, KeySecure", &issued, &issued_beside),
            ("redeem", &redeemed, &redeemed_beside),
        ] {
            let name = format!("{what}, {name}");
            table.compare((&name, ours), ("SQLite", beside), CONNECTIONS);
        }
        Ok(())
    };
    compare("PostgreSQL, one node", &one)?;
    let memory = peak_mb(&one)?;
    drop(one);
    let three = deployment(plan, "three", plan.cards, false, Some(&cluster))?.serve_by(NODES)?;
    compare("PostgreSQL, three nodes", &three)?;
    let title = format!("PostgreSQL, {} cards", thousands(real(plan.cards)));
    table.print(&title)?;
    say(&format!(
        "Peak memory of a node: {memory} MB, {} MB of one of three, {} MB on SQLite. Imported at {} cards a second.\n",
        peak_mb(&three)?,
        peak_mb(&sqlite)?,
        thousands(rate),
    ))
}

/// Of the node that took the most.
fn peak_mb(nodes: &[Served]) -> anyhow::Result<String> {
    let mut peak = 0;
    for node in nodes {
        peak = peak.max(machine::peak_memory_kib(node.child.pid())?);
    }
    Ok(thousands(f64::from(peak) / 1_024.0))
}
