//! What an operator does: merchants, credentials, embeds, tokens, the epoch.

mod certificate;
mod credential;
mod embed;
mod merchant;
pub(crate) mod networks;
mod token;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use cardveil_core::audit::{Kind, Target};
use cardveil_core::card::Environment;
use cardveil_core::id::MerchantId;
use cardveil_core::merchant::Merchant;
use cardveil_core::port::{Change, Taken};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::backend;
use crate::config::{self, Config};
use crate::deployment::{Deployment, create_private_folder, operator};
use crate::print::{self, hinted, say};

pub(crate) use self::credential::{CredentialCommand, PERMITTED, credential, time};
pub(crate) use self::embed::{EmbedCommand, embed};
pub(crate) use self::merchant::{MerchantCommand, merchant};
pub(crate) use self::token::{EpochCommand, TokenCommand, epoch, token};

#[derive(Args)]
pub(crate) struct InitArgs {
    /// Where to put it
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Which cards it takes: the schemes' test numbers, or everything but those
    #[arg(long, value_enum, default_value = "sandbox")]
    environment: EnvironmentArg,
    /// Keep it in PostgreSQL: a connection string without a password, such as "host=/run/postgresql
    /// user=cardveil dbname=cardveil". `cardveil migrate` makes the schema
    #[arg(long, value_name = "CONNECTION")]
    postgres: Option<String>,
    /// The file with the password for PostgreSQL
    #[arg(long, value_name = "FILE", requires = "postgres")]
    password_file: Option<PathBuf>,
    /// The authorities of PostgreSQL's certificate (PEM), when it is on another machine
    #[arg(long, value_name = "FILE", requires = "postgres")]
    postgres_ca: Option<PathBuf>,
    /// PostgreSQL is on another machine, and the network between encrypts
    #[arg(long, requires = "postgres", conflicts_with = "postgres_ca")]
    postgres_plain: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum EnvironmentArg {
    Sandbox,
    Live,
}

/// `cardveil init`.
pub(crate) async fn init(args: InitArgs) -> anyhow::Result<()> {
    let environment = match args.environment {
        EnvironmentArg::Sandbox => Environment::Sandbox,
        EnvironmentArg::Live => Environment::Live,
    };
    create_private_folder(&args.dir)?;
    let path = args.dir.join("cardveil.toml");
    let mut fresh = Config::fresh(environment);
    if let Some(connection) = args.postgres {
        fresh.store = config::Store {
            password_file: args.password_file,
            postgres_ca: args.postgres_ca,
            postgres_plain: args.postgres_plain,
            ..config::Store::postgres(connection)
        };
    }
    if let Some(connection) = &fresh.store.postgres {
        backend::options(&fresh.store, connection)?;
    }
    let text = toml::to_string(&fresh)?;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            hinted(
                format!("cannot create {}: {error}", path.display()),
                "choose an empty folder with --dir; a deployment that is there is never overwritten",
            )
        })?;
    let (keys, next) = match lay_out(&path).await {
        Ok(made) => made,
        Err(error) => {
            // What is configured and not there would be in the way of the next attempt. If it cannot be
            // removed either, that attempt says so.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
    };
    say(&format!("created {}", path.display()));
    for (_, path) in keys.files() {
        say(&format!("root key: {}", path.display()));
    }
    say("keep a copy of the root key in a safe place, apart from every backup of the database:");
    say("without it no card can ever be opened again.");
    say(&format!(
        "next: cardveil --config {} {next}",
        path.display()
    ));
    let roots: Vec<_> = keys.files().map(|(_, path)| path).collect();
    print::done(&json!({ "config": path, "root_keys": roots }))
}

/// The root key, and the database where it is a file: as configured. Tells what comes next.
async fn lay_out(path: &Path) -> anyhow::Result<(config::Keys, &'static str)> {
    let config = Config::load(path)?;
    let keys = config.keys.clone();
    if config.store.postgres.is_some() {
        Deployment::create_root(&config)?;
        return Ok((keys, "migrate --owner ..."));
    }
    Deployment::create(config).await?;
    Ok((keys, "merchant add --name \"...\""))
}

impl Deployment {
    pub(crate) async fn change(
        &self,
        change: Change,
        kind: Kind,
        merchant: Option<&MerchantId>,
        target: Target,
    ) -> anyhow::Result<()> {
        let target = if target == Target::default() {
            Target {
                resource: merchant.map(|id| id.to_string().into()),
                ..target
            }
        } else {
            target
        };
        let event = operator().event(self.service.now(), kind, merchant.cloned(), target);
        self.service.change(change, event).await?.map_err(refused)
    }

    /// Says which rows the lists of this command have left out.
    pub(crate) fn tell_left_out(&self) {
        for row in self.store.left_out() {
            say(&format!(
                "left out, because it cannot be read, as if it was altered: {row}"
            ));
        }
    }

    pub(crate) async fn find_merchant(&self, id: &MerchantId) -> anyhow::Result<Merchant> {
        self.store
            .merchant(id)
            .await?
            .ok_or_else(|| missing("merchant"))
    }
}

/// A `set` without anything to set is a slip.
fn something(to_change: bool) -> anyhow::Result<()> {
    if to_change {
        return Ok(());
    }
    Err(hinted(
        "there is nothing to change",
        "`--help` lists what can be",
    ))
}

pub(crate) fn missing(what: &str) -> anyhow::Error {
    hinted(
        format!("there is no such {what}"),
        format!("`cardveil {what} list` shows what there is"),
    )
}

pub(crate) fn refused(taken: Taken) -> anyhow::Error {
    match taken {
        Taken::Exists => hinted("it exists already", "choose another id"),
        Taken::Changed => hinted(
            "it was changed meanwhile, and nothing was done",
            "look at it with `show`, and run this again",
        ),
        Taken::Full => hinted(taken.to_string(), "remove one first"),
        Taken::NoMerchant => hinted(
            "there is no such merchant",
            "`cardveil merchant list` shows what there is",
        ),
    }
}
