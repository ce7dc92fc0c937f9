//! Issue by each dialect, and redeem, beside bare axum and beside axum that only seals.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use serde_json::Value;

use crate::bare::{self, Redeemed, Repeated, SEAL_ROUTE};
use crate::load::{Load, Requests};
use crate::report::{Measured, Rounds, Table, say, thousands};
use crate::requests::{Dialect, Holders, Issue, Redeem};
use crate::served::Served;
use crate::{Plan, http1, machine};

pub(crate) const CONNECTIONS: usize = 64;
pub(crate) const REDEEM_ROUTE: &str = "/client/v1/redeem";
/// How many redemptions a second are prepared for. A round ends early when they are used up.
const REDEMPTIONS_A_SECOND: f64 = 12_000.0;

/// A Cardveil with the bare endpoints beside it.
struct Pair<'a> {
    plan: &'a Plan,
    served: Served,
    holders: Holders,
    bare: bare::Running,
    table: Table,
}

pub(crate) fn run(plan: &Plan, issue: bool, redeem: bool) -> anyhow::Result<()> {
    let served = Served::demo(plan)?;
    let holders = Holders::generate()?;
    let mut repeated = Vec::new();
    for dialect in Dialect::ALL {
        let bytes = first_answer(
            &mut Issue::new(dialect, &served, plan.seed),
            served.merchant,
        )?;
        repeated.push(Repeated::new(dialect.route(), &bytes)?);
    }
    let tokens = collect(std::slice::from_ref(&served), 1, plan.seed)?;
    let bytes = {
        let tokens = tokens.into_iter();
        let mut first = Redeem::new(REDEEM_ROUTE, tokens, &holders, &served);
        first_answer(&mut first, served.client)?
    };
    repeated.push(Repeated::new(("POST", REDEEM_ROUTE), &bytes)?);
    let redeemed = opened(&bytes, &holders)?;
    let bare = bare::Running::start(plan, repeated, redeemed)?;
    let mut pair = Pair {
        plan,
        served,
        holders,
        bare,
        table: Table::comparing(),
    };
    if issue {
        pair.issue()?;
    }
    if redeem {
        pair.redeem()?;
    }
    pair.table.print("Issue and redeem")?;
    say(&format!(
        "Peak memory of the server: {} MB; of the bare one: {} MB.\n",
        thousands(f64::from(machine::peak_memory_kib(pair.served.child.pid())?) / 1_024.0),
        thousands(f64::from(machine::peak_memory_kib(pair.bare.child.pid())?) / 1_024.0),
    ))
}

impl Pair<'_> {
    fn issue(&mut self) -> anyhow::Result<()> {
        for dialect in Dialect::ALL {
            let sweep = match dialect {
                Dialect::KeySecure => self.plan.connections.clone(),
                Dialect::Equals | Dialect::Native => vec![CONNECTIONS],
            };
            for connections in sweep {
                let (mut ours, mut bare) = (Rounds::default(), Rounds::default());
                for _ in 0..self.plan.rounds {
                    let mut issue = Issue::new(dialect, &self.served, self.plan.seed);
                    bare.push(self.at_bare(connections).measure(&mut issue)?);
                    ours.push(self.at_merchant(connections).measure(&mut issue)?);
                }
                self.table
                    .compare((dialect.name(), &ours), ("bare axum", &bare), connections);
            }
        }
        Ok(())
    }

    fn redeem(&mut self) -> anyhow::Result<()> {
        let (mut ours, mut bare, mut sealing) =
            (Rounds::default(), Rounds::default(), Rounds::default());
        for _ in 0..self.plan.rounds {
            for (route, rounds) in [(REDEEM_ROUTE, &mut bare), (SEAL_ROUTE, &mut sealing)] {
                // It looks at no token, so one will do.
                let tokens =
                    collect(std::slice::from_ref(&self.served), 1, self.plan.seed)?.into_iter();
                let tokens = tokens.flat_map(std::iter::repeat);
                let mut ask = Redeem::new(route, tokens, &self.holders, &self.served);
                rounds.push(self.at_bare(CONNECTIONS).measure(&mut ask)?);
            }
            let served = std::slice::from_ref(&self.served);
            let ours_now = redeem(self.plan, served, &[], &self.holders, CONNECTIONS)?;
            ours.push(ours_now);
        }
        let ours = ("redeem", &ours);
        self.table
            .compare(ours, ("seal and serve only", &sealing), CONNECTIONS);
        self.table.compare(ours, ("bare axum", &bare), CONNECTIONS);
        Ok(())
    }

    fn at_merchant(&self, connections: usize) -> Load {
        issue_load(
            self.plan,
            std::slice::from_ref(&self.served),
            &[],
            connections,
        )
    }

    fn at_bare(&self, connections: usize) -> Load {
        Load {
            addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, self.bare.port))],
            pids: vec![self.bare.child.pid()],
            connections,
            time: self.plan.time,
        }
    }
}

/// Issue by these nodes, whose database has processes of its own.
pub(crate) fn issue_load(
    plan: &Plan,
    nodes: &[Served],
    database: &[u32],
    connections: usize,
) -> Load {
    let nodes_pids = nodes.iter().map(|node| node.child.pid());
    Load {
        addresses: nodes.iter().map(|node| node.merchant).collect(),
        pids: nodes_pids.chain(database.iter().copied()).collect(),
        connections,
        time: plan.time,
    }
}

/// A round of redemptions, of tokens that were issued for it.
pub(crate) fn redeem(
    plan: &Plan,
    nodes: &[Served],
    database: &[u32],
    holders: &Holders,
    connections: usize,
) -> anyhow::Result<Measured> {
    let wanted = plan.time.as_secs_f64() * REDEMPTIONS_A_SECOND;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and small"
    )]
    let tokens = collect(nodes, wanted as usize + connections, plan.seed)?;
    let load = Load {
        addresses: nodes.iter().map(|node| node.client).collect(),
        ..issue_load(plan, nodes, database, connections)
    };
    let first = nodes.first().context("no node")?;
    load.measure(&mut Redeem::new(
        REDEEM_ROUTE,
        tokens.into_iter(),
        holders,
        first,
    ))
}

/// Issues so many tokens, as a preparation.
fn collect(nodes: &[Served], count: usize, seed: u64) -> anyhow::Result<Vec<String>> {
    let first = nodes.first().context("no node")?;
    let mut issue = Issue::new(Dialect::Native, first, seed).collecting(count);
    let load = Load {
        addresses: nodes.iter().map(|node| node.merchant).collect(),
        pids: nodes.iter().map(|node| node.child.pid()).collect(),
        connections: CONNECTIONS.min(count),
        time: std::time::Duration::from_secs(120),
    };
    load.drive(&mut issue)?;
    Ok(issue.into_tokens())
}

fn first_answer(requests: &mut dyn Requests, address: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let mut request = Vec::new();
    anyhow::ensure!(requests.next(&mut request), "nothing to ask");
    let bytes = http1::once(address, &request)?;
    requests.check(&http1::parse(&bytes)?.context("half an answer")?)?;
    Ok(bytes)
}

/// What is measured must be the real thing: the answer opens, and what it holds is the card.
fn opened(bytes: &[u8], holders: &Holders) -> anyhow::Result<Redeemed> {
    let answer = http1::parse(bytes)?.context("half an answer")?;
    let plaintext = holders.open_first(answer.body)?;
    let body: Value = serde_json::from_slice(answer.body)?;
    let text = |value: &Value, pointer| {
        let text = value.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned)
            .with_context(|| format!("no {pointer}"))
    };
    let pan = text(&plaintext, "/pan")?;
    anyhow::ensure!(
        pan.ends_with(&text(&body, "/card/last_four")?),
        "another card was released"
    );
    Ok(Redeemed {
        answer: serde_json::from_slice(answer.body)?,
        plaintext: plaintext.to_string(),
    })
}
