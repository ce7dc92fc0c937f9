//! `cardveil`: the only binary, and the only place where everything is put together.
//!
//! Data goes to stdout, everything else to stderr; `--json` on every command that prints data. Exit
//! codes: 0 done, 1 failed or found something, 2 wrong usage or could not look, 3 done in part (an
//! import that refused lines), 4 failed for the PIN of the root key's token, which would be locked
//! by trying again.

mod command;
mod deployment;
mod print;
mod running;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

use self::command::{
    audit, backup, budget, card, completions, credential, demo, doctor, embed, epoch, healthcheck,
    help, init, key, man, manifest, merchant, mfa, migrate, openapi, probe, restore, serve, token,
    wallet_token, webhook,
};
use self::deployment::config::located;
use self::deployment::process;

/// Wipes what is freed, and moves what grows, so that nothing of a request outlives it in the heap
/// (P3). C code has a heap of its own: AWS-LC wipes what it frees, and SQLite is given nothing in
/// clear.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

/// Shows a cardholder their own card, and nobody else
#[derive(Parser)]
#[command(
    name = "cardveil",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_long_help = help::AFTER_HELP
)]
struct Cli {
    /// The configuration file
    #[arg(
        long,
        global = true,
        env = "CARDVEIL_CONFIG",
        default_value = "cardveil.toml"
    )]
    config: PathBuf,
    #[command(flatten)]
    format: print::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything at once, with test cards and a shop page to click
    Demo(demo::Args),
    /// Create a deployment: configuration, root key, database
    Init(init::Args),
    /// Make or upgrade the schema in PostgreSQL, as its owner
    Migrate(migrate::Args),
    /// Serve the three listeners
    Serve,
    /// Check a deployment and say what to mend
    Doctor,
    /// Ask the running server whether it is ready: for containers
    Healthcheck(healthcheck::Args),
    /// Merchants: the partners whose servers call
    #[command(subcommand)]
    Merchant(merchant::MerchantCommand),
    /// Credentials: the Api-Keys of merchants
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Embeds: the public ids that name who may frame a card
    #[command(subcommand)]
    Embed(embed::EmbedCommand),
    /// Cards
    #[command(subcommand)]
    Card(card::CardCommand),
    /// People's second factors
    #[command(subcommand)]
    Mfa(mfa::MfaCommand),
    /// Budgets of reveals: how often cards and people may still be asked for
    #[command(subcommand)]
    Budget(budget::BudgetCommand),
    /// The tokens of cards in digital wallets
    #[command(subcommand)]
    WalletToken(wallet_token::WalletTokenCommand),
    /// Class keys: their states, rotation and retirement
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Client tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Webhooks: who is told of what, and what is on its way
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Write the database to one encrypted file, while it serves
    Backup(backup::Args),
    /// Put a backup in place, with the epoch raised
    Restore(restore::Args),
    /// The epoch: no token outlives it
    #[command(subcommand)]
    Epoch(epoch::EpochCommand),
    /// The manifest of the scripts that cardholders' browsers run
    #[command(subcommand)]
    Manifest(manifest::ManifestCommand),
    /// Look at a live deployment from outside, as a browser would, and say what is not as it should
    /// be
    Probe(probe::Args),
    /// Print the OpenAPI description of all listeners
    Openapi,
    /// Print a page of the docs, or a command's help
    Help(help::Args),
    /// Print what completes commands in a shell
    Completions(completions::Args),
    /// Write man pages, one for each command
    Man(man::Args),
}

fn main() -> ExitCode {
    print::tell_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print::usage(error),
    };
    print::choose(cli.format);
    let file = cli.config.clone();
    let is_of_file = !matches!(cli.command, Command::Demo(_) | Command::Init(_));
    let ended = run(cli).map_err(|error| {
        if is_of_file {
            located(error, &file)
        } else {
            error
        }
    });
    match ended {
        Ok(code) => code,
        // Whoever read the data has read enough: `cardveil audit export | head`.
        Err(error) if print::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            let by_pin = error.chain().any(|cause| {
                matches!(
                    cause.downcast_ref(),
                    Some(cardveil_seal::Error::PinRefused(_))
                )
            });
            ExitCode::from(if by_pin { 4 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    process::harden()?;
    // Cards and keys are in the clear in an import, a rotation or a backup too. `serve` and
    // `doctor` tell where it cannot be done.
    let _ = process::lock_memory();
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(cardveil_server::before_rest)
        .build()?;
    let config = &cli.config;
    let done = |()| ExitCode::SUCCESS;
    let ended = match cli.command {
        Command::Demo(args) => runtime.block_on(demo::run(args)).map(done),
        Command::Init(args) => runtime.block_on(init::run(args)).map(done),
        Command::Migrate(args) => runtime.block_on(migrate::run(config, args)).map(done),
        Command::Serve => runtime.block_on(serve::run(config)).map(done),
        Command::Doctor => runtime.block_on(doctor::run(config)),
        Command::Healthcheck(args) => runtime.block_on(healthcheck::run(config, args)).map(done),
        Command::Merchant(command) => runtime.block_on(merchant::run(config, command)).map(done),
        Command::Credential(command) => {
            runtime.block_on(credential::run(config, command)).map(done)
        }
        Command::Embed(command) => runtime.block_on(embed::run(config, command)).map(done),
        Command::Card(command) => runtime.block_on(card::run(config, command)),
        Command::Budget(command) => runtime.block_on(budget::run(config, command)).map(done),
        Command::Mfa(command) => runtime.block_on(mfa::run(config, command)).map(done),
        Command::WalletToken(command) => runtime
            .block_on(wallet_token::run(config, command))
            .map(done),
        Command::Key(command) => runtime.block_on(key::run(config, command)).map(done),
        Command::Token(command) => runtime.block_on(token::run(config, command)).map(done),
        Command::Webhook(command) => runtime.block_on(webhook::run(config, command)).map(done),
        Command::Audit(command) => runtime.block_on(audit::run(config, command)),
        Command::Backup(args) => runtime.block_on(backup::run(config, args)).map(done),
        Command::Restore(args) => runtime.block_on(restore::run(config, args)).map(done),
        Command::Epoch(command) => runtime.block_on(epoch::run(config, command)).map(done),
        Command::Manifest(command) => runtime.block_on(manifest::run(config, command)).map(done),
        Command::Probe(args) => runtime.block_on(probe::run(args)),
        Command::Openapi => openapi::run().map(done),
        Command::Help(args) => help::run(Cli::command(), &args),
        Command::Completions(args) => completions::run(Cli::command(), &args).map(done),
        Command::Man(args) => man::run(Cli::command(), &args).map(done),
    };
    // What is left is the system's lookup of a name that was given up, which may take its time.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Command;

    use super::*;

    const DOCS: &str = include_str!("../../../docs/reference/command-line.md");

    /// The commands that do something, each with what is before it.
    fn leaves(command: &Command, before: &str, found: &mut BTreeSet<String>) {
        for verb in command.get_subcommands() {
            let words = format!("{before}{}", verb.get_name());
            if verb.has_subcommands() {
                leaves(verb, &format!("{words} "), found);
            } else {
                let json = verb
                    .get_arguments()
                    .any(|arg| arg.get_long() == Some("json"));
                assert!(json, "{words} does not take --json");
                found.insert(words);
            }
        }
    }

    #[test]
    fn every_command_takes_json_and_is_in_the_docs() {
        let mut command = Cli::command();
        command.build();
        let mut found = BTreeSet::new();
        leaves(&command, "", &mut found);
        let table = DOCS.split("## Commands").nth(1).unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented = rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
        assert_eq!(found, documented.collect());
    }
}
