//! Where in a file something is, and what ends an import before the file does.

use std::fmt;
use std::io;

use super::row::Column;
use crate::print::{explained, hinted};

/// A line; or several, which a quoted field holds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Place {
    pub(super) const fn of(line: u64) -> Self {
        Self {
            first: line,
            last: line,
        }
    }

    pub(super) const fn is_several(self) -> bool {
        self.first < self.last
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if self.is_several() {
            write!(out, "lines {first} to {last}")
        } else {
            write!(out, "line {first}")
        }
    }
}

/// Why no line after this place can be read as what it is.
#[derive(Debug)]
pub(super) enum Stop {
    Read(io::Error),
    /// What the file is, and what to do with it.
    Foreign(&'static str, &'static str),
    NoHeader,
    /// The header line, and what is wrong with it.
    Header(u64, String),
    /// The header line, and the number of the column.
    UnknownColumn(u64, usize),
    NoColumn(u64, Column),
    /// The line where the quote opened.
    OpenQuote(u64),
    /// JSON that goes over lines, or an array.
    NotLines(u64),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Stop> for anyhow::Error {
    fn from(stop: Stop) -> Self {
        let columns = || {
            format!(
                "the first line names the columns; they are {}",
                Column::names(&Column::ALL)
            )
        };
        match stop {
            Stop::Read(error) => explained(
                error,
                "the file could not be read to its end",
                "run this again: what is in is not added twice",
            ),
            Stop::Foreign(what, hint) => hinted(format!("the file is {what}"), hint),
            Stop::NoHeader => hinted("the file has no header line", columns()),
            Stop::Header(line, wrong) => hinted(format!("line {line}: {wrong}"), columns()),
            Stop::UnknownColumn(line, column) => hinted(
                format!("line {line}: column {column} of the header line is not known"),
                columns(),
            ),
            Stop::NoColumn(line, column) => hinted(
                format!(
                    "line {line}: the header line has no column {}",
                    column.as_str()
                ),
                format!(
                    "the required columns are {}",
                    Column::names(&Column::REQUIRED)
                ),
            ),
            Stop::OpenQuote(line) => hinted(
                format!("line {line}: the quote that opens here is not closed"),
                "the lines after this one were not read: take the quote away, or double it inside a \
                 quoted field, and run this again; what is in is not added twice",
            ),
            Stop::NotLines(line) => hinted(
                format!("line {line}: the file is JSON, and not one JSON object a line"),
                "make it so: jq -c 'if type == \"array\" then .[] else . end' FILE",
            ),
        }
    }
}
