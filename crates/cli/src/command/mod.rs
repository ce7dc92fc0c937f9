//! The commands: a file or a folder for each word that a user types after `cardveil`, by its name.
//!
//! **Invariant:** no command knows another. What two of them need is in `deployment`, or here if it
//! is about the words of the command line.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod budget;
pub(crate) mod card;
pub(crate) mod completions;
pub(crate) mod credential;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod embed;
pub(crate) mod epoch;
pub(crate) mod healthcheck;
pub(crate) mod help;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod man;
pub(crate) mod manifest;
pub(crate) mod merchant;
pub(crate) mod mfa;
pub(crate) mod migrate;
pub(crate) mod openapi;
pub(crate) mod probe;
pub(crate) mod restore;
pub(crate) mod serve;
pub(crate) mod token;
pub(crate) mod wallet_token;
pub(crate) mod webhook;

use cardveil_core::Time;

use crate::print::hinted;

/// A time on the command line.
pub(crate) fn time(text: &str) -> Result<Time, String> {
    Time::parse_rfc3339(text).ok_or_else(|| "give a time such as 2027-01-01T00:00:00Z".to_owned())
}

/// A `set` without anything to set is a slip.
pub(crate) fn something(to_change: bool) -> anyhow::Result<()> {
    if to_change {
        return Ok(());
    }
    Err(hinted(
        "there is nothing to change",
        "`--help` lists what can be",
    ))
}
