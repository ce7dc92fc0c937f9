//! Syslog receivers on loopback, in the clear, over TLS and on a local socket: that take, hang,
//! drop, refuse, and come back.
//!
//! Time stands still while sockets work, and passes when a test says so: what loopback takes is no
//! part of a limit.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardveil_core::port::Sinks as _;
use cardveil_server::sinks::{Framing, Identity, Receiver, Sink, Target};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixDatagram};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

use super::{LIMIT, Working, export, lag, readiness, sink, write};
use crate::tls::{Authority, acceptor};
use crate::world::World;

/// While this is there, time passes only when it is told to.
struct Still {
    _end: std::sync::mpsc::Sender<()>,
}

impl Still {
    /// A blocking task holds tokio's clock.
    fn new() -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || ended.recv());
        Self { _end: end }
    }
}

async fn pass(world: &World, by: Duration) {
    world.clock.advance(by);
    tokio::time::advance(by).await;
}

/// Whether something comes to be without any time passing; each round looks at all sockets.
async fn soon(rounds: usize, mut so: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..rounds {
        if so().await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Waits for what needs no time.
async fn at_once(so: impl AsyncFnMut() -> bool) {
    assert!(soon(2_000_000, so).await, "it never came to be");
}

/// Waits for what needs time, which passes slowly for sockets.
async fn in_time(world: &World, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if soon(2_000, &mut so).await {
            return;
        }
        pass(world, Duration::from_millis(500)).await;
    }
    panic!("it never came to be: {:?}", error(world).await);
}

/// Ends the workers, who may have something to wait for.
async fn end(world: &World, working: Working) {
    working.stop.send_replace(true);
    in_time(world, async || working.task.is_finished()).await;
    working.stop().await;
}

async fn caught_up(world: &World) {
    let gate = world.app.service.gate();
    in_time(world, async || {
        lag(world).await == 0 && gate.admits(world.clock_now())
    })
    .await;
}

/// Why the sink takes nothing.
async fn error(world: &World) -> Option<String> {
    let rows = world.store.sinks().await.unwrap();
    rows.into_iter().find_map(|row| row.error)
}

async fn stuck(world: &World, why: &str) {
    in_time(world, async || {
        error(world).await.is_some_and(|error| error.contains(why))
    })
    .await;
}

/// What a receiver does with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Reads to the end.
    Takes,
    /// Reads nothing, until it has another way.
    Hangs,
    /// Closes after so many bytes, with the rest unread.
    Drops(usize),
    /// Keeps what it read when the end comes within so many bytes, and else nothing.
    TakesAtMost(usize),
}

/// A receiver.
struct Soc {
    at: SocketAddr,
    tls: Option<TlsAcceptor>,
    way: watch::Sender<Way>,
    got: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Soc {
    async fn new(tls: Option<TlsAcceptor>, way: Way) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (way, got) = (watch::Sender::new(way), Arc::default());
        let at = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        let task = tokio::spawn(serve(
            listener,
            tls.clone(),
            way.subscribe(),
            Arc::clone(&got),
        ));
        Self {
            at,
            tls,
            way,
            got,
            task,
        }
    }

    /// Nobody listens any more.
    async fn leave(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// On the same port.
    async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.at).await.unwrap();
        self.task = tokio::spawn(serve(
            listener,
            self.tls.clone(),
            self.way.subscribe(),
            Arc::clone(&self.got),
        ));
    }

    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }

    fn receiver(&self) -> Receiver {
        Receiver::parse(&format!("tcp://{}", self.at)).unwrap()
    }

    fn receiver_by(&self, authorities: &Path) -> Receiver {
        let parsed = Receiver::parse(&format!("tls://{}", self.at)).unwrap();
        by(parsed, authorities, None)
    }
}

fn by(receiver: Receiver, authorities: &Path, own: Option<&Path>) -> Receiver {
    let Receiver::Tls { host, framing, .. } = receiver else {
        panic!("it is TLS");
    };
    let own = own.map(|folder| (folder.join("own.pem"), folder.join("own.key")));
    let identity = Identity {
        authorities: Some(authorities.to_owned()),
        shown: own,
    };
    Receiver::Tls {
        host,
        identity,
        framing,
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    way: watch::Receiver<Way>,
    got: Arc<Mutex<Vec<Value>>>,
) {
    // One after another, so that what is read is in the order of the connections.
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut way = way.clone();
        let _ = way.wait_for(|way| *way != Way::Hangs).await;
        let way = *way.borrow();
        match &tls {
            None => read(tcp, way, &got).await,
            // A handshake may fail.
            Some(tls) => {
                if let Ok(stream) = tls.accept(tcp).await {
                    read(stream, way, &got).await;
                }
            }
        }
    }
}

async fn read(mut stream: impl AsyncRead + AsyncWrite + Unpin, way: Way, got: &Mutex<Vec<Value>>) {
    let mut bytes = Vec::new();
    let most = match way {
        Way::Takes | Way::Hangs => usize::MAX,
        Way::Drops(most) => most,
        // One more, to see whether there is one.
        Way::TakesAtMost(most) => most + 1,
    };
    let mut limited = (&mut stream).take(u64::try_from(most).unwrap());
    // The other side may have given up.
    let _ = limited.read_to_end(&mut bytes).await;
    if matches!(way, Way::TakesAtMost(_)) && bytes.len() == most {
        return;
    }
    got.lock().unwrap().extend(messages(&bytes));
    if !matches!(way, Way::Drops(_)) {
        let _ = stream.shutdown().await;
    }
}

/// The whole messages among these bytes.
fn messages(mut bytes: &[u8]) -> Vec<Value> {
    let mut messages = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let (length, rest) = bytes.split_at(space);
        let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
        let Some(message) = rest.get(1..=length) else {
            break;
        };
        messages.push(entry(std::str::from_utf8(message).unwrap()));
        bytes = &rest[1 + length..];
    }
    messages
}

/// The entry of a message, whose header fits it.
fn entry(message: &str) -> Value {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let (header, json) = message.split_at(message.find('{').unwrap());
    let entry: Value = serde_json::from_str(json).unwrap();
    let (at, kind) = (&entry["at"].as_str().unwrap(), &entry["kind"]);
    let (host, process, kind) = (host.trim(), std::process::id(), kind.as_str().unwrap());
    let expected = format!("<109>1 {at} {host} cardveil {process} {kind} - ");
    assert_eq!(header, expected);
    entry
}

/// What was got, each at its first time, and how many were doubles.
fn once(got: &[Value]) -> (Vec<Value>, usize) {
    let mut once: Vec<Value> = Vec::new();
    for entry in got {
        let seq = entry["seq"].as_i64().unwrap();
        // The log's places have no gap here.
        match once.get(usize::try_from(seq - 1).unwrap()) {
            Some(before) => assert_eq!(before, entry, "a double is the same"),
            None => once.push(entry.clone()),
        }
    }
    let doubles = got.len() - once.len();
    (once, doubles)
}

fn soc(receiver: Receiver, required: bool) -> Vec<Sink> {
    vec![Sink {
        target: Target::Syslog(receiver),
        ..sink(Path::new(""), required.then_some(LIMIT))
    }]
}

/// An authority whose certificate is in a file.
fn authority() -> (Authority, tempfile::TempDir) {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("ca.pem"), &authority.certificate).unwrap();
    (authority, folder)
}

/// In the clear, and over TLS.
enum Wire {
    Tcp,
    Tls(Box<Authority>, tempfile::TempDir),
}

impl Wire {
    fn both() -> [Self; 2] {
        let (authority, folder) = authority();
        [Self::Tcp, Self::Tls(Box::new(authority), folder)]
    }

    async fn soc(&self, way: Way) -> (Soc, Receiver) {
        match self {
            Self::Tcp => {
                let soc = Soc::new(None, way).await;
                let receiver = soc.receiver();
                (soc, receiver)
            }
            Self::Tls(authority, folder) => {
                let soc = Soc::new(Some(acceptor(&authority.server())), way).await;
                let receiver = soc.receiver_by(&folder.path().join("ca.pem"));
                (soc, receiver)
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_gets_every_entry_once_and_in_order_as_an_export_has_it() {
    let _still = Still::new();
    for wire in Wire::both() {
        let world = World::with_gate().await;
        let (receiving, receiver) = wire.soc(Way::Takes).await;
        write(&world, 1_203).await;
        let working = Working::begun(&world, soc(receiver.clone(), true)).await;
        at_once(async || lag(&world).await == 0).await;
        let gate = world.app.service.gate().clone();
        assert!(!gate.admits(world.clock_now()), "nobody has looked since");
        pass(&world, Duration::from_secs(1)).await;
        at_once(async || gate.admits(world.clock_now())).await;
        let cardholder = world.cardholder().await;
        assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
        // What is written just before the end is handed over at it.
        working.stop().await;
        assert_eq!(receiving.got(), export(&world).await);
        // The next one goes on from there.
        write(&world, 3).await;
        let working = Working::begun(&world, soc(receiver, true)).await;
        at_once(async || lag(&world).await == 0).await;
        working.stop().await;
        assert_eq!(receiving.got(), export(&world).await);
        assert_eq!(error(&world).await, None);
    }
}

/// Of 104 entries with their length before them it had 7 lines, and all counted as taken.
#[tokio::test(start_paused = true)]
async fn a_receiver_of_lines_gets_one_for_each_entry_logstash_input_syslog_65_fluent_bit_10910() {
    let _still = Still::new();
    for framing in [Framing::Newline, Framing::OctetCounting] {
        let world = World::with_gate().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&got);
        let receiving = tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut text = String::new();
                tcp.read_to_string(&mut text).await.unwrap();
                to.lock().unwrap().push_str(&text);
            }
        });
        let parsed = Receiver::parse(&format!("tcp://{at}")).unwrap();
        let Receiver::Tcp { host, .. } = parsed else {
            panic!("it is TCP");
        };
        write(&world, 104).await;
        let working = Working::begun(&world, soc(Receiver::Tcp { host, framing }, true)).await;
        at_once(async || lag(&world).await == 0).await;
        working.stop().await;
        receiving.abort();
        let got = got.lock().unwrap().clone();
        let lines = got.lines().map(|line| match framing {
            Framing::Newline => entry(line),
            // Each line is whole, if not what such a receiver knows.
            Framing::OctetCounting => entry(line.split_once(' ').unwrap().1),
        });
        assert_eq!(lines.collect::<Vec<_>>(), export(&world).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_required_receiver_that_hangs_stops_releases_until_it_takes() {
    let _still = Still::new();
    for wire in Wire::both() {
        let world = World::with_gate().await;
        let (receiving, receiver) = wire.soc(Way::Takes).await;
        let working = Working::begun(&world, soc(receiver, true)).await;
        caught_up(&world).await;
        let cardholder = world.cardholder().await;
        caught_up(&world).await;
        receiving.way.send_replace(Way::Hangs);
        write(&world, 6).await;
        stuck(&world, "does not take").await;
        let gate = world.app.service.gate();
        in_time(&world, async || !gate.admits(world.clock_now())).await;
        let refused = cardholder.redeem(&["pan"]).await;
        assert_eq!(refused.code(), (503, "audit_sink_full".to_owned()));
        let full = readiness(&world).await["warnings"].to_string();
        assert!(full.contains("audit_sink_full: siem"), "{full}");

        receiving.way.send_replace(Way::Takes);
        caught_up(&world).await;
        assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
        working.stop().await;
        assert_eq!(error(&world).await, None);
        let (once, doubles) = once(&receiving.got());
        assert_eq!(once, export(&world).await);
        // In the clear, what it had not read of the tries that were given up is still there to be
        // read.
        assert!(doubles > 0 || matches!(wire, Wire::Tls(..)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_not_required_stops_nothing() {
    let _still = Still::new();
    for wire in Wire::both() {
        let world = World::with_gate().await;
        let (receiving, receiver) = wire.soc(Way::Hangs).await;
        let working = Working::begun(&world, soc(receiver, false)).await;
        write(&world, 50).await;
        stuck(&world, "does not take").await;
        pass(&world, Duration::from_secs(3_600)).await;
        let gate = world.app.service.gate();
        in_time(&world, async || gate.admits(world.clock_now())).await;
        assert_eq!(world.cardholder().await.redeem(&["pan"]).await.status, 200);
        assert_eq!(receiving.got(), Vec::<Value>::new());
        end(&world, working).await;
    }
}

/// Before the first byte, in a length, in a header, in an entry, and far into the piece.
#[tokio::test(start_paused = true)]
async fn what_a_receiver_dropped_is_sent_again() {
    let _still = Still::new();
    for wire in Wire::both() {
        let world = World::with_gate().await;
        let (receiving, receiver) = wire.soc(Way::Drops(0)).await;
        let working = Working::begun(&world, soc(receiver, true)).await;
        for bytes in [0, 2, 40, 700, 100_000] {
            receiving.way.send_replace(Way::Drops(bytes));
            // More than fits, whatever it read before.
            write(&world, 700).await;
            stuck(&world, "").await;
            assert!(lag(&world).await >= 1, "nothing counts as taken");
            receiving.way.send_replace(Way::Takes);
            caught_up(&world).await;
            assert_eq!(error(&world).await, None);
        }
        working.stop().await;
        let (once, doubles) = once(&receiving.got());
        assert_eq!(once, export(&world).await);
        assert!(doubles > 0, "what it read of a piece before it dropped it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_comes_back_gets_what_it_missed_and_nothing_twice() {
    let _still = Still::new();
    for wire in Wire::both() {
        let world = World::with_gate().await;
        let (mut receiving, receiver) = wire.soc(Way::Takes).await;
        let working = Working::begun(&world, soc(receiver, true)).await;
        caught_up(&world).await;
        receiving.leave().await;
        write(&world, 40).await;
        stuck(&world, "refused").await;
        receiving.come_back().await;
        caught_up(&world).await;
        working.stop().await;
        assert_eq!(receiving.got(), export(&world).await);
    }
}

/// After a failure pieces are smaller, so one that fits gets through.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_little_at_a_time_gets_everything() {
    let _still = Still::new();
    let world = World::with_gate().await;
    let receiving = Soc::new(None, Way::TakesAtMost(3_000)).await;
    write(&world, 60).await;
    let working = Working::begun(&world, soc(receiving.receiver(), false)).await;
    caught_up(&world).await;
    working.stop().await;
    assert_eq!(receiving.got(), export(&world).await);
}

/// Of another authority, or with another name.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_not_the_one_meant_gets_nothing() {
    let _still = Still::new();
    let ((known, folder), strange) = (authority(), Authority::new());
    let ca = folder.path().join("ca.pem");
    for (certificate, host, why) in [
        (strange.server(), "127.0.0.1", "invalid peer certificate"),
        (known.server(), "127.0.0.2", "not valid for name"),
    ] {
        let world = World::with_gate().await;
        let receiving = Soc::new(Some(acceptor(&certificate)), Way::Takes).await;
        let address = format!("tls://{host}:{}", receiving.at.port());
        let receiver = by(Receiver::parse(&address).unwrap(), &ca, None);
        let working = Working::begun(&world, soc(receiver, false)).await;
        write(&world, 5).await;
        stuck(&world, why).await;
        end(&world, working).await;
        assert_eq!(receiving.got(), Vec::<Value>::new());
    }
}

/// The file of authorities is read again after a failure, so it can be mended without a restart.
#[tokio::test(start_paused = true)]
async fn a_receiver_is_known_once_its_authority_is() {
    let _still = Still::new();
    let (known, folder) = authority();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &Authority::new().certificate).unwrap();
    let world = World::with_gate().await;
    let receiving = Soc::new(Some(acceptor(&known.server())), Way::Takes).await;
    let working = Working::begun(&world, soc(receiving.receiver_by(&ca), true)).await;
    stuck(&world, "invalid peer certificate").await;
    std::fs::write(&ca, &known.certificate).unwrap();
    caught_up(&world).await;
    working.stop().await;
    assert_eq!(receiving.got(), export(&world).await);
}

/// One that asks for a certificate, shown or not.
#[tokio::test(start_paused = true)]
async fn a_receiver_may_ask_for_a_certificate() {
    use std::os::unix::fs::PermissionsExt as _;
    let _still = Still::new();
    let (known, folder) = authority();
    let (ca, own) = (folder.path().join("ca.pem"), known.partner());
    std::fs::write(folder.path().join("own.pem"), &own.certificate).unwrap();
    let key = folder.path().join("own.key");
    std::fs::write(&key, &own.key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    for shown in [None, Some(folder.path())] {
        let world = World::with_gate().await;
        let receiving = Soc::new(Some(asking(&known)), Way::Takes).await;
        let receiver = by(receiving.receiver_by(&ca), &ca, shown);
        let working = Working::begun(&world, soc(receiver, false)).await;
        write(&world, 5).await;
        if shown.is_some() {
            caught_up(&world).await;
            working.stop().await;
            assert_eq!(receiving.got(), export(&world).await);
        } else {
            stuck(&world, "").await;
            end(&world, working).await;
            assert_eq!(receiving.got(), Vec::<Value>::new());
        }
    }
}

fn asking(authority: &Authority) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(authority.roots());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let pair = authority.server();
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// As rsyslog and journald read it.
async fn of_daemon(socket: &UnixDatagram) -> Value {
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).await.unwrap();
    let message = std::str::from_utf8(&buffer[..length]).unwrap();
    let (header, json) = message.split_at(message.find('{').unwrap());
    let tag = format!(" cardveil[{}]: ", std::process::id());
    assert!(header.starts_with("<109>") && header.ends_with(&tag));
    serde_json::from_str(json).unwrap()
}

/// Its queue holds some messages that it has not read, and then it takes no more.
#[tokio::test(start_paused = true)]
async fn a_local_daemon_gets_every_entry_though_it_stops_reading_and_goes_away() {
    let _still = Still::new();
    let world = World::with_gate().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let receiver = Receiver::parse(&format!("unix://{}", path.display())).unwrap();
    let working = Working::begun(&world, soc(receiver, true)).await;
    stuck(&world, "No such file").await;
    let socket = UnixDatagram::bind(&path).unwrap();
    write(&world, 700).await;
    stuck(&world, "does not take").await;
    let gate = world.app.service.gate();
    in_time(&world, async || !gate.admits(world.clock_now())).await;

    let got = Arc::new(Mutex::new(Vec::new()));
    let reading = tokio::spawn({
        let got = Arc::clone(&got);
        async move {
            loop {
                let entry = of_daemon(&socket).await;
                got.lock().unwrap().push(entry);
            }
        }
    });
    caught_up(&world).await;
    working.stop().await;
    let expected = export(&world).await;
    at_once(async || got.lock().unwrap().last() == expected.last()).await;
    reading.abort();
    let got = got.lock().unwrap();
    assert_eq!(once(&got).0, expected);
}
