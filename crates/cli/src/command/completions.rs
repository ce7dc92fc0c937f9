//! `cardveil completions`: what completes commands in a shell.

use clap::Command;
use clap_complete::Shell;
use serde_json::json;

use crate::print;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `cardveil completions`.
pub(crate) fn run(mut command: Command, args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cardveil", &mut script);
    let script = String::from_utf8(script)?;
    print::object(&json!({ "script": script }), |_| print::own(&script))
}
