//! `cardveil man`: man pages.

use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use serde_json::json;

use crate::print::{self, hinted};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder for them, such as /usr/local/share/man/man1; those that are there are written
    /// anew
    dir: PathBuf,
}

/// `cardveil man`.
pub(crate) fn run(mut command: Command, args: &Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.dir).map_err(|error| cannot_write(&args.dir, &error))?;
    command.build();
    let mut files = Vec::new();
    write_man(command, &args.dir, &mut files).map_err(|error| cannot_write(&args.dir, &error))?;
    print::object(&json!({ "files": files }), |_| {
        print::line(&format!("{} pages in {}", files.len(), args.dir.display()))
    })
}

fn cannot_write(dir: &Path, error: &std::io::Error) -> anyhow::Error {
    hinted(
        format!("cannot write to {}: {error}", dir.display()),
        "name a folder that this account may write to",
    )
}

fn write_man(command: Command, dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for verb in command.get_subcommands().cloned() {
        write_man(verb, dir, files)?;
    }
    files.push(Man::new(command).generate_to(dir)?);
    Ok(())
}
