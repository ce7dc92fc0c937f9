//! `cardveil init`: makes a deployment, where there is none.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use cardveil_core::card::Environment;
use clap::ValueEnum;
use serde_json::json;

use crate::deployment::backend;
use crate::deployment::config::{self, Config};
use crate::deployment::{Deployment, create_private_folder};
use crate::print::{self, hinted, say};

#[derive(clap::Args)]
pub(crate) struct Args {
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
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
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
            // What is configured and not there would be in the way of the next attempt. If it
            // cannot be removed either, that attempt says so.
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
