//! The access log: these keys, and never a query string, a token or a browser's address (P3, P4).

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use cardveil_core::port::Writes;
use cardveil_server::ListenerKind;
use cardveil_server::log::{AccessLog, request_id};
use cardveil_testkit::Fault;
use serde_json::{Value, json};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::actors::{Thief, empty, get};
use crate::serving::{closing, serve};
use crate::world::{CARD_ID, CARD_NO, CVV, HOME, KEY, OFFICE, PAN, World, settings};

#[derive(Clone, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged of what `act` does, and the secrets that it names.
async fn logged(act: impl AsyncFnOnce(&World) -> Vec<String>) -> (String, Vec<String>) {
    let buffer = Buffer::default();
    let (writer, log) = AccessLog::start(Box::new(buffer.clone())).unwrap();
    let world = World::with(settings(), log).await;
    let secrets = act(&world).await;
    drop(world);
    drop(writer);
    let text = buffer.text();
    (text, secrets)
}

pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The line with what differs from run to run checked and hidden.
fn shown(line: &Value) -> String {
    let mut line = line.clone();
    assert!(line["duration_us"].take().is_u64());
    assert_eq!(line["request.id"].take().as_str().unwrap().len(), 16);
    if let Some(credential) = line.get_mut("credential.id") {
        assert!(credential.take().as_str().unwrap().starts_with("crd_"));
    }
    line.sort_all_objects();
    line.to_string()
}

#[tokio::test]
async fn a_line_has_its_keys_and_no_others() {
    let (text, _) = logged(async |world| {
        let merchant = world.merchant();
        merchant.access_token(CARD_ID, "accountId=F50091").await;
        merchant.access_token(CARD_ID, "accountId=").await;
        let cardholder = world.cardholder().await;
        cardholder.redeem(&["pan"]).await;
        Thief::with(world, &cardholder.token).redeem(&["pan"]).await;
        world
            .stranger()
            .get(ListenerKind::Client, "/embed/emb_1")
            .await;
        world.stranger().get(ListenerKind::Client, "/nowhere").await;
        world.stranger().get(ListenerKind::Admin, "/healthz").await;
        vec![]
    })
    .await;
    let shown: Vec<_> = lines(&text).iter().map(shown).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

/// Load balancers ask each second, and would fill it.
#[tokio::test]
async fn probes_of_health_that_find_nothing_can_be_left_out() {
    for (log_probes, expected) in [(true, 5), (false, 2)] {
        let buffer = Buffer::default();
        let (writer, log) = AccessLog::start(Box::new(buffer.clone())).unwrap();
        let mut settings = settings();
        settings.log_probes = log_probes;
        let world = World::with(settings, log).await;
        let stranger = world.stranger();
        for path in ["/healthz", "/readyz", "/healthz", "/metrics"] {
            assert_eq!(stranger.get(ListenerKind::Admin, path).await.status, 200);
        }
        world.store.say_of_writes(Some(Writes::Ended));
        let answer = stranger.get(ListenerKind::Admin, "/readyz").await;
        assert_eq!(answer.status, 503);
        drop((world, writer));
        assert_eq!(lines(&buffer.text()).len(), expected);
    }
}

/// hyper answers them before any service runs, and nobody saw them.
#[tokio::test]
async fn requests_that_http_itself_refuses_have_their_lines() {
    let many = format!("GET /S3CRET HTTP/1.1{}", "\r\nx: S3CRET".repeat(80));
    let long = format!("GET /{} HTTP/1.1", "S3CRET".repeat(16_384));
    let (text, _) = logged(async |world| {
        for kind in [ListenerKind::Merchant, ListenerKind::Client] {
            let served = serve(world, kind).await;
            for head in [
                &many,
                &long,
                "G@T /S3CRET HTTP/1.1",
                "GET / HTTP/1.1\r\nS3 CRET: x",
            ] {
                // hyper may close before all of a long head is written.
                let mut stream = TcpStream::connect(served.at).await.unwrap();
                let _ = stream.write_all(&closing(head, "")).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            served.stop.send(true).unwrap();
            served.task.await.unwrap();
        }
        vec![]
    })
    .await;
    assert!(!text.contains("S3"), "{text}");
    let expected = [431, 431, 400, 400].map(|status| {
        let merchant = json!({
            "http.status": status, "listener": "merchant", "message": "request", "level": "INFO",
            "peer.ip": "127.0.0.1",
        });
        let client = json!({"http.status": status, "listener": "client", "message": "request", "level": "INFO"});
        [merchant, client]
    });
    for (n, line) in lines(&text).into_iter().enumerate() {
        let mut line = line;
        let members = line.as_object_mut().unwrap();
        assert_eq!(
            members
                .remove("request.id")
                .unwrap()
                .as_str()
                .unwrap()
                .len(),
            16
        );
        assert!(members.remove("time").is_some());
        assert_eq!(line, expected[n % 4][n / 4], "{n}");
    }
    assert_eq!(lines(&text).len(), 8);
}

/// Secrets in every place where a caller can put or get one, and then what they are.
async fn secrets_everywhere(world: &World) -> Vec<String> {
    let merchant = world.merchant();
    let access = merchant.login().await;
    let mut secrets = vec![access.clone()];
    merchant.client_token("C-S3CRET", &access).await;
    let query = "accountId=F50091&token=654321&sessionId=c92e2960-b745-4b38-8e77-898b2f9ad9bb";
    merchant.access_token(CARD_ID, query).await;
    merchant.access_token("S3CRET", query).await;
    merchant
        .native_named("S3CRET", &json!({"card_no": CARD_NO}))
        .await;
    let cardholder = world.cardholder().await;
    let answer = cardholder.redeem(&["pan", "cvv"]).await.json();
    secrets.push(answer["sealed"]["ciphertext"].as_str().unwrap().to_owned());
    secrets.push(cardholder.jwk()["x"].as_str().unwrap().to_owned());
    cardholder.send(&json!({PAN: CVV})).await;
    cardholder.report(&json!({"token": cardholder.token})).await;
    secrets.push(cardholder.token.clone());
    for path in [format!("/{PAN}"), "/embed/S3CRET?token=S3CRET".to_owned()] {
        world.stranger().get(ListenerKind::Client, &path).await;
    }
    let call = get("/S3CRET").method("S3CRET").header("api-key", "S3CRET");
    world.ask(ListenerKind::Merchant, OFFICE, empty(call)).await;
    secrets
}

fn assert_clean(text: &str, secrets: &[String]) {
    let fixed = [
        PAN,
        "739\"",
        "S3CRET",
        "654321",
        "c92e2960",
        "accountId",
        HOME,
        KEY,
        "cvt_",
        "cva_",
    ];
    for secret in fixed.into_iter().chain(secrets.iter().map(String::as_str)) {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn it_holds_no_secret_and_no_personal_data() {
    let (text, secrets) = logged(secrets_everywhere).await;
    assert_eq!(lines(&text).len(), 13);
    assert!(!text.contains('?'), "no query string");
    assert_clean(&text, &secrets);
}

/// The program's own log, at its most talkative, and with every kind of fault.
#[tokio::test]
async fn the_programs_log_holds_none_either() {
    let buffer = Buffer::default();
    let to = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || to.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let mut secrets = secrets_everywhere(&world).await;
    for fault in [Fault::NotPersisted, Fault::UnknownNotPersisted] {
        let cardholder = world.cardholder().await;
        world.store.fail_next(fault);
        assert_eq!(cardholder.redeem(&["pan"]).await.status, 503);
        secrets.push(cardholder.token);
    }
    drop(guard);
    let text = buffer.text();
    assert_eq!(
        text.matches("a request could not be carried through")
            .count(),
        2,
        "{text}"
    );
    assert_clean(&text, &secrets);
}

/// Keeps of each event of which request it is.
#[derive(Clone, Default)]
struct Ids(Arc<Mutex<Vec<Option<Arc<str>>>>>);

impl<S: tracing::Subscriber> Layer<S> for Ids {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().level() == &tracing::Level::ERROR {
            self.0.lock().unwrap().push(request_id());
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_is_logged_with_its_request() {
    let ids = Ids::default();
    let subscriber = tracing_subscriber::registry().with(ids.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    world.store.fail_next(Fault::NotPersisted);
    let answer = cardholder.redeem(&["pan"]).await;
    assert_eq!(answer.status, 503);
    drop(guard);
    let told = ids.0.lock().unwrap().clone();
    let id = answer.header("x-request-id").map(Arc::from);
    assert_eq!(told, [id]);
    assert_eq!(request_id(), None);
}

#[tokio::test]
async fn the_request_id_is_the_callers() {
    let (text, ids) = logged(async |world| {
        let mut ids = Vec::new();
        for kind in ListenerKind::ALL {
            for _ in 0..3 {
                let answer = world.stranger().get(kind, "/nowhere").await;
                ids.push(answer.header("x-request-id").unwrap().to_owned());
            }
        }
        ids
    })
    .await;
    let logged: Vec<_> = lines(&text)
        .iter()
        .map(|line| line["request.id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(logged, ids);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 9);
}

/// Whose reader has gone.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn lines_that_are_not_written_are_counted() {
    let (writer, log) = AccessLog::start(Box::new(Broken)).unwrap();
    let world = World::with(settings(), log).await;
    for _ in 0..3 {
        world.stranger().get(ListenerKind::Admin, "/healthz").await;
    }
    // It tries to write what waits.
    drop(writer);
    let name = "cardveil_access_log_dropped_total";
    assert_eq!(world.counted(name).await, 3);
    // Nobody takes the line of the request before any more.
    assert_eq!(world.counted(name).await, 4);
}
