//! `cardveil migrate`: makes or upgrades the schema, as its owner.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardveil_core::Entropy;
use cardveil_core::clock::{Clock as _, SystemClock};
use cardveil_core::port::Error;
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::{OpenError, from_sqlite, schema};
use cardveil_store::sqlite::retire;
use clap::Args as ClapArgs;
use serde::Serialize;

use crate::deployment::backend;
use crate::deployment::config::Config;
use crate::print::Yes;
use crate::print::{self, hinted, say};

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The role that owns the schema; the user of store.postgres when left out
    #[arg(long, value_name = "ROLE")]
    owner: Option<String>,
    /// A file with the owner's password
    #[arg(long, value_name = "FILE")]
    owner_password_file: Option<PathBuf>,
    /// Then copy a whole deployment out of this SQLite file into the empty database. Nobody may
    /// serve from the file, then or afterwards
    #[arg(long, value_name = "FILE")]
    from_sqlite: Option<PathBuf>,
    /// Then say that no node of an earlier version runs any more, nor will: it would be refused.
    /// The audit log goes on in the form that keeps personal values out of its chain
    #[arg(long)]
    finish: bool,
    #[command(flatten)]
    yes: Yes,
}

/// What was done; nothing to SQLite, which is migrated when it is opened.
#[derive(Default, Serialize)]
struct Report {
    /// The versions of the schema.
    from: Option<i32>,
    to: Option<i32>,
    /// No earlier program may serve on it, from now on or before.
    finished: bool,
    /// How many rows of each table were copied.
    copied: BTreeMap<String, usize>,
    /// Which epoch was raised to.
    epoch: Option<u32>,
}

/// `cardveil migrate`.
pub(crate) async fn run(config: &Path, args: Args) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let Some(connection) = &config.store.postgres else {
        say("SQLite is migrated when it is opened: there is nothing to do");
        return print::done(&Report::default());
    };
    if let Some(file) = &args.from_sqlite {
        args.yes.confirm(&format!(
            "All of {} is copied, and no program serves from that file afterwards.",
            file.display()
        ))?;
    }
    let server = backend::options(&config.store, connection)?;
    let user = server.user().to_owned();
    let owner = match &args.owner {
        None => server,
        Some(owner) => {
            let password = args.owner_password_file.as_deref();
            backend::owner_options(&config.store, connection, owner, password)?
        }
    };
    let migrated = schema::migrate(&owner, Some(&user), SystemClock.now(), &SystemEntropy)
        .await
        .map_err(|error| not_migrated(&owner.place(), &error))?;
    say(&if migrated.from == migrated.to {
        format!(
            "the schema is of version {} already, and its grants are in place",
            migrated.to
        )
    } else {
        format!(
            "the schema was migrated from version {} to {}",
            migrated.from, migrated.to
        )
    });
    let mut report = Report {
        from: Some(migrated.from),
        to: Some(migrated.to),
        finished: migrated.is_finished,
        ..Report::default()
    };
    if args.finish {
        schema::finish(&owner)
            .await
            .map_err(|error| not_migrated(&owner.place(), &error))?;
        say("it is finished: programs of an earlier version are refused from now on");
        report.finished = true;
    } else if !migrated.is_finished {
        say(
            "programs of the version before may serve on it: once none runs any more, run \
             `cardveil migrate --finish`",
        );
    }
    if let Some(file) = &args.from_sqlite {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let told = |table: &str, rows| {
            say(&format!("{table:<13} {rows:>9} rows"));
            report.copied.insert(table.to_owned(), rows);
        };
        let epoch = from_sqlite(&owner, file, (SystemClock.now(), &entropy), told)
            .await
            .map_err(|error| not_copied(&error))?;
        say(&format!(
            "all is there; the epoch was raised to {}",
            epoch.0
        ));
        match retire(file) {
            Ok(()) => say("the SQLite file is marked as moved: no program serves from it any more"),
            Err(error) => say(&format!(
                "take the SQLite file out of use, which could not be marked as moved: {error}"
            )),
        }
        say("the root key stays the same one");
        report.epoch = Some(epoch.0);
    }
    print::done(&report)
}

fn not_migrated(place: &str, error: &OpenError) -> anyhow::Error {
    match error {
        OpenError::Database(Error::Unknown(why)) => hinted(
            format!("it is not known whether {place} was migrated: {why}"),
            "run `cardveil migrate` again: it tells, and does what is left",
        ),
        OpenError::Unfit(unfit) => hinted(
            format!("cannot migrate {place}: {unfit}"),
            backend::mend(unfit),
        ),
        OpenError::Database(Error::Unavailable(_) | Error::Corrupt(_)) | OpenError::Thread(_) => {
            hinted(
                format!("cannot migrate {place}: {error}"),
                "the owner needs CREATE on the database, and its password in the file that --owner-password-file \
                 names; the server's role must exist, and pg_hba.conf must let the owner in from here: `peer` \
                 asks for an account of the role's name",
            )
        }
    }
}

fn not_copied(error: &Error) -> anyhow::Error {
    match error {
        Error::Unknown(why) => hinted(
            format!("it is not known whether all was copied or nothing: {why}"),
            "do not serve from SQLite before you know: run this again, and if it finds that the \
             database is not empty, all is there",
        ),
        Error::Unavailable(_) | Error::Corrupt(_) => hinted(
            format!("nothing was copied: {error}"),
            "the schema must be empty: unless a run before left all there without knowing it, make it \
             anew, and stop whoever serves from the file",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads that nothing was copied serves from SQLite again.
    #[test]
    fn a_commit_without_an_answer_is_not_told_as_nothing_done() {
        let lost = Error::Unknown("the connection was cut".to_owned());
        let told = [
            not_copied(&lost),
            not_migrated("db", &OpenError::Database(lost)),
        ];
        for told in told.map(|told| told.to_string()) {
            assert!(told.starts_with("it is not known whether"), "{told}");
        }
        let refused = Error::Unavailable("no".to_owned());
        let told = not_copied(&refused).to_string();
        assert!(told.starts_with("nothing was copied"), "{told}");
    }
}
