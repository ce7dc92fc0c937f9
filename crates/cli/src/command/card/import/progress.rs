//! What an import tells while it runs: on a terminal a bar, elsewhere a line now and then.

use std::io::Read;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::print::{self, say};

/// Between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Progress {
    bar: ProgressBar,
    lines: Option<Pace>,
}

impl Progress {
    /// Of so many bytes; it is not known of standard input.
    pub(super) fn new(size: Option<u64>) -> Self {
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
        if !print::is_watched() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
            return Self {
                bar,
                lines: Some(Pace::default()),
            };
        }
        let template = match size {
            Some(_) => "{bar:30} {percent:>3}%  {msg}  {eta} left",
            None => "{spinner} {msg}  {elapsed}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            bar: bar.with_style(style),
            lines: None,
        }
    }

    /// Counts what is read.
    pub(super) fn reads<R: Read>(&self, input: R) -> impl Read + use<R> {
        self.bar.wrap_read(input)
    }

    /// How far it is.
    pub(super) fn tell(&mut self, words: &str, cards: u64) {
        let elapsed = self.bar.elapsed();
        let per_second = u128::from(cards) * 1_000 / elapsed.as_millis().max(1);
        let mut words = format!("{words}, {per_second} cards/s");
        let Some(pace) = &mut self.lines else {
            self.bar.set_message(words);
            return;
        };
        if pace.is_due(elapsed) {
            if let Some(size) = self.bar.length() {
                let percent = self.bar.position().saturating_mul(100) / size.max(1);
                let left = HumanDuration(self.bar.eta());
                words = format!("{percent}%: {words}, {left} left");
            }
            say(&words);
        }
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[derive(Default)]
struct Pace {
    last: Duration,
}

impl Pace {
    fn is_due(&mut self, elapsed: Duration) -> bool {
        let due = elapsed.saturating_sub(self.last) >= PAUSE;
        if due {
            self.last = elapsed;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_every_ten_seconds_and_none_of_a_short_import() {
        let mut pace = Pace::default();
        let told: Vec<_> = [0, 9_999, 10_000, 10_001, 19_999, 20_000, 45_000, 46_000]
            .into_iter()
            .filter(|millis| pace.is_due(Duration::from_millis(*millis)))
            .collect();
        assert_eq!(told, [10_000, 20_000, 45_000]);
    }
}
