//! A deployment of the real program: made and driven by its own command line, served by one node or
//! more.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cardveil_core::card::TEST_NUMBERS;
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::disk::Disk;
use crate::http::Connection;
use crate::postgres::{OWNER, Postgres};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    /// How often a restore raises the epoch at most.
    pub(crate) const fn raises_max(self) -> usize {
        match self {
            // In the copy, and once more by the fence.
            Self::Sqlite => 2,
            Self::Postgres => 1,
        }
    }
}

pub(crate) struct System {
    binary: PathBuf,
    pub(crate) nodes: Vec<Node>,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) api_key: String,
    pub(crate) embed: String,
    merchant: String,
    settings: Vec<(&'static str, String)>,
    /// What sets a node's clock apart from the machine's.
    faketime: Option<PathBuf>,
    /// After all that is on it.
    pub(crate) disk: Option<Disk>,
    dir: TempDir,
}

/// For how long another process's writes are waited for.
const BUSY: Duration = Duration::from_secs(30);
/// How often a command is given that did not get through, and what is waited in between.
const TRIES_MAX: usize = 10;
const PAUSE: Duration = Duration::from_millis(200);
/// What a node says that ends because its database was away.
const AWAY: &str = "the store is unavailable";
/// Where Debian's package has it, below a folder for the machine's kind.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// One process of the server.
pub(crate) struct Node {
    config: PathBuf,
    pub(crate) at: Addresses,
    process: Option<Child>,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) merchant: SocketAddr,
    pub(crate) client: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Each has a number of its own.
pub(crate) const CARDS: usize = 32;

impl System {
    pub(crate) fn create(
        binary: &Path,
        store: Store,
        nodes: usize,
        small_disk: bool,
    ) -> anyhow::Result<Self> {
        // Whoever PostgreSQL runs as must be able to pass through it.
        let dir = tempfile::Builder::new()
            .prefix("cardveil-verify-")
            .tempdir()?;
        let disk = small_disk.then(|| Disk::mount(dir.path())).transpose()?;
        let mut this = Self {
            binary: binary.to_owned(),
            nodes: Vec::new(),
            postgres: None,
            api_key: String::new(),
            embed: String::new(),
            merchant: String::new(),
            settings: Vec::new(),
            faketime: faketime(),
            disk,
            dir,
        };
        if store == Store::Postgres {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(this.dir.path(), PermissionsExt::from_mode(0o711))?;
            this.postgres = Some(Postgres::create(&this.dir.path().join("postgres"))?);
        }
        let home = this.dir.path().join("home");
        this.run(
            &home.join("cardveil.toml"),
            &["init", "--dir", &home.to_string_lossy()],
        )?;
        let written = std::fs::read_to_string(home.join("cardveil.toml"))?;
        for n in 0..nodes {
            let node = Node::write(&home, n, &written, this.postgres.as_ref())?;
            this.nodes.push(node);
        }
        if this.postgres.is_some() {
            this.operate(&["migrate", "--owner", OWNER])?;
        }
        this.populate()?;
        Ok(this)
    }

    fn populate(&mut self) -> anyhow::Result<()> {
        let merchant = self.json(&["merchant", "add", "--name", "Shop", "--json"])?;
        let merchant = text(&merchant, "/id")?;
        self.merchant.clone_from(&merchant);
        let of = ["--merchant", &merchant, "--json"];
        let keys = self.json(
            &[
                &["credential", "add", "--allow-ip", "127.0.0.1/32"][..],
                &of,
            ]
            .concat(),
        )?;
        self.api_key = text(&keys, "/api_key")?;
        let embed = self.json(
            &[
                &["embed", "add", "--origin", "https://shop.example"][..],
                &of,
            ]
            .concat(),
        )?;
        self.embed = text(&embed, "/id")?;
        let lines: Vec<_> = (0..CARDS)
            .map(|n| {
                json!({
                    "card_no": card_no(n), "account_id": "F50091",
                    "person_id": "775596ae-2624-40af-a9dc-9756110a4a04",
                    "pan": card_number(n), "expiry": "12/2030", "name": "A CARDHOLDER",
                })
                .to_string()
            })
            .collect();
        let import = [&["card", "import", "-", "--form", "jsonl"][..], &of].concat();
        let config = self.config()?.to_owned();
        let mut child = self
            .command(&config, &import)
            .stdin(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("a pipe was asked for")?;
        std::io::Write::write_all(&mut input, lines.join("\n").as_bytes())?;
        drop(input);
        ensure!(child.wait()?.success(), "the cards were not imported");
        Ok(())
    }

    /// Has the next processes run with a setting.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.push((name, value.to_owned()));
    }

    /// Has the next processes run another program.
    pub(crate) fn program(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Starts a node, and waits until it is ready. One that found its database away is started
    /// again, as its supervisor would.
    pub(crate) fn start(&mut self, n: usize) -> anyhow::Result<()> {
        for _ in 0..TRIES_MAX {
            if self.try_start(n)? {
                return Ok(());
            }
        }
        bail!("node {n} finds its database away, however often it is started")
    }

    /// Whether it is ready, and not gone because its database was away.
    fn try_start(&mut self, n: usize) -> anyhow::Result<bool> {
        let node = self.nodes.get(n).context("no such node")?;
        let log = node.config.with_extension("log");
        let said = File::options().create(true).append(true).open(&log)?;
        let before = said.metadata()?.len();
        let mut serve = self.command(&node.config, &["serve"]);
        if let Some(faketime) = &self.faketime {
            serve
                .env("LD_PRELOAD", faketime)
                .env("FAKETIME_TIMESTAMP_FILE", node.clock())
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = serve.stdout(Stdio::null()).stderr(said).spawn()?;
        let node = self.nodes.get_mut(n).context("no such node")?;
        // Nothing tells a parent that a server listens but that it answers.
        loop {
            if node.at.are_ready() {
                node.process = Some(child);
                return Ok(true);
            }
            if let Some(status) = child.try_wait()? {
                let mut said = String::new();
                let mut file = File::open(&log)?;
                file.seek(SeekFrom::Start(before))?;
                file.read_to_string(&mut said)?;
                if said.contains(AWAY) {
                    return Ok(false);
                }
                let last: Vec<_> = said.lines().rev().take(5).collect();
                bail!("node {n} ended with {status}: {}", last.join("\n"));
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn kill(&mut self, n: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(n).context("no such node")?;
        if let Some(mut process) = node.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Ends a node in good order.
    pub(crate) fn stop(&mut self, n: usize) -> anyhow::Result<()> {
        self.signal(n, Signal::TERM)?;
        let node = self.nodes.get_mut(n).context("no such node")?;
        let mut process = node.process.take().context("the node does not run")?;
        let status = process.wait()?;
        ensure!(status.success(), "node {n} ended with {status}");
        Ok(())
    }

    /// Stops a node in its tracks, or has it go on.
    pub(crate) fn signal(&self, n: usize, signal: Signal) -> anyhow::Result<()> {
        let process = self.nodes.get(n).and_then(|node| node.process.as_ref());
        let pid = process
            .map(Child::id)
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.context("the node does not run")?, signal)?;
        Ok(())
    }

    /// Steps a node's clock to so many seconds off the machine's. Whether that can be done here.
    pub(crate) fn step_clock(&self, n: usize, seconds: i64) -> anyhow::Result<bool> {
        let node = self.nodes.get(n).context("no such node")?;
        node.set_clock(seconds)?;
        Ok(self.faketime.is_some())
    }

    /// What the audit log says, entry by entry: all of it is more than fits into memory.
    pub(crate) fn audit(&self, read: impl FnMut(&Value)) -> anyhow::Result<usize> {
        self.export(self.config()?, 0, read)
    }

    /// What the log of a deployment says after a place.
    pub(crate) fn export(
        &self,
        config: &Path,
        after: i64,
        mut read: impl FnMut(&Value),
    ) -> anyhow::Result<usize> {
        let mut export = self
            .command(config, &["audit", "export", "--after", &after.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let lines = export.stdout.take().context("a pipe was asked for")?;
        let mut count = 0;
        for line in BufReader::new(lines).lines() {
            read(&serde_json::from_str(&line?)?);
            count += 1;
        }
        ensure!(export.wait()?.success(), "the log was not exported");
        Ok(count)
    }

    /// The place of the log's last entry.
    pub(crate) fn last_entry(&self) -> anyhow::Result<i64> {
        let last = self.insist(&["audit", "tail", "-n", "1", "--json"])?;
        let last: Value = serde_json::from_slice(&last.stdout)?;
        // A list; the version before prints an entry a line.
        last.pointer("/0/seq")
            .or_else(|| last.pointer("/seq"))
            .and_then(Value::as_i64)
            .context("no seq")
    }

    /// SQLite's file.
    fn database(&self) -> anyhow::Result<PathBuf> {
        Ok(self.config()?.with_file_name("data").join("cardveil.db"))
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The first node's configuration, for another database.
    pub(crate) fn config_for(&self, connection: &str) -> anyhow::Result<PathBuf> {
        let postgres = self.postgres.as_ref().context("no PostgreSQL")?;
        let written = std::fs::read_to_string(self.config()?)?;
        // Beside the others, since what it names is beside it.
        let config = self.config()?.with_file_name("other.toml");
        std::fs::write(&config, written.replace(&postgres.connection(), connection))?;
        Ok(config)
    }

    /// Runs the program's own check of the log.
    pub(crate) fn verify_audit(&self) -> anyhow::Result<()> {
        self.operate(&["audit", "verify"]).map(drop)
    }

    fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&self.operate(args)?.stdout)?)
    }

    /// Moves a card to another state, as its issuer does.
    pub(crate) fn set_card(&self, card: usize, state: &str) -> anyhow::Result<()> {
        let (of, no) = (self.merchant.as_str(), card_no(card));
        let args = ["card", "set", "--merchant", of, "--state", state, &no];
        self.insist(&args).map(drop)
    }

    /// Has the sealed numbers and the keys of every second pair of cards change places, as one who
    /// can write into the database and knows no key would try it. Once more, and they are as they
    /// were.
    pub(crate) fn swap_cards(&self) -> anyhow::Result<()> {
        let firsts = (0..CARDS).step_by(4);
        let both = |n| [(n, n + 1), (n + 1, n)];
        let pairs: Vec<_> = firsts
            .flat_map(both)
            .map(|(one, other)| format!("('{}', '{}')", card_no(one), card_no(other)))
            .collect();
        let sql = format!(
            "UPDATE card SET pan = other.pan, dek = other.dek FROM card AS other
             WHERE (card.no, other.no) IN (VALUES {})",
            pairs.join(", ")
        );
        let changed = self.change("card", &sql)?;
        let wanted = pairs.len();
        ensure!(
            changed == wanted,
            "{changed} cards changed, and not {wanted}"
        );
        Ok(())
    }

    /// Has the order numbers of the same pairs change places: whoever asks for one card would be
    /// shown another.
    pub(crate) fn exchange_orders(&self) -> anyhow::Result<()> {
        const ASIDE: &str = "aside ";
        let firsts = (0..CARDS).step_by(4);
        let both = |n| [(n, n + 1), (n + 1, n)];
        let pairs: Vec<_> = firsts.flat_map(both).collect();
        // No two rows have one number in between.
        let aside: Vec<_> = pairs
            .iter()
            .map(|(one, _)| format!("'{}'", card_no(*one)))
            .collect();
        let aside = format!(
            "UPDATE card SET no = '{ASIDE}' || no WHERE no IN ({})",
            aside.join(", ")
        );
        let to: Vec<_> = pairs
            .iter()
            .map(|(one, other)| {
                format!("WHEN '{ASIDE}{}' THEN '{}'", card_no(*one), card_no(*other))
            })
            .collect();
        let to = format!(
            "UPDATE card SET no = CASE no {} END WHERE no LIKE '{ASIDE}%'",
            to.join(" ")
        );
        let changed = self.change("card", &format!("{aside}; {to}"))?;
        let wanted = pairs.len();
        ensure!(
            changed == wanted,
            "{changed} cards changed, and not {wanted}"
        );
        Ok(())
    }

    /// Whether the log says of rows of a table that they are not what was written.
    pub(crate) fn has_told_of(&self, table: &str) -> anyhow::Result<bool> {
        let sql = format!(
            "SELECT count(*) > 0 FROM audit WHERE event LIKE '%vault.tampered%row: {table} %'"
        );
        if let Some(postgres) = &self.postgres {
            return postgres.is_so(&sql);
        }
        let database = rusqlite::Connection::open(self.database()?)?;
        database.busy_timeout(BUSY)?;
        Ok(database.query_row(&sql, [], |row| row.get(0))?)
    }

    /// Takes a copy of all tokens.
    pub(crate) fn keep_tokens(&self) -> anyhow::Result<()> {
        const KEEP: &str = "CREATE TABLE kept_token AS SELECT * FROM token";
        self.change("token", KEEP).map(drop)
    }

    /// Puts them back as they were then: what was redeemed since looks as if it were not.
    pub(crate) fn put_tokens_back(&self) -> anyhow::Result<()> {
        const PUT_BACK: &str = "DELETE FROM token WHERE hash IN (SELECT hash FROM kept_token);
             INSERT INTO token SELECT * FROM kept_token;
             DROP TABLE kept_token";
        self.change("token", PUT_BACK).map(drop)
    }

    /// Changes the database past the program, as one who can write into it and knows no key; tells
    /// how many rows the last update changed.
    fn change(&self, table: &str, sql: &str) -> anyhow::Result<usize> {
        if let Some(postgres) = &self.postgres {
            return postgres.change(table, sql);
        }
        let database = rusqlite::Connection::open(self.database()?)?;
        database.busy_timeout(BUSY)?;
        database.execute_batch(&format!("BEGIN IMMEDIATE; {sql}; COMMIT"))?;
        Ok(usize::try_from(database.changes())?)
    }

    /// Runs an operator's command.
    pub(crate) fn operate(&self, args: &[&str]) -> anyhow::Result<Output> {
        self.run(self.config()?, args)
    }

    /// The same, given again as an operator would when what lies between was cut.
    fn insist(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut done = self.operate(args);
        for _ in 1..TRIES_MAX {
            if done.is_ok() {
                break;
            }
            std::thread::sleep(PAUSE);
            done = self.operate(args);
        }
        done
    }

    pub(crate) fn config(&self) -> anyhow::Result<&Path> {
        Ok(&self.nodes.first().context("no node")?.config)
    }

    fn run(&self, config: &Path, args: &[&str]) -> anyhow::Result<Output> {
        let done = self.command(config, args).stdin(Stdio::null()).output()?;
        let [said, found] = [&done.stderr, &done.stdout].map(|out| String::from_utf8_lossy(out));
        ensure!(done.status.success(), "cardveil {args:?}: {said}{found}");
        Ok(done)
    }

    fn command(&self, config: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .current_dir(self.dir.path())
            // The same few cards are asked for again and again.
            .env("CARDVEIL_BUDGETS_CARD_MOST", "0")
            .env("CARDVEIL_BUDGETS_PERSON_MOST", "0")
            .env("CARDVEIL_LIMITS_CREDENTIAL_PER_SECOND", "0")
            .env("CARDVEIL_LIMITS_CLIENT_PER_MINUTE", "0")
            .env("CARDVEIL_LOG", "error")
            .env("CARDVEIL_CLIENT_ORIGIN", crate::http::ORIGIN)
            .env("CARDVEIL_CONFIG", config)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for n in 0..self.nodes.len() {
            drop(self.kill(n));
        }
    }
}

impl Node {
    fn write(
        home: &Path,
        n: usize,
        written: &str,
        postgres: Option<&Postgres>,
    ) -> anyhow::Result<Self> {
        let [merchant, client, admin] = free_ports(n)?;
        let mut text = written.to_owned();
        for (usual, at) in [
            ("127.0.0.1:7410", merchant),
            ("127.0.0.1:7420", client),
            ("127.0.0.1:7430", admin),
        ] {
            text = text.replace(usual, &at.to_string());
        }
        if let Some(postgres) = postgres {
            let kept =
                |line: &&str| !line.starts_with("database =") && !line.starts_with("fence =");
            let store = format!("[store]\npostgres = \"{}\"", postgres.connection());
            text = text
                .lines()
                .filter(kept)
                .collect::<Vec<_>>()
                .join("\n")
                .replace("[store]", &store);
        }
        let config = home.join(format!("node-{n}.toml"));
        std::fs::write(&config, text)?;
        let this = Self {
            config,
            at: Addresses {
                merchant,
                client,
                admin,
            },
            process: None,
        };
        this.set_clock(0)?;
        Ok(this)
    }

    /// What tells its clock how far off it is.
    fn clock(&self) -> PathBuf {
        self.config.with_extension("clock")
    }

    fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        // It is read all the time: whole, before or after.
        let new = self.config.with_extension("clock-new");
        std::fs::write(&new, format!("{seconds:+}"))?;
        std::fs::rename(new, self.clock())?;
        Ok(())
    }
}

impl Addresses {
    pub(crate) fn are_ready(&self) -> bool {
        let ask = || {
            let mut connection = Connection::open(self.admin)?;
            connection.send("GET", "/readyz", "", &Value::Null)?;
            connection.receive()
        };
        ask().is_some_and(|answer| answer.status == 200)
    }
}

pub(crate) fn card_no(n: usize) -> String {
    format!("C{n}")
}

/// Ports that are free now, and that no connection gets as its own while their node is down: below
/// those that Linux gives out (`ip_local_port_range`).
fn free_ports(node: usize) -> anyhow::Result<[SocketAddr; 3]> {
    const PORTS: std::ops::Range<u16> = 12_000..32_000;
    const OF_A_NODE: usize = 100;
    // Two runs at once begin at different places.
    let run = usize::try_from(std::process::id()).unwrap_or_default();
    let skipped = (run * 16 + node) * OF_A_NODE % PORTS.len();
    let free = PORTS
        .cycle()
        .skip(skipped)
        .take(OF_A_NODE)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .filter(|at| TcpListener::bind(at).is_ok());
    let found: Vec<_> = free.take(3).collect();
    <[SocketAddr; 3]>::try_from(found).map_err(|_| anyhow::anyhow!("no free ports"))
}

fn faketime() -> Option<PathBuf> {
    let kinds = std::fs::read_dir("/usr/lib").ok()?;
    let of = |kind: std::fs::DirEntry| kind.path().join(FAKETIME);
    kinds
        .map_while(Result::ok)
        .map(of)
        .find(|library| library.exists())
}

/// Its PAN.
pub(crate) fn card_number(n: usize) -> &'static str {
    TEST_NUMBERS.get(n).copied().unwrap_or_default()
}

pub(crate) fn text(value: &Value, at: &str) -> anyhow::Result<String> {
    let text = value.pointer(at).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {at}"))?.to_owned())
}
