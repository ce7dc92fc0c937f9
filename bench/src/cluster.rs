//! A PostgreSQL of its own, on the server's core, with the durability that it comes with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::{machine, pin};

/// Where Debian keeps its programs, the newest last.
const DEBIAN: &str = "/usr/lib/postgresql";
const OWNER: &str = "cardveil_owner";
const SERVER: &str = "cardveil";
/// As an operator sets it who reads what PostgreSQL says of a machine of this size.
const SETTINGS: &str = "-c listen_addresses= -c max_connections=200 -c shared_buffers=1GB \
                        -c max_wal_size=4GB";

/// A running one. Dropping it stops it.
pub(crate) struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
}

impl Cluster {
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let this = Self {
            bin: programs()?,
            folder: folder.to_owned(),
        };
        std::fs::create_dir(folder)?;
        if is_root() {
            // Whoever it runs as must be able to go there.
            done(Command::new("chown").arg("nobody").arg(folder))?;
            let above = folder.parent().context("no folder")?;
            done(Command::new("chmod").arg("711").arg(above))?;
        }
        let initdb = [
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-locale",
        ];
        let data = this.data();
        done(this.program("initdb").args(initdb).arg("-D").arg(&data))?;
        let settings = format!("{SETTINGS} -k {}", folder.display());
        let mut start = this.program("pg_ctl");
        start.args(["-w", "-o", &settings, "-l"]);
        start.arg(folder.join("log")).arg("-D").arg(&data);
        pin::as_server(1, || done(start.arg("start")))??;
        for sql in [
            format!("CREATE ROLE {OWNER} LOGIN"),
            format!("CREATE ROLE {SERVER} LOGIN"),
        ] {
            this.sql("postgres", &sql)?;
        }
        Ok(this)
    }

    /// A new database: how to connect to it, and who is to own the schema.
    pub(crate) fn database(&self, name: &str) -> anyhow::Result<(String, &'static str)> {
        let sql = format!("CREATE DATABASE {name} OWNER {OWNER}");
        self.sql("postgres", &sql)?;
        let host = self.folder.display();
        Ok((format!("host={host} user={SERVER} dbname={name}"), OWNER))
    }

    /// Does what it would do by itself in the minutes after an import.
    pub(crate) fn settle(&self, name: &str) -> anyhow::Result<()> {
        ["VACUUM (ANALYZE)", "CHECKPOINT"]
            .into_iter()
            .try_for_each(|sql| self.sql(name, sql))
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let first = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let first = first.lines().next().context("postmaster.pid is empty")?;
        machine::family(first.parse()?)
    }

    fn sql(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        let mut psql = self.program("psql");
        psql.args([
            "-X", "-q", "-U", "postgres", "-d", database, "-c", sql, "-h",
        ]);
        done(psql.arg(&self.folder))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// They do not run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.args(["-w", "-m", "fast", "-D"]).arg(self.data());
        // It goes with its folder either way.
        drop(done(stop.arg("stop")));
    }
}

fn programs() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<_> = std::fs::read_dir(DEBIAN)
        .with_context(|| format!("no PostgreSQL at {DEBIAN}: run `make setup`"))?
        .map_while(Result::ok)
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    let newest = versions.pop();
    newest.context("no PostgreSQL server: run `make setup`")
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    // A server that is left behind would keep a pipe open.
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(status.success(), "{command:?} failed");
    Ok(())
}
