//! What is told: lines on stdout, how far it is on stderr, and at the end a table for
//! `docs/reports/verification.md`.

use std::collections::BTreeMap;

use crate::faults::{Faults, Plan};
use crate::history::{Outcome, Story};
use crate::system::Store;

pub(crate) fn say(line: &str) {
    #[expect(
        clippy::print_stdout,
        reason = "the report is what this program is for"
    )]
    {
        println!("{line}");
    }
}

/// For whoever waits.
pub(crate) fn tell(line: &str) {
    #[expect(clippy::print_stderr, reason = "it is no part of the report")]
    {
        eprintln!("{line}");
    }
}

pub(crate) fn summary(stories: &[Story]) -> String {
    let of = outcomes(stories);
    format!(
        "{} tokens, {} granted, {} refused, {} without an answer, {} unavailable",
        stories.len(),
        of(Outcome::Granted),
        of(Outcome::Refused),
        of(Outcome::Unknown),
        of(Outcome::Unavailable)
    )
}

fn outcomes(stories: &[Story]) -> impl Fn(Outcome) -> usize {
    |outcome| {
        let asked = stories.iter().flat_map(|story| &story.asked);
        asked.filter(|asked| asked.outcome == outcome).count()
    }
}

/// The rows, as a table.
pub(crate) fn table(rows: &[String]) {
    say("");
    say("| store | answers | kills | other faults | without an answer | violations |");
    say("| --- | --- | --- | --- | --- | --- |");
    for row in rows {
        say(row);
    }
    say("");
}

pub(crate) fn row(plan: &Plan, stories: &[Story], faults: &Faults, violations: usize) -> String {
    let of = outcomes(stories);
    let answers = of(Outcome::Granted) + of(Outcome::Refused);
    let store = match plan.store {
        Store::Sqlite => "SQLite",
        Store::Postgres => "PostgreSQL",
    };
    format!(
        "| {store}, nodes: {} | {} | {} | {} | {} | {violations} |",
        plan.nodes,
        grouped(answers),
        kills(faults),
        others(&faults.others),
        grouped(of(Outcome::Unknown) + of(Outcome::Unavailable)),
    )
}

fn kills(faults: &Faults) -> String {
    let nodes = format!("{} of nodes", grouped(faults.nodes_killed));
    match faults.databases_killed {
        0 => nodes,
        killed => format!("{nodes}, {} of the database", grouped(killed)),
    }
}

fn others(faults: &BTreeMap<&str, usize>) -> String {
    let told = faults.iter();
    let told = told.map(|(what, count)| format!("{} {what}", grouped(*count)));
    told.collect::<Vec<_>>().join(", ")
}

/// With a comma before each three digits.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_threes() {
        let told = [0, 999, 1_000, 61_013, 1_000_000].map(grouped);
        assert_eq!(told, ["0", "999", "1,000", "61,013", "1,000,000"]);
    }
}
