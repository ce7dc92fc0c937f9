//! A deployment made and driven through the command line, as an operator would.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use cardveil_seal::hpke::{Sealed, holder::Holder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::http;

/// A folder with a deployment in it, and what its merchant was given.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) merchant_at: SocketAddr,
    pub(crate) client_at: SocketAddr,
    pub(crate) admin_at: SocketAddr,
    pub(crate) merchant: String,
    pub(crate) api_key: String,
    pub(crate) api_secret: String,
    pub(crate) embed: String,
}

/// A server that runs; killed when dropped.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    /// `init`, then a merchant, a credential, an embed, and `cards` cards of the test number.
    pub(crate) fn new(cards: usize) -> Self {
        Self::made(cards, &[], &[])
    }

    /// The same in a database of a cluster.
    pub(crate) fn in_postgres(cluster: &Cluster, cards: usize) -> Self {
        let connection = cluster.connection(SERVER, &cluster.database());
        Self::made(
            cards,
            &["--postgres", &connection],
            &["migrate", "--owner", OWNER],
        )
    }

    /// The same in a database of a cluster that is gone to over TLS, by this name.
    pub(crate) fn over_tls(cluster: &Cluster, name: &str, at: Ipv4Addr, authority: &Path) -> Self {
        let database = cluster.database();
        let connection = format!("host={name} hostaddr={at} user={SERVER} dbname={database}");
        let authority = authority.to_str().unwrap();
        let with = ["--postgres", &connection, "--postgres-ca", authority];
        Self::made(1, &with, &["migrate", "--owner", OWNER])
    }

    /// Another node of the same deployment, on ports of its own.
    pub(crate) fn beside(&self) -> Self {
        let dir = folder();
        let keys = dir.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::copy(self.dir.path().join("keys/root.key"), keys.join("root.key")).unwrap();
        let mut written = std::fs::read_to_string(self.dir.path().join("cardveil.toml")).unwrap();
        let [merchant_at, client_at, admin_at] = free_addresses();
        for (was, is) in [
            (self.merchant_at, merchant_at),
            (self.client_at, client_at),
            (self.admin_at, admin_at),
        ] {
            written = written.replace(&was.to_string(), &is.to_string());
        }
        std::fs::write(dir.path().join("cardveil.toml"), written).unwrap();
        Self {
            dir,
            merchant_at,
            client_at,
            admin_at,
            merchant: self.merchant.clone(),
            api_key: self.api_key.clone(),
            api_secret: self.api_secret.clone(),
            embed: self.embed.clone(),
        }
    }

    /// `init` with more arguments, and a command before the first of the others.
    fn made(cards: usize, with: &[&str], first: &[&str]) -> Self {
        let dir = folder();
        let [merchant_at, client_at, admin_at] = free_addresses();
        let init = ["init", "--dir", dir.path().to_str().unwrap()];
        let run = command(dir.path(), &[&init, with].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        let config = dir.path().join("cardveil.toml");
        let written = std::fs::read_to_string(&config).unwrap();
        let written = written
            .replace("127.0.0.1:7410", &merchant_at.to_string())
            .replace("127.0.0.1:7420", &client_at.to_string())
            .replace("127.0.0.1:7430", &admin_at.to_string())
            .replace(
                "[issuer]",
                "[issuer]\nstore_cvv_reason = \"a test shows it\"",
            )
            .replace("per_second = 200", "per_second = 0")
            .replace("client_per_minute = 120", "client_per_minute = 0");
        std::fs::write(&config, written).unwrap();
        if !first.is_empty() {
            let run = command(dir.path(), first);
            assert!(run.status.success(), "{}", text(&run.stderr));
        }
        let mut world = Self {
            dir,
            merchant_at,
            client_at,
            admin_at,
            merchant: String::new(),
            api_key: String::new(),
            api_secret: String::new(),
            embed: String::new(),
        };
        let added = world.json(&["merchant", "add", "--name", "Shop", "--json"]);
        world.merchant = string(&added, "/id");
        let merchant = world.merchant.clone();
        let keys = world.json(&[
            "credential",
            "add",
            "--merchant",
            &merchant,
            "--allow-ip",
            "127.0.0.1/32",
            "--json",
        ]);
        world.api_key = string(&keys, "/api_key");
        world.api_secret = string(&keys, "/api_secret");
        let embed = world.json(&[
            "embed",
            "add",
            "--merchant",
            &merchant,
            "--origin",
            "https://shop.example",
            "--json",
        ]);
        world.embed = string(&embed, "/id");
        let lines: Vec<_> = (0..cards).map(|n| card(n).to_string()).collect();
        let imported = world.import("jsonl", &lines.join("\n"));
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        world
    }

    /// Runs the command on this deployment.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        command(self.dir.path(), args)
    }

    /// Runs it with this on its standard input.
    pub(crate) fn feed(&self, args: &[&str], input: &str) -> Output {
        let mut child = binary(self.dir.path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs it, and reads the JSON that it prints.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let run = self.run(args);
        assert!(run.status.success(), "{args:?}: {}", text(&run.stderr));
        serde_json::from_slice(&run.stdout).unwrap()
    }

    /// Imports JSON lines from standard input, so that no file holds a card number.
    pub(crate) fn import(&self, form: &str, lines: &str) -> Output {
        let args = [
            "card",
            "import",
            "-",
            "--form",
            form,
            "--merchant",
            &self.merchant,
            "--json",
        ];
        let mut run = self.feed(&args, lines);
        run.stderr = said(&run).into_bytes();
        run
    }

    /// Starts the server and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// With these variables, too.
    pub(crate) fn serve_with(&self, variables: &[(&str, &str)]) -> Server {
        let mut serve = binary(self.dir.path());
        serve.arg("serve").envs(variables.iter().copied());
        self.start(serve)
    }

    /// Runs what serves, and waits until it is ready.
    pub(crate) fn start(&self, mut serve: Command) -> Server {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let child = serve
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Server(child);
        // Nothing tells a parent that a server listens but that it answers.
        loop {
            if http::get(self.admin_at, "/readyz", &[]).is_some_and(|answer| answer.status == 200) {
                return server;
            }
            if let Some(status) = server.0.try_wait().unwrap() {
                let log = std::fs::read_to_string(self.log()).unwrap();
                panic!("the server ended with {status}: {log}");
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// All audit entries.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let run = self.run(&["audit", "export"]);
        assert!(run.status.success(), "{}", text(&run.stderr));
        text(&run.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// A token for card number `n`, or `None` when the server does not answer.
    pub(crate) fn issue(&self, connection: &mut http::Connection, n: usize) -> Option<String> {
        let bearer = format!("Bearer {}", self.api_key);
        let body = json!({ "card_no": format!("C{n}") }).to_string();
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = connection.send("POST", "/v1/client-tokens", &headers, &body)?;
        assert_eq!(answer.status, 201, "{}", answer.body);
        Some(string(&answer.json(), "/token"))
    }

    /// The client origin, as the configuration has it.
    fn client_origin(&self) -> String {
        let config = std::fs::read_to_string(self.dir.path().join("cardveil.toml")).unwrap();
        let config: toml::Table = config.parse().unwrap();
        config["client"]["origin"].as_str().unwrap().to_owned()
    }

    /// A redemption by `holder`, or `None` when the server does not answer.
    pub(crate) fn redeem(
        &self,
        connection: &mut http::Connection,
        token: &str,
        holder: &Holder,
        fields: &[&str],
    ) -> Option<http::Answer> {
        let attempt = "00000000-0000-4000-8000-000000000001";
        let asked = json!({ "fields": fields, "attempt": attempt });
        self.ask(connection, "redeem", (token, holder), asked)
    }

    /// What a frame asks of a token with its key.
    pub(crate) fn ask(
        &self,
        connection: &mut http::Connection,
        what: &str,
        (token, holder): (&str, &Holder),
        mut asked: Value,
    ) -> Option<http::Answer> {
        let key = holder.key();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": BASE64.encode(key.x()), "y": BASE64.encode(key.y()) });
        for (member, value) in [
            ("token", token.into()),
            ("embed", self.embed.as_str().into()),
            ("key", jwk),
        ] {
            asked[member] = value;
        }
        let origin = self.client_origin();
        let headers = [
            ("content-type", "application/json"),
            ("origin", origin.as_str()),
        ];
        let path = format!("/client/v1/{what}");
        connection.send("POST", &path, &headers, &asked.to_string())
    }
}

/// Ports that were free a moment ago; the server says so if one is taken meanwhile.
fn free_addresses() -> [SocketAddr; 3] {
    let free = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    free.map(|listener| listener.local_addr().unwrap())
}

/// Card number `n`, as a line of an import.
pub(crate) fn card(n: usize) -> Value {
    json!({
        "card_no": format!("C{n}"), "account_id": "F50091",
        "person_id": "775596ae-2624-40af-a9dc-9756110a4a04",
        "pan": "4111111111111111", "expiry": "12/2030", "cvv": "123", "name": "A CARDHOLDER",
    })
}

/// What a redemption released, opened with the holder's key.
pub(crate) fn opened(answer: &http::Answer, holder: &Holder) -> Value {
    let body = answer.json();
    let bytes = |place: &str| BASE64.decode(string(&body, place)).unwrap();
    let sealed = Sealed {
        enc: bytes("/sealed/enc"),
        ciphertext: bytes("/sealed/ciphertext"),
    };
    let clear = holder
        .open(&sealed, b"cardveil/redeem/v1", &bytes("/header"))
        .unwrap();
    serde_json::from_slice(clear.expose()).unwrap()
}

/// A folder that goes with the test, unless `KEEP_TEST_FILES` asks for a search of all of them.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("cardveil-test-")
        .disable_cleanup(std::env::var_os("KEEP_TEST_FILES").is_some())
        .tempdir()
        .unwrap()
}

pub(crate) fn string(value: &Value, place: &str) -> String {
    value
        .pointer(place)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{place}: {value}"))
        .into()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command with `--json` said on stderr, in the form in which people are told it.
pub(crate) fn said(run: &Output) -> String {
    let words = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let message = string(&line, "/message");
        match (string(&line, "/level").as_str(), line.get("hint")) {
            ("ERROR", None) => format!("error: {message}\n"),
            ("ERROR", Some(_)) => format!("error: {message}\nhint: {}\n", string(&line, "/hint")),
            _ => format!("{message}\n"),
        }
    };
    text(&run.stderr).lines().map(words).collect()
}

fn command(dir: &Path, args: &[&str]) -> Output {
    binary(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn binary(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardveil"));
    command
        .current_dir(dir)
        .env("CARDVEIL_CONFIG", dir.join("cardveil.toml"))
        // For those tests that have a hardware module.
        .env("SOFTHSM2_CONF", dir.join("softhsm2.conf"))
        // The same few cards are asked for thousands of times.
        .env("CARDVEIL_BUDGETS_CARD_MOST", "0")
        .env("CARDVEIL_BUDGETS_PERSON_MOST", "0")
        // Receivers are on loopback; what a killed server had under way is due again soon.
        .env("CARDVEIL_WEBHOOKS_ALLOW_PRIVATE", "true")
        .env("CARDVEIL_WEBHOOKS_TIMEOUT_MS", "500");
    command
}
