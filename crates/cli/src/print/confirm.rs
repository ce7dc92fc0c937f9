//! `--yes`: what cannot be undone is asked about, where somebody can answer.
//!
//! Where nobody can (a pipe, a script, a container without a terminal) the command was meant as it
//! stands, and goes on. Whoever adds a command that cannot be undone gives it a [`Yes`].

use std::io::{BufRead as _, IsTerminal as _};

use super::hinted;

/// Whether to ask.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Yes {
    /// Do not ask before it is done: it cannot be undone
    #[arg(long)]
    yes: bool,
}

impl Yes {
    /// Asks on a terminal whether `what`, a whole sentence, is to happen.
    pub(crate) fn confirm(self, what: &str) -> anyhow::Result<()> {
        let stdin = std::io::stdin();
        if self.yes || !stdin.is_terminal() || !super::is_watched() {
            return Ok(());
        }
        super::ask(&format!("{what} This cannot be undone. Go on? [y/N] "));
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        if is_yes(&answer) {
            return Ok(());
        }
        Err(hinted(
            "it was not confirmed, and nothing was done",
            "answer y, or give --yes",
        ))
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&&*answer.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_yes_is_one() {
        for yes in ["y\n", "Y\n", " yes \r\n", "YES"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\n", "yy\n", "yes please\n", "\u{1b}y\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
