//! Several processes on one file, processes that are killed, and a disk that is full. A child is
//! this very program, told by the environment which part it plays.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::port::{Admin, Audit, Error, Tokens, Writes};
use cardveil_core::token::{Epoch, Issue, Issued, TokenHash, Verdict};
use cardveil_core::verb::{Commit, Sweep};
use cardveil_seal::SystemEntropy;
use cardveil_store::sqlite::Sqlite;
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START};
use futures_util::future::join_all;

use crate::home::{Home, options, with_merchant, with_token};

const PART: &str = "CARDVEIL_TEST_PART";
const FOLDER: &str = "CARDVEIL_TEST_FOLDER";
/// What a child's own lines begin with, among those of the test harness.
const MARK: &str = "child:";

/// Starts this program as a child in `part`, by way of `shell`, which ends in running "$@".
fn child(part: &str, home: &Home, shell: &str) -> Child {
    Command::new("sh")
        .args(["-c", shell, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "processes::plays_its_part", "--nocapture"])
        .env(PART, part)
        .env(FOLDER, home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The lines that a child says, without the mark.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines().map_while(Result::ok).filter_map(|line| {
        let at = line.find(MARK)?;
        line.get(at + MARK.len()..).map(ToOwned::to_owned)
    })
}

#[expect(clippy::disallowed_methods, reason = "a test reads it")]
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{line}").unwrap();
    out.flush().unwrap();
}

/// Nothing when it is run as a test. It returns, and does not exit, when a child has done its part.
#[tokio::test]
async fn plays_its_part() {
    let (Ok(part), Ok(folder)) = (std::env::var(PART), std::env::var(FOLDER)) else {
        return;
    };
    let clock = Arc::new(ManualClock::at(START));
    let (store, opened) =
        Sqlite::open(&options(Path::new(&folder)), clock, Arc::new(SystemEntropy)).unwrap();
    cardveil_testkit::guard_rows(&store);
    assert_eq!(opened.epoch_raised, None);
    match part.split_once(' ') {
        Some(("race", key)) => race(&store, key.parse().unwrap()).await,
        Some(("fill", "")) => fill(&store, Path::new(&folder)).await,
        Some(("issue", first)) => issue_until_stopped(&store, first.parse().unwrap()).await,
        other => assert_eq!(other, None, "no such part"),
    }
}

/// Waits for the word, claims every token at once with the key, and says which it got.
async fn race(store: &Sqlite, key: u8) {
    let epoch = store.epoch().await.unwrap();
    say("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let claims = (0..TOKENS).map(async |n| {
        let record = sample::record(n, START, epoch);
        let claim = sample::claim(&record, key, &[Field::Pan], START);
        (n, store.commit(claim).await.unwrap())
    });
    for (n, verdict) in join_all(claims).await {
        if let Verdict::Granted(_) = verdict {
            say(&n.to_string());
        }
    }
}

const TOKENS: u8 = 200;

#[tokio::test]
async fn of_three_processes_one_gets_each_token() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    for n in 0..TOKENS {
        with_token(&store, n).await;
    }
    let mut children: Vec<_> = (1..=3)
        .map(|key| child(&format!("race {key}"), &home, "exec \"$@\""))
        .collect();
    let mut said: Vec<_> = children.iter_mut().map(lines).collect();
    for lines in &mut said {
        assert_eq!(lines.next().as_deref(), Some("ready"));
    }
    for child in &mut children {
        drop(child.stdin.take().unwrap());
    }
    let mut winners: BTreeMap<String, u32> = BTreeMap::new();
    for token in said.into_iter().flatten() {
        *winners.entry(token).or_default() += 1;
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(winners.len(), usize::from(TOKENS), "each has a winner");
    assert!(winners.values().all(|count| *count == 1), "{winners:?}");
    let log = store.entries(0, 10_000).await.unwrap();
    let count = |kind| log.iter().filter(|entry| entry.event.kind == kind).count();
    assert_eq!(count(Kind::RevealReleased), usize::from(TOKENS));
    assert_eq!(count(Kind::RevealConflict), usize::from(TOKENS));
    assert_eq!(count(Kind::RevealRefused), usize::from(TOKENS));
}

fn numbered(n: u32, epoch: Epoch) -> Issue {
    let mut issue = sample::issue(0, START, epoch);
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    issue.record.key.hash = TokenHash(hash);
    issue
}

/// Issues tokens, and says of each whether it is there, until a write fails.
async fn issue_until_stopped(store: &Sqlite, first: u32) {
    let epoch = store.epoch().await.unwrap();
    for n in first.. {
        match store.commit(numbered(n, epoch)).await {
            Ok(Issued::New) => say(&format!("ok {n}")),
            Ok(other) => assert_eq!(other, Issued::New),
            Err(Error::Unavailable(_)) => return say(&format!("unavailable {n}")),
            Err(Error::Unknown(_)) => return say(&format!("unknown {n}")),
            Err(Error::Corrupt(text)) => assert_eq!(text, ""),
        }
    }
}

#[tokio::test]
async fn what_was_answered_survives_kill_9_and_the_epoch_stays() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    drop(store);
    let mut next = 0;
    for _ in 0..3 {
        let mut writer = child(&format!("issue {next}"), &home, "exec \"$@\"");
        let said: Vec<_> = lines(&mut writer).take(200).collect();
        writer.kill().unwrap();
        writer.wait().unwrap();
        assert_eq!(said.len(), 200, "{said:?}");
        let (store, opened) = home.open();
        assert_eq!(opened.epoch_raised, None);
        assert_eq!(store.epoch().await.unwrap(), epoch);
        for line in said {
            let n: u32 = line.strip_prefix("ok ").unwrap().parse().unwrap();
            let found = store.token(&numbered(n, epoch).record.key).await.unwrap();
            assert!(found.is_some(), "token {n} was answered");
        }
        let entries = store.entries(0, 100_000).await.unwrap();
        next = u32::try_from(entries.len()).unwrap();
    }
}

/// The limit on the size of files makes the commit itself fail, as a full disk does.
#[tokio::test]
async fn a_disk_that_is_full_loses_and_invents_nothing() {
    let home = Home::new();
    let (store, _) = home.open();
    let epoch = with_merchant(&store).await;
    drop(store);
    let shell = "trap '' XFSZ; ulimit -f 400; exec \"$@\"";
    let mut writer = child("issue 0", &home, shell);
    let said: Vec<_> = lines(&mut writer).collect();
    assert!(writer.wait().unwrap().success());
    let (last, answered) = said.split_last().unwrap();
    assert!(answered.len() > 10, "{said:?}");
    let (store, opened) = home.open();
    assert_eq!(opened.epoch_raised, None);
    for n in 0..u32::try_from(answered.len()).unwrap() {
        let found = store.token(&numbered(n, epoch).record.key).await.unwrap();
        assert!(found.is_some(), "token {n} was answered");
    }
    let (how, n) = last.split_once(' ').unwrap();
    let key = numbered(n.parse().unwrap(), epoch).record.key;
    let there = store.token(&key).await.unwrap().is_some();
    assert!(how == "unknown" || !there, "{last}, and it is there");
    let after = with_token(&store, 255).await;
    assert!(
        store.token(&after.key).await.unwrap().is_some(),
        "it goes on when there is space again"
    );
}

/// Writes until the smallest write fails, and says whether that is told, and stays told.
async fn fill(store: &Sqlite, folder: &Path) {
    // A reader under way, without which the WAL would begin anew, in its own place.
    let reader = rusqlite::Connection::open(options(folder).database).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
    let epoch = store.epoch().await.unwrap();
    let pending = Writes::Pending {
        since: START,
        failed: true,
    };
    for n in 0.. {
        let issued = store.commit(numbered(n, epoch)).await;
        if issued.is_err() && store.writes() == pending {
            break;
        }
    }
    for _ in 0..3 {
        // It has nothing to do, and shows that a write fails still.
        let swept = store
            .commit(Sweep {
                now: START,
                limit: 1,
            })
            .await;
        assert!(matches!(swept, Err(Error::Unavailable(_))), "{swept:?}");
        assert_eq!(store.writes(), pending);
    }
    say("pending");
}

#[tokio::test]
async fn a_disk_that_is_full_is_told() {
    let home = Home::new();
    let (store, _) = home.open();
    with_merchant(&store).await;
    drop(store);
    let shell = "trap '' XFSZ; ulimit -f 400; exec \"$@\"";
    let mut writer = child("fill ", &home, shell);
    let said: Vec<_> = lines(&mut writer).collect();
    assert!(writer.wait().unwrap().success());
    assert_eq!(said, ["pending"]);
}
