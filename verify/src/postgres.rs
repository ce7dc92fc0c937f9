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
const SCHEMA: &str = "cardveil";
/// How long the processes of one that was killed are waited for.
const STARTS_MAX: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);
/// What it says once it takes writes, and once it can be read.
const READY: &str = "ready to accept connections";
const READY_TO_READ: &str = "ready to accept read-only connections";
/// The name of its socket, which its port is a part of.
const SOCKET: &str = ".s.PGSQL.5432";
/// Where Debian keeps what is not on the path, the newest last.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The one that serves, another that takes its place some time, and what lies before them.
pub(crate) struct Postgres {
    folder: PathBuf,
    bin: PathBuf,
    primary: Server,
    standby: Option<Server>,
    /// How many there have been.
    servers: usize,
    pub(crate) proxy: Proxy,
}

struct Server {
    data: PathBuf,
    /// Where its socket is.
    sockets: PathBuf,
    first: Option<Child>,
}

/// How another server comes to take the primary's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Successor {
    /// It follows the primary, and is promoted.
    Standby,
    /// It is a base backup, and holds nothing of what came after.
    Backup,
}

impl Postgres {
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(folder)?;
        // Its programs refuse to run as root; whoever runs them must reach the folder.
        give(folder)?;
        let primary = Server::at(folder, 0)?;
        let mut this = Self {
            folder: folder.to_owned(),
            bin: programs()?,
            proxy: Proxy::open(&primary.socket())?,
            primary,
            standby: None,
            servers: 1,
        };
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
        run(this
            .program("initdb")
            .args(settings)
            .arg(&this.primary.data))?;
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

    /// Starts it, and waits until it answers; when it was killed, once the last of its processes
    /// has noticed.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.primary.start(&self.bin, READY)
    }

    /// Kills its first process; the others end when they notice, and the next start waits for them.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.primary.kill()
    }

    /// Makes ready what is to take the primary's place, while that serves.
    pub(crate) fn prepare(&mut self, successor: Successor) -> anyhow::Result<()> {
        let mut server = Server::at(&self.folder, self.servers)?;
        self.servers += 1;
        let mut copy = self.program("pg_basebackup");
        copy.args([
            "-U",
            "postgres",
            "-c",
            "fast",
            "-X",
            "stream",
            "--no-sync",
            "-h",
        ]);
        copy.arg(&self.primary.sockets).arg("-D").arg(&server.data);
        match successor {
            Successor::Standby => {
                run(copy.arg("-R"))?;
                server.start(&self.bin, READY_TO_READ)?;
            }
            Successor::Backup => {
                run(&mut copy)?;
                // "Recovering Using a Continuous Archive Backup": what WAL there is came with the
                // backup.
                let signal = server.data.join("recovery.signal");
                run(as_its_user(Path::new("touch")).arg(signal))?;
            }
        }
        self.standby = Some(server);
        Ok(())
    }

    /// A dump of the database, in a file.
    pub(crate) fn dump(&self, n: usize) -> anyhow::Result<PathBuf> {
        let file = self.primary.sockets.join(format!("{n}.dump"));
        let mut dump = self.program("pg_dump");
        dump.args(["-U", "postgres", "--format=custom", "-d", DATABASE, "-h"]);
        dump.arg(&self.primary.sockets).arg("-f").arg(&file);
        run(&mut dump)?;
        Ok(file)
    }

    /// Puts a dump in the place of all that is there.
    pub(crate) fn put_back(&self, dump: &Path) -> anyhow::Result<()> {
        self.restore(dump, &["--clean", "--if-exists"])
    }

    /// Puts a dump's rows in the place of those that are there; the tables stay.
    pub(crate) fn put_rows_back(&self, dump: &Path) -> anyhow::Result<()> {
        // As a replica does, for which the triggers that keep the log do not run.
        let empty = format!(
            "SET session_replication_role = replica;
             DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ')
                 FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind = 'r');
             END $$"
        );
        self.sql(DATABASE, &empty)?;
        self.restore(dump, &["--data-only", "--disable-triggers"])
    }

    fn restore(&self, dump: &Path, how: &[&str]) -> anyhow::Result<()> {
        let mut restore = self.program("pg_restore");
        restore.args(["-U", "postgres", "--exit-on-error", "-d", DATABASE, "-h"]);
        restore.arg(&self.primary.sockets).args(how).arg(dump);
        run(&mut restore)?;
        std::fs::remove_file(dump)?;
        Ok(())
    }

    /// Puts the other one in the place of a primary that was killed.
    pub(crate) fn succeed(&mut self, successor: Successor) -> anyhow::Result<Old> {
        let mut server = self.standby.take().context("nothing was prepared")?;
        match successor {
            Successor::Standby => {
                let mut promote = self.program("pg_ctl");
                run(promote.args(["promote", "-w", "-D"]).arg(&server.data))?;
            }
            Successor::Backup => server.start(&self.bin, READY)?,
        }
        self.proxy.turn_to(&server.socket());
        Ok(Old(std::mem::replace(&mut self.primary, server)))
    }

    /// Starts one that was followed, for what only it knows.
    pub(crate) fn revive(&self, old: &mut Old) -> anyhow::Result<String> {
        old.0.start(&self.bin, READY)?;
        let sockets = old.0.sockets.display();
        Ok(format!("host={sockets} user={SERVER} dbname={DATABASE}"))
    }

    /// Waits until it serves again, whose disk was full: it starts over by itself, or it has ended.
    pub(crate) fn recover(&mut self) -> anyhow::Result<()> {
        for _ in 0..STARTS_MAX {
            if self.primary.has_ended()? {
                self.start()?;
            }
            if self.sql(DATABASE, "SELECT").is_ok() {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("it does not serve again, though there is room")
    }

    /// Whether another server follows it, or is about to take its place.
    pub(crate) fn has_successor(&self) -> bool {
        self.standby.is_some()
    }

    /// Changes a table past the program; tells how many rows the last update changed.
    pub(crate) fn change(&self, table: &str, sql: &str) -> anyhow::Result<usize> {
        // Apart from the program's own batches, with which it might lock itself out.
        let apart =
            format!("SET search_path TO {SCHEMA}; LOCK TABLE {table} IN EXCLUSIVE MODE; {sql}");
        let said = self.sql(DATABASE, &apart)?;
        let count = said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("UPDATE "));
        Ok(count.unwrap_or("0").parse()?)
    }

    /// What a question of yes or no finds.
    pub(crate) fn is_so(&self, sql: &str) -> anyhow::Result<bool> {
        let said = self.sql(DATABASE, &format!("SET search_path TO {SCHEMA}; {sql}"))?;
        Ok(said.lines().any(|line| line.trim() == "t"))
    }

    fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let mut psql = self.program("psql");
        psql.args([
            "-X",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-h",
        ]);
        psql.stdout(Stdio::piped());
        run(psql.arg(&self.primary.sockets).args(["-c", sql]))
    }

    fn program(&self, name: &str) -> Command {
        as_its_user(&self.bin.join(name))
    }
}

/// One whose place was taken; it goes with its folder.
pub(crate) struct Old(Server);

impl Drop for Old {
    fn drop(&mut self) {
        drop(self.0.kill());
        // What stays goes with the run.
        drop(std::fs::remove_dir_all(&self.0.data));
    }
}

impl Server {
    fn at(folder: &Path, n: usize) -> anyhow::Result<Self> {
        let sockets = folder.join(format!("sockets-{n}"));
        std::fs::create_dir(&sockets)?;
        give(&sockets)?;
        Ok(Self {
            data: folder.join(format!("data-{n}")),
            sockets,
            first: None,
        })
    }

    fn socket(&self) -> PathBuf {
        self.sockets.join(SOCKET)
    }

    fn start(&mut self, bin: &Path, ready: &str) -> anyhow::Result<()> {
        for _ in 0..STARTS_MAX {
            let said = self.try_start(bin, ready)?;
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
    fn try_start(&mut self, bin: &Path, ready: &str) -> anyhow::Result<String> {
        let mut postgres = as_its_user(&bin.join("postgres"));
        postgres.arg("-D").arg(&self.data);
        postgres.arg("-k").arg(&self.sockets);
        for setting in [
            "listen_addresses=",
            "max_connections=200",
            "wal_level=replica",
            "deadlock_timeout=100ms",
            "max_wal_size=256MB",
            // There is no archive.
            "restore_command=false",
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
            if line.contains(ready) {
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

    fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(match &mut self.first {
            Some(first) => first.try_wait()?.is_some(),
            None => true,
        })
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut first) = self.first.take() else {
            return Ok(());
        };
        let pid = std::fs::read_to_string(self.data.join("postmaster.pid"))?;
        let pid = pid.lines().next().context("postmaster.pid is empty")?;
        run(Command::new("kill").args(["-9", pid]))?;
        first.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The folder goes with the run; nothing in it is needed any more.
        drop(self.kill());
    }
}

/// PostgreSQL's programs do not run as root.
fn as_its_user(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn give(folder: &Path) -> anyhow::Result<()> {
    if is_root() {
        run(Command::new("chown").arg("nobody").arg(folder))?;
    }
    Ok(())
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

/// What it said on stdout, where that was asked for.
fn run(command: &mut Command) -> anyhow::Result<String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}
