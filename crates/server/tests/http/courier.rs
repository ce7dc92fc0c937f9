//! The courier against receivers on loopback that answer as receivers do on bad days.

mod over_tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use cardveil_core::audit::{Kind, Source, Target, Topic};
use cardveil_core::flow::NewSubscription;
use cardveil_core::hook::message::{decode_secret, encode_secret};
use cardveil_core::hook::{Answer, Delivery, Endpoint, Form, State};
use cardveil_core::id::SubscriptionId;
use cardveil_core::port::{DeliveryFilter, Outbox as _};
use cardveil_core::verb::{Commit, RecordEvent};
use cardveil_seal::{Secret, hmac_sha256_with};
use cardveil_server::courier::{Courier, Resolve, SystemResolver, Webhooks};
use cardveil_server::listener::DRAIN_TIMEOUT;
use cardveil_testkit::{Fault, sample};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::world::{CARD_ID, KEY, OTHER_KEY, SECOND_ID, World};

/// What a receiver does with a call, once it has read it.
#[derive(Clone, Copy)]
enum Day {
    /// It answers with this status and body.
    Says(u16, &'static str),
    /// It answers that it has moved.
    Moved,
    /// It closes the connection.
    Drops,
    /// It never answers.
    Hangs,
}

const WELL: Day = Day::Says(204, "");

/// A call as it arrived.
struct Got {
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|l| l.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The state that a message in the form of Standard Webhooks tells of.
    fn to(&self) -> String {
        self.json()["data"]["to"].as_str().unwrap().to_owned()
    }
}

/// A receiver that has these days one call after the other, and then is well.
struct Receiver {
    address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Got>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    async fn with(days: &[Day]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let days = days.to_vec();
        let mut days = days.into_iter();
        let task = tokio::spawn(async move {
            let mut hanging = Vec::new();
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let got = read(&mut tcp).await;
                let answer = match days.next().unwrap_or(WELL) {
                    Day::Says(status, body) => {
                        let length = body.len();
                        format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}")
                    }
                    Day::Moved => format!(
                        "HTTP/1.1 307 x\r\nlocation: http://{address}/moved\r\ncontent-length: 0\r\n\r\n"
                    ),
                    Day::Drops => String::new(),
                    Day::Hangs => {
                        hanging.push(tcp);
                        sender.send(got).unwrap();
                        continue;
                    }
                };
                let _ = tcp.write_all(answer.as_bytes()).await;
                drop(tcp);
                sender.send(got).unwrap();
            }
        });
        Self {
            address,
            calls,
            task,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/hooks?a=b", self.address)
    }

    async fn got(&mut self) -> Got {
        self.calls.recv().await.unwrap()
    }
}

async fn read(tcp: &mut (impl AsyncRead + Unpin)) -> Got {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let count = tcp.read(&mut chunk).await.unwrap();
        assert_ne!(count, 0, "the call broke off");
        bytes.extend_from_slice(&chunk[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let got = Got {
            body: bytes[end + 4..].to_vec(),
            head,
        };
        let length: usize = got.header("content-length").unwrap().parse().unwrap();
        if got.body.len() == length {
            return got;
        }
    }
}

struct Setup {
    world: World,
    stop: watch::Sender<bool>,
    courier: JoinHandle<()>,
}

/// It waits longer for an answer than a busy machine takes for one.
fn webhooks() -> Webhooks {
    Webhooks {
        allow_private: true,
        ..Webhooks::default()
    }
}

/// For those who wait for it to give a receiver up.
fn impatient() -> Webhooks {
    Webhooks {
        timeout: Duration::from_millis(300),
        ..webhooks()
    }
}

impl Setup {
    async fn new() -> Self {
        Self::with(webhooks(), Arc::new(SystemResolver)).await
    }

    async fn with(webhooks: Webhooks, resolver: Arc<dyn Resolve>) -> Self {
        Self::of(World::new().await, webhooks, resolver)
    }

    fn of(world: World, webhooks: Webhooks, resolver: Arc<dyn Resolve>) -> Self {
        let courier = Courier::new(&world.app, webhooks, resolver).unwrap();
        let (stop, stopped) = watch::channel(false);
        Self {
            courier: tokio::spawn(courier.run(stopped)),
            world,
            stop,
        }
    }

    /// Merchant 1 wants to be told. Returns the id and what signs.
    async fn subscribe(&self, form: Form, url: &str, secret: Option<&str>) -> SubscriptionId {
        let new = NewSubscription {
            merchant: sample::merchant(1).id,
            account: None,
            form,
            url: Endpoint::parse(url).unwrap(),
            topics: vec![Topic::CardState],
            enabled: true,
            secret: secret.map(|text| Secret::new(text.as_bytes().to_vec())),
            authorization: None,
        };
        let source = sample::operator();
        let added = self.world.app.service.subscribe(new, &source).await;
        added.unwrap().unwrap().subscription.id
    }

    /// A card of merchant 1 changes its state.
    async fn moves(&self, card: &str, to: &str) {
        let target = Target {
            card: Some(card.parse().unwrap()),
            ..Target::default()
        };
        let (merchant, now) = (Some(sample::merchant(1).id), self.world.app.service.now());
        let mut event = Source::server().event(now, Kind::CardChanged, merchant, target);
        event.detail.from = Some("active".into());
        event.detail.to = Some(to.to_owned().into());
        self.world.store.commit(RecordEvent(event)).await.unwrap();
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        let filter = DeliveryFilter::default();
        self.world
            .store
            .deliveries(&filter, None, 100)
            .await
            .unwrap()
    }

    /// Waits until the outbox is as wanted.
    async fn until(&self, wanted: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        let bell = self.world.store.bell();
        loop {
            let rung = bell.times();
            let deliveries = self.deliveries().await;
            if wanted(&deliveries) {
                return deliveries;
            }
            bell.heard(rung).await;
        }
    }

    /// Waits for the outcome of the oldest delivery's attempt number `n`, then lets the time pass
    /// until the next.
    async fn attempted(&self, n: u32) -> Answer {
        let found = self.until(|all| all[0].attempts == n).await;
        self.world.clock.set(found[0].due_at);
        self.world.store.bell().ring();
        found[0].last.unwrap().answer
    }

    async fn stop(self) -> World {
        self.stop.send_replace(true);
        self.courier.await.unwrap();
        self.world
    }
}

fn delivered(all: &[Delivery]) -> bool {
    let arrived = |d: &Delivery| matches!(d.state, State::Delivered(_));
    !all.is_empty() && all.iter().all(arrived)
}

#[tokio::test]
async fn a_receiver_that_fails_in_every_way_gets_every_event_in_order() {
    let bad = [
        Day::Says(500, "{}"),
        Day::Hangs,
        Day::Drops,
        Day::Moved,
        Day::Says(410, ""),
    ];
    let mut receiver = Receiver::with(&bad).await;
    let setup = Setup::with(impatient(), Arc::new(SystemResolver)).await;
    setup.subscribe(Form::Standard, &receiver.url(), None).await;
    for to in ["suspended", "active", "terminated"] {
        setup.moves(CARD_ID, to).await;
    }
    let mut ids = Vec::new();
    for (n, answer) in (1..).zip([
        Answer::Status(500),
        Answer::TimedOut,
        Answer::Unreachable,
        Answer::Status(307),
        Answer::Status(410),
    ]) {
        let got = receiver.got().await;
        assert_eq!(got.to(), "suspended", "the first, until it has arrived");
        assert!(
            got.head.starts_with("POST /hooks?a=b HTTP/1.1\r\n"),
            "{}",
            got.head
        );
        ids.push(got.header("webhook-id").unwrap().to_owned());
        assert_eq!(setup.attempted(n).await, answer);
    }
    for to in ["suspended", "active", "terminated"] {
        let got = receiver.got().await;
        assert_eq!(got.to(), to);
        if to == "suspended" {
            ids.push(got.header("webhook-id").unwrap().to_owned());
        }
    }
    assert!(
        ids.windows(2).all(|pair| pair[0] == pair[1]),
        "one message id"
    );
    setup.until(delivered).await;
    let world = setup.stop().await;
    assert_eq!(world.counted("cardveil_webhooks_delivered_total").await, 3);
    assert_eq!(
        world
            .counted("cardveil_webhook_attempts_failed_total")
            .await,
        5
    );
    assert_eq!(world.counted("cardveil_webhooks_waiting").await, 0);
}

#[tokio::test]
async fn a_receiver_that_was_down_for_an_hour_gets_every_event() {
    let setup = Setup::new().await;
    let gone = Receiver::with(&[]).await;
    let url = gone.url();
    drop(gone);
    setup.subscribe(Form::Equals, &url, None).await;
    setup.moves(CARD_ID, "suspended").await;
    setup.moves(SECOND_ID, "suspended").await;
    let start = setup.world.clock_now();
    let mut attempts = 0;
    while setup.world.clock_now() < start.plus(Duration::from_secs(3_600)) {
        attempts += 1;
        let all = setup
            .until(|all| all.iter().all(|d| d.attempts == attempts))
            .await;
        assert!(
            all.iter()
                .all(|d| d.last.unwrap().answer == Answer::Unreachable)
        );
        setup.world.clock.set(all[0].due_at.max(all[1].due_at));
        setup.world.store.bell().ring();
    }
    assert_eq!(attempts, 12, "every five minutes");
    setup.stop().await;
}

#[tokio::test]
async fn a_slow_receiver_does_not_hold_the_others_up() {
    let mut slow = Receiver::with(&[Day::Hangs; 2]).await;
    let mut quick = Receiver::with(&[]).await;
    let patient = Webhooks {
        timeout: Duration::from_secs(30),
        per_subscription: 1,
        ..webhooks()
    };
    let setup = Setup::with(patient, Arc::new(SystemResolver)).await;
    setup.subscribe(Form::Standard, &slow.url(), None).await;
    setup.subscribe(Form::Standard, &quick.url(), None).await;
    for (card, to) in [
        (CARD_ID, "suspended"),
        (CARD_ID, "active"),
        (SECOND_ID, "terminated"),
    ] {
        setup.moves(card, to).await;
    }
    assert_eq!(slow.got().await.to(), "suspended");
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(quick.got().await.to());
    }
    told.sort_unstable();
    assert_eq!(told, ["active", "suspended", "terminated"]);
    assert!(slow.calls.try_recv().is_err(), "one at a time");
    setup.courier.abort();
}

#[tokio::test]
async fn a_private_address_or_plain_http_is_not_called() {
    let mut receiver = Receiver::with(&[]).await;
    let strict = Webhooks {
        allow_private: false,
        ..webhooks()
    };
    let setup = Setup::with(strict, Arc::new(SystemResolver)).await;
    let port = receiver.address.port();
    for url in [
        format!("https://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("http://127.0.0.1:{port}/"),
        "http://1.1.1.1/".to_owned(),
    ] {
        setup.subscribe(Form::Standard, &url, None).await;
    }
    setup.moves(CARD_ID, "suspended").await;
    let tried = setup.until(|all| all.iter().all(|d| d.attempts == 1)).await;
    assert_eq!(tried.len(), 5);
    for delivery in tried {
        assert_eq!(delivery.last.unwrap().answer, Answer::AddressRefused);
        assert_eq!(delivery.state, State::Waiting, "kept");
    }
    assert!(receiver.calls.try_recv().is_err());
    setup.stop().await;
}

/// Leads to the receiver the first time, and elsewhere ever after.
struct Rebinding {
    receiver: SocketAddr,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolve for Rebinding {
    async fn resolve(&self, host: &str, _port: u16) -> std::io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "hooks.example");
        match self.asked.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(vec![self.receiver]),
            _ => Ok(vec!["127.0.0.1:9".parse().unwrap()]),
        }
    }
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    let mut receiver = Receiver::with(&[]).await;
    let resolver = Arc::new(Rebinding {
        receiver: receiver.address,
        asked: AtomicUsize::new(0),
    });
    let setup = Setup::with(webhooks(), Arc::clone(&resolver) as _).await;
    let url = "http://hooks.example:8080/";
    setup.subscribe(Form::Standard, url, None).await;
    setup.moves(CARD_ID, "suspended").await;
    let got = receiver.got().await;
    assert_eq!(got.header("host"), Some("hooks.example:8080"));
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);
    setup.until(delivered).await;
    setup.stop().await;
}

/// Without a certificate that the system trusts there is no delivery.
#[tokio::test]
async fn a_receiver_that_does_not_speak_tls_is_told_nothing() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    let patient = Webhooks {
        timeout: Duration::from_secs(10),
        ..webhooks()
    };
    let setup = Setup::with(patient, Arc::new(SystemResolver)).await;
    setup.subscribe(Form::Standard, &url, None).await;
    setup.moves(CARD_ID, "suspended").await;
    let (mut tcp, _) = plain.accept().await.unwrap();
    let mut hello = [0; 1];
    tcp.read_exact(&mut hello).await.unwrap();
    assert_eq!(hello, [22], "a TLS handshake and no request");
    tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    drop(tcp);
    let tried = setup.until(|all| all[0].attempts == 1).await;
    assert_eq!(tried[0].last.unwrap().answer, Answer::Unreachable);
    setup.stop().await;
}

#[tokio::test]
async fn a_keysecure_receiver_must_answer_code_0() {
    let days = [
        Day::Says(200, r#"{"code":1001,"message":"busy"}"#),
        Day::Says(200, "OK"),
        Day::Says(500, r#"{"code":0}"#),
        Day::Says(200, r#"{"code":0,"message":"success"}"#),
    ];
    let mut receiver = Receiver::with(&days).await;
    let setup = Setup::new().await;
    let url = receiver.url();
    setup.subscribe(Form::KeySecure, &url, Some(KEY)).await;
    setup.moves(CARD_ID, "suspended").await;
    for (n, answer) in (1..).zip([
        Answer::NotConfirmed(200),
        Answer::NotConfirmed(200),
        Answer::Status(500),
        Answer::Accepted(200),
    ]) {
        let got = receiver.got().await;
        assert_eq!(got.json()["action"], "Card_update");
        assert_eq!(got.header("sign-version"), Some("V1"));
        assert!(!String::from_utf8_lossy(&got.body).contains(KEY));
        assert_eq!(setup.attempted(n).await, answer);
    }
    setup.until(delivered).await;
    setup.stop().await;
}

/// What signs, as its receiver checks it.
#[tokio::test]
async fn a_receiver_can_check_who_speaks() {
    let mut receiver = Receiver::with(&[]).await;
    let setup = Setup::new().await;
    let key = Secret::new(vec![7; 32]);
    let text = String::from_utf8(encode_secret(&key).expose().to_vec()).unwrap();
    setup
        .subscribe(Form::Standard, &receiver.url(), Some(&text))
        .await;
    setup.moves(CARD_ID, "suspended").await;
    let got = receiver.got().await;
    let (id, moment) = (got.header("webhook-id"), got.header("webhook-timestamp"));
    let signed = [id.unwrap(), moment.unwrap()].join(".");
    let key = decode_secret(&text).unwrap();
    let mac = hmac_sha256_with(&key, &[signed.as_bytes(), b".", &got.body]);
    let signature = got.header("webhook-signature").unwrap();
    let signature = signature.strip_prefix("v1,").unwrap();
    let given = base64::prelude::BASE64_STANDARD.decode(signature).unwrap();
    assert_eq!(given, mac);
    setup.stop().await;
}

/// The answer was lost on its way into the store: it is sent again when the lease ends.
#[tokio::test]
async fn a_record_that_gets_lost_leads_to_a_repeat() {
    let mut receiver = Receiver::with(&[Day::Hangs]).await;
    let setup = Setup::with(impatient(), Arc::new(SystemResolver)).await;
    setup.subscribe(Form::Standard, &receiver.url(), None).await;
    setup.moves(CARD_ID, "suspended").await;
    let first = receiver.got().await;
    setup.world.store.fail_next(Fault::UnknownNotPersisted);
    let world = setup.stop().await;
    let setup = Setup::of(world, webhooks(), Arc::new(SystemResolver));
    let leased = setup.deliveries().await[0].leased_until.unwrap();
    setup.world.clock.set(leased);
    setup.world.store.bell().ring();
    let second = receiver.got().await;
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    setup.until(delivered).await;
    setup.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way() {
    let mut receiver = Receiver::with(&[Day::Hangs]).await;
    let setup = Setup::with(impatient(), Arc::new(SystemResolver)).await;
    setup.subscribe(Form::Standard, &receiver.url(), None).await;
    setup.moves(CARD_ID, "suspended").await;
    receiver.got().await;
    let world = setup.stop().await;
    let filter = DeliveryFilter::default();
    let row = &world.store.deliveries(&filter, None, 1).await.unwrap()[0];
    assert_eq!(row.last.unwrap().answer, Answer::TimedOut, "on record");
    assert_eq!(row.leased_until, None);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_a_receiver_as_long_as_for_requests() {
    let mut receiver = Receiver::with(&[Day::Hangs]).await;
    let slow = Webhooks {
        timeout: Duration::from_secs(60),
        ..webhooks()
    };
    let setup = Setup::with(slow.clone(), Arc::new(SystemResolver)).await;
    setup.subscribe(Form::Standard, &receiver.url(), None).await;
    setup.moves(CARD_ID, "suspended").await;
    let first = receiver.got().await;
    let before = tokio::time::Instant::now();
    let world = setup.stop().await;
    assert_eq!(before.elapsed(), DRAIN_TIMEOUT);
    let setup = Setup::of(world, slow, Arc::new(SystemResolver));
    let leased = setup.deliveries().await[0].leased_until.unwrap();
    setup.world.clock.set(leased);
    setup.world.store.bell().ring();
    let second = receiver.got().await;
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    setup.until(delivered).await;
    setup.stop().await;
}

#[tokio::test]
async fn an_api_key_of_another_merchant_signs_nothing() {
    let setup = Setup::new().await;
    for api_key in [Some(OTHER_KEY), Some("cvk_test_unknown"), None] {
        let new = NewSubscription {
            merchant: sample::merchant(1).id,
            account: None,
            form: Form::KeySecure,
            url: Endpoint::parse("https://hooks.example/").unwrap(),
            topics: vec![Topic::CardState],
            enabled: true,
            secret: api_key.map(|text| Secret::new(text.as_bytes().to_vec())),
            authorization: None,
        };
        let source = sample::operator();
        let added = setup.world.app.service.subscribe(new, &source).await;
        assert!(added.unwrap().is_err());
    }
    setup.stop().await;
}
