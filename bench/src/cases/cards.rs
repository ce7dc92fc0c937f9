//! Import, and what many cards cost: the same requests to a deployment with ten times as many cards
//! as the other cases have, and to one with as many, in the same rounds.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use cardveil_core::card::TEST_NUMBERS;
use cardveil_core::id::CardId;

use super::http::{CONNECTIONS, issue_load, redeem};
use crate::cluster::Cluster;
use crate::report::{Rounds, Table, median, real, say, thousands};
use crate::requests::{Dialect, Holders, Issue};
use crate::served::{CardNames, Operator, Served, Wanted};
use crate::{Plan, clock, machine, pin};

const TIMES: usize = 10;
/// An import takes seconds: more rounds than these tell nothing more.
const IMPORTS_MAX: usize = 3;
/// How many cards are asked for at most.
const NAMES_MAX: usize = 100_000;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let imports = plan.rounds.min(IMPORTS_MAX);
    let mut table = Table::new(&["import", "cards", "cards a second (each run)"]);
    for stores_cvv in [true, false] {
        let mut rates = Vec::new();
        for round in 0..imports {
            let name = format!("import-{stores_cvv}-{round}");
            let wanted = Wanted {
                stores_cvv,
                ..Wanted::plain(&name, plan.cards)
            };
            rates.push(deployment(plan, &wanted, None)?.rate);
        }
        let each: Vec<String> = rates.iter().copied().map(thousands).collect();
        table.row(vec![
            if stores_cvv {
                "with CVV"
            } else {
                "without CVV"
            }
            .to_owned(),
            thousands(real(plan.cards)),
            format!(
                "**{}** ({})",
                thousands(median(rates.into_iter())),
                each.join(", ")
            ),
        ]);
    }
    table.print("Import")?;

    let many = deployment(plan, &Wanted::plain("many", TIMES * plan.cards), None)?.serve()?;
    let few = deployment(plan, &Wanted::plain("few", plan.cards), None)?.serve()?;
    let holders = Holders::generate()?;
    let (mut issue_many, mut issue_few) = (Rounds::default(), Rounds::default());
    let (mut redeem_many, mut redeem_few) = (Rounds::default(), Rounds::default());
    for _ in 0..plan.rounds {
        for (served, issues, redeems) in [
            (&few, &mut issue_few, &mut redeem_few),
            (&many, &mut issue_many, &mut redeem_many),
        ] {
            let mut issue = Issue::new(Dialect::KeySecure, served, plan.seed);
            let node = std::slice::from_ref(served);
            issues.push(issue_load(plan, node, &[], CONNECTIONS).measure(&mut issue)?);
            redeems.push(redeem(plan, node, &[], &holders, CONNECTIONS)?);
        }
    }
    let mut table = Table::comparing();
    let cards = |count| format!("{} cards", thousands(real(count)));
    let (few_cards, many_cards) = (cards(plan.cards), cards(TIMES * plan.cards));
    for (name, many, few) in [
        ("issue, KeySecure", &issue_many, &issue_few),
        ("redeem", &redeem_many, &redeem_few),
    ] {
        let name = format!("{name}, {many_cards}");
        table.compare((&name, many), (&few_cards, few), CONNECTIONS);
    }
    table.print("What many cards cost")?;
    let memory = |served: &Served| machine::peak_memory_kib(served.child.pid());
    say(&format!(
        "Peak memory of the server: {} MB with {many_cards}, {} MB with {few_cards}.\n",
        thousands(f64::from(memory(&many)?) / 1_024.0),
        thousands(f64::from(memory(&few)?) / 1_024.0),
    ))
}

pub(super) struct Imported {
    operator: Operator,
    cards: Vec<CardNames>,
    /// Cards a second, by the clock on the wall, from the command's start to its end.
    pub(super) rate: f64,
}

impl Imported {
    pub(super) fn serve(&self) -> anyhow::Result<Served> {
        self.serve_on(1)
    }

    /// On so many cores.
    pub(super) fn serve_on(&self, server_cores: usize) -> anyhow::Result<Served> {
        Served::deployment(&self.operator, self.cards.clone(), server_cores)
    }

    /// By so many nodes.
    pub(super) fn serve_by(&self, nodes: usize) -> anyhow::Result<Vec<Served>> {
        (0..nodes).map(|_| self.serve()).collect()
    }
}

/// A deployment with its cards: on SQLite, or on a database of its own in a cluster.
pub(super) fn deployment(
    plan: &Plan,
    wanted: &Wanted,
    cluster: Option<&Cluster>,
) -> anyhow::Result<Imported> {
    let Wanted {
        name, cards: count, ..
    } = *wanted;
    let file = plan.dir.path().join(format!("{name}.csv"));
    let cards = write_csv(&file, count, wanted.stores_cvv)?;
    let database = cluster.map(|cluster| cluster.database(name)).transpose()?;
    let operator = Operator::init(plan, wanted, database)?;
    let began = clock::now();
    pin::unpinned(|| operator.import(&file, count))??;
    let rate = real(count) / began.elapsed().as_secs_f64();
    std::fs::remove_file(file)?;
    Ok(Imported {
        operator,
        cards,
        rate,
    })
}

/// Cards whose numbers are the schemes' published ones, over and over.
fn write_csv(file: &Path, count: usize, with_cvv: bool) -> anyhow::Result<Vec<CardNames>> {
    let mut out = BufWriter::new(File::create(file)?);
    writeln!(
        out,
        "card_no,card_id,account_id,person_id,pan,expiry,cvv,name"
    )?;
    // A sample of many is drawn from; all of their requests would not go into memory.
    let every = count.div_ceil(NAMES_MAX);
    let mut cards = Vec::with_capacity(count / every + 1);
    for (number, pan) in (0..count).zip(TEST_NUMBERS.iter().cycle()) {
        let card = CardNames {
            card_no: format!("C{number:09}"),
            // In no order, as random UUIDs are.
            card_id: scattered(number),
            account_id: format!("F{:06}", number / 100),
        };
        let cvv = match (with_cvv, pan.starts_with(['3']) && pan.len() == 15) {
            (false, _) => "",
            (true, true) => "1234",
            (true, false) => "123",
        };
        let CardNames {
            card_no,
            card_id,
            account_id,
        } = &card;
        let person = scattered(count + number / 10);
        writeln!(
            out,
            "{card_no},{card_id},{account_id},{person},{pan},12/2030,{cvv},A CARDHOLDER"
        )?;
        if number.is_multiple_of(every) {
            cards.push(card);
        }
    }
    out.flush()?;
    Ok(cards)
}

/// A UUID that belongs to a number.
fn scattered(number: usize) -> String {
    let hash = cardveil_seal::sha256(&[&number.to_be_bytes()]);
    let half = hash.first_chunk().copied().unwrap_or_default();
    CardId::from_bytes(half).to_string()
}
