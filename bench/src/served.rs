//! The servers that are measured: child processes on the server's core, as an operator starts them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;

use crate::{Plan, clock, http1, pin};

/// A server's process. Dropping it ends it in good order.
pub(crate) struct Child(process::Child);

impl Child {
    /// Starts it on one core, with its stderr in a file.
    pub(crate) fn start(command: &mut Command, stderr: &Path) -> anyhow::Result<Self> {
        Self::start_on(1, command, stderr)
    }

    /// Starts it on so many cores.
    fn start_on(cores: usize, command: &mut Command, stderr: &Path) -> anyhow::Result<Self> {
        command
            // It would be taken for a setting.
            .env_remove("CARDVEIL_BIN")
            .stdout(Stdio::piped())
            .stderr(File::create(stderr)?);
        let child = pin::as_server(cores, || command.spawn())?;
        Ok(Self(child.context("a server does not start")?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn stdin(&mut self) -> Option<process::ChildStdin> {
        self.0.stdin.take()
    }

    /// The line that it prints when it is ready.
    pub(crate) fn ready<T: for<'a> Deserialize<'a>>(&mut self) -> anyhow::Result<T> {
        let stdout = self.0.stdout.take().context("stdout is taken")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        serde_json::from_str(&line).context("a server did not say that it is ready")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let asked = pid.map(|pid| kill_process(pid, Signal::TERM));
        if !matches!(asked, Some(Ok(()))) {
            // It has ended by itself, or must be ended.
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// How a card is named in requests.
#[derive(Clone, Deserialize)]
pub(crate) struct CardNames {
    pub(crate) card_no: String,
    pub(crate) card_id: String,
    pub(crate) account_id: String,
}

/// A Cardveil that serves.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) merchant: SocketAddr,
    pub(crate) client: SocketAddr,
    pub(crate) api_key: String,
    pub(crate) equals_api_key: String,
    pub(crate) access_token: String,
    pub(crate) embed: String,
    /// Where browsers would find its frames.
    pub(crate) origin: String,
    pub(crate) checks: Checks,
    /// Those that can be shown.
    pub(crate) cards: Vec<CardNames>,
}

impl Served {
    /// A deployment that was made by [`Operator`].
    pub(crate) fn deployment(
        operator: &Operator,
        cards: Vec<CardNames>,
        server_cores: usize,
    ) -> anyhow::Result<Self> {
        let base = free_base()?;
        let mut command = operator.command();
        command
            .arg("serve")
            .env("CARDVEIL_LISTEN_MERCHANT", local(base + 10).to_string())
            .env("CARDVEIL_LISTEN_CLIENT", local(base + 20).to_string())
            .env("CARDVEIL_LISTEN_ADMIN", local(base + 30).to_string())
            .envs(operator.checks.settings());
        let log = operator.folder.join("serve.log");
        let child = Child::start_on(server_cores, &mut command, &log)?;
        await_listener(local(base + 30))?;
        Self {
            child,
            merchant: local(base + 10),
            client: local(base + 20),
            api_key: operator.api_key.clone(),
            equals_api_key: operator.api_key.clone(),
            access_token: String::new(),
            embed: operator.embed.clone(),
            checks: operator.checks,
            origin: "http://127.0.0.1:7420".to_owned(),
            cards,
        }
        .logged_in()
    }

    /// KeySecure's Get Token.
    fn logged_in(mut self) -> anyhow::Result<Self> {
        let request = format!(
            "GET /open-api/v1/merchant/token HTTP/1.1\r\nHost: bench\r\nApi-Key: {}\r\n\
             Timestamp: {}\r\n\r\n",
            self.api_key,
            clock::unix_ms()
        );
        let bytes = http1::once(self.merchant, request.as_bytes())?;
        let answer = http1::parse(&bytes)?.context("half an answer")?;
        let answer: Value = serde_json::from_slice(answer.body)?;
        let token = answer.pointer("/data/access_token").and_then(Value::as_str);
        token
            .context("Get Token was refused")?
            .clone_into(&mut self.access_token);
        Ok(self)
    }
}

/// A person at the command line, who makes a deployment.
pub(crate) struct Operator {
    binary: PathBuf,
    folder: PathBuf,
    merchant: String,
    api_key: String,
    embed: String,
    stores_cvv: bool,
    checks: Checks,
}

/// Which deployment is to be made.
pub(crate) struct Wanted<'a> {
    /// Of its folder and database.
    pub(crate) name: &'a str,
    pub(crate) cards: usize,
    pub(crate) stores_cvv: bool,
    pub(crate) checks: Checks,
}

impl<'a> Wanted<'a> {
    /// One that answers as fast as it can.
    pub(crate) const fn plain(name: &'a str, cards: usize) -> Self {
        Self {
            name,
            cards,
            stores_cvv: false,
            checks: Checks::Off,
        }
    }
}

/// Whether an issue is counted against budgets and rates and needs a second factor, which the
/// merchant attests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    Off,
    On,
}

impl Checks {
    /// Bounds that are counted and never reached, or none.
    fn settings(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let bound = match self {
            Self::Off => "0",
            Self::On => "1000000",
        };
        [
            "CARDVEIL_BUDGETS_CARD_FREE",
            "CARDVEIL_BUDGETS_CARD_MOST",
            "CARDVEIL_BUDGETS_PERSON_FREE",
            "CARDVEIL_BUDGETS_PERSON_MOST",
            "CARDVEIL_LIMITS_CREDENTIAL_PER_SECOND",
            "CARDVEIL_LIMITS_CLIENT_PER_MINUTE",
        ]
        .into_iter()
        .map(move |name| (name, bound))
    }
}

impl Operator {
    /// Makes a sandbox with one merchant, credential and embed.
    pub(crate) fn init(
        plan: &Plan,
        wanted: &Wanted,
        postgres: Option<(String, &str)>,
    ) -> anyhow::Result<Self> {
        let folder = plan.dir.path().join(wanted.name);
        let mut operator = Self {
            binary: plan.binary.clone(),
            folder,
            merchant: "mer_bench".to_owned(),
            api_key: String::new(),
            embed: String::new(),
            stores_cvv: wanted.stores_cvv,
            checks: wanted.checks,
        };
        let folder = operator.folder.clone();
        let mut init = operator.command();
        done(init.arg("init").arg("--dir").arg(folder))?;
        if let Some((connection, owner)) = postgres {
            operator.turn_to(&connection)?;
            done(operator.command().args(["migrate", "--owner", owner]))?;
        }
        let merchant = operator.merchant.clone();
        operator.ask("merchant add --name Bench --id", &[&merchant])?;
        if wanted.checks == Checks::On {
            let policy = ["merchant", "set", &merchant, "--mfa", "view-card=delegated"];
            done(operator.command().args(policy))?;
        }
        let credential = "credential add --allow-ip 127.0.0.1/32 --merchant";
        operator.api_key = operator.ask(credential, &[&merchant])?.text("api_key")?;
        let embed = "embed add --origin https://shop.example --merchant";
        operator.embed = operator.ask(embed, &[&merchant])?.text("id")?;
        Ok(operator)
    }

    /// Has the configuration name a database of PostgreSQL in place of a file.
    fn turn_to(&self, connection: &str) -> anyhow::Result<()> {
        let config = self.folder.join("cardveil.toml");
        let written = std::fs::read_to_string(&config)?;
        let stays = |line: &&str| !line.starts_with("database =") && !line.starts_with("fence =");
        let kept: Vec<_> = written.lines().filter(stays).collect();
        let store = format!("[store]\npostgres = \"{connection}\"");
        std::fs::write(config, kept.join("\n").replace("[store]", &store))?;
        Ok(())
    }

    /// Imports a file; all of it must go in.
    pub(crate) fn import(&self, file: &Path, count: usize) -> anyhow::Result<()> {
        let file = file.to_string_lossy();
        let answer = self.ask("card import --merchant", &[&self.merchant, &file])?;
        let added = answer.0.get("added").and_then(Value::as_u64);
        anyhow::ensure!(
            added == u64::try_from(count).ok(),
            "not all cards went in: {}",
            answer.0
        );
        Ok(())
    }

    /// The command with this deployment's configuration.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_remove("CARDVEIL_BIN")
            .env("CARDVEIL_CONFIG", self.folder.join("cardveil.toml"));
        if self.stores_cvv {
            command.env(
                "CARDVEIL_ISSUER_STORE_CVV_REASON",
                "a measurement of test numbers",
            );
        }
        command
    }

    fn ask(&self, words: &str, arguments: &[&str]) -> anyhow::Result<Told> {
        let mut command = self.command();
        command.args(words.split(' ')).args(arguments).arg("--json");
        Ok(Told(serde_json::from_slice(&done(&mut command)?)?))
    }
}

/// What a command printed.
struct Told(Value);

impl Told {
    fn text(&self, member: &str) -> anyhow::Result<String> {
        let text = self.0.get(member).and_then(Value::as_str);
        Ok(text.with_context(|| format!("no {member}"))?.to_owned())
    }
}

/// Runs a command to its end; gives its stdout.
fn done(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output()?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A port with the three others that belong to it, all free a moment ago.
pub(crate) fn free_base() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let any = TcpListener::bind(local(0))?;
        let base = any.local_addr()?.port();
        let others = [10, 20, 30].map(|offset| base.checked_add(offset).map(local));
        let free =
            |address: Option<SocketAddr>| address.is_some_and(|a| TcpListener::bind(a).is_ok());
        if others.into_iter().all(free) {
            return Ok(base);
        }
    }
    anyhow::bail!("no free ports")
}

/// Waits until somebody listens there.
pub(crate) fn await_listener(address: SocketAddr) -> anyhow::Result<()> {
    for _ in 0..1_000 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        clock::pause();
    }
    anyhow::bail!("nobody listens on {address}")
}
