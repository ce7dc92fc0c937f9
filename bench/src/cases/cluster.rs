//! PostgreSQL in place of SQLite: one node and three, beside one node on SQLite with as many cards;
//! and one node beside one with few cards. What serves has the server's core together, PostgreSQL's
//! processes among it, and all of their CPU time is counted.

use anyhow::Context as _;

use super::cards::deployment;
use super::http::{issue_load, pairs, redeem};
use crate::cluster::Cluster;
use crate::report::{Measured, Rounds, Table, real, say, thousands};
use crate::requests::{Dialect, Holders, Issue};
use crate::served::{Served, Wanted};
use crate::{Plan, machine};

/// A batch of PostgreSQL costs the same however many requests are in it.
const CONNECTIONS: [usize; 2] = [64, 256];
const NODES: usize = 3;
const FEW: usize = 1_000;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let cluster = Cluster::start(&plan.dir.path().join("postgres"))?;
    let on_sqlite = [deployment(plan, &Wanted::plain("sqlite", plan.cards), None)?.serve()?];
    let imported = deployment(
        plan,
        &Wanted::plain("many_cards", plan.cards),
        Some(&cluster),
    )?;
    let few = [deployment(plan, &Wanted::plain("few_cards", FEW), Some(&cluster))?.serve()?];
    cluster.settle("many_cards")?;
    let holders = Holders::generate()?;
    let cards = |count| format!("{} cards", thousands(real(count)));
    let mut table = Table::comparing();

    let one = [imported.serve()?];
    let sqlite = Side::new(plan, "SQLite", &on_sqlite, None);
    let many = Side::new(plan, &cards(plan.cards), &one, Some(&cluster));
    let few = Side::new(plan, &cards(FEW), &few, Some(&cluster));
    many.compare(&few, &holders, &mut table)?;
    let one_node = Side::new(plan, "PostgreSQL, one node", &one, Some(&cluster));
    one_node.compare(&sqlite, &holders, &mut table)?;
    let memory = peak_mb(&one)?;
    drop(one);
    let three = imported.serve_by(NODES)?;
    let three_nodes = Side::new(plan, "PostgreSQL, three nodes", &three, Some(&cluster));
    three_nodes.compare(&sqlite, &holders, &mut table)?;
    table.print(&format!("PostgreSQL, {}", cards(plan.cards)))?;
    say(&format!(
        "Peak memory of a node: {memory} MB, {} MB of one of three, {} MB on SQLite. Imported at {} cards a second.\n",
        peak_mb(&three)?,
        peak_mb(&on_sqlite)?,
        thousands(imported.rate),
    ))
}

#[derive(Clone, Copy)]
enum Work {
    Issue,
    Redeem,
    Pair,
}

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Self::Issue => "issue, KeySecure",
            Self::Redeem => "redeem",
            Self::Pair => "pair, KeySecure",
        }
    }
}

/// Nodes that serve together, with the cluster that they stand on.
struct Side<'a> {
    plan: &'a Plan,
    name: String,
    nodes: &'a [Served],
    cluster: Option<&'a Cluster>,
}

impl<'a> Side<'a> {
    fn new(plan: &'a Plan, name: &str, nodes: &'a [Served], cluster: Option<&'a Cluster>) -> Self {
        Self {
            plan,
            name: name.to_owned(),
            nodes,
            cluster,
        }
    }

    fn compare(&self, beside: &Self, holders: &Holders, table: &mut Table) -> anyhow::Result<()> {
        for connections in CONNECTIONS {
            for what in [Work::Issue, Work::Redeem, Work::Pair] {
                let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
                for _ in 0..self.plan.rounds {
                    theirs.push(beside.measure(what, holders, connections)?);
                    ours.push(self.measure(what, holders, connections)?);
                }
                let name = format!("{}, {}", what.name(), self.name);
                table.compare((&name, &ours), (&beside.name, &theirs), connections);
            }
        }
        Ok(())
    }

    fn measure(
        &self,
        what: Work,
        holders: &Holders,
        connections: usize,
    ) -> anyhow::Result<Measured> {
        let (plan, nodes, database) = (self.plan, self.nodes, self.database()?);
        match what {
            Work::Issue => {
                let first = nodes.first().context("no node")?;
                let mut issue = Issue::new(Dialect::KeySecure, first, plan.seed);
                issue_load(plan, nodes, &database, connections).measure(&mut issue)
            }
            Work::Redeem => redeem(plan, nodes, &database, holders, connections),
            Work::Pair => pairs(plan, nodes, &database, holders, connections),
        }
    }

    /// The database's processes, as they are now.
    fn database(&self) -> anyhow::Result<Vec<u32>> {
        self.cluster.map_or(Ok(Vec::new()), Cluster::pids)
    }
}

/// Of the node that took the most.
fn peak_mb(nodes: &[Served]) -> anyhow::Result<String> {
    let mut peak = 0;
    for node in nodes {
        peak = peak.max(machine::peak_memory_kib(node.child.pid())?);
    }
    Ok(thousands(f64::from(peak) / 1_024.0))
}
