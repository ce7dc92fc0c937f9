//! A cluster of its own: in the run's folder, on a unix socket, with PostgreSQL's own durability.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::proxy::Proxy;

pub(crate) const OWNER: &str = "cardveil_owner";
const SERVER: &str = "cardveil";
const DATABASE: &str = "cardveil";
/// How long the processes of one that was killed are waited for.
const STARTS_MAX: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
/// The name of its socket, which its port is a part of.
const SOCKET: &str = ".s.PGSQL.5432";
/// Where Debian keeps what is not on the path, the newest last.
const DEBIAN: &str = "/usr/lib/postgresql";

pub(crate) struct Postgres {
    folder: PathBuf,
    bin: PathBuf,
    first: Option<Child>,
    pub(crate) proxy: Proxy,
}

impl Postgres {
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(folder)?;
        let mut this = Self {
            folder: folder.to_owned(),
            bin: programs()?,
            first: None,
            proxy: Proxy::open(&folder.join(SOCKET))?,
        };
        if is_root() {
            // Its programs refuse to run as root; whoever runs them must reach the folder.
            run(Command::new("chown").arg("nobody").arg(folder))?;
        }
        let data = this.data();
        let settings = [
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--data-checksums",
            "-D",
        ];
        run(this.program("initdb").args(settings).arg(data))?;
        this.start()?;
        this.sql(
            "postgres",
            &format!("CREATE ROLE {OWNER} LOGIN; CREATE ROLE {SERVER} LOGIN"),
        )?;
        this.sql(
            "postgres",
            &format!("CREATE DATABASE {DATABASE} OWNER {OWNER}"),
        )?;
        Ok(this)
    }

    /// What a deployment connects by: what lies between can fail.
    pub(crate) fn connection(&self) -> String {
        let at = self.proxy.at;
        format!(
            "host={} port={} user={SERVER} dbname={DATABASE}",
            at.ip(),
            at.port()
        )
    }

    /// Starts it, and waits until it answers; when it was killed, once the last of its processes has noticed.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        for _ in 0..STARTS_MAX {
            let said = self.try_start()?;
            if self.first.is_some() {
                return Ok(());
            }
            ensure!(
                said.contains("still in use") || said.contains("lock file"),
                "PostgreSQL did not start: {said}"
            );
            std::thread::sleep(PAUSE);
        }
        bail!("the processes of the PostgreSQL that was killed did not end")
    }

    /// What it said, if it did not start.
    fn try_start(&mut self) -> anyhow::Result<String> {
        let mut postgres = self.program("postgres");
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder);
        for setting in [
            "listen_addresses=",
            "max_connections=200",
            "wal_level=replica",
            "deadlock_timeout=100ms",
        ] {
            postgres.args(["-c", setting]);
        }
        let mut first = postgres
            .stderr(Stdio::piped())
            .spawn()
            .context("postgres")?;
        let err = first.stderr.take().context("a pipe was asked for")?;
        let mut lines = BufReader::new(err).lines().map_while(Result::ok);
        let mut said = String::new();
        for line in lines.by_ref() {
            if line.contains("ready to accept connections") {
                self.first = Some(first);
                // What it says later is nobody's, but must be read.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(said);
            }
            said.push_str(&line);
            said.push('\n');
        }
        first.wait()?;
        Ok(said)
    }

    /// Kills its first process; the others end when they notice, and the next start waits for them.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        let pid = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let pid = pid.lines().next().context("postmaster.pid is empty")?;
        run(Command::new("kill").args(["-9", pid]))?;
        if let Some(mut first) = self.first.take() {
            first.wait()?;
        }
        Ok(())
    }

    fn sql(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        let mut psql = self.program("psql");
        psql.args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-h",
        ]);
        run(psql.arg(&self.folder).args(["-c", sql]))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let path = self.bin.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
                .arg(path);
            command
        } else {
            Command::new(path)
        };
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.first.is_some() {
            // The folder goes with the run; nothing in it is needed any more.
            drop(self.kill());
        }
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
    versions
        .pop()
        .context("no PostgreSQL server: run `make setup`")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command:?}: {said}");
    Ok(())
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}
