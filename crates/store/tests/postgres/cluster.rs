//! PostgreSQL clusters of the tests' own: in temporary folders, on unix sockets, started and
//! stopped by `pg_ctl`. A small shell keeps each: when the test process ends, however it does, the
//! shell's input closes, and it stops the cluster that it started and takes its folder away.
//!
//! As root, PostgreSQL's programs run as `nobody`, since they refuse to run as root.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Who owns the schema in the tests.
pub(crate) const OWNER: &str = "cardveil_owner";
/// Whom the store connects as.
pub(crate) const SERVER: &str = "cardveil";

const SETTINGS: &str = "-c listen_addresses= -c max_connections=200 -c fsync=on -c wal_level=replica \
                        -c max_wal_senders=4 -c deadlock_timeout=100ms -c shared_buffers=32MB";

/// Starts the cluster in `$1` with the settings `$2`, says so, waits for the end of its input,
/// stops it, and removes `$3`, if it is given. `$RUN` runs a program as whoever owns the cluster.
const KEEPER: &str = r#"
trap '' INT TERM HUP
$RUN "$BIN/pg_ctl" -D "$1" -w -t 120 -l "$1.log" -o "$2" start >/dev/null 2>&1 \
    && echo started || { echo failed; cat "$1.log" >&2; }
read -r _
$RUN "$BIN/pg_ctl" -D "$1" -m fast -w stop >/dev/null 2>&1
if [ -n "$3" ]; then rm -rf "$3"; fi
"#;

pub(crate) struct Cluster {
    folder: PathBuf,
    settings: String,
    keeper: Option<Child>,
    /// The keeper removes the folder: the cluster lives as long as the process.
    shared: bool,
}

impl Cluster {
    /// The one that tests share which do nothing to it but write to databases of their own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut cluster = Self::create();
            cluster.shared = true;
            cluster.start();
            cluster.add_roles();
            cluster
        })
    }

    /// A new one, which is not started.
    pub(crate) fn create() -> Self {
        let cluster = Self::empty();
        let mut initdb = program("initdb");
        initdb
            .args([
                "-U",
                "postgres",
                "--auth=trust",
                "-E",
                "UTF8",
                "--no-locale",
            ])
            .args(["--no-sync", "--data-checksums", "-D"])
            .arg(cluster.data());
        run(&mut initdb);
        cluster
    }

    /// A folder for one, with nothing in it.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cardveil-pg-")
            .tempdir()
            .unwrap()
            .keep();
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(&folder));
        }
        let settings = format!("{SETTINGS} -k {}", folder.display());
        Self {
            folder,
            settings,
            keeper: None,
            shared: false,
        }
    }

    /// The folder of the cluster's socket: what a connection string calls `host`.
    pub(crate) fn host(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push_str(" -c ");
        self.settings.push_str(setting);
    }

    /// Has it listen over TCP too, at a loopback address of its own and PostgreSQL's usual port,
    /// with these lines of `pg_hba.conf` for whoever comes there.
    pub(crate) fn listen(&mut self, access: &str) -> Ipv4Addr {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high | 1, low, NEXT.fetch_add(1, Ordering::Relaxed));
        self.set(&format!("listen_addresses={address}"));
        self.put(
            "pg_hba.conf",
            &format!("local all all trust\nlocal replication all trust\n{access}\n"),
        );
        address
    }

    /// What it shows whoever asks for TLS: PEM.
    pub(crate) fn certify(&mut self, certificate: &str, key: &str) {
        self.put("server.crt", certificate);
        self.put("server.key", key);
        self.set("ssl=on");
    }

    /// A file in its folder that only it can read.
    fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            run(Command::new("chown").arg("nobody").arg(&path));
        }
    }

    /// Starts it and returns once it answers.
    pub(crate) fn start(&mut self) {
        let remove = self.shared && std::env::var_os("KEEP_TEST_FILES").is_none();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(self.data())
            .arg(&self.settings)
            .arg(if remove {
                self.folder.as_os_str()
            } else {
                "".as_ref()
            })
            .env("BIN", bin())
            .env("RUN", RUN_AS.join(" ").repeat(usize::from(is_root())))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let out = keeper.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "started");
        self.keeper = Some(keeper);
    }

    /// Ends it as the end of its work does.
    pub(crate) fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    /// Kills its first process; the others end when they notice.
    pub(crate) fn kill(&mut self) {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = text.lines().next().unwrap();
        run(Command::new("kill").args(["-9", pid]));
        self.stop();
        while Path::new("/proc").join(pid).exists() {
            std::thread::yield_now();
        }
    }

    /// Has all its processes stand still, as on a machine that hangs; connections stay open. Or go
    /// on.
    pub(crate) fn stall(&self, stand_still: bool) {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let first = text.lines().next().unwrap();
        let signal = if stand_still { "-STOP" } else { "-CONT" };
        let children = Path::new("/proc").join(first).join("task").join(first);
        let children = std::fs::read_to_string(children.join("children")).unwrap();
        for pid in [first].into_iter().chain(children.split_whitespace()) {
            run(Command::new("kill").args([signal, pid]));
        }
    }

    pub(crate) fn add_roles(&self) {
        self.sql(
            "postgres",
            &format!("CREATE ROLE {OWNER} LOGIN; CREATE ROLE {SERVER} LOGIN"),
        );
    }

    /// A new database that the owner may make a schema in; its name.
    pub(crate) fn database(&self) -> String {
        self.database_like("template1")
    }

    /// A copy of a database that nobody is connected to; its name.
    pub(crate) fn database_like(&self, template: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}");
        self.sql("postgres", &sql);
        name
    }

    pub(crate) fn connection(&self, user: &str, database: &str) -> String {
        let host = self.host().display();
        format!("host={host} user={user} dbname={database}")
    }

    /// Runs SQL as the superuser; what it prints.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_as("postgres", database, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL; what it prints, or says when it fails.
    pub(crate) fn sql_as(&self, user: &str, database: &str, sql: &str) -> Result<String, String> {
        let out = program("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.connection(user, database))
            .args(["-c", sql])
            .output()
            .map_err(|error| error.to_string())?;
        let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if out.status.success() {
            Ok(said(out.stdout))
        } else {
            Err(said(out.stderr))
        }
    }

    /// Copies the running cluster into an empty folder, as a standby or a backup begins.
    pub(crate) fn base_backup(&self, arguments: &[&str]) -> Self {
        let copy = Self::empty();
        let mut backup = program("pg_basebackup");
        backup
            .arg("-d")
            .arg(self.connection("postgres", "postgres"))
            .args(["-c", "fast", "-X", "stream", "-D"])
            .arg(copy.data())
            .args(arguments);
        run(&mut backup);
        copy
    }

    /// Returns once its recovery is over.
    pub(crate) fn await_primary(&self) {
        while self.sql("postgres", "SELECT pg_is_in_recovery()") != "f" {
            std::thread::yield_now();
        }
    }

    /// Puts its data in the place of another's; neither runs.
    pub(crate) fn move_to(&self, other: &mut Self) {
        std::fs::remove_dir_all(other.data()).unwrap();
        std::fs::rename(self.data(), other.data()).unwrap();
        let host = format!("-k {}", self.host().display());
        let there = format!("-k {}", other.host().display());
        other.settings = self.settings.replace(&host, &there);
    }

    /// A logical backup of a database.
    pub(crate) fn dump(&self, database: &str) -> Vec<u8> {
        self.dump_with(database, &[])
    }

    /// The same with arguments of `pg_dump`.
    pub(crate) fn dump_with(&self, database: &str, arguments: &[&str]) -> Vec<u8> {
        let mut dump = program("pg_dump");
        dump.arg("-d").arg(self.connection("postgres", database));
        let out = dump.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{arguments:?}: {said}");
        out.stdout
    }

    /// Has `pg_restore` put a dump in its own format back.
    pub(crate) fn pg_restore(&self, database: &str, dump: &[u8], arguments: &[&str]) {
        let mut restore = program("pg_restore");
        restore
            .args(["--exit-on-error", "-d"])
            .arg(self.connection("postgres", database))
            .args(arguments);
        feed(restore, dump);
    }

    /// Returns once nobody is connected to the database.
    pub(crate) fn leave(&self, database: &str) {
        self.sql(
            "postgres",
            &format!(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
                 WHERE datname = '{database}'"
            ),
        );
    }

    /// Sets the counters of a cluster that is stopped.
    pub(crate) fn reset_wal(&self, arguments: &[&str]) {
        run(program("pg_resetwal").args(arguments).arg(self.data()));
    }

    /// Runs a dump.
    pub(crate) fn restore(&self, database: &str, dump: &[u8]) {
        let mut psql = program("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.connection("postgres", database));
        feed(psql, dump);
    }

    /// Makes a standby the primary, and returns when it is.
    pub(crate) fn promote(&self) {
        let mut promote = program("pg_ctl");
        promote.args(["-w", "-D"]).arg(self.data()).arg("promote");
        run(&mut promote);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        if std::env::var_os("KEEP_TEST_FILES").is_none() {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

const RUN_AS: [&str; 4] = [
    "setpriv",
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
];

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A program of PostgreSQL's, as whoever may run it.
pub(crate) fn program(name: &str) -> Command {
    run_as_owner(bin().join(name))
}

/// A program as whoever owns the clusters.
pub(crate) fn run_as_owner(program: impl AsRef<OsStr>) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new(RUN_AS[0]);
        command.args(&RUN_AS[1..]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

fn run(command: &mut Command) {
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}");
}

/// Runs a program that reads this.
fn feed(mut command: Command, input: &[u8]) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait().unwrap().success(), "{command:?}");
}

/// Where PostgreSQL's programs are: Debian's newest, or those in the path.
fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let debian = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten();
        let debian = debian.filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        });
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path).map(|folder| (0, folder));
        let all = debian.chain(path);
        let found = all.filter(|(_, folder)| folder.join("initdb").exists());
        let newest = found.max_by_key(|(version, _)| *version);
        newest.expect("PostgreSQL is installed: scripts/setup.sh").1
    })
}
