//! Issue by each dialect, redeem, and pairs of both, beside bare axum, beside bare axum whose
//! answers are durable, and beside axum that only seals.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use serde_json::Value;

use super::cards::deployment;
use crate::bare::{self, Redeemed, Repeated, SEAL_ROUTE};
use crate::load::{Load, Requests};
use crate::report::{Measured, Rounds, Table, real, say, thousands};
use crate::requests::{Dialect, Holders, Issue, Pairs, REDEEM_ROUTE, Redeem};
use crate::served::{Checks, Served, Wanted};
use crate::{Part, Plan, http1, machine, pin};

pub(crate) const CONNECTIONS: usize = 64;
const BARE: &str = "bare axum";
const DURABLE: &str = "bare axum, durable";
/// How many redemptions a second are prepared for. A round ends early when they are used up.
const REDEMPTIONS_A_SECOND: f64 = 12_000.0;

/// A Cardveil with the bare endpoints beside it.
struct Beside<'a> {
    plan: &'a Plan,
    served: Served,
    holders: Holders,
    bare: bare::Running,
    durable: bare::Running,
    table: Table,
}

pub(crate) fn run(plan: &Plan, wanted: impl Fn(Part) -> bool) -> anyhow::Result<()> {
    let served = deployment(plan, &Wanted::plain("served", plan.cards), None)?.serve()?;
    let holders = Holders::generate()?;
    let mut repeated = Vec::new();
    for dialect in Dialect::ALL {
        let bytes = first_answer(
            &mut Issue::new(dialect, &served, plan.seed),
            served.merchant,
        )?;
        repeated.push(Repeated::new(dialect.route(), &bytes)?);
    }
    let tokens = collect(plan, std::slice::from_ref(&served), 1)?;
    let bytes = {
        let tokens = tokens.into_iter();
        let mut first = Redeem::new(REDEEM_ROUTE, tokens, &holders, &served);
        first_answer(&mut first, served.client)?
    };
    repeated.push(Repeated::new(("POST", REDEEM_ROUTE), &bytes)?);
    let redeemed = opened(&bytes, &holders)?;
    let folder = plan.dir.path();
    let mut told = bare::Told {
        repeated,
        redeemed,
        log: None,
    };
    let bare = bare::Running::start(&told, &folder.join("bare.log"))?;
    told.log = Some(folder.join("appended"));
    let durable = bare::Running::start(&told, &folder.join("durable.log"))?;
    let mut beside = Beside {
        plan,
        served,
        holders,
        bare,
        durable,
        table: Table::comparing(),
    };
    if wanted(Part::Issue) {
        beside.issue()?;
    }
    if wanted(Part::Redeem) {
        beside.redeem()?;
    }
    if wanted(Part::Pairs) {
        beside.pairs()?;
    }
    let cards = thousands(real(plan.cards));
    beside
        .table
        .print(&format!("Issue, redeem, pairs; {cards} cards"))?;
    say(&format!(
        "Peak memory of the server: {} MB; of the bare one: {} MB.\n",
        thousands(f64::from(machine::peak_memory_kib(beside.served.child.pid())?) / 1_024.0),
        thousands(f64::from(machine::peak_memory_kib(beside.bare.child.pid())?) / 1_024.0),
    ))
}

impl Beside<'_> {
    fn issue(&mut self) -> anyhow::Result<()> {
        for dialect in Dialect::ALL {
            let sweep = match dialect {
                Dialect::KeySecure => self.plan.connections.clone(),
                Dialect::Equals | Dialect::Native => vec![CONNECTIONS],
            };
            for connections in sweep {
                let (mut ours, mut bare) = (Rounds::default(), Rounds::default());
                let mut durable = Rounds::default();
                for _ in 0..self.plan.rounds {
                    let mut issue = Issue::new(dialect, &self.served, self.plan.seed);
                    for (running, rounds) in
                        [(&self.bare, &mut bare), (&self.durable, &mut durable)]
                    {
                        rounds.push(self.at(running, connections).measure(&mut issue)?);
                    }
                    let node = std::slice::from_ref(&self.served);
                    let load = issue_load(self.plan, node, &[], connections);
                    ours.push(load.measure(&mut issue)?);
                }
                let ours = (dialect.name(), &ours);
                self.table.compare(ours, (BARE, &bare), connections);
                self.table.compare(ours, (DURABLE, &durable), connections);
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
                let tokens = collect(self.plan, std::slice::from_ref(&self.served), 1)?.into_iter();
                let tokens = tokens.flat_map(std::iter::repeat);
                let mut ask = Redeem::new(route, tokens, &self.holders, &self.served);
                rounds.push(self.at(&self.bare, CONNECTIONS).measure(&mut ask)?);
            }
            let served = std::slice::from_ref(&self.served);
            let ours_now = redeem(self.plan, served, &[], &self.holders, CONNECTIONS)?;
            ours.push(ours_now);
        }
        let ours = ("redeem", &ours);
        self.table
            .compare(ours, ("seal and serve only", &sealing), CONNECTIONS);
        self.table.compare(ours, (BARE, &bare), CONNECTIONS);
        Ok(())
    }

    fn pairs(&mut self) -> anyhow::Result<()> {
        let (mut ours, mut bare) = (Rounds::default(), Rounds::default());
        let mut durable = Rounds::default();
        for _ in 0..self.plan.rounds {
            for (running, rounds) in [(&self.bare, &mut bare), (&self.durable, &mut durable)] {
                let mut ask = Pairs::new(&self.holders, &self.served, self.plan.seed);
                rounds.push(self.at(running, CONNECTIONS).measure(&mut ask)?);
            }
            let node = std::slice::from_ref(&self.served);
            ours.push(pairs(self.plan, node, &[], &self.holders, CONNECTIONS)?);
        }
        let ours = ("pair, KeySecure", &ours);
        self.table.compare(ours, (BARE, &bare), CONNECTIONS);
        self.table.compare(ours, (DURABLE, &durable), CONNECTIONS);
        Ok(())
    }

    /// Both listeners are one there.
    fn at(&self, running: &bare::Running, connections: usize) -> Load {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, running.port));
        Load {
            addresses: vec![address],
            seconds: vec![address],
            pids: vec![running.child.pid()],
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
        seconds: Vec::new(),
        pids: nodes_pids.chain(database.iter().copied()).collect(),
        connections,
        time: plan.time,
    }
}

/// What budgets, rates and a second factor cost: a deployment that has them beside one that has
/// not.
pub(crate) fn checks(plan: &Plan) -> anyhow::Result<()> {
    let wanted = |name, checks| Wanted {
        checks,
        ..Wanted::plain(name, plan.cards)
    };
    let on = deployment(plan, &wanted("checked", Checks::On), None)?.serve()?;
    let off = deployment(plan, &wanted("unchecked", Checks::Off), None)?.serve()?;
    let (mut with, mut without) = (Rounds::default(), Rounds::default());
    for _ in 0..plan.rounds {
        for (served, rounds) in [(&off, &mut without), (&on, &mut with)] {
            let node = std::slice::from_ref(served);
            let mut issue = Issue::new(Dialect::Equals, served, plan.seed);
            rounds.push(issue_load(plan, node, &[], CONNECTIONS).measure(&mut issue)?);
        }
    }
    let mut table = Table::comparing();
    table.compare(
        ("issue, Equals, all checks", &with),
        ("none of them", &without),
        CONNECTIONS,
    );
    table.print("Budgets, rates and an attested second factor")
}

/// What more cores for the server give, where the machine has them.
pub(crate) fn cores(plan: &Plan) -> anyhow::Result<()> {
    if pin::servers_max() < 2 {
        return say("More server cores: not measured, the load generator needs one of two.\n");
    }
    let one = deployment(plan, &Wanted::plain("one-core", plan.cards), None)?.serve()?;
    let holders = Holders::generate()?;
    let mut table = Table::comparing();
    let doubled = std::iter::successors(Some(2), |cores| Some(cores * 2));
    for cores in doubled.take_while(|cores| *cores <= pin::servers_max()) {
        let name = format!("cores-{cores}");
        let more = deployment(plan, &Wanted::plain(&name, plan.cards), None)?.serve_on(cores)?;
        let (mut issued, mut issued_by_one) = (Rounds::default(), Rounds::default());
        let (mut paired, mut paired_by_one) = (Rounds::default(), Rounds::default());
        for _ in 0..plan.rounds {
            for (served, issues, both) in [
                (&one, &mut issued_by_one, &mut paired_by_one),
                (&more, &mut issued, &mut paired),
            ] {
                let node = std::slice::from_ref(served);
                let mut issue = Issue::new(Dialect::KeySecure, served, plan.seed);
                issues.push(issue_load(plan, node, &[], CONNECTIONS).measure(&mut issue)?);
                both.push(pairs(plan, node, &[], &holders, CONNECTIONS)?);
            }
        }
        for (what, ours, theirs) in [
            ("issue, KeySecure", &issued, &issued_by_one),
            ("pair, KeySecure", &paired, &paired_by_one),
        ] {
            let name = format!("{what}, {cores} cores");
            table.compare((&name, ours), ("one core", theirs), CONNECTIONS);
        }
    }
    table.print("More server cores")
}

/// A round of pairs: an issue, and the redemption of its token.
pub(crate) fn pairs(
    plan: &Plan,
    nodes: &[Served],
    database: &[u32],
    holders: &Holders,
    connections: usize,
) -> anyhow::Result<Measured> {
    let load = Load {
        seconds: nodes.iter().map(|node| node.client).collect(),
        ..issue_load(plan, nodes, database, connections)
    };
    let first = nodes.first().context("no node")?;
    load.measure(&mut Pairs::new(holders, first, plan.seed))
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
    let tokens = collect(plan, nodes, wanted as usize + connections)?;
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
fn collect(plan: &Plan, nodes: &[Served], count: usize) -> anyhow::Result<Vec<String>> {
    let first = nodes.first().context("no node")?;
    let mut issue = Issue::new(Dialect::Native, first, plan.seed).collecting(count);
    let load = Load {
        time: std::time::Duration::from_secs(120),
        ..issue_load(plan, nodes, &[], CONNECTIONS.min(count))
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
