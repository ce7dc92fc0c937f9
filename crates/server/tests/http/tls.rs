//! TLS of the listeners, with real handshakes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cardveil_core::Time;
use cardveil_core::audit::refused::Denied;
use cardveil_server::log::AccessLog;
use cardveil_server::tls::{Callers, Error, Files, Listeners, Tls};
use cardveil_server::{ListenerKind, Settings};
use cardveil_testkit::sample;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, ProtocolVersion, RootCertStore};

use crate::serving::{Served, ask_in_vain, connect_narrow, serve, serve_narrow};
use crate::world::{World, settings};

/// An authority of the test's own.
pub(crate) struct Authority {
    pub(crate) certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

type Date = (i32, u8, u8);
const THEN: Date = (2020, 1, 1);
const LATER: Date = (2095, 1, 1);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self {
            certificate,
            issuer,
        }
    }

    /// A certificate for a server on loopback.
    pub(crate) fn server(&self) -> Pair {
        self.pair(ExtendedKeyUsagePurpose::ServerAuth, THEN, LATER)
    }

    pub(crate) fn partner(&self) -> Pair {
        self.pair(ExtendedKeyUsagePurpose::ClientAuth, THEN, LATER)
    }

    fn pair(&self, purpose: ExtendedKeyUsagePurpose, from: Date, until: Date) -> Pair {
        let key = KeyPair::generate().unwrap();
        self.pair_of(&key, &["localhost", "127.0.0.1"], (purpose, from, until))
    }

    /// A partner's certificate of this key, with these names.
    pub(crate) fn partner_of(&self, key: &KeyPair, names: &[&str]) -> Pair {
        let purpose = ExtendedKeyUsagePurpose::ClientAuth;
        self.pair_of(key, names, (purpose, THEN, LATER))
    }

    fn pair_of(
        &self,
        key: &KeyPair,
        names: &[&str],
        (purpose, from, until): (ExtendedKeyUsagePurpose, Date, Date),
    ) -> Pair {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![purpose];
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let signed = params.signed_by(key, &self.issuer).unwrap();
        Pair {
            certificate: signed.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Whom this authority's servers are good for.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.certificate)).unwrap();
        roots
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A folder with a listener's files.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn with(pair: &Pair) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put(pair);
        folder
    }

    fn put(&self, pair: &Pair) {
        self.write("own.pem", &pair.certificate, 0o644);
        self.write("own.key", &pair.key, 0o600);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new file in the old one's place, as renewers and Kubernetes do it.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let new = self.path("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    fn files(&self) -> Files {
        Files {
            certificate: self.path("own.pem"),
            key: self.path("own.key"),
            callers: Callers::Anyone,
        }
    }

    fn load(&self) -> Result<Tls, Error> {
        Tls::load(self.files(), now())
    }

    /// The error, with the folder's name taken out, and its hint.
    fn refusal(&self) -> (String, &'static str) {
        self.refusal_of(self.files())
    }

    fn refusal_of(&self, files: Files) -> (String, &'static str) {
        let error = Tls::load(files, now()).unwrap_err();
        let folder = format!("{}/", self.0.path().display());
        (error.to_string().replace(&folder, ""), error.hint())
    }
}

fn now() -> Time {
    sample::START
}

/// All of them, of the same files.
pub(crate) fn listeners(folder: &Folder) -> Listeners {
    let tls = Some(Arc::new(folder.load().unwrap()));
    Listeners {
        merchant: tls.clone(),
        client: tls.clone(),
        admin: tls,
    }
}

/// A deployment whose merchant listener speaks TLS.
async fn world(files: Files) -> World {
    world_with(files, AccessLog::none()).await
}

pub(crate) async fn world_with(files: Files, log: AccessLog) -> World {
    let tls = Tls::load(files, now()).unwrap();
    let settings = Settings {
        tls: Listeners {
            merchant: Some(Arc::new(tls)),
            ..Listeners::default()
        },
        ..settings()
    };
    World::with(settings, log).await
}

async fn served(files: Files) -> (World, Served) {
    let world = world(files).await;
    let served = serve(&world, ListenerKind::Merchant).await;
    (world, served)
}

/// A partner's server, which knows this authority and may have a certificate of its own.
pub(crate) fn partner(authority: &Authority, own: Option<&Pair>) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(authority.roots());
    match own {
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            let chain = vec![certificate(&own.certificate)];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}

pub(crate) async fn connect(
    at: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(at).await.unwrap();
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

/// One request on a connection that stays open; the answer's status line.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<String> {
    ask_with(stream, "").await
}

/// The same with these fields in its head, each with its end of line.
pub(crate) async fn ask_with(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    fields: &str,
) -> std::io::Result<String> {
    let request = format!("GET /v1/cards HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(answer).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().to_owned();
    let length = lines
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(status)
}

/// A handshake and one request. In TLS 1.3 a client hears that its certificate is refused when it
/// reads.
async fn call(at: SocketAddr, config: ClientConfig) -> std::io::Result<String> {
    let mut stream = connect(at, config).await?;
    ask(&mut stream).await
}

const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized";

fn own_certificate(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[tokio::test]
async fn both_versions_are_spoken_and_http_1_1_is_agreed_on() {
    let authority = Authority::new();
    let pair = authority.server();
    let folder = Folder::with(&pair);
    let (_world, served) = served(folder.files()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut stream = connect(served.at, config).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), UNAUTHORIZED);
        let tls = stream.get_ref().1;
        assert_eq!(tls.protocol_version(), Some(version.version));
        assert_eq!(tls.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(own_certificate(&stream), certificate(&pair.certificate));
        // On the same connection, too.
        assert_eq!(ask(&mut stream).await.unwrap(), UNAUTHORIZED);
    }
    let stranger = partner(&Authority::new(), None);
    assert!(connect(served.at, stranger).await.is_err());
}

#[tokio::test]
async fn older_versions_are_refused() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.server());
    let (world, served) = served(folder.files()).await;
    // A ClientHello of TLS 1.1 (RFC 4346 7.4.1.2) with one cipher suite and no extension.
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut record = vec![0x16, 0x03, 0x01, 0, 45, 0x01, 0, 0, 41];
    record.extend(hello);
    let mut tcp = TcpStream::connect(served.at).await.unwrap();
    tcp.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    // A fatal alert: protocol_version (70) or handshake_failure (40).
    assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
    assert_eq!(answer.get(5), Some(&2), "{answer:?}");
    let version = ProtocolVersion::TLSv1_2;
    assert_eq!(answer.get(1..3), Some(&version.to_array()[..]));
    let figures = figures(&world).await;
    assert!(figures.contains("tls_handshakes_failed_total{listener=\"merchant\"} 1\n"));
}

#[tokio::test]
async fn plain_http_at_a_tls_listener_is_closed() {
    let folder = Folder::with(&Authority::new().server());
    let (_world, served) = served(folder.files()).await;
    let mut tcp = TcpStream::connect(served.at).await.unwrap();
    let request = b"GET /v1/cards HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tcp.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    // An alert at the most, and nothing of HTTP.
    assert!(answer.len() <= 7, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_ends() {
    let folder = Folder::with(&Authority::new().server());
    let (world, served) = served(folder.files()).await;
    let mut silent = TcpStream::connect(served.at).await.unwrap();
    let mut halting = TcpStream::connect(served.at).await.unwrap();
    halting.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
    let before = tokio::time::Instant::now();
    for stream in [&mut silent, &mut halting] {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }
    let took = before.elapsed();
    assert!(
        took >= Duration::from_secs(9) && took < Duration::from_secs(12),
        "{took:?}"
    );
    let figures = figures(&world).await;
    assert!(figures.contains("tls_handshakes_failed_total{listener=\"merchant\"} 2\n"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_its_place() {
    let authority = Authority::new();
    let world = world(Folder::with(&authority.server()).files()).await;
    let served = serve_narrow(&world, ListenerKind::Merchant);
    let tcp = connect_narrow(served.at).await;
    let connector = TlsConnector::from(Arc::new(partner(&authority, None)));
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, tcp).await.unwrap();
    assert_eq!(ask_in_vain(&mut stream).await.as_secs(), 20);
}

#[tokio::test]
async fn a_handshake_does_not_hold_up_the_end() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.server());
    let (_world, served) = served(folder.files()).await;
    let mut silent = TcpStream::connect(served.at).await.unwrap();
    // Whoever comes after it is served: so the silent one has been taken.
    let mut open = connect(served.at, partner(&authority, None)).await.unwrap();
    assert_eq!(ask(&mut open).await.unwrap(), UNAUTHORIZED);
    served.stop.send(true).unwrap();
    served.task.await.unwrap();
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer).await;
    // The one that was open is closed as TLS wants it: with a notice, not cut off.
    assert_eq!(open.read(&mut [0; 1]).await.unwrap(), 0);
}

async fn figures(world: &World) -> String {
    let answer = world.stranger().get(ListenerKind::Admin, "/metrics").await;
    answer.text().to_owned()
}

async fn readiness(world: &World) -> serde_json::Value {
    let answer = world.stranger().get(ListenerKind::Admin, "/readyz").await;
    assert_eq!(answer.status, 200);
    answer.json()
}

#[tokio::test]
async fn new_files_are_for_new_connections_and_open_ones_go_on() {
    let authority = Authority::new();
    let (old, new) = (authority.server(), authority.server());
    let folder = Folder::with(&old);
    let (world, served) = served(folder.files()).await;
    let config = partner(&authority, None);
    let mut before = connect(served.at, config.clone()).await.unwrap();
    assert_eq!(ask(&mut before).await.unwrap(), UNAUTHORIZED);

    // Nothing changed, so nothing is read.
    world.app.settings.tls.reload(false, now());
    folder.put(&new);
    world.app.settings.tls.reload(false, now());

    let mut after = connect(served.at, config).await.unwrap();
    assert_eq!(ask(&mut after).await.unwrap(), UNAUTHORIZED);
    assert_eq!(own_certificate(&after), certificate(&new.certificate));
    assert_eq!(own_certificate(&before), certificate(&old.certificate));
    assert_eq!(ask(&mut before).await.unwrap(), UNAUTHORIZED);
    assert_eq!(readiness(&world).await, json!({"status": "ok"}));
}

#[tokio::test]
async fn broken_new_files_change_nothing_and_are_told() {
    let authority = Authority::new();
    let old = authority.server();
    let folder = Folder::with(&old);
    let (world, served) = served(folder.files()).await;
    let shown = async || {
        let stream = connect(served.at, partner(&authority, None)).await.unwrap();
        own_certificate(&stream)
    };
    // A renewer between its two files: the pair does not match.
    let new = authority.server();
    folder.write("own.pem", &new.certificate, 0o644);
    world.app.settings.tls.reload(false, now());
    assert_eq!(shown().await, certificate(&old.certificate));
    let told = json!({"status": "ok", "warnings": ["tls_certificate_stale: merchant"]});
    assert_eq!(readiness(&world).await, told);
    let stale = "cardveil_tls_certificate_stale{listener=\"merchant\"} ";
    assert!(figures(&world).await.contains(&format!("{stale}1\n")));

    std::fs::remove_file(folder.path("own.key")).unwrap();
    world.app.settings.tls.reload(false, now());
    assert_eq!(shown().await, certificate(&old.certificate));

    folder.write("own.key", &new.key, 0o600);
    world.app.settings.tls.reload(false, now());
    assert_eq!(shown().await, certificate(&new.certificate));
    assert_eq!(readiness(&world).await, json!({"status": "ok"}));
    assert!(figures(&world).await.contains(&format!("{stale}0\n")));
}

#[tokio::test]
async fn a_file_that_has_the_same_marks_is_read_when_the_operator_says_so() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.server());
    let (world, _served) = served(folder.files()).await;
    // Authorities are not among what changed: the error shows that the files were read.
    std::fs::remove_file(folder.path("own.pem")).unwrap();
    world.app.settings.tls.reload(false, now());
    std::fs::create_dir(folder.path("own.pem")).unwrap();
    world.app.settings.tls.reload(true, now());
    let told = json!({"status": "ok", "warnings": ["tls_certificate_stale: merchant"]});
    assert_eq!(readiness(&world).await, told);
}

#[tokio::test]
async fn new_files_that_only_had_to_wait_are_used_when_it_is_time() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.server());
    let world = world(folder.files()).await;
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let later = authority.pair(purpose, (2026, 12, 1), LATER);
    folder.put(&later);
    let tls = &world.app.settings.tls;
    tls.reload(false, now());
    assert!(tls.merchant.as_ref().unwrap().is_stale());
    tls.reload(false, now());
    assert!(tls.merchant.as_ref().unwrap().is_stale());
    tls.reload(false, Time::parse_rfc3339("2026-12-01T00:00:00Z").unwrap());
    assert!(!tls.merchant.as_ref().unwrap().is_stale());
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told() {
    let authority = Authority::new();
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let folder = Folder::with(&authority.pair(purpose, THEN, (2026, 12, 1)));
    let world = world(folder.files()).await;
    let until = Time::parse_rfc3339("2026-12-01T00:00:00Z").unwrap();
    let expires = format!(
        "# TYPE cardveil_tls_certificate_expires_seconds gauge\n\
         cardveil_tls_certificate_expires_seconds{{listener=\"merchant\"}} {}\n",
        until.millis() / 1_000
    );
    let figures = figures(&world).await;
    assert!(figures.contains(&expires), "{figures}");
    let left = u64::try_from(until.millis() - now().millis()).unwrap();
    world.clock.advance(Duration::from_millis(left));
    assert_eq!(readiness(&world).await, json!({"status": "ok"}));
    world.clock.advance(Duration::from_millis(1));
    let told = json!({"status": "ok", "warnings": ["tls_certificate_expired: merchant"]});
    assert_eq!(readiness(&world).await, told);
}

#[test]
fn what_cannot_be_used_is_refused_with_advice() {
    let authority = Authority::new();
    let purpose = || ExtendedKeyUsagePurpose::ServerAuth;
    let whole = authority.server();
    let folder = Folder::with(&whole);
    let mut told = Vec::new();

    folder.write("own.key", &authority.server().key, 0o600);
    told.push(folder.refusal());
    folder.write("own.key", "no key", 0o600);
    told.push(folder.refusal());
    folder.write("own.key", &whole.certificate, 0o600);
    told.push(folder.refusal());
    folder.write("own.key", &whole.key, 0o604);
    told.push(folder.refusal());
    std::fs::remove_file(folder.path("own.key")).unwrap();
    told.push(folder.refusal());

    folder.put(&authority.pair(purpose(), THEN, (2021, 1, 1)));
    told.push(folder.refusal());
    folder.put(&authority.pair(purpose(), (2094, 1, 1), LATER));
    told.push(folder.refusal());

    folder.put(&whole);
    folder.write("own.pem", &whole.key, 0o644);
    told.push(folder.refusal());
    let half = whole.certificate.len() / 2;
    folder.write("own.pem", &whole.certificate[..half], 0o644);
    told.push(folder.refusal());

    folder.put(&whole);
    folder.write("partners.pem", "", 0o644);
    told.push(folder.refusal_of(Files {
        callers: Callers::MustShow(folder.path("partners.pem")),
        ..folder.files()
    }));
    insta::assert_debug_snapshot!(told);
    assert!(folder.load().is_ok());
}

#[test]
fn a_certificate_is_good_up_to_its_last_moment() {
    let authority = Authority::new();
    let purpose = ExtendedKeyUsagePurpose::ServerAuth;
    let folder = Folder::with(&authority.pair(purpose, (2026, 1, 1), (2026, 2, 1)));
    let at = |text: &str| Tls::load(folder.files(), Time::parse_rfc3339(text).unwrap());
    assert!(matches!(
        at("2025-12-31T23:59:59.999Z"),
        Err(Error::NotYet { .. })
    ));
    assert!(at("2026-01-01T00:00:00Z").is_ok());
    assert!(at("2026-02-01T00:00:00Z").is_ok());
    assert!(matches!(
        at("2026-02-01T00:00:00.001Z"),
        Err(Error::Expired { .. })
    ));
}

pub(crate) fn with_partners(
    folder: &Folder,
    partners: &Authority,
    callers: fn(PathBuf) -> Callers,
) -> Files {
    folder.write("partners.pem", &partners.certificate, 0o644);
    Files {
        callers: callers(folder.path("partners.pem")),
        ..folder.files()
    }
}

#[tokio::test]
async fn partners_show_a_certificate_where_they_must() {
    let (authority, partners) = (Authority::new(), Authority::new());
    let folder = Folder::with(&authority.server());
    let files = with_partners(&folder, &partners, Callers::MustShow);
    let (_world, served) = served(files).await;
    let expired = partners.pair(ExtendedKeyUsagePurpose::ClientAuth, THEN, (2021, 1, 1));
    let call = async |own: Option<&Pair>| call(served.at, partner(&authority, own)).await;
    assert_eq!(call(Some(&partners.partner())).await.unwrap(), UNAUTHORIZED);
    assert!(call(None).await.is_err());
    assert!(call(Some(&authority.partner())).await.is_err());
    assert!(call(Some(&expired)).await.is_err());
    // A server's certificate is not a partner's, whoever signed it.
    assert!(call(Some(&partners.server())).await.is_err());
}

#[tokio::test]
async fn a_refused_client_certificate_is_on_record() {
    let (authority, partners) = (Authority::new(), Authority::new());
    let folder = Folder::with(&authority.server());
    let files = with_partners(&folder, &partners, Callers::MustShow);
    let (world, served) = served(files).await;
    let call = async |own: Option<&Pair>| call(served.at, partner(&authority, own)).await;
    assert!(call(None).await.is_err());
    assert!(call(Some(&authority.partner())).await.is_err());
    world.app.record_refused().await;
    let log = cardveil_core::port::Audit::entries(&*world.store, 0, 10_000).await;
    let log = log.unwrap();
    let refused = log
        .iter()
        .find_map(|entry| entry.event.detail.refused.as_ref());
    let refused = refused.unwrap();
    assert_eq!(refused.cause, Some(Denied::Certificate));
    assert_eq!(
        (refused.calls, refused.from.unwrap().to_string()),
        (2, "127.0.0.1/32".to_owned())
    );
}

#[tokio::test]
async fn partners_may_come_without_where_they_may() {
    let (authority, partners) = (Authority::new(), Authority::new());
    let folder = Folder::with(&authority.server());
    let files = with_partners(&folder, &partners, Callers::MayShow);
    let (_world, served) = served(files).await;
    let call = async |own: Option<&Pair>| call(served.at, partner(&authority, own)).await;
    assert_eq!(call(Some(&partners.partner())).await.unwrap(), UNAUTHORIZED);
    assert_eq!(call(None).await.unwrap(), UNAUTHORIZED);
    assert!(call(Some(&authority.partner())).await.is_err());
}

#[tokio::test]
async fn new_authorities_are_for_new_connections_at_once() {
    let (authority, partners, others) = (Authority::new(), Authority::new(), Authority::new());
    let folder = Folder::with(&authority.server());
    let files = with_partners(&folder, &partners, Callers::MustShow);
    let (world, served) = served(files).await;
    // One client with its memory of sessions: it may not come back by one that it had before.
    let config = partner(&authority, Some(&partners.partner()));
    for _ in 0..2 {
        let mut stream = connect(served.at, config.clone()).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), UNAUTHORIZED);
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full));
    }
    folder.write("partners.pem", &others.certificate, 0o644);
    world.app.settings.tls.reload(false, now());
    assert!(call(served.at, config).await.is_err());
    let other = partner(&authority, Some(&others.partner()));
    assert_eq!(call(served.at, other).await.unwrap(), UNAUTHORIZED);
}

/// Where a server on loopback with a certificate of this authority takes what comes.
pub(crate) fn acceptor(pair: &Pair) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(&pair.certificate)], key)
        .unwrap();
    Arc::new(config).into()
}
