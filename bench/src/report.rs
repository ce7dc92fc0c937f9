//! Figures, and the tables that they are printed in.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;

/// One case in one round.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Right answers a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU time of the server for one of them.
    pub(crate) server_us: f64,
    /// The part of the time that the load generator ran.
    pub(crate) generator_busy: f64,
}

impl Measured {
    pub(crate) fn new(
        mut latencies_us: Vec<u32>,
        time: Duration,
        server_cpu: Duration,
        own_cpu: Duration,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(!latencies_us.is_empty(), "nothing was answered in the time");
        latencies_us.sort_unstable();
        let at = |percent: usize| {
            let index = latencies_us.len() * percent / 100;
            latencies_us.get(index).map(|us| f64::from(*us) / 1e3)
        };
        let count = real(latencies_us.len());
        Ok(Self {
            rate: count / time.as_secs_f64(),
            p50_ms: at(50).unwrap_or_default(),
            p99_ms: at(99).unwrap_or_default(),
            server_us: server_cpu.as_secs_f64() * 1e6 / count,
            generator_busy: own_cpu.as_secs_f64() / time.as_secs_f64(),
        })
    }
}

/// A count as a real number; counts here are far below 2^32.
pub(crate) fn real(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// The middle one; the mean of the two in the middle of an even number.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(low), at(high))
}

/// The rounds of a case.
#[derive(Default)]
pub(crate) struct Rounds(Vec<Measured>);

impl Rounds {
    pub(crate) fn push(&mut self, measured: Measured) {
        self.0.push(measured);
    }

    pub(crate) fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        median(self.0.iter().map(of))
    }

    /// The ratio of a figure in each round: the median, the least and the greatest.
    pub(crate) fn ratio(&self, to: &Self, of: impl Fn(&Measured) -> f64) -> (f64, f64, f64) {
        let ratios: Vec<f64> = self
            .0
            .iter()
            .zip(&to.0)
            .map(|(a, b)| of(a) / of(b))
            .collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = ratios.iter().copied().fold(0.0, f64::max);
        (median(ratios.iter().copied()), least, greatest)
    }
}

/// A table in Markdown.
pub(crate) struct Table(Vec<Vec<String>>);

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self(vec![header.iter().map(|&cell| cell.to_owned()).collect()])
    }

    /// The header of [`Table::compare`].
    pub(crate) fn comparing() -> Self {
        Self::new(&[
            "case",
            "connections",
            "a second",
            "beside it",
            "a second",
            "**ratio** (least to greatest)",
            "p50; p99 ms",
            "beside it",
            "server CPU µs each",
            "beside it",
            "**ratio by CPU**",
            "generator busy",
        ])
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }

    /// A case beside its baseline.
    pub(crate) fn compare(
        &mut self,
        (name, case): (&str, &Rounds),
        (beside, baseline): (&str, &Rounds),
        connections: usize,
    ) {
        let (ratio, least, greatest) = case.ratio(baseline, |one| one.rate);
        let (by_cpu, ..) = baseline.ratio(case, |one| one.server_us);
        let latency = |rounds: &Rounds| {
            let (p50, p99) = (rounds.median(|r| r.p50_ms), rounds.median(|r| r.p99_ms));
            format!("{p50:.2}; {p99:.2}")
        };
        let busy = case
            .median(|one| one.generator_busy)
            .max(baseline.median(|one| one.generator_busy));
        self.row(vec![
            name.to_owned(),
            connections.to_string(),
            thousands(case.median(|one| one.rate)),
            beside.to_owned(),
            thousands(baseline.median(|one| one.rate)),
            format!("**{ratio:.2}** ({least:.2} to {greatest:.2})"),
            latency(case),
            latency(baseline),
            format!("{:.1}", case.median(|one| one.server_us)),
            format!("{:.1}", baseline.median(|one| one.server_us)),
            format!("**{by_cpu:.2}**"),
            format!("{:.0} %", busy * 100.0),
        ]);
    }

    /// Prints it under a title.
    pub(crate) fn print(&self, title: &str) -> anyhow::Result<()> {
        let mut lines: Vec<String> = self.0.iter().map(|cells| line(cells)).collect();
        let columns = self.0.first().map_or(0, Vec::len);
        lines.insert(1, line(&vec!["---".to_owned(); columns]));
        say(&format!("## {title}\n\n{}\n", lines.join("\n")))
    }
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// A number for people: `12,300`.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// To stdout, at once.
#[expect(
    clippy::disallowed_methods,
    reason = "it prints what it measured itself"
)]
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_in_each_round() {
        let rounds = |rates: [f64; 3]| {
            let mut rounds = Rounds::default();
            for rate in rates {
                rounds.push(Measured {
                    rate,
                    p50_ms: 0.0,
                    p99_ms: 0.0,
                    server_us: 0.0,
                    generator_busy: 0.0,
                });
            }
            rounds
        };
        // The ratio of the medians would be 1; no round but one has seen that.
        let ratio = rounds([1.0, 2.0, 9.0]).ratio(&rounds([2.0, 4.0, 1.0]), |one| one.rate);
        assert_eq!(ratio, (0.5, 0.5, 9.0));
    }

    #[test]
    fn latencies_are_read_at_their_place() {
        let all: Vec<u32> = (1..=1_000).rev().collect();
        let second = Duration::from_secs(1);
        let measured = Measured::new(all, second, second, second).unwrap();
        assert!((measured.rate - 1_000.0).abs() < 1e-9);
        assert!((measured.p50_ms - 0.501).abs() < 1e-9);
        assert!((measured.p99_ms - 0.991).abs() < 1e-9);
        assert!((measured.server_us - 1_000.0).abs() < 1e-9);
        assert!(Measured::new(Vec::new(), second, second, second).is_err());
    }

    #[test]
    fn thousands_are_set_apart() {
        let texts = [1.0, 999.4, 1_000.0, 1_234_567.0].map(thousands);
        assert_eq!(texts, ["1", "999", "1,000", "1,234,567"]);
    }
}
