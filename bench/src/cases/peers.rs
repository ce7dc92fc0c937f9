//! A peer: `SnapPass`, which gives a secret for a link that can be read once, with Redis. Creating
//! a link is what issuing a token is here, reading it what redeeming is.
//!
//! It runs as its makers say: behind gunicorn, one worker for the one core, Redis with its own
//! settings, which sync nothing before an answer.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::cards::deployment;
use super::http::{CONNECTIONS, issue_load, pairs, redeem};
use crate::http1::Answer;
use crate::load::{Load, Requests};
use crate::report::{Rounds, Table};
use crate::requests::{Dialect, Holders, Issue, told};
use crate::served::{Child, Wanted, await_listener, free_base, local};
use crate::{Plan, machine};

/// As long as what a cardholder sees, and a published test number.
const SECRET: &str = "4111111111111111 12/29 A N Other";

pub(crate) fn run(plan: &Plan) -> anyhow::Result<()> {
    let peer = SnapPass::start(plan)?;
    let served = deployment(plan, &Wanted::plain("beside-peers", plan.cards), None)?.serve()?;
    let node = std::slice::from_ref(&served);
    let holders = Holders::generate()?;
    let (mut issued, mut created) = (Rounds::default(), Rounds::default());
    let (mut redeemed, mut read) = (Rounds::default(), Rounds::default());
    let (mut paired, mut paired_there) = (Rounds::default(), Rounds::default());
    for _ in 0..plan.rounds {
        let mut issue = Issue::new(Dialect::KeySecure, &served, plan.seed);
        issued.push(issue_load(plan, node, &[], CONNECTIONS).measure(&mut issue)?);
        redeemed.push(redeem(plan, node, &[], &holders, CONNECTIONS)?);
        let mut create = Create::new();
        created.push(peer.load(plan)?.measure(&mut create)?);
        // What was created a moment ago; the round ends early when all of it is read.
        let mut links = Read(create.links.into_iter());
        read.push(peer.load(plan)?.measure(&mut links)?);
        paired.push(pairs(plan, node, &[], &holders, CONNECTIONS)?);
        let mut pairs_there = CreateAndRead(Create::new());
        paired_there.push(peer.load(plan)?.measure(&mut pairs_there)?);
    }
    let mut table = Table::comparing();
    table.compare(
        ("issue, KeySecure", &issued),
        ("SnapPass, create", &created),
        CONNECTIONS,
    );
    table.compare(
        ("redeem", &redeemed),
        ("SnapPass, read once", &read),
        CONNECTIONS,
    );
    table.compare(
        ("pair, KeySecure", &paired),
        ("SnapPass, create and read", &paired_there),
        CONNECTIONS,
    );
    table.print("Peers")
}

/// Its two processes. They end in this order.
struct SnapPass {
    web: Child,
    redis: Child,
    address: SocketAddr,
}

impl SnapPass {
    fn start(plan: &Plan) -> anyhow::Result<Self> {
        let gunicorn = plan.peers.join("bin/gunicorn").canonicalize();
        let gunicorn = gunicorn.with_context(|| {
            format!(
                "SnapPass is not at {}: run `bench/peers/setup.sh`, or leave this part out with --only",
                plan.peers.display()
            )
        })?;
        let folder = plan.dir.path().join("peers");
        std::fs::create_dir(&folder)?;
        let base = free_base()?;
        let (redis_at, address) = (local(base + 10), local(base + 20));
        let redis = start_redis(&folder, redis_at).context("redis-server")?;
        let mut web = Command::new(gunicorn);
        web.args(["--worker-class", "gthread", "--workers", "1"])
            .args(["--threads", "4", "--keep-alive", "75", "--bind"])
            .arg(address.to_string())
            .arg("snappass.main:app")
            .env("REDIS_URL", format!("redis://{redis_at}"))
            .env("NO_SSL", "True")
            .current_dir(&folder);
        let web = Child::start(&mut web, &folder.join("snappass.log"))?;
        await_listener(address)?;
        Ok(Self {
            web,
            redis,
            address,
        })
    }

    fn load(&self, plan: &Plan) -> anyhow::Result<Load> {
        let mut pids = machine::family(self.web.pid())?;
        pids.push(self.redis.pid());
        Ok(Load {
            addresses: vec![self.address],
            seconds: vec![self.address],
            pids,
            connections: CONNECTIONS,
            time: plan.time,
        })
    }
}

fn start_redis(folder: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    let mut redis = Command::new("redis-server");
    redis
        .args(["--bind", &address.ip().to_string()])
        .args(["--port", &address.port().to_string(), "--dir"])
        .arg(folder)
        .args(["--logfile", "redis.log"]);
    let redis = Child::start(&mut redis, &folder.join("redis.err"))?;
    await_listener(address)?;
    Ok(redis)
}

/// Creates links, and keeps them.
struct Create {
    request: Vec<u8>,
    links: Vec<String>,
}

impl Create {
    fn new() -> Self {
        let form = format!("password={}&ttl=hour", SECRET.replace(' ', "+"));
        let request = format!(
            "POST / HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        Self {
            request: request.into_bytes(),
            links: Vec::new(),
        }
    }
}

impl Requests for Create {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.request);
        true
    }

    fn check(&mut self, answer: &Answer<'_>) -> anyhow::Result<()> {
        let body: Option<Value> = serde_json::from_slice(answer.body).ok();
        let link = body.as_ref().and_then(|body| body.get("link")?.as_str());
        let name = link.and_then(|link| link.rsplit('/').next());
        let name = name.with_context(|| format!("no link: {}", told(answer)))?;
        self.links.push(name.to_owned());
        Ok(())
    }
}

/// Reads each link once.
struct Read(std::vec::IntoIter<String>);

impl Requests for Read {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.0.next().is_some_and(|link| read(&link, out))
    }

    fn check(&mut self, answer: &Answer<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(shows_secret(answer), "no secret: {}", told(answer));
        Ok(())
    }
}

/// Creates a link, and reads it.
struct CreateAndRead(Create);

impl Requests for CreateAndRead {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.0.next(out)
    }

    fn check(&mut self, answer: &Answer<'_>) -> anyhow::Result<()> {
        if shows_secret(answer) {
            return Ok(());
        }
        self.0.check(answer)
    }

    fn follow(&mut self, answer: &Answer<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        if !shows_secret(answer) {
            let link = self.0.links.pop().context("no link")?;
            anyhow::ensure!(read(&link, out), "a request cannot be written");
        }
        Ok(())
    }
}

fn read(link: &str, out: &mut Vec<u8>) -> bool {
    use std::io::Write as _;
    let head = "HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n";
    write!(out, "POST /{link} {head}").is_ok()
}

fn shows_secret(answer: &Answer<'_>) -> bool {
    let secret = SECRET.as_bytes();
    answer.body.windows(secret.len()).any(|part| part == secret)
}
