//! The listeners on real sockets: what hyper does around the answers, and the end in good order.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use cardveil_server::ListenerKind;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::world::World;

pub(crate) struct Served {
    pub(crate) at: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) async fn serve(world: &World, kind: ListenerKind) -> Served {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve_at(world, kind, tcp)
}

/// By connections that hold little of what is under way: as small as the system lets them be.
pub(crate) fn serve_narrow(world: &World, kind: ListenerKind) -> Served {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_send_buffer_size(1).unwrap();
    tcp.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    serve_at(world, kind, tcp.listen(16).unwrap())
}

fn serve_at(world: &World, kind: ListenerKind, tcp: TcpListener) -> Served {
    let at = tcp.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let position = ListenerKind::ALL.iter().position(|known| *known == kind);
    let listener = world.listeners[position.unwrap()].clone();
    let task = tokio::spawn(listener.serve(tcp, stopped));
    Served { at, stop, task }
}

/// The other side of a narrow connection.
pub(crate) async fn connect_narrow(at: SocketAddr) -> TcpStream {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(1).unwrap();
    tcp.connect(at).await.unwrap()
}

/// Asks again and again and takes no answer, until the connection is closed; how long that took.
pub(crate) async fn ask_in_vain(stream: &mut (impl AsyncWrite + Unpin)) -> Duration {
    let asked = Instant::now();
    let asking = async {
        let request = b"GET /sdk/v1/cardveil.js HTTP/1.1\r\nhost: x\r\n\r\n";
        while stream.write_all(request).await.is_ok() {}
    };
    let ended = tokio::time::timeout(Duration::from_secs(3_600), asking).await;
    assert!(ended.is_ok(), "it holds its place for ever");
    asked.elapsed()
}

/// Sends these bytes and reads until the server closes.
pub(crate) async fn exchange(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap().to_ascii_lowercase()
}

pub(crate) fn closing(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
        .into()
}

#[tokio::test]
async fn it_answers_and_ends_when_told() {
    let world = World::new().await;
    let served = serve(&world, ListenerKind::Admin).await;
    let answer = exchange(served.at, &closing("GET /healthz HTTP/1.1", "")).await;
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    served.stop.send(true).unwrap();
    served.task.await.unwrap();
    assert!(TcpStream::connect(served.at).await.is_err());
}

#[tokio::test]
async fn a_request_that_runs_is_finished_after_the_stop() {
    let world = World::new().await;
    let served = serve(&world, ListenerKind::Client).await;
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head = "POST /client/v1/redeem HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request runs.
    let mut buffer = [0; 25];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"HTTP/1.1 100 Continue\r\n\r\n");
    served.stop.send(true).unwrap();
    stream.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    served.task.await.unwrap();
}

#[tokio::test]
async fn a_204_has_no_length() {
    let world = World::new().await;
    let served = serve(&world, ListenerKind::Client).await;
    let cardholder = world.cardholder().await;
    let redemption = cardholder.redeem(&["pan"]).await.json()["redemption"].clone();
    let body = json!({"redemption": redemption, "token": cardholder.token, "event": "displayed"});
    let head = "POST /client/v1/events HTTP/1.1\r\ncontent-type: application/json";
    let answer = exchange(served.at, &closing(head, &body.to_string())).await;
    assert!(answer.starts_with("http/1.1 204 "), "{answer}");
    assert!(!answer.contains("content-length"), "{answer}");
}

/// It was 503, an ERROR line and a count of our faults.
#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_is_the_callers_fault() {
    let world = World::new().await;
    let client = serve(&world, ListenerKind::Client).await;
    let head = "POST /client/v1/redeem HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 2\r\n\r\n{";
    let asked = Instant::now();
    let answer = exchange(client.at, head.as_bytes()).await;
    assert_eq!(asked.elapsed().as_secs(), 10);
    assert!(answer.starts_with("http/1.1 408 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    assert_eq!(world.counted("cardveil_faults_total").await, 0);
    // The source's own form, with HTTP's status.
    let access = world.merchant().login().await;
    let request = world
        .merchant()
        .keysecure("/open-api/v1/card/list")
        .method("POST");
    let request = request.header("access-token", access);
    let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let request = request.body(Body::from_stream(never)).unwrap();
    let answer = world.merchant().send(request).await;
    assert_eq!(answer.code(), (408, "1004".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(world.counted("cardveil_faults_total").await, 0);
}

/// An id told how many requests there had been.
#[tokio::test]
async fn request_ids_tell_nothing() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..64 {
        let answer = world.stranger().get(ListenerKind::Client, "/nothing").await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 16, "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        ids.push(id);
    }
    // Nothing of one is in the next at the same place, beyond what chance gives: 1 of 16 digits.
    let same = |(one, next): (&String, &String)| {
        one.bytes()
            .zip(next.bytes())
            .filter(|(a, b)| a == b)
            .count()
    };
    let shared: usize = ids.iter().zip(&ids[1..]).map(same).sum();
    assert!(shared < 63 * 3, "{shared}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_its_place() {
    let world = World::new().await;
    let served = serve_narrow(&world, ListenerKind::Client);
    let mut stream = connect_narrow(served.at).await;
    assert_eq!(ask_in_vain(&mut stream).await.as_secs(), 20);
}

/// Reads one answer, which has a length; its head, in lower case.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        text.push(char::from(byte[0]).to_ascii_lowercase());
        if let Some(head) = text.strip_suffix("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap();
            let length = length.split('\r').next().unwrap().parse().unwrap();
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            return text;
        }
    }
}

/// How long the server still keeps the connection, of which nothing is asked.
async fn kept(stream: &mut TcpStream) -> Duration {
    let since = Instant::now();
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    since.elapsed()
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

/// All listeners closed what rested for 10 s, so that 9 of 60 calls through nginx were 502.
#[tokio::test(start_paused = true)]
async fn a_connection_rests_longer_than_proxies_keep_it_hyper_1628_3828_agentgateway_504_ingress_nginx_11244()
 {
    let world = World::new().await;
    for kind in ListenerKind::ALL {
        let served = serve(&world, kind).await;
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        for _ in 0..3 {
            stream.write_all(HEALTH).await.unwrap();
            let head = answer(&mut stream).await;
            assert!(head.contains("\r\nkeep-alive: timeout=75\r\n"), "{head}");
            assert!(head.contains("\r\nconnection: keep-alive\r\n"), "{head}");
            // The last moment at which a caller may think that it is open.
            tokio::time::sleep(Duration::from_secs(75)).await;
        }
        stream.write_all(HEALTH).await.unwrap();
        answer(&mut stream).await;
        assert_eq!(kept(&mut stream).await.as_secs(), 76, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_ten_seconds_the_first_and_the_next() {
    let world = World::new().await;
    let served = serve(&world, ListenerKind::Admin).await;
    let mut silent = TcpStream::connect(served.at).await.unwrap();
    assert_eq!(kept(&mut silent).await.as_secs(), 10);
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    stream.write_all(HEALTH).await.unwrap();
    answer(&mut stream).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    stream.write_all(b"GET ").await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    stream.write_all(b"/healthz ").await.unwrap();
    // A byte now and then does not make it longer.
    assert_eq!(kept(&mut stream).await.as_secs(), 1);
}

/// Who closes, and who speaks HTTP/1.0, is told nothing.
#[tokio::test]
async fn a_connection_that_ends_is_not_told_how_long_it_may_rest() {
    let world = World::new().await;
    let served = serve(&world, ListenerKind::Admin).await;
    let closed = exchange(served.at, &closing("GET /healthz HTTP/1.1", "")).await;
    let old = exchange(served.at, b"GET /healthz HTTP/1.0\r\n\r\n").await;
    world.app.drain();
    let draining = exchange(served.at, HEALTH).await;
    for text in [closed, old, draining] {
        assert!(text.starts_with("http/1."), "{text}");
        assert!(!text.contains("keep-alive"), "{text}");
    }
}
