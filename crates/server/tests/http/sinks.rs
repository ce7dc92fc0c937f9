//! The audit log's sinks: files here, as they are on good and bad days, and what a sink that takes
//! no more stops.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardveil_core::audit::chain::Verifier;
use cardveil_core::audit::sink::{GATE_HOLDS, Hold, Holder, Limit};
use cardveil_core::audit::{Kind, exported};
use cardveil_core::id::SinkName;
use cardveil_core::merchant::Scope;
use cardveil_core::port::{Audit as _, Sinks as _};
use cardveil_core::verb::{Commit, RecordEvent};
use cardveil_server::ListenerKind;
use cardveil_server::sinks::{Settings, Sink, Sinks, Target};
use cardveil_testkit::{Fault, sample};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::actors::{empty, post};
use crate::world::{CARD_ID, CARD_NO, KEY, World};

mod syslog;

const LIMIT: Limit = Limit {
    entries: 5,
    age: Duration::from_secs(60),
};

fn sink(path: &Path, limit: Option<Limit>) -> Sink {
    Sink {
        name: SinkName::parse("siem").unwrap(),
        target: Target::File(path.to_owned()),
        limit,
    }
}

/// Workers that run until they are stopped.
struct Working {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Working {
    /// Of sinks that have been there from the log's first entry on.
    async fn begun(world: &World, sinks: Vec<Sink>) -> Self {
        let now = world.clock_now();
        for sink in &sinks {
            let hold = Hold {
                name: sink.name.clone(),
                holder: Holder([9; 16]),
                at: now,
                until: now,
                most: None,
            };
            world.store.commit(hold).await.unwrap();
        }
        Self::new(world, sinks)
    }

    fn new(world: &World, sinks: Vec<Sink>) -> Self {
        let settings = Settings {
            sinks,
            ..Settings::default()
        };
        let (stop, stopped) = watch::channel(false);
        let workers = Sinks::new(&world.app, settings);
        Self {
            stop,
            task: tokio::spawn(workers.run(stopped)),
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

/// A folder, and a path in it.
fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    (dir, path)
}

/// Lets the workers' time pass, which is not the machine's, until something is so.
async fn until(world: &World, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..1_000 {
        if so().await {
            return;
        }
        let step = Duration::from_millis(500);
        world.clock.advance(step);
        tokio::time::sleep(step).await;
    }
    panic!("it never came to be");
}

async fn lag(world: &World) -> u64 {
    let names = [SinkName::parse("siem").unwrap()];
    let standings = world.app.service.sink_standings(&names).await.unwrap();
    standings[0].lag.entries
}

/// And the gate knows of it.
async fn caught_up(world: &World) {
    let gate = world.app.service.gate();
    until(world, async || {
        lag(world).await == 0 && gate.admits(world.clock_now())
    })
    .await;
}

/// Until it is noted why the sink takes nothing.
async fn stuck(world: &World) {
    until(world, async || {
        let rows = world.store.sinks().await.unwrap();
        rows.first().is_some_and(|row| row.error.is_some())
    })
    .await;
}

async fn write(world: &World, count: usize) {
    for _ in 0..count {
        let event = sample::event(Kind::AuditRead, world.clock_now());
        world.store.commit(RecordEvent(event)).await.unwrap();
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "whole lines");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The whole log, as an export has it.
async fn export(world: &World) -> Vec<Value> {
    let log = world.store.chained(0, 100_000).await.unwrap();
    let mut verifier = Verifier::whole(Vec::new());
    for entry in &log {
        verifier.look(entry).unwrap();
    }
    log.iter().map(exported).collect()
}

async fn readiness(world: &World) -> Value {
    let answer = world.stranger().get(ListenerKind::Admin, "/readyz").await;
    assert_eq!(answer.status, 200);
    answer.json()
}

/// Everything that could end in card data, and everything else, while the gate is closed.
#[tokio::test]
async fn while_the_gate_is_closed_nothing_is_released_and_all_else_goes_on() {
    let world = World::with_gate().await;
    let gate = world.app.service.gate().clone();
    gate.hold_open(world.clock_now());
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = Scope::ALL.to_vec())
        .await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    let (cardholder, spare) = (world.cardholder().await, world.cardholder().await);
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    gate.close();

    let log = world.operator().log().await.len();
    let info = merchant
        .keysecure("/open-api/v1/card/C202605220001/private/info")
        .header("Access-Token", &access);
    for (language, words) in [
        (
            "en",
            "System error: nothing is released now, try again in a minute",
        ),
        ("zh_CN", "系统错误: 暂停提供数据，请一分钟后重试"),
    ] {
        let call = merchant
            .keysecure(&format!("/open-api/v1/merchant/client/{CARD_NO}/token"))
            .header("Access-Token", &access)
            .header("Language", language);
        let answer = merchant.send(empty(call)).await;
        let expected = json!({"code": 1001, "msg": words});
        assert_eq!((answer.status, answer.json()), (500, expected));
    }
    assert_eq!(merchant.send(empty(info)).await.json()["code"], 1001);
    let eligibility = post(
        "/client/v1/wallet/eligibility",
        &json!({"token": spare.token, "app": "emb_1", "key": spare.jwk(), "wallet": "APPLE_PAY",
                "device_type": "MOBILE_PHONE", "device_id": "phone-1"}),
    );
    let query = "accountId=F50091&personId=775596ae-2624-40af-a9dc-9756110a4a04&cardholderVerificationMethod=OTP";
    let pin = format!("/v2/cards/{CARD_ID}/pin?{query}");
    for answer in [
        cardholder.redeem(&["pan"]).await,
        spare.redeem(&["pan"]).await,
        merchant.access_token(CARD_ID, "accountId=F50091").await,
        merchant.native(&json!({"card_no": CARD_NO})).await,
        world
            .ask(ListenerKind::Client, "198.51.100.20", eligibility)
            .await,
        merchant.call("ApiKey", Method::GET, &pin, None).await,
        merchant
            .call("ApiKey", Method::PUT, &pin, Some(json!({})))
            .await,
    ] {
        assert_eq!(
            answer.code(),
            (503, "audit_sink_full".to_owned()),
            "{}",
            answer.shown()
        );
    }
    assert_eq!(world.operator().log().await.len(), log, "nothing was spent");

    // What releases nothing.
    assert!(!merchant.login().await.is_empty());
    let cards = merchant
        .call("ApiKey", Method::GET, "/v2/cards?accountId=F50091", None)
        .await;
    assert_eq!(cards.status, 200);
    let report = json!({"redemption": "rdm_x", "token": cardholder.token, "event": "hidden"});
    assert_ne!(cardholder.report(&report).await.status, 503);
    world.operator().revoke(&cardholder.token).await;
    assert_eq!(readiness(&world).await["status"], "ok");

    gate.hold_open(world.clock_now());
    assert_eq!(spare.redeem(&["pan"]).await.status, 200, "still good");
    world.clock.advance(GATE_HOLDS);
    let unkept = merchant.native(&json!({"card_no": CARD_NO})).await;
    assert_eq!(unkept.code(), (503, "audit_sink_full".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_file_has_every_entry_once_and_in_order_as_an_export_has_it() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    write(&world, 1_203).await;
    let working = Working::begun(&world, vec![sink(&path, Some(LIMIT))]).await;
    caught_up(&world).await;
    let cardholder = world.cardholder().await;
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    // What is written just before the end is handed over at it.
    working.stop().await;
    assert_eq!(lines(&path), export(&world).await);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The next one goes on from there.
    write(&world, 3).await;
    let working = Working::begun(&world, vec![sink(&path, Some(LIMIT))]).await;
    caught_up(&world).await;
    working.stop().await;
    assert_eq!(lines(&path), export(&world).await);
    let row = &world.store.sinks().await.unwrap()[0];
    assert_eq!((row.lease, &row.error), (None, &None));
}

/// The limit is passed by one more than it says; then it is told in every place; and it opens by
/// itself.
#[tokio::test(start_paused = true)]
async fn a_required_file_that_takes_nothing_stops_releases_until_it_does() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    let working = Working::begun(&world, vec![sink(&path, Some(LIMIT))]).await;
    caught_up(&world).await;
    let cardholder = world.cardholder().await;
    caught_up(&world).await;
    // Nothing can be written to a folder.
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    std::fs::create_dir(&path).unwrap();
    write(&world, 5).await;
    until(&world, async || {
        world.store.sinks().await.unwrap()[0].error.is_some()
    })
    .await;
    assert_eq!(readiness(&world).await, json!({"status": "ok"}));
    assert_eq!(
        cardholder.redeem(&["pan"]).await.status,
        200,
        "5 are allowed"
    );
    let shut = || async {
        let answer = cardholder.redeem(&["pan"]).await;
        answer.code() == (503, "audit_sink_full".to_owned())
    };
    until(&world, async || shut().await).await;
    let warnings = json!(["audit_sink_full: siem"]);
    assert_eq!(readiness(&world).await["warnings"], warnings);
    let labelled = |name: &str| format!("cardveil_audit_sink_{name}{{sink=\"siem\"}}");
    assert!(world.counted(&labelled("lag_entries")).await > 5);
    assert_eq!(world.counted(&labelled("full")).await, 1);
    let row = world.store.sinks().await.unwrap().remove(0);
    assert!(row.error.unwrap().contains("not a regular file"));

    std::fs::remove_dir(&path).unwrap();
    caught_up(&world).await;
    until(&world, async || !shut().await).await;
    assert_eq!(readiness(&world).await, json!({"status": "ok"}));
    assert_eq!(world.counted(&labelled("full")).await, 0);
    working.stop().await;
    let parts = [lines(&path.with_extension("1")), lines(&path)].concat();
    assert_eq!(parts, export(&world).await);
}

/// One entry is enough when it waits too long.
#[tokio::test(start_paused = true)]
async fn the_oldest_entry_may_wait_so_long_and_no_longer() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    let working = Working::begun(&world, vec![sink(&path, Some(LIMIT))]).await;
    caught_up(&world).await;
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    std::fs::create_dir(&path).unwrap();
    write(&world, 1).await;
    let began = world.clock_now();
    let gate = world.app.service.gate().clone();
    until(&world, async || !gate.admits(world.clock_now())).await;
    let waited = world.clock_now().millis() - began.millis();
    assert!((60_000..=62_000).contains(&waited), "{waited}");
    working.stop().await;
}

/// It gets what comes now from the first second on, and the history beside, in files that verify
/// together.
#[tokio::test(start_paused = true)]
async fn a_required_sink_added_to_an_old_log_stops_no_release() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    write(&world, 2_000).await;
    // What is there of history cannot be taken yet: nothing waits for it.
    let history = path.with_extension("jsonl.history");
    std::fs::create_dir(&history).unwrap();
    let before = world.store.last_entry().await.unwrap();
    let mut looked = Sinks::new(
        &world.app,
        Settings {
            sinks: vec![sink(&path, Some(LIMIT))],
            ..Settings::default()
        },
    );
    looked.look().await;
    let gate = world.app.service.gate().clone();
    assert!(gate.admits(world.clock_now()), "before it has begun");
    let working = Working::new(&world, vec![sink(&path, Some(LIMIT))]);
    caught_up(&world).await;
    assert_eq!(world.cardholder().await.redeem(&["pan"]).await.status, 200);
    caught_up(&world).await;
    assert_eq!(lines(&path)[0]["seq"], before + 1);
    std::fs::remove_dir(&history).unwrap();
    let left = async || {
        let row = world.store.sinks().await.unwrap().remove(0);
        row.history.unwrap().left()
    };
    until(&world, async || left().await == 0).await;
    caught_up(&world).await;
    working.stop().await;
    let both = [lines(&history), lines(&path)].concat();
    assert_eq!(both, export(&world).await);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_not_required_stops_nothing() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    std::fs::create_dir(&path).unwrap();
    let working = Working::begun(&world, vec![sink(&path, None)]).await;
    write(&world, 50).await;
    stuck(&world).await;
    world.clock.advance(Duration::from_secs(3_600));
    let gate = world.app.service.gate().clone();
    until(&world, async || gate.admits(world.clock_now())).await;
    assert_eq!(world.cardholder().await.redeem(&["pan"]).await.status, 200);
    assert_eq!(readiness(&world).await, json!({"status": "ok"}));
    working.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_torn_line_is_mended_and_what_was_written_is_not_written_again() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    write(&world, 20).await;
    let whole: Vec<_> = export(&world).await.iter().map(Value::to_string).collect();
    // A crash: seven entries and a half, of which the store knows nothing.
    let torn = format!(
        "{}\n{}",
        whole[..7].join("\n"),
        &whole[7][..whole[7].len() / 2]
    );
    for left in [torn.as_str(), "", "{", &whole[0]] {
        let path = path.with_extension(left.len().to_string());
        std::fs::write(&path, left).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let name = format!("s{}", left.len());
        let sinks = vec![Sink {
            name: SinkName::parse(&name).unwrap(),
            ..sink(&path, Some(LIMIT))
        }];
        let working = Working::begun(&world, sinks).await;
        let last = world.store.last_entry().await.unwrap();
        until(&world, async || {
            let rows = world.store.sinks().await.unwrap();
            rows.iter()
                .any(|row| row.name.as_str() == name && row.place == last)
        })
        .await;
        working.stop().await;
        assert_eq!(lines(&path), export(&world).await, "{left}");
    }
}

/// A commit that does not answer after the entries are in the file.
#[tokio::test(start_paused = true)]
async fn a_place_that_could_not_be_noted_is_found_in_the_file() {
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        let world = World::with_gate().await;
        let (_dir, path) = place();
        let working = Working::begun(&world, vec![sink(&path, Some(LIMIT))]).await;
        caught_up(&world).await;
        write(&world, 1).await;
        world.store.fail_next(fault);
        caught_up(&world).await;
        write(&world, 1).await;
        caught_up(&world).await;
        working.stop().await;
        assert_eq!(lines(&path), export(&world).await, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_file_is_left_as_it_is() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    write(&world, 1).await;
    let ours = export(&world).await[0].to_string();
    for (mode, text, why) in [
        (0o600, "root:x:0:0\n".to_owned(), "not written by this sink"),
        (0o600, "half a line".to_owned(), "not written by this sink"),
        (
            0o600,
            format!("{ours}\nno line"),
            "not written by this sink",
        ),
        (0o644, String::new(), "chmod 600"),
        (0o660, format!("{ours}\n"), "chmod 600"),
    ] {
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let working = Working::begun(&world, vec![sink(&path, None)]).await;
        until(&world, async || {
            let rows = world.store.sinks().await.unwrap();
            let error = rows.first().and_then(|row| row.error.clone());
            error.is_some_and(|error| error.contains(why))
        })
        .await;
        working.stop().await;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        std::fs::remove_file(&path).unwrap();
    }
}

/// After a restore the file has entries that the log has not. They stay, and what the log has
/// follows.
#[tokio::test(start_paused = true)]
async fn a_file_that_is_ahead_of_a_restored_log_goes_on_where_the_log_is() {
    let (world, other) = (World::with_gate().await, World::with_gate().await);
    let (_dir, path) = place();
    write(&other, 40).await;
    let working = Working::begun(&other, vec![sink(&path, None)]).await;
    caught_up(&other).await;
    working.stop().await;
    let before = lines(&path);
    world.clock.advance(Duration::from_secs(1));
    write(&world, 2).await;
    let working = Working::begun(&world, vec![sink(&path, None)]).await;
    caught_up(&world).await;
    working.stop().await;
    assert_eq!(lines(&path), [before, export(&world).await].concat());
}

/// Two nodes on one machine, with one sink: each entry once, whoever is there.
#[tokio::test(start_paused = true)]
async fn two_who_share_a_sink_hand_each_entry_over_once() {
    let world = World::with_gate().await;
    let (_dir, path) = place();
    let sinks = || vec![sink(&path, Some(LIMIT))];
    let (first, second) = (
        Working::begun(&world, sinks()).await,
        Working::begun(&world, sinks()).await,
    );
    write(&world, 30).await;
    caught_up(&world).await;
    first.stop().await;
    write(&world, 30).await;
    caught_up(&world).await;
    // One that ends without a word holds the sink until its lease is over.
    second.task.abort();
    let _ = second.task.await;
    let third = Working::begun(&world, sinks()).await;
    write(&world, 5).await;
    caught_up(&world).await;
    third.stop().await;
    assert_eq!(lines(&path), export(&world).await);
}

/// What the file cannot hold is said in the words of the machine, and not that of an entry.
#[tokio::test(start_paused = true)]
async fn the_words_of_an_error_hold_no_entry() {
    let world = World::with_gate().await;
    let working = Working::begun(&world, vec![sink(Path::new("/dev/full"), None)]).await;
    write(&world, 1).await;
    stuck(&world).await;
    let row = world.store.sinks().await.unwrap().remove(0);
    assert_eq!(
        row.error.as_deref(),
        Some("/dev/full: it is not a regular file")
    );
    working.stop().await;
}
